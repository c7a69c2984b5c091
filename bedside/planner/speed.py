"""Tokens a second of a training, from operations, bytes and what the host needs to launch them.

A step takes the longer of two times: the card's (products, attention, elementwise traffic, dequantising, the loss) and
the host's (launching the kernels of each layer). The shares of a card's rates that are reached were measured on one
H200 at the shape of Qwen2.5-7B; for other cards they are assumed, and the interval says so.
"""

from __future__ import annotations

from dataclasses import dataclass

from bedside.planner.cards import Card
from bedside.planner.memory import FULL, PAIRS, QLORA, QLORA8, SAMPLING, Setting, fused
from bedside.planner.shapes import Model

_PRODUCTS = 0.708  # of a card's rate: 700 of 989 TFLOP/s at 16,384 tokens
_ATTENTION = 0.131  # of the same rate: 130 TFLOP/s of variable-length attention
_COPY = 0.84  # of a card's bandwidth: 4.04 of 4.8 TB/s
_DEQUANTISE = {True: 0.71, False: 0.26}  # of a card's bandwidth, by our kernel and by bitsandbytes
_FOUR_BIT = 2.516  # bytes read and written for a weight that is dequantised
# Elementwise bytes of a layer, forward and backward, as multiples of what a fused layer keeps of a token.
_TRAFFIC = {True: (4.5, 6.9), False: (12.2, 16.5)}
_LAUNCH = {True: 3.4e-3, False: 7.0e-3}  # seconds of the host for a layer and pass
_ANSWERED = 0.7  # of a row's tokens are trained on, so that the head is computed for them
_SPREAD = 0.7  # mean context of a token, as a share of the mean length of rows of medical dialogues
_DECODE = 2.4e-3  # seconds of the host for a layer and token drawn, whatever the number of answers
_PADDING = 0.37  # 8 rows of medical dialogues, padded to the longest, are 0.46 full
# Forward passes beside that which is trained: the reference; of KTO policy and reference on mismatched answers too.
_BESIDE = {"dpo": 1, "kto": 3}
_OPTIMIZER = 28  # bytes that an Adam step reads and writes for a number


@dataclass(frozen=True)
class Speed:
    """Tokens a second of all cards together, real ones, with an interval; `why` says how far it is to be believed."""

    tokens: float
    low: float
    high: float
    why: str

    def hours(self, tokens: float) -> tuple[float, float, float]:
        """Hours for so many tokens: `(expected, least, most)`."""
        return tuple(tokens / rate / 3600 for rate in (self.tokens, self.high, self.low))


def _passes(model: Model, setting: Setting) -> tuple[float, float]:
    """`(forward passes, backward passes)` over the layers for each micro-batch; a full one is two products."""
    again = 1 - setting.whole / model.shape.layers
    forward = 1 + again + _BESIDE.get(setting.stage, 0)
    return forward, 2 if setting.precision == FULL else 1


def _card_seconds(model: Model, setting: Setting, card: Card, tokens: int, context: float) -> float:
    """Seconds of the card for a micro-batch of `tokens`."""
    shape, quick = model.shape, fused(model, setting)
    forward, backward = _passes(model, setting)
    down = shape.layers * shape.hidden * shape.intermediate
    spared = down * (1 - setting.whole / shape.layers) if quick else 0  # not computed a second time
    numbers = model.linear * (forward + backward) - spared
    head = 0 if setting.stage == "rm" else model.head * _ANSWERED * (2 if quick else 3)
    if setting.precision == FULL:
        numbers, head = numbers, head + model.head * _ANSWERED
    rate, stream = card.tflops * 1e12, card.bandwidth * 1e9
    products = 2 * (numbers + head) / (rate * _PRODUCTS)
    attention = 4 * shape.layers * shape.queries * context * (forward + 2.5) / (rate * _ATTENTION)
    there, back = _TRAFFIC[quick]
    kept = 2 * (4 * shape.hidden + 2 * shape.queries + 2 * shape.keys + 2 * shape.intermediate)
    bytes_moved = shape.layers * kept * (there * forward + back) + 20 * shape.vocabulary * _ANSWERED
    seconds = tokens * (products + attention + bytes_moved / (stream * _COPY))
    if setting.precision in (QLORA, QLORA8):
        seconds += model.linear * _FOUR_BIT * (forward + 1) / (stream * _DEQUANTISE[quick])
    if setting.offload or setting.mlp_tile:  # 13,772 against 14,029 tokens/s
        seconds *= 1.02
    return seconds


def update_seconds(model: Model, setting: Setting, card: Card, tokens: int, mean: float) -> float:
    """Seconds of forward and backward pass of a micro-batch of `tokens` in rows of `mean` tokens."""
    longest = setting.length + setting.response
    context = min(_SPREAD * mean, longest / 2)
    forward, _ = _passes(model, setting)
    host = model.shape.layers * (forward + 1) * _LAUNCH[fused(model, setting)]
    graphs = 2 if setting.stage == "ppo" else 1
    return graphs * max(_card_seconds(model, setting, card, tokens, context), host)


def _exchange_seconds(model: Model, setting: Setting, card: Card) -> float:
    """Seconds that cards of one host need for each other in an optimizer step, none of it hidden."""
    if setting.gpus == 1 or not card.link:
        return 0.0
    trained = 4 * (model.parameters if setting.precision == FULL else model.lora(setting.lora_r))
    moved = 2 * trained * (setting.gpus - 1) / setting.gpus
    return moved / (card.link * 1e9)


def _gather_seconds(model: Model, setting: Setting, card: Card) -> float:
    """Seconds of a micro-batch for weights that lie in shards on the other cards."""
    if setting.sharding != "fsdp2" or not card.link:
        return 0.0
    width = {QLORA: 0.52, QLORA8: 1.0}.get(setting.precision, 2.0)
    passes = sum(_passes(model, setting)) - (1 if setting.precision == FULL else 0)
    return passes * model.linear * width * (setting.gpus - 1) / setting.gpus / (card.link * 1e9)


def draw_seconds(model: Model, setting: Setting, card: Card, mean_answer: float) -> float:
    """Seconds for drawing `sampled` answers by the trainer itself."""
    shape = model.shape
    read = 2.0 * model.linear + 2.0 * model.head
    if setting.precision == QLORA:
        read += _FOUR_BIT * model.linear / _DEQUANTISE[False] * _COPY
    return mean_answer * max(shape.layers * _DECODE, read / (card.bandwidth * 1e9 * _COPY))


def speed_of(
    model: Model, setting: Setting, card: Card, mean: float, accumulation: int = 1, epochs: int = 2,
    tokens: float | None = None,
) -> Speed | None:  # fmt: skip
    """The speed with rows of `mean` tokens (question and answer together where answers are drawn), `epochs` passes
    over each rollout; None for a card of which only the memory is known. `tokens` of a micro-batch, where they are
    known, stand for what is assumed of packing and padding."""
    if not (card.tflops and card.bandwidth):
        return None
    longest = setting.length + setting.response
    mean = min(mean, longest)
    real, tokens = (tokens, round(tokens)) if tokens else _tokens(model, setting, card, mean)
    seconds = update_seconds(model, setting, card, tokens, mean) + _gather_seconds(model, setting, card)
    seconds += _exchange_seconds(model, setting, card) / accumulation
    if setting.precision == FULL:
        seconds += _OPTIMIZER * model.parameters / (card.bandwidth * 1e9 * _COPY) / accumulation
    if setting.stage in SAMPLING:
        seconds = seconds * epochs + _judged(model, setting, card, tokens, mean)
    rate = setting.gpus * real / seconds
    wide, why = _belief(model, setting, card)
    return Speed(rate, rate / wide, rate * wide, why)


def _tokens(model: Model, setting: Setting, card: Card, mean: float) -> tuple[float, int]:
    """`(real, computed)` tokens of a micro-batch. Packed rows are full; others are laid end to end by the kernels, or
    padded to the longest of them."""
    longest, sequences = setting.length + setting.response, setting.rows * (2 if setting.stage in PAIRS else 1)
    if setting.stage in ("sft", "pt") and card.bf16:
        return sequences * longest, sequences * longest
    real = sequences * mean
    flat = model.kernels and setting.kernels and setting.sharding != "fsdp2"
    return real, int(real if flat else real * min(sequences**_PADDING, longest / mean))


def _judged(model: Model, setting: Setting, card: Card, tokens: int, mean: float) -> float:
    """Seconds of a micro-batch's share of drawing and of its scores: three roles, and a reward model's."""
    answer = mean * setting.response / (setting.length + setting.response)
    drawn = draw_seconds(model, setting, card, answer) * setting.rows / max(1, setting.sampled)
    again = update_seconds(model, setting, card, tokens, mean)  # as long as four forward passes
    return drawn + again


def _belief(model: Model, setting: Setting, card: Card) -> tuple[float, str]:
    """The factor that the interval spans either way, and why."""
    if setting.stage in SAMPLING:
        return 1.6, "drawing answers was measured on one H200, with 4 answers at a time"
    if setting.gpus > 1:
        return 1.6, "several cards were not measured yet"
    if card.name != "H200":
        return 1.5, f"not measured on {card.name}: an H200's shares of the data sheet are assumed"
    if setting.stage in ("sft", "pt") and fused(model, setting) and 5e9 < model.parameters < 1e10:
        return 1.2, "settings like these were measured on one H200"
    return 1.4, "this stage, family or size was not measured; 7B SFT on one H200 was"
