"""An out-of-memory error recognised, and told: what ran out, where, and how much there was."""

from __future__ import annotations

import errno
import os
import re
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path

from bedside import checkpoints, lineage
from bedside.errors import UserError
from bedside.fitting import remedies
from bedside.fitting.attempt import AFTER, BEFORE, LOADING, READING, SAVING, TRAINING, Attempt

# torch's allocators, the driver, Triton, cuBLAS and its like and cuDNN for their workspaces, NCCL for its buffers.
_GPU = re.compile(
    r"(CUDA|HIP) out of memory|out of memory on device|(CUDA|HIP) (driver |runtime )?error: out of memory"
    r"|Triton Error \[(CUDA|HIP)\]: out of memory|^out of memory \(2\)"
    r"|cudaErrorMemoryAllocation|CUDA_ERROR_OUT_OF_MEMORY|(CU|HIP|ROC)[A-Z]+_STATUS_ALLOC_FAILED"
    r"|CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"
    r"|Failed to CUDA (m|c)alloc|NCCL.{0,400}out of memory", re.DOTALL,
)  # fmt: skip
# The allocator, the system, and page-locked memory, which the driver gives and refuses in the same words as the GPU's.
_HOST = re.compile(
    r"DefaultCPUAllocator: (can't allocate|not enough) memory|Cannot allocate memory|std::bad_alloc"
    r"|Failed to CUDA host alloc|_HOST_ALLOCATION_FAILED|in pin memory thread.*out of memory"
    r"|DataLoader worker .*(is killed by signal: (Killed|Bus error)|out of shared memory)", re.DOTALL,
)  # fmt: skip
_WORKER = re.compile(r"DataLoader worker")
_PINS = re.compile(r"(offload|host_embedding|pin_memory)\.py$")  # what asks for page-locked memory
_ASKED = re.compile(r"(?:[Tt]ried to allocate|[mc]?alloc(?: async)?) ([\d.]+) ?(\wi?B|bytes)")
_OTHERS = 1.5e9  # bytes that the GPU says are in use and torch does not have: less may be CUDA's own for this process


class OutOfMemory(UserError):
    """A stage ended because memory ran out; the text says what to try next."""


@dataclass(frozen=True)
class Shortage:
    """What was found when memory ran out. Bytes; `allocated` and `reserved` are None where there is no GPU, `others`
    is what other processes hold of it, None where that is little. `beside_gpu` says of host memory that ran out that
    the process may compute on a GPU."""

    gpu: bool
    moment: str
    where: str  # in words
    asked: str | None = None
    allocated: float | None = None
    reserved: float | None = None
    total: float | None = None
    others: float | None = None
    beside_gpu: bool = False


def is_shortage(error: BaseException | None) -> bool:
    """Whether memory ran out: of a GPU, of the host, or of a library's buffers. A UserError says its own sentence."""
    if error is None or isinstance(error, UserError):
        return False
    return _is_host(error) or _is_gpu(error) or is_shortage(error.__cause__)


def behind(error: BaseException) -> bool:
    """Whether memory ran out, though what was raised in the end is a sentence of its own about it."""
    return is_shortage(error) or (isinstance(error, UserError) and is_shortage(error.__context__))


def _is_host(error: BaseException) -> bool:
    """Memory of the host; page-locked memory, too, which the driver refuses in the same words as the GPU's."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    said = isinstance(error, (RuntimeError, OSError))
    if _named(error) or not said:
        return False
    files = [frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.__traceback__)]
    pins = bool(files and _PINS.search(files[-1]))
    return bool(_HOST.search(str(error)) or (_GPU.search(str(error)) and pins))


def _is_gpu(error: BaseException) -> bool:
    return _named(error) or (isinstance(error, RuntimeError) and bool(_GPU.search(str(error))))


def _named(error: BaseException) -> bool:
    return any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__)


def found(error: BaseException, attempt: Attempt) -> Shortage:
    """The facts of an error that `is_shortage`, read while its stage still holds its memory."""
    while not (_is_host(error) or _is_gpu(error)) and error.__cause__:
        error = error.__cause__
    gpu = not _is_host(error)
    moment, where = _place(error, attempt)
    asked = _ASKED.search(str(error))
    amount = None if asked is None else f"{asked[1]} {asked[2]}"
    if asked is not None and asked[2] == "bytes":
        amount = f"{float(asked[1]) / 1e9:.2f} GB"
    torch = sys.modules.get("torch")
    beside = not gpu and torch is not None and torch.cuda.is_available()
    return Shortage(gpu, moment, where, amount, *_memory(gpu), beside_gpu=beside)


def _place(error: BaseException, attempt: Attempt) -> tuple[str, str]:
    """Where it was raised, as a moment of `remedies` and in words, from the functions that were running."""
    frames = [frame.f_code for frame, _ in traceback.walk_tb(error.__traceback__)]
    names = {code.co_name for code in frames}
    if _WORKER.search(str(error)):
        return remedies.WORKERS, "a process that reads the data"
    if "_precompute_ref_logps" in names:
        return remedies.REFERENCE, "the reference's log-probabilities"
    if attempt.doing == LOADING:
        return remedies.LOADING, LOADING
    if attempt.doing in (READING, SAVING, AFTER):
        return remedies.OTHER, attempt.doing
    if names & {"evaluation_loop", "prediction_step"}:
        return remedies.EVALUATING, "an evaluation"
    if attempt.doing == BEFORE:
        return remedies.MEASURING, attempt.doing
    if "_drawn" in names:
        return remedies.SAMPLING, "drawing answers"
    if any(code.co_name == "step" and f"{os.sep}optim{os.sep}" in code.co_filename for code in frames):
        return remedies.OPTIMIZER, "the optimizer's step"
    if names & {"_save_checkpoint", "save_model"}:
        return remedies.OTHER, "saving"
    within = ", backward pass" if "backward" in names else ""
    return remedies.TRAINING, attempt.doing + within


def _memory(gpu: bool) -> tuple[float | None, ...]:
    """Allocated, reserved and total bytes of the GPU and what others hold; this process's and all of the host's memory
    without one. Nothing is raised: a card without any memory left may not even say how much it has."""
    import psutil

    if not gpu:
        return float(psutil.Process().memory_info().rss), None, float(psutil.virtual_memory().total), None
    import torch

    if not torch.cuda.is_available():
        return None, None, None, None
    try:
        free, total = torch.cuda.mem_get_info()
    except RuntimeError:
        return None, None, None, None
    reserved = torch.cuda.memory_reserved()
    others = total - free - reserved
    return float(torch.cuda.memory_allocated()), float(reserved), float(total), others if others > _OTHERS else None


def newest_sealed(output: Path) -> Path | None:
    """The newest checkpoint that verifies; nothing is moved."""
    whole = (path for path in reversed(checkpoints.numbered(output)) if lineage.damage(path) is None)
    return next(whole, None)


def kept(attempt: Attempt) -> Path | None:
    """The newest sealed checkpoint of this run, which a next one may go on from.

    A run that was told by name where to begin has that one until it has made another: newer ones of an earlier run may
    lie beside it.
    """
    if not attempt.claimed or attempt.output is None:
        return None
    if attempt.resumes is None:
        return newest_sealed(attempt.output)
    own = [path for path in checkpoints.numbered(attempt.output) if _sealed_since(path, attempt.began)]
    return next((path for path in reversed(own) if lineage.damage(path) is None), attempt.resumes)


def _sealed_since(checkpoint: Path, moment: float) -> bool:
    seal = checkpoint / lineage.NAME
    return seal.is_file() and seal.stat().st_mtime >= moment


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
    if shortage.others:
        facts.append(f"{shortage.others / 1e9:.2f} GB are held by others, which nvidia-smi names")
    if shortage.asked:
        facts.append(f"{shortage.asked} more were asked for")
    return f"{what} ran out ({attempt.stage or 'stage'}, {shortage.where}{step}): {'; '.join(facts)}".rstrip(": ")
