"""`--memory_gb`: the best precision that a card, or a host without one, holds; from config.json, before weights load.

`sizes` tells what a model is made of, `tiers` what each precision takes. `settle` is what scripts call.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from bedside import lineage, logs
from bedside.errors import ConfigError
from bedside.inference_flags import quantisation_wish
from bedside.memory import sizes as _sizes
from bedside.memory import tiers

PROMPT = 1024  # tokens of question and history that are reckoned with, beside the answer
_CONTEXT_BYTES = 512 << 20  # of CUDA, which torch's own limit does not count
_SPARED = 2 << 30  # of host memory, left to everything else when layers are moved there


@dataclass(frozen=True)
class Tier:
    """What to load: the quantisation to ask for (None: as the model or its adapter is), and where each part goes
    (None: all in one place)."""

    quantisation: dict | None
    device_map: dict | None
    need: tiers.Need


def settle(
    origin: Any, memory_gb: float, max_new_tokens: int, batch: int = 1, wanted: dict | None = None,
    dtype: str = "auto", cache_dir: str | None = None,
) -> Tier:  # fmt: skip
    """The tier for `origin` (a `policy.Origin`) in `memory_gb` (GB of 2^30 bytes) of the GPU's memory, or of the
    host's where there is no GPU; prints what was considered and holds torch to the limit.

    `wanted` is a quantisation that the user's own flags ask for. Raises ConfigError with what would fit.
    """
    found, config = _sizes.measure(origin.resolved.base, origin.resolved.revision, cache_dir)
    context = min(PROMPT + max_new_tokens, config.get("max_position_embeddings") or 1 << 30)
    asked = _asked(origin, memory_gb, context, batch, dtype, config)
    needs = _needs(origin, found, config, asked, wanted, dtype)
    logs.info(tiers.table(needs, asked, Path(origin.path).name, found.numbers))
    best = needs[-1]
    if not tiers.fits(best, asked):
        raise ConfigError(refusal(needs, found, config, asked, memory_gb))
    if best.moved:
        logs.warn(
            f"{best.moved} of {len(found.layers)} layers wait in host memory and come to the GPU for every token: "
            "expect a few tokens a second at most; a shorter --max_new_tokens may avoid it"
        )
    _hold(asked)
    quantisation = None if config.get("quantized") else _wish(best.bits, origin, dtype)
    return Tier(quantisation, tiers.device_map(found, best.moved), best)


def chosen(args: Any, origin: Any, batch: int = 1) -> tuple[dict | None, Any]:
    """`(quantisation, device_map)` to load `origin` with: by --memory_gb if that is given, else by the flags alone."""
    wish = quantisation_wish(args)
    if not args.memory_gb:
        return wish, args.device_map
    tier = settle(origin, args.memory_gb, args.max_new_tokens, batch, wish, args.dtype, args.cache_dir)
    return tier.quantisation or wish, tier.device_map


def allowed(origin: Any, wanted: dict | None, dtype: str, quantized: str | None) -> tuple[int, ...]:
    """Bits a weight that may be chosen, best first: what the user asked for, or as the adapter was trained, or all
    that loses no training (a merge into dequantised NF4, a PiSSA start: 16 only)."""
    if wanted:
        if quantized:
            raise ConfigError(f"{origin.path} is quantised already ({quantized}); drop the --load_in flag")
        return (wanted["bits"],)
    resolved = origin.resolved
    trained = resolved.quant if resolved.adapter and dtype == "auto" else None
    if trained:
        return (8, 4) if trained["bits"] == 8 else (4,)
    try:
        lineage.check_quantisable(resolved.base, resolved.adapter, "give more memory")
    except ConfigError as error:
        logs.info(f"no 8-bit or 4-bit: {error}")
        return (16,)
    return (16, 8, 4)


def refusal(needs: list, found: _sizes.Sizes, config: dict, asked: tiers.Asked, memory_gb: float) -> str:
    """The sentence for what fits nowhere: what would."""
    whole = [need for need in needs if not need.moved]
    least = min(whole, key=lambda need: need.total)
    text = (
        f"--memory_gb {memory_gb:g}: no precision fits {asked.budget / tiers.GIB:.3g} GB; the smallest, {least.name}, "
        f"takes {least.total / tiers.GIB:.2f} GB for {asked.batch} conversation(s) of {asked.context} tokens"
    )
    tokens = tiers.longest_that_fits(found, config, asked, least.bits)
    if tokens > PROMPT:
        batch = " with --batch_size 1" if asked.batch > 1 else ""
        longest = min(tokens, asked.context) - PROMPT
        return f"{text}; --max_new_tokens {longest}{batch} would fit" if longest else text
    if needs[-1].moved and needs[-1].total <= asked.budget:
        return (
            f"{text}; with {needs[-1].moved} layers in host memory it needs {needs[-1].host / tiers.GIB:.1f} GB there "
            f"and {asked.host / tiers.GIB:.1f} GB are free: close other programs, or take a smaller model"
        )
    if asked.place == "host":
        return f"{text}; take a smaller model, or --memory_gb {_up(least.total):g} on a machine that has it"
    return f"{text}; take a smaller model, or a card of {_card(least.total)} GB"


def _up(size: int) -> float:
    """GB that hold `size` bytes, to the next tenth."""
    return -(-size * 10 // tiers.GIB) / 10


def _card(size: int) -> int:
    """The smallest usual card that holds `size` bytes."""
    usual = (4, 6, 8, 11, 12, 16, 24, 32, 40, 48, 80, 96, 141, 192)
    return next((gb for gb in usual if gb * tiers.GIB >= size), -(-size // tiers.GIB))


def _needs(
    origin: Any, found: _sizes.Sizes, config: dict, asked: tiers.Asked, wanted: dict | None, dtype: str
) -> list:
    choices = allowed(origin, wanted, dtype, config.get("quantized"))
    if not config.get("quantized"):
        return tiers.considered(found, config, asked, choices)
    stored = sum(path.stat().st_size for path in lineage.weight_files(origin.resolved.base))
    if not stored:
        raise ConfigError(
            f"--memory_gb: {origin.resolved.base} is quantised ({config['quantized']}) and not on this disk, so its "
            f"size is not known; fetch it first: python download_model.py {origin.resolved.base}"
        )
    need = tiers.need_of(found, config, asked, 4)
    name = f"as it is ({config['quantized']})"
    return [tiers.Need(name, 4, stored, need.adapter, need.cache, need.work)]


def _wish(bits: int, origin: Any, dtype: str) -> dict | None:
    resolved = origin.resolved
    trained = resolved.quant if resolved.adapter and dtype == "auto" else None
    if bits == 16 or trained and trained["bits"] == bits:
        return None
    return {"bits": 8} if bits == 8 else {"bits": 4, "type": "nf4", "double": True}


def _asked(origin: Any, memory_gb: float, context: int, batch: int, dtype: str, config: dict) -> tiers.Asked:
    """The question with this machine's numbers: never more memory than is free."""
    import psutil
    import torch

    budget, host = int(memory_gb * tiers.GIB), 0
    free = psutil.virtual_memory().available
    place = "GPU" if torch.cuda.is_available() else "host"
    if place == "GPU":
        host, free = max(0, free - _SPARED), torch.cuda.mem_get_info()[0] + _CONTEXT_BYTES
    if free < budget:
        logs.warn(
            f"--memory_gb {memory_gb:g}: only {free / tiers.GIB:.1f} GB of {place} memory are free, which counts"
        )
        budget = free
    width = _width(dtype, config)
    return tiers.Asked(
        budget, place, context, batch, _adapter_bytes(origin.resolved.adapter), host, width,
        2 if dtype == "auto" else width,
    )  # fmt: skip


def _width(dtype: str, config: dict) -> int:
    name = str(config.get("dtype") or config.get("torch_dtype") or "float32") if dtype == "auto" else dtype
    return 4 if name.endswith(("float32", "fp32")) else 2


def _adapter_bytes(adapter: str | None) -> int:
    """Adapters are held in float32."""
    from safetensors import safe_open

    total = 0
    for path in lineage.weight_files(adapter) if adapter else []:
        with safe_open(path, framework="pt") as file:
            total += sum(prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
    return 4 * total


def _hold(asked: tiers.Asked) -> None:
    """Keep torch to the limit, so that `--memory_gb 8` on a larger card behaves as on an 8 GB card."""
    import torch

    if asked.place == "GPU":
        total = torch.cuda.mem_get_info()[1]
        torch.cuda.set_per_process_memory_fraction(min(1.0, max(0.01, (asked.budget - _CONTEXT_BYTES) / total)))


__all__ = ["PROMPT", "Tier", "allowed", "chosen", "refusal", "settle", "tiers"]
