"""The chunked loss in the places where TRL's trainers and ours ask a model for log-probabilities.

Imported late: needs torch.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from transformers.utils import ModelOutput

from bedside.kernels import loss

_IGNORED = -100
# What changes the logits between head and softmax; a model with one of these keeps the trainer's own loss.
_RULES = (
    "final_logit_softcapping", "logit_scale", "output_multiplier", "lm_head_multiplier", "logits_scaling",
)  # fmt: skip


def why_not(causal: torch.nn.Module) -> str | None:
    """Why this model keeps the trainer's loss, or None."""
    head, config = causal.get_output_embeddings(), causal.config.get_text_config()
    if head is None or causal.base_model is causal:
        return "no head of its own over a vocabulary"
    if type(head) is not torch.nn.Linear or getattr(head, "bias", None) is not None:  # LoRA's is a Linear by name
        name = f"{type(head).__module__.split('.')[0]}.{type(head).__name__}"
        return f"its head is a {name}" if type(head) is not torch.nn.Linear else "its head has a bias"
    if head.weight.requires_grad:
        return "its head is trained"
    if any(getattr(config, name, None) not in (None, 1.0) for name in _RULES):
        return "its config changes the logits"
    if getattr(config, "output_router_logits", False):
        return "a mixture of experts adds a loss of its own"
    return None


_FIELDS = {"log_probs", "entropy", "mean_logits", "is_top1"}  # of TRL's record, what is computed here


def asked(causal: torch.nn.Module) -> dict[str, Any] | None:
    """How TRL's head of this model makes its numbers (`temperature`, `outputs`, ...); None for a model without one.

    They are kept nowhere but in the forward that TRL puts in, so they are read off it. A wrapper around that forward
    is looked through.
    """
    forward = causal.forward
    while forward is not None:
        code = getattr(forward, "__code__", None)
        if code is not None and code.co_name == "_fused_forward":
            return dict(inspect.getclosurevars(forward).nonlocals)
        forward = getattr(forward, "__wrapped__", None)
    return None


def why_not_asked(causal: torch.nn.Module, wishes: dict[str, Any]) -> str | None:
    """Why what the trainer asks of its head is not computed here, or None."""
    unknown = {"temperature", "cast_lm_head_to_fp32", "outputs"} - wishes.keys()
    if unknown:
        return f"this release of trl does not tell its head's {', '.join(sorted(unknown))}"
    if wishes["cast_lm_head_to_fp32"]:
        return "--cast_lm_head_to_fp32 asks for a head in float32"
    if more := sorted(set(wishes["outputs"]) - _FIELDS):
        return f"the trainer asks for {', '.join(more)} too"
    if causal.forward.__code__.co_name != "_fused_forward":
        return "the model's forward is wrapped already, by what sets its precision"
    return None


def install(causal: torch.nn.Module) -> str | None:
    """Answer `fused_lm_head=True`, TRL's question, with our loss; the reason why not, or None.

    To be called after the trainer is made, whose forward is asked for everything else.
    """
    wishes = asked(causal)
    if wishes is None:
        return "this trainer has a loss of its own"
    reason = why_not(causal) or why_not_asked(causal, wishes)
    if reason is None:
        forward = _forward(causal.forward, type(causal), float(wishes["temperature"]))
        causal.forward = types.MethodType(forward, causal)
    return reason


def _forward(original: Callable, kind: type, temperature: float) -> Callable:
    @functools.wraps(kind.forward)
    def forward(self, *args, fused_lm_head: bool = False, labels: torch.Tensor | None = None, **kwargs: Any):
        weight = self.get_output_embeddings().weight
        plain = kwargs.get("shift_labels") is not None or labels is None or type(weight).__name__ == "DTensor"
        if not fused_lm_head or plain or kwargs.get("output_router_logits"):
            more = {} if labels is None else {"labels": labels}
            return original(*args, **kwargs, **more, **({"fused_lm_head": True} if fused_lm_head else {}))
        count = kwargs.pop("num_items_in_batch", None)
        kwargs["use_cache"] = False
        hidden = self.base_model(*args, **kwargs).last_hidden_state[:, :-1]
        return _answer(hidden, weight, labels[:, 1:].to(hidden.device), temperature, count)

    return forward


@dataclass
class Answer(ModelOutput):
    """TRL's record of per-token facts, `(B, T - 1)` each, zero where nothing is trained.

    It is a `ModelOutput`, because DDP must find its tensors: where it finds none it takes all parameters for unused.
    """

    loss: torch.Tensor | None = None
    log_probs: torch.Tensor | None = None
    entropy: torch.Tensor | None = None
    log_sum_sq_probs: torch.Tensor | None = None
    mean_logits: torch.Tensor | None = None
    is_top1: torch.Tensor | None = None
    label_mask: torch.Tensor | None = None
    aux_loss: torch.Tensor | None = None


def _answer(
    hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor, temperature: float, count: Any
) -> Answer:  # fmt: skip
    """The record of `hidden (B, T - 1, H)`. The loss is a mean over `count` tokens (None: those with a label)."""
    kept = labels != _IGNORED
    found = loss.score(hidden[kept], weight, labels[kept], temperature=temperature)

    def placed(values: torch.Tensor) -> torch.Tensor:
        # Scattered, so that a batch in which nothing is trained still has a gradient: zero.
        return values.new_zeros(kept.shape).masked_scatter(kept, values)

    log_probs = placed(found.log_probs)
    return Answer(
        loss=-log_probs.sum() / (kept.sum().clamp(min=1) if count is None else count), log_probs=log_probs,
        entropy=placed(found.entropy), mean_logits=placed(found.mean_logit), is_top1=placed(found.is_top1),
        label_mask=kept,
    )  # fmt: skip
