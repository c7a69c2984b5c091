"""What a preference stage compares its policy with, chosen from where the policy comes from, and said.

R1, continue: the policy is an adapter (of an SFT); its own frozen copy on the same base is the reference.
R2, new adapter: the policy is a base or merged model; the same model with the adapter off is the reference.
In full training a second copy of the model is. Stacking a new adapter on a frozen one is never done: the reference
would be the base, and nothing would be trained.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bedside import lineage, models
from bedside.errors import LineageError
from bedside.policy import Origin

LN2 = math.log(2)


@dataclass(frozen=True)
class Reference:
    """`kind` is adapter (R1), adapter_off (R2), model (full training) or none; `told` says it to a person."""

    kind: str
    told: str
    id: str | None = None

    def section(self) -> dict:
        """As `lineage.json` keeps it."""
        return {"kind": self.kind, "id": self.id, "path": "ref" if self.kind == "adapter" else None}


def choose(origin: Origin, in_full: bool, loss: str = "dpo") -> Reference:
    """The reference of a run that starts from `origin`; a `loss` of `none` needs none."""
    manifest = origin.resolved.manifest or {}
    known = manifest.get("id")
    stage = manifest.get("stage", "unknown")
    if loss == "none":
        return Reference("none", "none: this loss compares with nothing")
    if in_full:
        return Reference("model", f"a frozen copy of {origin.path}", known)
    if origin.resolved.adapter:
        lineage.check_copyable(origin.resolved.adapter)
        told = f"R1: the adapter of {origin.path} ({stage}) is continued; its own frozen copy is the reference"
        return Reference("adapter", told, known)
    told = f"R2: a new adapter on {origin.path}; the same model without it is the reference"
    return Reference("adapter_off", told, known)


def refuse_accidents(origin: Origin, stage: str, allowed: bool, script: str) -> None:
    """Raise LineageError where a checkpoint of this very stage would become the reference unawares.

    It is half-way through its own training: who means to go on with that resumes it, which restores the reference.
    """
    manifest = origin.resolved.manifest or {}
    if allowed or manifest.get("kind") != "checkpoint" or manifest.get("stage") != stage:
        return
    run = str(Path(origin.path).parent)
    raise LineageError(
        f"{origin.path} is a checkpoint of a {stage} run; starting anew from it would make it the reference. To go on "
        f"with that run, repeat its command with --output_dir {run} --resume_from_checkpoint True: python {script} "
        "...; to mean it, add --allow_checkpoint_reference True"
    )


def without_needless_copy(chosen: Reference, model: Any) -> None:
    """Remove, in place, the copy that TRL makes of a new adapter: one that changes nothing yet is its own reference
    when it is switched off, which costs no memory."""
    if chosen.kind == "adapter_off" and "ref" in getattr(model, "peft_config", {}):
        model.delete_adapter("ref")


def frozen_copy(origin: Origin, loading: dict[str, Any]) -> Any:
    """The model once more, for full training: loaded as the policy was, without gradients."""
    copy = models.load_base(origin.resolved.base, **{**loading, "revision": origin.resolved.revision})
    return copy.requires_grad_(False).eval()


def loss_at_start(losses: list[str], weights: list[float] | None, beta: float, smoothing: float) -> float | None:
    """The loss while policy and reference are equal, or None where it depends on the rows.

    Every log-ratio is 0 then; these are the losses of Rafailov et al. 2023 (arXiv 2305.18290, eq. 7: ln 2) and of
    the papers that TRL's documentation names, at 0.

    >>> round(loss_at_start(["sigmoid"], None, 0.1, 0.0), 6)
    0.693147
    """
    at_zero = {
        "sigmoid": LN2,
        "sigmoid_norm": LN2,
        "robust": LN2,
        "hinge": 1.0,
        "ipo": (1 / (2 * beta)) ** 2,
        "nca_pair": 2 * LN2,
        "bco_pair": 2 * LN2,
        "sppo_hard": 2 * (0.5 / beta) ** 2,
        "aot": LN2,
        "aot_unpaired": LN2,
        "apo_zero": 1.0,
        "apo_down": 1.0,
        "discopop": 0.5 * LN2 + 0.5,
    }
    if smoothing > 0:
        at_zero["exo_pair"] = -LN2 - 0.5 * math.log1p(-smoothing) - 0.5 * math.log(smoothing)
    if any(name not in at_zero for name in losses):
        return None
    return sum(weight * at_zero[name] for name, weight in zip(losses, weights or [1.0] * len(losses), strict=True))
