"""An out-of-memory error recognised, and told: what ran out, where, and how much there was."""

from __future__ import annotations

import os
import re
import traceback
from dataclasses import dataclass
from pathlib import Path

from bedside import checkpoints, lineage
from bedside.errors import UserError
from bedside.fitting import remedies
from bedside.fitting.attempt import AFTER, BEFORE, LOADING, READING, SAVING, TRAINING, Attempt

# torch's allocators, the driver, cuBLAS and cuDNN for their workspaces, NCCL for its buffers.
_GPU = re.compile(
    r"CUDA out of memory|HIP out of memory|out of memory on device|CUDA (driver )?error: out of memory"
    r"|cudaErrorMemoryAllocation|CUDA_ERROR_OUT_OF_MEMORY|CUBLAS_STATUS_ALLOC_FAILED|CUDNN_STATUS_ALLOC_FAILED"
    r"|Failed to CUDA (host )?(m|c)alloc|NCCL.{0,400}out of memory", re.DOTALL,
)  # fmt: skip
_HOST = re.compile(r"DefaultCPUAllocator: (can't allocate|not enough) memory|Cannot allocate memory")
_ASKED = re.compile(r"[Tt]ried to allocate ([\d.]+) ?(\wi?B|bytes)")


class OutOfMemory(UserError):
    """A stage ended because memory ran out; the text says what to try next."""


@dataclass(frozen=True)
class Shortage:
    """What was found when memory ran out. Bytes; `allocated` and `reserved` are None where there is no GPU."""

    gpu: bool
    moment: str
    where: str  # in words
    asked: str | None = None
    allocated: float | None = None
    reserved: float | None = None
    total: float | None = None


def is_shortage(error: BaseException | None) -> bool:
    """Whether memory ran out: of a GPU, of the host, or of a library's buffers. A UserError says its own sentence."""
    if error is None or isinstance(error, UserError):
        return False
    named = any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__)
    said = isinstance(error, RuntimeError) and (_GPU.search(str(error)) or _HOST.search(str(error)))
    return bool(named or isinstance(error, MemoryError) or said) or is_shortage(error.__cause__)


def found(error: BaseException, attempt: Attempt) -> Shortage:
    """The facts of an error that `is_shortage`, read while its stage still holds its memory."""
    while not (isinstance(error, MemoryError) or _HOST.search(str(error)) or _asks_a_gpu(error)) and error.__cause__:
        error = error.__cause__
    gpu = not isinstance(error, MemoryError) and not _HOST.search(str(error))
    moment, where = _place(error, attempt)
    asked = _ASKED.search(str(error))
    amount = None if asked is None else f"{asked[1]} {asked[2]}"
    if asked is not None and asked[2] == "bytes":
        amount = f"{float(asked[1]) / 1e9:.2f} GB"
    return Shortage(gpu, moment, where, amount, *_memory(gpu))


def _asks_a_gpu(error: BaseException) -> bool:
    return any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__) or bool(_GPU.search(str(error)))


def _place(error: BaseException, attempt: Attempt) -> tuple[str, str]:
    """Where it was raised, as a moment of `remedies` and in words, from the functions that were running."""
    frames = [frame.f_code for frame, _ in traceback.walk_tb(error.__traceback__)]
    names = {code.co_name for code in frames}
    if attempt.doing == LOADING:
        return remedies.LOADING, LOADING
    if attempt.doing in (READING, SAVING, AFTER):
        return remedies.OTHER, attempt.doing
    if names & {"evaluation_loop", "prediction_step"}:
        return remedies.EVALUATING, "an evaluation"
    if attempt.doing == BEFORE:
        return remedies.MEASURING, attempt.doing
    if any(code.co_name == "step" and f"{os.sep}optim{os.sep}" in code.co_filename for code in frames):
        return remedies.OPTIMIZER, "the optimizer's step"
    if names & {"_save_checkpoint", "save_model"}:
        return remedies.OTHER, "saving"
    within = ", backward pass" if "backward" in names else ""
    return remedies.TRAINING, attempt.doing + within


def _memory(gpu: bool) -> tuple[float | None, float | None, float | None]:
    """Allocated, reserved and total bytes of the GPU; this process's and all of the host's memory without one."""
    import psutil

    if not gpu:
        return float(psutil.Process().memory_info().rss), None, float(psutil.virtual_memory().total)
    import torch

    if not torch.cuda.is_available():
        return None, None, None
    total = torch.cuda.mem_get_info()[1]
    return float(torch.cuda.memory_allocated()), float(torch.cuda.memory_reserved()), float(total)


def newest_sealed(output: Path) -> Path | None:
    """The newest checkpoint that verifies; nothing is moved."""
    whole = (path for path in reversed(checkpoints.numbered(output)) if lineage.damage(path) is None)
    return next(whole, None)


def kept(attempt: Attempt) -> Path | None:
    """The newest sealed checkpoint of this run, which a next one may go on from."""
    return newest_sealed(attempt.output) if attempt.claimed and attempt.output is not None else None


def told(shortage: Shortage, attempt: Attempt) -> str:
    """What ran out, in a sentence without its end."""
    what = "the GPU's memory" if shortage.gpu else "host memory"
    step = f" in step {attempt.step}" if attempt.step and attempt.doing == TRAINING else ""
    facts = []
    if attempt.batch and shortage.moment != remedies.LOADING:
        rows, eval_rows = attempt.batch["rows"], attempt.batch["eval_rows"]
        counted = f"batches of {eval_rows} rows" if shortage.moment == remedies.EVALUATING else (
            f"micro-batches of {rows} row{'s' if rows > 1 else ''}")  # fmt: skip
        seen = f", the last of {attempt.shape[0]} x {attempt.shape[1]:,} tokens" if attempt.shape else ""
        facts.append(counted + seen)
    if shortage.allocated is not None:
        held = f"{shortage.allocated / 1e9:.2f} GB allocated"
        held += f", {shortage.reserved / 1e9:.2f} GB reserved" if shortage.reserved is not None else ""
        facts.append(f"{held}, {shortage.total / 1e9:.2f} GB in all")
    if shortage.asked:
        facts.append(f"{shortage.asked} more were asked for")
    return f"{what} ran out ({attempt.stage or 'stage'}, {shortage.where}{step}): {'; '.join(facts)}".rstrip(": ")
