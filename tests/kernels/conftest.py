"""What the tests of kernels share."""

import pytest


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
