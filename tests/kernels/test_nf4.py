"""4-bit weights back to full precision: bit for bit what bitsandbytes gives.

sh run_tests.sh tests/kernels/test_nf4.py
"""

import pytest
import torch
from bitsandbytes import functional
from bitsandbytes.nn import Params4bit

from bedside.kernels import nf4
from bedside.kernels.device import has_triton


def packed(rows: int, columns: int, nested: bool, kind: str = "nf4", dtype: torch.dtype = torch.float32):
    weight = torch.randn(rows, columns, generator=torch.Generator().manual_seed(0)).to(dtype)
    made = Params4bit(weight, requires_grad=False, quant_type=kind, compress_statistics=nested)
    return made._quantize(torch.device("cpu"))


@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize("shape", [(96, 128), (64, 64), (5, 192)])
def test_the_kernel_gives_the_same_bits(nested, shape, monkeypatch):
    if not has_triton():
        pytest.skip("Triton is not installed")
    monkeypatch.setenv("BEDSIDE_KERNELS_ON_CPU", "1")
    weight = packed(*shape, nested)
    found = nf4.dequantise(weight.data, weight.quant_state)
    wanted = functional.dequantize_4bit(weight.data, weight.quant_state)
    assert found.shape == shape
    torch.testing.assert_close(found, wanted, atol=0, rtol=0)


def test_a_weight_goes_into_the_buffer_that_it_is_given():
    weight = packed(64, 64, True, dtype=torch.bfloat16)
    out = torch.zeros(64, 64, dtype=torch.bfloat16)
    assert nf4.dequantise(weight.data, weight.quant_state, out) is out
    assert torch.equal(out, functional.dequantize_4bit(weight.data, weight.quant_state))


def test_other_formats_are_left_to_bitsandbytes(monkeypatch):
    monkeypatch.setenv("BEDSIDE_KERNELS_ON_CPU", "1")
    weight = packed(64, 64, False, "fp4")
    wanted = functional.dequantize_4bit(weight.data, weight.quant_state)
    assert torch.equal(nf4.dequantise(weight.data, weight.quant_state), wanted)


def test_one_buffer_serves_all_and_grows():
    nf4.release()
    small = nf4.shared((2, 3), torch.float32, torch.device("cpu"))
    large = nf4.shared((4, 5), torch.float32, torch.device("cpu"))
    again = nf4.shared((2, 2), torch.float32, torch.device("cpu"))
    assert (small.shape, large.shape, again.shape) == ((2, 3), (4, 5), (2, 2))
    assert again.data_ptr() == large.data_ptr() != small.data_ptr()
    nf4.release()
