"""Where rewards come from: a reward adapter on the policy's own base, or another model; found before one loads."""

from __future__ import annotations

from dataclasses import dataclass, replace
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
    id: str | None = None  # of its weights: by its lineage, else by its files, or the commit of a hub model

    @property
    def adapter(self) -> str | None:
        """The adapter to put on the policy's base, if it is shared."""
        return self.origin.resolved.adapter if self.shared else None

    def record(self) -> dict[str, Any]:
        """What identifies it, for the manifest."""
        return {"path": Path(self.origin.path).name, "id": self.id, "shared": self.shared}


def find(path: str | None, start: policy.Origin, share: str, loading: dict[str, Any]) -> Source | None:
    """The reward model `path` (None: none is wished) of a policy that starts from `start`; `share` is auto, yes or no.
    `loading` holds `models.load_base`'s keywords. Whether it can share is decided by `settle`.

    Raises ConfigError for what is no reward model, and for sharing that is impossible.
    """
    if path is None:
        return None
    models.check_model_path(path, "--reward_model_path")
    resolved = lineage.resolve(path)
    task, identity = _on_disk(resolved, path) if Path(path).is_dir() else _on_hub(path, loading)
    if task != TASK:
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
    return Source(origin, same and share != "no", identity)


def settle(
    source: Source | None, tokenizer: Any, share: str, template_name: str | None, trainer: dict[str, Any]
) -> Source | None:
    """The source once the policy's tokenizer, with its template, is known: a shared adapter reads what they write, so
    one that was trained with others is loaded by itself.

    Raises ConfigError where that is not wished (`share` yes) or impossible, and for a template that nothing reads.
    """
    if source is None:
        return None
    path = source.origin.path
    if source.shared and (why := _reads_otherwise(source, tokenizer)):
        if share == "yes":
            raise ConfigError(f"--share_reward_base yes: {path} {why}; use auto, or the policy's --template_name")
        logs.warn(f"{path} {why}: it is loaded by itself, beside the policy, and reads answers in its own template")
        source = replace(source, shared=False)
    if source.shared and template_name:
        raise ConfigError(
            f"--reward_template_name {template_name}: {path} is an adapter on the policy's base and reads the "
            "policy's template; drop the flag, or add --share_reward_base no"
        )
    how = launch.kind(trainer)
    if not source.shared and how in ("fsdp", "zero3"):
        raise ConfigError(
            f"--reward_model_path {path} under {how}: a second model is not cut into shards; train the reward model "
            "as an adapter on the policy's base, with its template, or use accelerate/ddp.yaml or "
            "accelerate/zero2.yaml"
        )
    return source


def _reads_otherwise(source: Source, tokenizer: Any) -> str | None:
    """In what the reward adapter's training differs from how the policy's answers are written; None: in nothing."""
    trained = (source.origin.resolved.manifest or {}).get("tokenizer")
    if not trained:
        logs.warn(f"{source.origin.path} has no record of its tokenizer and template: it is taken to have been "
                  "trained with the policy's; if it was not, add --share_reward_base no")  # fmt: skip
        return None
    given = lineage.tokenizer_record(tokenizer)
    if trained.get("sha") not in (None, given["sha"]):
        return "was trained with another tokenizer than the policy's"
    if trained.get("template") not in (None, given["template"]):
        name = (source.origin.resolved.manifest.get("template") or {}).get("name")
        return f"was trained with another template than the policy's ({name or 'one of its own'})"
    return None


def _on_disk(resolved: lineage.Resolved, path: str) -> tuple[str, str]:
    """What a directory is for, and what identifies its weights."""
    return resolved.task, (resolved.manifest or {}).get("id") or lineage.fingerprint(path)


def _on_hub(name: str, loading: dict[str, Any]) -> tuple[str | None, str | None]:
    """What a model of that name is for, by its configuration, and its commit; a lineage tells of directories only."""
    config = models.config_of(
        name, "--reward_model_path", cache_dir=loading["cache_dir"], trust_remote_code=loading["trust_remote_code"]
    )
    one = any("ForSequenceClassification" in kind for kind in config.architectures or ())
    return TASK if one else None, getattr(config, "_commit_hash", None)


def _same_base(one: str, other: str) -> bool:
    if one == other:
        return True
    if not (Path(one).is_dir() and Path(other).is_dir()):
        return False
    return Path(one).resolve() == Path(other).resolve() or lineage.fingerprint(one) == lineage.fingerprint(other)


def warn_of_precision(source: Source, quant: dict | None) -> None:
    """Tell where a reward adapter reads another base than in its training: its scores shift."""
    trained = source.origin.resolved.quant
    if source.shared and source.origin.resolved.manifest and bool(trained) != bool(quant):
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
    tokenizer, template = engine.text_side(
        source.origin, template_name, None, loading["cache_dir"], loading["trust_remote_code"]
    )
    own = {"quantisation": resolved.quant and {key: resolved.quant.get(key) for key in ("bits", "type", "double")}}
    base = models.load_base(resolved.base, **{**loading, **own, "revision": resolved.revision, "num_labels": 1})
    model, _ = reward_model.start(base, resolved.adapter, resolved.task, None)
    model.requires_grad_(False).eval()
    if not resolved.quant:
        model.to(device)
    context = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return scores.SeparateReward.of(model, tokenizer, template, context, batch)
