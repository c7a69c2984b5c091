"""Memory ran out: the error is recognised, whoever raised it, and told with what is known.

sh run_tests.sh tests/fitting/test_shortages.py
"""

import time

import pytest
import torch

from bedside.errors import ConfigError
from bedside.fitting import attempt as attempts
from bedside.fitting import shortage
from bedside.fitting.attempt import Attempt
from bedside.fitting.shortage import is_shortage
from tests.fitting.hungry import SAID


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError(SAID),
        RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("NCCL Error 1: unhandled cuda error. Last error: Failed to CUDA calloc async 6291456 bytes"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you "
                     "tried to allocate 40000000000 bytes. Error code 12 (Cannot allocate memory)"),
        RuntimeError("Triton Error [CUDA]: out of memory"),
        RuntimeError("CUDA driver error: out of memory"),
        RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
        RuntimeError("CUDA error: CUSOLVER_STATUS_ALLOC_FAILED when calling `cusolverDnCreate(handle)`"),
        RuntimeError("DataLoader worker (pid 71) is killed by signal: Killed. "),
        OSError(12, "Cannot allocate memory"),
        MemoryError(),
    ],
    ids=lambda error: str(error)[:20] or "MemoryError",
)  # fmt: skip
def test_an_error_is_recognised(error):
    assert is_shortage(error)
    wrapped = RuntimeError("the loader failed")
    wrapped.__cause__ = error
    assert is_shortage(wrapped)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        RuntimeError("out of resource: shared memory, Required: 131072, Hardware limit: 101376"),
        ConfigError("the GPU's memory does not hold 64 answers; CUDA out of memory"),
        RuntimeError("DataLoader worker (pid 71) is killed by signal: Segmentation fault. "),
        RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"),
        OSError(28, "No space left on device"),
        ValueError("CUDA out of memory"),
        None,
    ],
)
def test_another_error_is_not(error):
    assert not is_shortage(error)


def test_a_real_allocation_that_fails_is_recognised_and_told():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(10**13)
    facts = shortage.found(caught.value, Attempt(doing=attempts.TRAINING))
    assert is_shortage(caught.value) and not facts.gpu
    assert facts.asked == "40000.00 GB" and 0 < facts.allocated < facts.total


def raised(error, doing=attempts.TRAINING):
    with pytest.raises(type(error)) as caught:
        raise error
    return shortage.found(caught.value, Attempt(stage="sft", doing=doing))


@pytest.mark.parametrize(
    ("said", "gpu", "asked"),
    [
        ("CUDA error: out of memory", True, None),
        ("NCCL Error 1: unhandled cuda error.\nFailed to CUDA calloc async 6291456 bytes", True, "0.01 GB"),
        ("NCCL Error 1: unhandled cuda error.\nFailed to CUDA host alloc 8000000000 bytes", False, "8.00 GB"),
        ("Caught AcceleratorError in pin memory thread for device 0.\nCUDA error: out of memory", False, None),
        ("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: not enough memory: you tried to allocate "
         "8000000000 bytes.", False, "8.00 GB"),
    ],
)  # fmt: skip
def test_the_memory_that_ran_out_is_the_one_that_is_named(said, gpu, asked):
    facts = raised(RuntimeError(said))
    assert (facts.gpu, facts.asked) == (gpu, asked)
    assert shortage.told(facts, Attempt(stage="sft")).startswith("the GPU's memory" if gpu else "host memory ran out")


def test_page_locked_memory_is_the_hosts(monkeypatch):
    """The driver refuses it in the words that it has for the GPU's."""
    from bedside.kernels import offload

    monkeypatch.setattr(torch, "empty", None)  # raised in the line of `pinned` itself
    with pytest.raises(TypeError) as caught:
        offload.pinned(8)
    error = RuntimeError("CUDA error: out of memory").with_traceback(caught.value.__traceback__)
    assert not shortage.found(error, Attempt(doing=attempts.TRAINING)).gpu
    assert raised(RuntimeError("CUDA error: out of memory")).gpu


def test_a_worker_that_was_killed_is_told():
    facts = raised(RuntimeError("DataLoader worker (pid 71) is killed by signal: Killed. "))
    assert facts.moment == "workers" and facts.where == "a process that reads the data"


def test_a_card_that_does_not_say_how_much_it_has_is_no_second_error(monkeypatch):
    def refuse():
        raise RuntimeError("CUDA error: out of memory")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", refuse)
    assert raised(RuntimeError("CUDA error: out of memory"), attempts.LOADING).total is None


def test_what_others_hold_of_the_card_is_told(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (100_000_000, 11_500_000_000))
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: 2_000_000_000)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: 2_500_000_000)
    facts = raised(torch.OutOfMemoryError(SAID))
    assert "2.50 GB reserved, 11.50 GB in all; 8.90 GB are held by others, which nvidia-smi names" in shortage.told(
        facts, Attempt(stage="sft")
    )
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (8_000_000_000, 11_500_000_000))
    assert raised(torch.OutOfMemoryError(SAID)).others is None


def test_a_run_that_was_told_where_to_begin_does_not_go_on_from_a_newer_checkpoint(tmp_path, monkeypatch):
    """Those of an earlier run lie beside the one that was named; they are another history."""
    monkeypatch.setattr(shortage.lineage, "damage", lambda _: None)
    for step in (20, 40):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / shortage.lineage.NAME).write_text("{}")
    named = tmp_path / "checkpoint-20"
    attempt = Attempt(output=tmp_path, claimed=True, resumes=named, began=time.time() + 60)
    assert shortage.kept(attempt) == named
    attempt.began = 0.0
    assert shortage.kept(attempt) == tmp_path / "checkpoint-40"
    assert shortage.kept(Attempt(output=tmp_path, claimed=True)) == tmp_path / "checkpoint-40"
    assert shortage.kept(Attempt(output=tmp_path, resumes=named)) is None
