"""Where rewards come from: a reward adapter on the policy's own base, or another model; found before one loads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bedside import engine, launch, lineage, logs, models, policy, reward_model
from bedside.errors import ConfigError
from bedside.ppo import scores

TASK = "SEQ_CLS"


@dataclass(frozen=True)
class Source:
    """A reward model by where it is, and whether it is put on the policy's base."""

    origin: policy.Origin
    shared: bool

    @property
    def adapter(self) -> str | None:
        """The adapter to put on the policy's base, if it is shared."""
        return self.origin.resolved.adapter if self.shared else None

    def record(self) -> dict[str, Any]:
        """What identifies it, for the manifest."""
        return {"path": Path(self.origin.path).name, "id": (self.origin.resolved.manifest or {}).get("id"),
                "shared": self.shared}  # fmt: skip


def find(path: str | None, start: policy.Origin, share: str, trainer: dict[str, Any]) -> Source | None:
    """The reward model `path` (None: none is wished) of a policy that starts from `start`; `share` is auto, yes or no.

    Raises ConfigError for what is no reward model, and for sharing that is impossible.
    """
    if path is None:
        return None
    models.check_model_path(path, "--reward_model_path")
    resolved = lineage.resolve(path)
    if (resolved.task if Path(path).is_dir() else _task_on_hub(path)) != TASK:
        raise ConfigError(
            f"--reward_model_path {path}: a language model, which gives no score; train a reward model from it: "
            f"python reward_modeling.py --model_name_or_path {path} --train_file_dir PAIRS --output_dir outputs-rm"
        )
    for note in resolved.notes:
        logs.warn(note)
    resolved.task = TASK
    origin = policy.Origin(resolved, path)
    same = bool(resolved.adapter) and _same_base(resolved.base, start.resolved.base)
    if share == "yes" and not same:
        other = f"it was trained on {resolved.base}, the policy on {start.resolved.base}"
        why = other if resolved.adapter else "it is a whole model, not an adapter"
        raise ConfigError(f"--share_reward_base yes: {why}; use auto")
    shared = same and share != "no"
    how = launch.kind(trainer)
    if not shared and how in ("fsdp", "zero3"):
        raise ConfigError(
            f"--reward_model_path {path} under {how}: a second model is not cut into shards; train the reward model "
            "as an adapter on the policy's base, or use accelerate/ddp.yaml or accelerate/zero2.yaml"
        )
    return Source(origin, shared)


def _task_on_hub(name: str) -> str | None:
    """What a model of that name is for, by its configuration; a lineage tells of directories only."""
    config = models.config_of(name, "--reward_model_path")
    return TASK if any("ForSequenceClassification" in kind for kind in config.architectures or ()) else None


def _same_base(one: str, other: str) -> bool:
    if one == other:
        return True
    if not (Path(one).is_dir() and Path(other).is_dir()):
        return False
    return Path(one).resolve() == Path(other).resolve() or lineage.fingerprint(one) == lineage.fingerprint(other)


def warn_of_precision(source: Source, quant: dict | None) -> None:
    """Tell where a reward adapter reads another base than in its training: its scores shift."""
    trained = source.origin.resolved.quant
    if source.shared and bool(trained) != bool(quant):
        then, now = (f"{kind['bits']}-bit" if kind else "unquantised" for kind in (trained, quant))
        logs.warn(f"{source.origin.path} was trained on a base that was {then} and scores on one that is {now}: its "
                  "scores shift; train both alike, or check its pair accuracy")  # fmt: skip


def shared_scores(model: Any, turn_end: int, pad: int, device: Any, batch: int) -> scores.SharedReward:
    """The reward role of a RoleModel."""

    def forward(ids: Any, mask: Any) -> Any:
        return model(ids, mask, want="scores")

    return scores.SharedReward(forward, turn_end, pad, device, batch)


def separate_scores(
    source: Source, template_name: str | None, loading: dict[str, Any], device: Any, batch: int
) -> scores.SeparateReward:
    """A reward model of its own, loaded, frozen, on `device`, with its own tokenizer and template.

    `loading` holds `models.load_base`'s keywords, of which precision and place count.
    """
    resolved = source.origin.resolved
    tokenizer, template = engine.text_side(source.origin, template_name, None, loading["cache_dir"])
    own = {"quantisation": resolved.quant and {key: resolved.quant.get(key) for key in ("bits", "type", "double")}}
    base = models.load_base(resolved.base, **{**loading, **own, "revision": resolved.revision, "num_labels": 1})
    model, _ = reward_model.start(base, resolved.adapter, resolved.task, None)
    model.requires_grad_(False).eval()
    if not resolved.quant:
        model.to(device)
    context = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return scores.SeparateReward.of(model, tokenizer, template, context, batch)
