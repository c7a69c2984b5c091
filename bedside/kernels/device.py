"""Whether the Triton kernels run where a tensor lies; elsewhere every function has a plain path of one result."""

from __future__ import annotations

import functools
import importlib.util
import os
from collections.abc import Callable

import torch


@functools.cache
def has_triton() -> bool:
    """Whether Triton is installed (torch's CUDA builds for Linux bring it)."""
    return importlib.util.find_spec("triton") is not None


def interpreted() -> bool:
    """Whether BEDSIDE_KERNELS_ON_CPU=1 asks for the kernels on the CPU, in Triton's interpreter, as the tests do.

    TRITON_INTERPRET=1 must have been set before Triton was imported.
    """
    return os.environ.get("BEDSIDE_KERNELS_ON_CPU") == "1"


def kernels_run_on(tensor: torch.Tensor) -> bool:
    """Whether a Triton kernel can take this tensor."""
    return has_triton() and (tensor.is_cuda or (interpreted() and tensor.device.type == "cpu"))


def as_function(module: torch.nn.Module) -> Callable:
    """The forward that `module` has now, as a function of a module: a deep copy then runs its own weights."""
    forward = module.forward
    if getattr(forward, "__self__", None) is module:
        return forward.__func__
    return functools.wraps(forward)(lambda self, *args, **kwargs: forward(*args, **kwargs))
