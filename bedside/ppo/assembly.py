"""The model of a PPO run, from what its flags and lineages say: base, policy, reference, critic, reward."""

from __future__ import annotations

from typing import Any

from bedside import models, policy
from bedside.ppo import sources
from bedside.ppo.sources import Source
from bedside.rewards.completion import Completion


def load(
    origin: policy.Origin, source: Source | None, lora: dict[str, Any], loading: dict[str, Any]
) -> tuple[Any, str]:
    """The RoleModel, and how its policy was made: `continued` or `new adapter`.

    `lora` holds `adapters.lora_config`'s keywords, `loading` those of `models.load_base`.
    """
    from bedside.ppo import roles

    policy.check_quantisation(origin, loading.get("quantisation"))
    if source:
        sources.warn_of_precision(source, loading.get("quantisation"))
    base = models.load_base(origin.resolved.base, **{**loading, "revision": origin.resolved.revision})
    base.config.use_cache = False
    adapter = origin.resolved.adapter
    model = roles.assemble(base, adapter, None if adapter else lora, source.adapter if source else None)
    return model, "continued" if adapter else "new adapter"


def reward_model(
    source: Source | None, model: Any, config: Any, turn_end: int, pad: int, template_name: str | None, loading: dict
) -> Any:
    """What scores answers, or None: the reward role of `model`, or a model of its own."""
    if source is None:
        return None
    batch = config.per_device_eval_batch_size
    if source.shared:
        return sources.shared_scores(model, turn_end, pad, config.device, batch)
    return sources.separate_scores(source, template_name, loading, config.device, batch)


def server(config: Any, base: str) -> Any:
    """What draws answers instead of the model itself, with --use_vllm; ConfigError if the server is not there."""
    from bedside.ppo.served import Served
    from bedside.ppo.vllm_client import VLLMSampler

    if not config.use_vllm:
        return None
    return Served(VLLMSampler(config.vllm_server_base_url, timeout=config.vllm_server_timeout, base=base))


def scored_by(judge: Any, tokenizer: Any) -> Any:
    """What a reward model says of the answers to tasks, under its name (`heldout.Extra`); None without one."""
    from bedside.ppo import scores

    if judge is None:
        return None

    def extra(tasks: list[dict], answers: list[Completion]) -> dict[str, list[float]]:
        encode = tokenizer.backend_tokenizer.encode
        cases = [
            scores.Case(task, list(task["prompt_ids"]), encode(answer.text, add_special_tokens=False).ids, answer)
            for task, answer in zip(tasks, answers, strict=True)
        ]
        return {scores.REWARD_MODEL: judge(cases)}

    return extra
