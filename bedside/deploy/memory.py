"""What fits: precision of the weights, length of a conversation, how many cards. Arithmetic over records; bytes.

These are estimates on the safe side: what vLLM itself needs (context, graphs, activations) is measured by vLLM only
when it starts.
"""

from __future__ import annotations

from dataclasses import dataclass

from bedside.deploy.weights import ITEM, Weights
from bedside.errors import ConfigError

GIB = 1 << 30
UTILISATION = 0.92  # the share of a card that vLLM 0.29 takes by default
_FIXED, _SHARE = GIB, 0.08  # of what vLLM takes: context and graphs, and activations as a share
_MARGIN = 0.02  # of a card, left free beside what others hold already
_LEAST = 2048  # tokens: a conversation with a thought needs that many; a model with fewer positions, all of them
_STEP = 256  # a length that memory limits is a multiple of this
_PROCESS = 2 * GIB  # what vLLM takes of a computer's memory beside weights and cache
_AT_ONCE = 32  # conversations of full length that the cache on a CPU has room for, where memory is not short
_LENGTHS = ("max_position_embeddings", "n_positions", "max_sequence_length", "seq_length", "model_max_length")


@dataclass(frozen=True)
class Shape:
    """What of a config decides about memory. `positions` None: the config names no limit."""

    heads: int
    kv_heads: int
    token_values: int  # numbers cached for a token, in all layers and heads
    positions: int | None


@dataclass(frozen=True)
class Room:
    """What was decided: `length` in tokens (None: left to vLLM), and the sentences that say so."""

    length: int | None
    four_bit: bool = False
    utilisation: float | None = None  # None: vLLM's own
    cache_gib: int | None = None  # on a CPU
    told: tuple[str, ...] = ()


def shape_of(config: dict) -> Shape:
    """The shape in a config.json (of the text part, where a model has several)."""
    text = config.get("text_config") or config
    heads = text.get("num_attention_heads") or text.get("n_head") or 1
    kv_heads = text.get("num_key_value_heads") or heads
    layers = text.get("num_hidden_layers") or text.get("n_layer") or 1
    kinds = text.get("layer_types") or []
    cached = sum(not kind.startswith(("linear", "mamba")) for kind in kinds) if len(kinds) == layers else layers
    if text.get("kv_lora_rank"):  # latent attention caches one vector for all heads
        kv_heads, values = 1, text["kv_lora_rank"] + (text.get("qk_rope_head_dim") or 0)
    else:
        width = text.get("hidden_size") or text.get("n_embd") or heads
        values = 2 * kv_heads * (text.get("head_dim") or width // heads)
    positions = next((text[name] for name in _LENGTHS if isinstance(text.get(name), int)), None)
    return Shape(heads, kv_heads, cached * values, positions)


def cards_used(cards: int, shape: Shape) -> int:
    """The largest number of cards up to `cards` over which the attention heads can be shared out evenly."""
    fits = [n for n in range(1, cards + 1) if shape.heads % n == 0]
    return max([n for n in fits if shape.kv_heads % n == 0 or n % shape.kv_heads == 0], default=1)


def utilisation_for(total: int, free: int) -> float | None:
    """The share of a card to give to vLLM, or None where its own default is free."""
    share = int((free / total - _MARGIN) * 100) / 100
    return share if share < UTILISATION else None


def on_cards(
    shape: Shape,
    weights: Weights,
    dtype: str,
    cards: int,
    total: int,
    free: int,
    extra: int = 0,
    four_bit: bool | None = None,
    utilisation: float | None = None,
    cache_item: int = 2,
) -> Room:
    """What fits on `cards` equal cards of `total` bytes, `free` of them free.

    `extra` bytes go to an adapter; `four_bit` None takes 4 bits only where 16 do not fit, False never, True always;
    `utilisation` is the user's; `cache_item` the bytes of a cached number. ConfigError where nothing fits.
    """
    chosen = utilisation_for(total, free) if utilisation is None else None
    budget = int(total * (utilisation or chosen or UTILISATION))
    overhead = _FIXED + int(budget * _SHARE) + extra
    token = max(1, shape.token_values * cache_item // min(cards, shape.kv_heads))
    least = min(_LEAST, shape.positions or _LEAST)
    tried = [four_bit] if four_bit is not None else [False] if weights.packed else [False, True]
    for quantised in tried:
        held = weights.held(dtype, quantised) // cards
        left = budget - overhead - held
        tokens = left // token
        if tokens >= least:
            break
    else:
        raise ConfigError(_too_large(weights, dtype, four_bit, cards, budget, overhead, least * token))
    length = _length(tokens, shape.positions)
    asked = "as files" if weights.packed else "4 bits" if quantised else dtype
    told = [
        f"memory: {_gib(budget)} of each card for vLLM; weights {_gib(held)} ({asked}), "
        f"room for {tokens:,} tokens of conversation at {token / 1024:.0f} KiB a token"
    ]
    told += _said_length(length, shape.positions)
    if quantised and four_bit is None:
        told.append(
            f"4 bits: the weights would take {_gib(weights.held(dtype) // cards)} in {dtype}; bitsandbytes holds "
            "them in NF4, and answers differ a little from those in 16 bits"
        )
    if chosen is not None:
        told.append(
            f"--gpu-memory-utilization {chosen}: others hold a part of the card, {_gib(free)} of {_gib(total)} free"
        )
    return Room(length, quantised, chosen, told=tuple(told))


def on_cpu(shape: Shape, weights: Weights, dtype: str, free: int, cache_gib: int | None = None) -> Room:
    """What fits into `free` bytes of a computer's memory; `cache_gib` is the user's VLLM_CPU_KVCACHE_SPACE."""
    held, token = weights.held(dtype), max(1, shape.token_values * ITEM.get(dtype, 2))
    left = free - held - _PROCESS
    if left < GIB and cache_gib is None:
        raise ConfigError(
            f"memory: {_gib(free)} are free; the weights take {_gib(held)} in {dtype}, vLLM {_gib(_PROCESS)} and the "
            f"cache at least {_gib(GIB)}. Close other programs, or serve a smaller model"
        )
    wish = -(-_AT_ONCE * (shape.positions or _LEAST) * token // GIB)
    space = cache_gib or max(1, min(wish, left // 2 // GIB))
    tokens = space * GIB // token
    length = _length(tokens, shape.positions)
    told = [
        f"memory: {_gib(free)} free; weights {_gib(held)} ({dtype}), {space} GiB of cache for {tokens:,} tokens of "
        f"conversation at {token / 1024:.0f} KiB a token",
        *_said_length(length, shape.positions),
    ]
    return Room(length, cache_gib=space, told=tuple(told))


def _length(tokens: int, positions: int | None) -> int | None:
    if positions is None:
        return None
    return positions if tokens >= positions else tokens // _STEP * _STEP or tokens


def _said_length(length: int | None, positions: int | None) -> list[str]:
    if length is None:
        return ["--max-model-len is left to vLLM: config.json names no number of positions"]
    if length == positions:
        return [f"--max-model-len {length}: all positions of the model"]
    return [f"--max-model-len {length}: the memory holds no more of the model's {positions:,} positions"]


def _too_large(
    weights: Weights, dtype: str, four_bit: bool | None, cards: int, budget: int, overhead: int, cache: int
) -> str:
    sizes = [f"{_gib(weights.held(dtype) // cards)} in {dtype}"]
    sizes += [f"{_gib(weights.held(dtype, True) // cards)} in 4 bits"] if four_bit is not False else []
    each = "" if cards == 1 else " on each card"
    return (
        f"memory: the weights take {' or '.join(sizes)}{each}, vLLM {_gib(overhead)} and the shortest useful cache "
        f"{_gib(cache)}; of the card {_gib(budget)} are there for it. Take more cards or a smaller model"
        + (", or 4 bits: --quantization bitsandbytes" if four_bit is False and not weights.packed else "")
    )


def _gib(size: int) -> str:
    return f"{size / GIB:.1f} GiB" if size >= GIB // 10 else f"{size / (1 << 20):.0f} MiB"
