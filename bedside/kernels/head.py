"""The chunked loss in the places where TRL's trainers and ours ask a model for log-probabilities.

Imported late: needs torch.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any

import torch

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
    if type(head).__name__ != "Linear" or getattr(head, "bias", None) is not None:
        return f"its head is a {type(head).__name__} or has a bias"
    if head.weight.requires_grad:
        return "its head is trained"
    if any(getattr(config, name, None) not in (None, 1.0) for name in _RULES):
        return "its config changes the logits"
    if getattr(config, "output_router_logits", False):
        return "a mixture of experts adds a loss of its own"
    return None


def install(causal: torch.nn.Module) -> str | None:
    """Answer `fused_lm_head=True`, TRL's question, with our loss; the reason why not, or None.

    To be called after the trainer is made, whose forward is asked for everything else.
    """
    reason = why_not(causal)
    if reason is None:
        causal.forward = types.MethodType(_forward(causal.forward, type(causal)), causal)
    return reason


def _forward(original: Callable, kind: type) -> Callable:
    @functools.wraps(kind.forward)
    def forward(self, *args, fused_lm_head: bool = False, labels: torch.Tensor | None = None, **kwargs: Any):
        weight = self.get_output_embeddings().weight
        plain = kwargs.get("shift_labels") is not None or labels is None or type(weight).__name__ == "DTensor"
        if not fused_lm_head or plain or kwargs.get("output_router_logits"):
            more = {} if labels is None else {"labels": labels}
            return original(*args, **kwargs, **more, **({"fused_lm_head": True} if fused_lm_head else {}))
        kwargs.pop("num_items_in_batch", None)
        kwargs["use_cache"] = False
        hidden = self.base_model(*args, **kwargs).last_hidden_state[:, :-1]
        return _answer(hidden, weight, labels[:, 1:].to(hidden.device))

    return forward


def _answer(hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor) -> Any:
    """TRL's record of per-token facts, `(B, T - 1)` each, zero where nothing is trained."""
    kept = labels != _IGNORED
    found = loss.score(hidden[kept], weight, labels[kept])

    def placed(values: torch.Tensor) -> torch.Tensor:
        # Scattered, so that a batch in which nothing is trained still has a gradient: zero.
        return values.new_zeros(kept.shape).masked_scatter(kept, values)

    return types.SimpleNamespace(
        loss=None, log_probs=placed(found.log_probs), entropy=placed(found.entropy),
        mean_logits=placed(found.mean_logit), is_top1=placed(found.is_top1), log_sum_sq_probs=None, label_mask=kept,
        aux_loss=None,
    )  # fmt: skip
