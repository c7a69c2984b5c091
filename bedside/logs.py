"""Logging and progress for people: one line a fact, from rank 0 only."""

import logging
import os
import sys
import warnings
from collections.abc import Iterable

LOGGER = logging.getLogger("bedside")

# Libraries talk a lot at start-up. These are known to be harmless here; everything else is passed on.
_NOISE = (
    "Failed to load CPU gemm_4bit_forward",
    "`torch_dtype` is deprecated",
    "The tokenizer has new PAD/BOS/EOS tokens",
    "Passing `generation_config` together with",
    "No accelerator was found but bf16",
    "MatMul8bitLt: inputs will be cast",
)


def rank() -> int:
    """Global rank of this process as the launcher set it; 0 without a launcher."""
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """How many processes the launcher started."""
    return int(os.environ.get("WORLD_SIZE", "1"))


class _DropNoise(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return not any(text in record.getMessage() for text in _NOISE)


def setup(verbose: bool = False) -> None:
    """Write rank 0's messages to stderr; other ranks report errors only."""
    LOGGER.handlers.clear()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    LOGGER.addHandler(handler)
    LOGGER.propagate = False
    LOGGER.setLevel(logging.DEBUG if verbose else logging.INFO if rank() == 0 else logging.ERROR)
    # Read when torch loads OpenMP. Threads that spin for long make a step 3 to 5 times slower wherever cores are
    # shared; not spinning at all costs a third where they are not.
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")
    # Usage statistics and advice to install optional kernels are not for our users.
    os.environ.setdefault("TRL_DISABLE_USAGE_STATS", "1")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    for name in (
        "bitsandbytes",
        "bitsandbytes.backends.cpu.ops",
        "bitsandbytes.autograd._functions",
        "transformers",
        "trl",
        "peft",
        "accelerate",
    ):
        logging.getLogger(name).addFilter(_DropNoise())
    warnings.filterwarnings("ignore", category=FutureWarning, module="(transformers|trl|peft|accelerate|torch)")


def info(message: str) -> None:
    """One line for the person at the terminal."""
    LOGGER.info(message)


def warn(message: str) -> None:
    """One line the person should act on or know about."""
    LOGGER.warning("warning: %s", message)


def progress(items: Iterable, total: int | None, what: str, unit: str = "it") -> Iterable:
    """`items` with a progress bar (count, rate, time left) on rank 0's terminal."""
    from tqdm import tqdm

    return tqdm(items, total=total, desc=what, unit=unit, disable=rank() != 0, mininterval=0.5, dynamic_ncols=True)
