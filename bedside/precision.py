"""What this machine computes well: bfloat16 or float16, and the 4-bit settings that go with it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from bedside import logs

if TYPE_CHECKING:
    import torch

NO_GPU = "there is no GPU"
_FLASH = 8  # the compute capability from which FlashAttention 2 runs


def has_bfloat16() -> bool:
    """Whether bfloat16 is computed, not emulated: on every CPU, and on GPUs from Ampere (compute capability 8) on."""
    import torch

    # Left to itself torch counts emulation, and so says yes to a 2080 Ti.
    return not torch.cuda.is_available() or torch.cuda.is_bf16_supported(including_emulation=False)


def without_flash() -> str | None:
    """Why FlashAttention 2 cannot run here, or None if it can. On a Turing card its first step would fail."""
    import torch
    from transformers.utils import is_flash_attn_2_available

    if not torch.cuda.is_available():
        return NO_GPU
    if not is_flash_attn_2_available():
        return "the flash-attn wheel is not installed"
    if torch.version.hip is None and torch.cuda.get_device_capability()[0] < _FLASH:
        return f"{torch.cuda.get_device_name()} is older than Ampere, where flash attention begins"
    return None


def resolve_dtype(name: str, config: Any, quantised: bool) -> torch.dtype:
    """The dtype to hold the base in. `auto` is the file's own; half precisions the machine lacks are replaced."""
    import torch

    if name != "auto":
        if name == "bfloat16" and not has_bfloat16():
            logs.warn("--dtype bfloat16: this GPU only emulates it, slowly; --dtype auto takes float16 here")
        return getattr(torch, name)
    own = getattr(config, "dtype", None)
    own = getattr(torch, own) if isinstance(own, str) else own
    if quantised and own in (None, torch.float32):
        own = torch.bfloat16
    if own == torch.bfloat16 and not has_bfloat16():
        own = torch.float16  # Turing and older cards
    return own or torch.float32


def quantisation_config(wish: dict | None, compute: torch.dtype) -> Any:
    """bitsandbytes' config for `{"bits", "type", "double"}`, or None; `compute` is the dtype of the products."""
    if not wish:
        return None
    from transformers import BitsAndBytesConfig

    if wish["bits"] == 8:
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=wish.get("type") or "nf4",
        bnb_4bit_use_double_quant=bool(wish.get("double")),
        bnb_4bit_compute_dtype=compute,
        bnb_4bit_quant_storage=compute if os.environ.get("ACCELERATE_USE_FSDP") == "true" else None,
    )
