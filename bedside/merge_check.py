"""The proof of a merge, in two parts that must not be added up.

1. Merge error: the adapter on against the merged file, on the same base weights, both computed in float32. This is
   what merging did; it decides.
2. Precision shift: training's 4-bit or 8-bit base against the merged file. This is what leaving that precision did,
   and the base alone shifts as much; it is reported and decides nothing.

A causal LM is compared by KL divergence of its next-token distributions, a reward model by its scores.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bedside import models, probe, reward_model
from bedside.merge import attach
from bedside.merge_source import Source

if TYPE_CHECKING:
    import torch

# Below these a difference is rounding: nats of KL, points of a score. Models differ: on one whose base changes by KL
# 7.9e-4 when its arithmetic goes from float32 to bfloat16, storing a merge in bfloat16 costs up to 0.9e-4.
KL_LIMIT, SCORE_LIMIT = 3e-5, 0.01
_ROUNDING = 0.25  # of what the file's precision does to the arithmetic of the base alone
_SHORT = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}


@dataclass(frozen=True)
class Sides:
    """A base with the adapter off and on: outputs `(T, V)`, what its own precision does to it, and the distance of
    each to the probe of training (nats or points of a score, None without one)."""

    off: torch.Tensor
    on: torch.Tensor
    noise: float
    probe_off: float | None
    probe_on: float | None
    probe_limit: float = probe.LIMIT


@dataclass(frozen=True)
class Report:
    """The numbers of a verified merge. KL in nats, or for a reward model mean differences of scores."""

    task: str
    error: float
    effect: float
    limit: float
    max_ratio: float
    shift: tuple[str, float, float] | None  # from->to, of the merged model, of the base alone
    nll: tuple[float, float] | None  # of the probe text: as trained, merged; where there is a shift

    @property
    def ratio(self) -> float:
        """Merge error as a share of what the adapter does."""
        return self.error / max(self.effect, 1e-12)

    @property
    def passed(self) -> bool:
        """False only for an error that is beyond rounding and matters beside the adapter's effect; NaN fails."""
        return self.error <= self.limit or self.ratio <= self.max_ratio

    def line(self) -> str:
        """The report as one line."""
        causal = self.task == "CAUSAL_LM"
        what, beside = ("KL", "adapter effect") if causal else ("|score|", "the scores' spread")
        good = "OK" if self.ratio <= self.max_ratio else "OK, within rounding"
        verdict = good if self.passed else f"FAILED (limit {self.max_ratio:.0%})"
        text = f"merge error {what} {self.error:.1e} ({self.ratio:.1%} of {beside}) {verdict}"
        if self.shift:
            name, shift, alone = self.shift
            text += f"; precision shift {name} {what} {shift:.1e}" + (f" (base alone {alone:.1e})" if causal else "")
        if self.nll:
            text += f", NLL {self.nll[0]:.4f} -> {self.nll[1]:.4f}"
        return text

    def advice(self, dtype: str) -> str:
        """What to do about a failure."""
        if self.ratio <= 1 and dtype != "float32":
            return f"{dtype} cannot hold so small an update; --dtype fp32 can, --max_error_ratio accepts the loss"
        return "the merged model is not what the adapter is on its base; please report this"


@contextmanager
def float32_arithmetic(model: torch.nn.Module) -> Iterator[None]:
    """Compute in float32 with the weights as they are, restored afterwards; a linear layer is widened only while it
    computes, so that a large model costs no second copy. In its own precision a model's rounding hides a merge's."""
    import torch

    shared = Counter(
        id(weight) for module in model.modules() if (weight := getattr(module, "weight", None)) is not None
    )
    kept, hooks = [], []

    def widen(module: torch.nn.Module, _: Any) -> None:
        module.narrow = module.weight.data
        module.weight.data = module.narrow.float()

    def restore(module: torch.nn.Module, *_: Any) -> None:
        module.weight.data = module.__dict__.pop("narrow")

    for module in model.modules():
        lone = type(module) is torch.nn.Linear and shared[id(module.weight)] == 1
        if lone:
            hooks += [module.register_forward_pre_hook(widen), module.register_forward_hook(restore)]
        for name, parameter in module.named_parameters(recurse=False):
            if not (lone and name == "weight") and parameter.dtype in (torch.bfloat16, torch.float16):
                kept.append((parameter, parameter.data))
                parameter.data = parameter.data.float()
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for parameter, data in kept:
            parameter.data = data


def outputs(model: torch.nn.Module, ids: list[int], task: str) -> torch.Tensor:
    """Log-probabilities `(T, V)` after each token, or scores `(T / 8, labels)` of the text's beginnings; float32."""
    import torch

    model.eval()
    device = next(model.parameters()).device
    with torch.no_grad():
        if task == "CAUSAL_LM":
            return model(input_ids=torch.tensor([ids], device=device)).logits[0].float().log_softmax(-1).cpu()
    return probe.scores(model, ids)


def exact_outputs(model: torch.nn.Module, ids: list[int], task: str) -> torch.Tensor:
    """`outputs`, computed in float32."""
    with float32_arithmetic(model):
        return outputs(model, ids, task)


def difference(reference: torch.Tensor, other: torch.Tensor, task: str) -> float:
    """Mean KL(reference || other) in nats, or mean absolute difference of scores."""
    if task == "CAUSAL_LM":
        # Clipped because float32 rounding can take it a hair below nought.
        return max((reference.exp() * (reference - other)).sum(-1).mean().item(), 0.0)
    return (reference - other).abs().mean().item()


def nll(logprobs: torch.Tensor, ids: list[int]) -> float:
    """Mean negative log-likelihood (nats a token) of the text itself."""
    import torch

    return -logprobs[:-1].gather(-1, torch.tensor(ids[1:])[:, None]).mean().item()


def sides(build: Callable[[], Any], source: Source, ids: list[int], exact: bool) -> Sides:
    """Measure a base that `build` loads, without and with the adapter, in float32 if `exact`, else in its own."""
    kept = (source.resolved.manifest or {}).get("probe")
    base = build().eval()
    own, probe_off = outputs(base, ids, source.task), probe.distance(base, kept) if kept else None
    off = exact_outputs(base, ids, source.task) if exact else own
    model = attach(source, base)
    probe_on = probe.distance(model, kept) if kept else None
    on = exact_outputs(model, ids, source.task) if exact else outputs(model, ids, source.task)
    limit = probe.limit(kept) if kept else probe.LIMIT
    return Sides(off, on, difference(off, own, source.task), probe_off, probe_on, limit)


def probe_line(trained: Sides) -> tuple[bool, str]:
    """Whether the adapter on its base is what training left, and the sentence.

    Another kind of processor moves the probe beyond the limit too, but by far less than losing the adapter does.
    """
    passed = trained.probe_on <= trained.probe_limit or trained.probe_on <= trained.probe_off / 2
    verdict = "OK" if passed else "FAILED: this is not the model that training left"
    on, off = f"{trained.probe_on:.4f}", f"{trained.probe_off:.4f}"
    unit = "nats" if trained.probe_limit == probe.LIMIT else "points"
    return passed, f"probe of training: {on} {unit} off with the adapter, {off} without it; {verdict}"


def report(
    same: Sides, trained: Sides | None, merged: torch.Tensor, ids: list[int], task: str, max_ratio: float, change: str
) -> Report:
    """Put the numbers together: `same` is the base that was merged into, `trained` the quantised one of training, if
    there was one, `change` the step between their precisions."""
    causal = task == "CAUSAL_LM"
    # A reward model's head is in the adapter, so there is no score without it: the scores' spread is the yardstick.
    yardstick = same.off if causal else same.on.mean(0, keepdim=True)
    shift = likelihoods = None
    if trained:
        shift = (change, difference(trained.on, merged, task), difference(trained.off, same.off, task))
    if trained and causal:
        likelihoods = (nll(trained.on, ids), nll(merged, ids))
    return Report(
        task=task,
        error=difference(same.on, merged, task),
        effect=difference(same.on, yardstick, task),
        limit=max(KL_LIMIT, _ROUNDING * same.noise) if causal else SCORE_LIMIT,
        max_ratio=max_ratio,
        shift=shift,
        nll=likelihoods,
    )


def reread(
    directory: Path, dtype: str, source: Source, same: Sides, trained: Sides | None, ids: list[int], max_ratio: float
) -> tuple[Report, Any]:
    """The report on the written model, and that model, read back from disk."""
    model = models.load_base(str(directory), dtype, num_labels=source.num_labels)
    if source.num_labels:
        reward_model.exact_head(model, str(directory))
    merged = exact_outputs(model, ids, source.task)
    change = f"{(source.quant or {}).get('type')}->{_SHORT[dtype]}"
    return report(same, trained, merged, ids, source.task, max_ratio, change), model
