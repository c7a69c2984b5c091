"""What the tests of kernels share."""

import pytest


@pytest.fixture(params=["torch", "triton"])
def path(request, monkeypatch) -> str:
    """Plain torch, and the Triton kernels in their interpreter, in turn."""
    from bedside.kernels.device import has_triton

    if request.param == "triton":
        if not has_triton():
            pytest.skip("Triton is not installed")
        monkeypatch.setenv("BEDSIDE_KERNELS_ON_CPU", "1")
    return request.param


@pytest.fixture
def attended(monkeypatch) -> list[tuple[list[int], int]]:
    """The bounds and the longest document of each flat attention, as it is called."""
    from bedside.kernels import varlen

    seen = []
    attend = varlen.attend

    def watched(*args):
        seen.append((args[3].tolist(), args[4]))
        return attend(*args)

    monkeypatch.setattr(varlen, "attend", watched)
    return seen
