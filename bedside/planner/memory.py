"""The peak of a training step, part by part, in bytes. What a layer keeps is counted by `bedside.kernels.budget`.

The parts add up to the peak of torch's allocator; the CUDA context comes on top of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from bedside.kernels import budget
from bedside.memory.sizes import cache_of
from bedside.memory.tiers import FIXED
from bedside.planner.shapes import Model

CONTEXT = FIXED["GPU"]  # bytes that CUDA and its libraries take outside torch's allocator
QLORA, QLORA8, LORA, FULL = "qlora", "qlora8", "lora", "full"
PAIRS, SAMPLING = ("rm", "dpo", "orpo"), ("ppo", "grpo")
STAGES = ("sft", "pt", *PAIRS, "kto", *SAMPLING)
# Adapters that a stage holds: those that are trained, and those that stay as they are (reference, reward).
_ADAPTERS = {"dpo": (1, 1), "kto": (1, 1), "ppo": (2, 2)}
_COPIES = (
    32  # bytes for each word of the vocabulary and answer while a token is drawn, a float64 cumulated sum included
)
_HELD = 10.0  # bytes of a logit that is held for a loss: in 16 bits, and two copies in float32
_NO_LOGITS = 1.0  # byte a token of a loss without a vocabulary


@dataclass(frozen=True)
class Setting:
    """What is trained how. `rows` of a micro-batch (pairs count as one), `length` its longest row in tokens or longest
    question, `response` the longest answer, `whole` layers that are not checkpointed, `sharding` of `gpus`: none, ddp,
    zero2 or fsdp2. `width`: bytes of a number that is computed with, which is also what `LORA` keeps weights in."""

    stage: str = "sft"
    precision: str = QLORA
    rows: int = 1
    length: int = 2048
    response: int = 0
    lora_r: int = 8
    whole: int = 0
    offload: bool = False
    embedding_on_host: bool = False
    mlp_tile: int | None = None
    optim: str = "adamw_torch_fused"
    dropout: float = 0.0
    gpus: int = 1
    sharding: str = "none"
    sampled: int = 0
    kernels: bool = True
    width: int = 2
    half: bool = False  # FULL: weights in 16 bits too, not in float32
    stored: int | None = None  # bytes of a number of an adapter's base, if not `width`

    @property
    def tokens(self) -> int:
        """Of the largest micro-batch."""
        sides = 2 if self.stage in PAIRS else 1
        return sides * self.rows * (self.length + self.response)


def fused(model: Model, setting: Setting) -> bool:
    """Whether the fused kernels' figures count: a family that they know, an adapter without dropout, whole weights.
    Stages that sample were measured without them only."""
    plain = setting.precision == FULL or setting.dropout > 0 or setting.stage in SAMPLING
    known = model.kernels and setting.kernels and setting.sharding != "fsdp2"
    return known and not plain and setting.precision != QLORA8


def kept(model: Model, setting: Setting) -> tuple[budget.Kept, budget.Kept]:
    """What a layer keeps, as a whole one and as one that is computed again.

    Fused, the second keeps neither gate nor up. Unfused, a layer also keeps the product of the two and its factors,
    queries and keys before they are turned, and the addition; dropout adds a copy of each linear's input and a mask.
    """
    shape, width = model.shape, setting.width
    saved = budget.saved_a_token(shape, width)
    if fused(model, setting):
        return budget.Kept(saved), budget.Kept(saved - 2 * width * shape.intermediate)
    saved += width * (2 * shape.intermediate + shape.queries + shape.keys + shape.hidden)
    if setting.dropout > 0:
        saved += 1.5 * width * (5 * shape.hidden + shape.queries + shape.intermediate)
    if setting.precision == FULL and not setting.half:  # the residual stream and norms in float32
        saved += width * 5 * shape.hidden
    return budget.Kept(saved), budget.Kept(saved)


def _weights(model: Model, setting: Setting) -> dict[str, float]:
    """Bytes of what is loaded, for all cards together."""
    bits = {QLORA: 4, QLORA8: 8}.get(setting.precision, 16)
    number = setting.stored or setting.width
    if setting.precision == FULL:
        number = setting.width if setting.half else 4
    layers = model.shape.layers * model.layer.size(bits, number)
    word, head = model.ends
    head = 0 if setting.stage == "rm" else head
    there = head if setting.embedding_on_host and model.ends[1] else word + head
    found = {"weights of layers": layers, "embeddings and head": number * (there + model.norm)}
    if setting.precision == FULL and setting.stage in ("dpo", "kto", "ppo"):
        found["reference model"] = sum(found.values())
    if setting.precision == FULL and not setting.half:
        found["16-bit copies of weights"] = 2.0 * (model.linear + (0 if setting.stage == "rm" else model.head))
    return found


def _trained(model: Model, setting: Setting) -> dict[str, float]:
    """Bytes of adapters, gradients and the optimizer's states, for all cards together."""
    if setting.precision == FULL:
        trained = model.parameters - (model.ends[1] if setting.stage == "rm" else 0)
        number = trained * (setting.width if setting.half else 4)
        return {"gradients": number, "optimizer": budget.optimizer_bytes(setting.optim, number)}
    moving, still = _ADAPTERS.get(setting.stage, (1, 0))
    one = 4.0 * model.lora(setting.lora_r)
    return {
        "adapters": (moving + still) * one,
        "gradients": moving * one,
        "optimizer": budget.optimizer_bytes(setting.optim, moving * one),
    }


def fixed(model: Model, setting: Setting) -> dict[str, float]:
    """Bytes on one card that are there at every moment of a step."""
    parts = _weights(model, setting) | _trained(model, setting)
    if setting.sharding in ("zero2", "fsdp2"):
        cut = ("gradients", "optimizer") if setting.sharding == "zero2" else tuple(parts)
        parts |= {name: parts[name] / setting.gpus for name in cut}
    if setting.sharding == "ddp":  # torch's DDP copies gradients into buckets that it sends
        parts["gradients on their way to others"] = parts["gradients"]
    if setting.sharding == "fsdp2":  # two layers, embedding and head are whole at a time
        gathered = 2 * setting.width * model.layer.numbers + setting.width * sum(model.ends)
        parts["weights gathered from others"] = gathered
    return parts


def need(model: Model, setting: Setting, tokens: int | None = None) -> budget.Need:
    """The need of a step, as `budget` counts it; PPO computes with policy and critic at once."""
    tokens = setting.tokens if tokens is None else tokens
    graphs = 2 if setting.stage == "ppo" else 1
    shape = replace(model.shape, layers=graphs * model.shape.layers)
    saved, again = kept(model, setting)
    copies = (3 if setting.mlp_tile else 2) if setting.precision == QLORA else 0
    loss = _NO_LOGITS if setting.stage == "rm" else 0.0
    if setting.stage == "grpo":  # TRL's loss holds the logits of all answers
        loss = _HELD * shape.vocabulary * setting.response / (setting.length + setting.response)
    return budget.need(
        shape, tokens, sum(fixed(model, setting).values()), saved, again, setting.offload, copies, loss,
        setting.mlp_tile if fused(model, setting) else None, setting.width,
    )  # fmt: skip


def rollout(model: Model, setting: Setting) -> float:
    """Bytes that sampling answers takes beside what is fixed: the cache with its room, and drawing a token."""
    if setting.stage not in SAMPLING:
        return 0.0
    shape, tokens = model.shape, setting.length + setting.response
    heads = {"num_hidden_layers": shape.layers, "num_attention_heads": 1, "hidden_size": shape.keys}
    cache = cache_of(heads, tokens + max(128, tokens // 4), setting.sampled, setting.width)
    reading = setting.width * setting.sampled * setting.length * (4 * shape.hidden + 3 * shape.intermediate)
    return cache + _COPIES * setting.sampled * shape.vocabulary + reading


def parts(model: Model, setting: Setting) -> dict[str, float]:
    """Bytes of the peak by part; they add up to `peak`."""
    step, sampling = need(model, setting), rollout(model, setting)
    found = fixed(model, setting)
    copies = step.fixed - sum(found.values())
    if copies:
        found["dequantised weights"] = copies
    if sampling > budget.peak(step, setting.whole) - step.fixed:
        return found | {"rollout: cache and drawing": sampling}
    whole, replayed = setting.whole, step.layers - setting.whole
    found["checkpoints"] = replayed * step.kept + (step.in_flight if replayed else 0.0)
    found["layers kept whole"] = whole * step.whole
    in_loss = whole * step.whole + step.loss
    in_backward = whole * step.whole + step.backward if whole else 0.0
    in_replay = step.replay if replayed else 0.0
    moments = {
        "logits and loss": in_loss,
        "backward pass of a layer": in_backward,
        "a layer computed again": in_replay,
    }
    name = max(moments, key=moments.get)
    if name == "a layer computed again":  # the whole ones have given back by then
        found["layers kept whole"] = 0.0
        found[name] = in_replay
    else:
        found[name] = moments[name] - whole * step.whole
    return {name: size for name, size in found.items() if size}


def peak(model: Model, setting: Setting) -> float:
    """Bytes of torch's allocator at the worst moment on one card, without the context."""
    return sum(parts(model, setting).values())
