"""The memory of a training step, in bytes: what each layer keeps, and how many layers may keep everything.

Numbers only, so that a plan can be tested without a card. A layer that is checkpointed keeps its input and computes
the rest again in the backward pass; a whole one keeps everything and costs no second forward pass. The whole ones are
the last: their memory is free again before the first checkpointed layer is computed a second time, so that this
temporary never comes on top of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from bedside.errors import ConfigError

AUTO = "auto"
SHARE = 0.92  # of the free memory that `auto` plans with: the rest is for fragments and the first step's surprises
_LOSS_ROWS, _FEW_ROWS = 1024, 256  # tokens whose logits a chunked loss holds at once, and in batches to _FEW tokens
_FEW = 4096
_LOGIT_BYTES = 10  # of one logit in such a piece: 2 in 16 bit, two float32 copies
_IN_FLIGHT = 3  # checkpoints that are on the card at any time although they live on the host
# Optimizer states, as a multiple of the trained tensors' own bytes, by the beginning of --optim; 2 for any other.
_STATES = {
    "sgd": 0.0, "adafactor": 0.05, "lion_8bit": 0.25, "lion": 1.0, "adamw_8bit": 0.5, "adamw_bnb_8bit": 0.5,
    "paged_adamw_8bit": 0.5,
}  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """Widths of a decoder: `queries` and `keys` are heads times head size."""

    layers: int
    hidden: int
    intermediate: int
    queries: int
    keys: int
    vocabulary: int


def shape_of(config: Any) -> Shape:
    """The shape that a transformers config describes; ConfigError for one that is no decoder with a gated MLP."""
    config = config.get_text_config() if hasattr(config, "get_text_config") else config
    missing = [
        name for name in ("num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads", "vocab_size")
        if not isinstance(getattr(config, name, None), int)
    ]  # fmt: skip
    if missing:
        raise ConfigError(
            f"--memory_budget_gb: the model's config has no {', '.join(missing)}, from which its memory is counted; "
            "use --gradient_checkpointing True or False"
        )
    heads = config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    keys = size * (getattr(config, "num_key_value_heads", None) or heads)
    return Shape(
        config.num_hidden_layers, config.hidden_size, config.intermediate_size, size * heads, keys, config.vocab_size
    )


def saved_a_token(shape: Shape, width: int = 2) -> int:
    """Bytes that a whole layer keeps for each token with the fused kernels: its input, the sum after attention and
    their two norms; q, k, v and what attention gave; gate and up. `width` is the size of a number."""
    return width * (4 * shape.hidden + 2 * shape.queries + 2 * shape.keys + 2 * shape.intermediate)


class Kept(NamedTuple):
    """What a layer keeps for the backward pass, in bytes: for each token, and however many there are (16-bit copies
    of float32 weights)."""

    a_token: float
    constant: float = 0.0

    def of(self, tokens: int) -> float:
        """For a micro-batch of `tokens`."""
        return self.a_token * tokens + self.constant


@dataclass(frozen=True)
class Need:
    """What a training step needs at its largest micro-batch, in bytes."""

    layers: int
    fixed: float  # weights, adapters, gradients, optimizer states: there at every moment
    whole: float  # kept by a layer that is not checkpointed
    kept: float  # kept on the card by one that is
    in_flight: float  # checkpoints on their way to the host and back
    backward: float  # temporaries of one whole layer's backward pass
    replay: float  # what a checkpointed layer keeps when it is computed again, and temporaries of its backward pass
    loss: float  # temporaries of the loss


def need(
    shape: Shape, tokens: int, fixed: float, saved: Kept | None = None, again: Kept | None = None,
    offload: bool = False, dequantises: int = 0, loss_a_token: float = 0.0, mlp_tile: int | None = None,
    width: int = 2,
) -> Need:  # fmt: skip
    """The need of a step with micro-batches of `tokens`.

    `saved` is measured, where the kernels' own (`saved_a_token`) are not what runs; `again`
    the same of a checkpointed layer while it is computed again: less, if its MLP then keeps nothing and goes over
    `mlp_tile` tokens at a time in the backward pass (None: over all). `dequantises` says how many 16-bit copies of a
    4-bit weight are alive at once, `loss_a_token` bytes of logits for a loss that holds them all.
    """
    saved = Kept(saved_a_token(shape, width)) if saved is None else saved
    again = saved if again is None else again
    checkpoint = width * shape.hidden * tokens
    copies = dequantises * width * shape.hidden * shape.intermediate
    rows = min(tokens, _LOSS_ROWS if tokens > _FEW else _FEW_ROWS)
    logits = loss_a_token * tokens or _LOGIT_BYTES * shape.vocabulary * rows
    # The gradients of gate and up, and four of the width of the residual stream.
    residual, gated = 4 * width * shape.hidden * tokens, 2 * width * shape.intermediate * tokens
    if (
        again.a_token < saved.a_token - width * shape.intermediate
    ):  # the MLP keeps neither gate nor up: they and their product then
        gated = 3 * width * shape.intermediate * min(tokens, mlp_tile or tokens)
    return Need(
        layers=shape.layers,
        fixed=fixed + copies,
        whole=saved.of(tokens),
        kept=0.0 if offload else checkpoint,
        in_flight=_IN_FLIGHT * checkpoint if offload else 0.0,
        backward=residual + 2 * width * shape.intermediate * tokens,
        replay=again.of(tokens) + residual + gated,
        # The last hidden states and their gradient, each in float32 too.
        loss=4 * checkpoint + logits,
    )


def at(step: Need, share: float) -> Need:
    """The need of a micro-batch with `share` of the largest one's tokens."""
    names = ("whole", "kept", "in_flight", "backward", "replay", "loss")
    return replace(step, **{name: share * getattr(step, name) for name in names})


def peak(step: Need, whole: int) -> float:
    """Bytes at the worst moment when the last `whole` layers are not checkpointed.

    That is the loss, the backward pass of the last layer, or a checkpointed layer that is computed again: by then the
    whole ones have given back what they kept.
    """
    checkpoints = (step.layers - whole) * step.kept + (step.in_flight if whole < step.layers else 0.0)
    at_loss = whole * step.whole + step.loss
    in_backward = whole * step.whole + step.backward if whole else 0.0
    in_replay = step.replay if whole < step.layers else 0.0
    return step.fixed + checkpoints + max(at_loss, in_backward, in_replay)


def layers_whole(step: Need, budget: float) -> int:
    """How many layers, 0 to all, need not be checkpointed within `budget` bytes; 0 also if nothing fits."""
    return next((count for count in range(step.layers, 0, -1) if peak(step, count) <= budget), 0)


def wish(text: str | float | None) -> float | str | None:
    """`--memory_budget_gb` read: "auto", bytes, or None where it is not given. ConfigError for anything else."""
    if text is None or str(text).strip().lower() in ("", "none"):
        return None
    if str(text).strip().lower() == AUTO:
        return AUTO
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise ConfigError(f"--memory_budget_gb {text}: expected auto or a number of GB above 0, such as 10.5")
    return number * 1e9


def problems(budget: str | float | None, offload: bool, trainer: dict[str, Any]) -> list[str]:
    """What of the trainer's flags contradicts a budget or an offload; each with the flag to drop. Raises nothing but
    what `wish` raises."""
    named, found = wish(budget) is not None, []
    kwargs = trainer.get("gradient_checkpointing_kwargs") or {}
    kwargs = kwargs if isinstance(kwargs, dict) else {}
    off = trainer.get("gradient_checkpointing") in (False, "False", "false")
    if named and off:
        found.append(
            "--memory_budget_gb chooses which layers are checkpointed; drop --gradient_checkpointing False, or it"
        )
    if named and "every_n_layers" in kwargs:
        found.append("--memory_budget_gb and every_n_layers both choose which layers are checkpointed; give one")
    if offload and off:
        found.append("--offload_checkpoints True has nothing to move with --gradient_checkpointing False; drop one")
    if offload and kwargs.get("offload"):
        found.append("--offload_checkpoints True and offload in --gradient_checkpointing_kwargs do the same; give one")
    if offload and trainer.get("activation_offloading"):
        found.append("--offload_checkpoints True and --activation_offloading True both move activations; give one")
    return found


def optimizer_bytes(optim: str, trained: float) -> float:
    """Bytes of the optimizer's states for trained tensors of `trained` bytes."""
    name = str(getattr(optim, "value", optim))
    return trained * next((share for start, share in _STATES.items() if name.startswith(start)), 2.0)
