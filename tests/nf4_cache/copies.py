"""4-bit copies on disk, and the comparison of two 4-bit models: what the tests of the copies share."""

from pathlib import Path

import torch

NF4 = {"bits": 4, "type": "nf4", "double": True}


def copies(tmp_path: Path) -> list[Path]:
    root = tmp_path / "copies"
    return sorted(root.iterdir()) if root.is_dir() else []


def packed(model) -> dict[str, torch.Tensor]:
    """Every tensor of the model by name, the parts of a 4-bit weight and their offsets included."""
    tensors = dict(model.state_dict())
    for name, parameter in model.named_parameters():
        state = getattr(parameter, "quant_state", None)
        if state is not None:
            tensors[f"{name}.absmax"], tensors[f"{name}.code"] = state.absmax, state.code
            if state.nested:
                tensors[f"{name}.offset"], tensors[f"{name}.nested"] = state.offset, state.state2.absmax
    return tensors


def assert_same(one, other):
    first, second = packed(one), packed(other)
    assert list(first) == list(second)
    assert [name for name in first if not torch.equal(first[name], second[name])] == []
    assert [name for name in first if first[name].dtype != second[name].dtype] == []
