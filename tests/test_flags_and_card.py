"""Flags against the machine: precision, attention and places with a GPU and without one.

sh run_tests.sh tests/test_flags_and_card.py
"""

import pytest
import torch

from bedside import models, runner
from bedside.errors import ConfigError


def test_precision_on_a_cpu(said, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for given, bf16 in (({"fp16": True}, False), ({"bf16": True}, True), ({}, False)):
        runner.settle_precision(given)
        assert given == {"fp16": False, "bf16": bf16, "use_cpu": True}
    assert said == [
        "warning: --fp16 needs a CUDA GPU; computing in float32 on this CPU (use --bf16 True for bfloat16)"
    ]
    with pytest.raises(ConfigError) as caught:
        runner.settle_precision({"tf32": True, "optim": "paged_adamw_8bit", "ddp_backend": "nccl"})
    assert caught.value.problems == [
        "--ddp_backend nccl: needs CUDA GPUs; use gloo, or drop the flag",
        "--tf32 True: needs an Ampere or newer CUDA GPU; drop the flag",
        "--optim paged_adamw_8bit: paged optimizers need a CUDA GPU; use adamw_torch",
    ]


@pytest.mark.parametrize(
    ("can", "given", "bf16", "fp16"),
    [(True, {}, True, False), (False, {}, False, True), (False, {"fp16": True}, False, True),
     (True, {"bf16": False}, False, None), (True, {"fp16": True}, False, True)],
)  # fmt: skip
def test_precision_on_a_gpu(can, given, bf16, fp16, said, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: can)
    told = [] if given else [f"precision: {'bf16' if can else 'fp16'} (this GPU's best)"]
    runner.settle_precision(given)
    assert (given["bf16"], given.get("fp16")) == (bf16, fp16)
    assert said == told


def test_bf16_on_a_gpu_without_it_names_the_card(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: False)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "GeForce RTX 2080 Ti")
    with pytest.raises(ConfigError, match="--bf16 True: GeForce RTX 2080 Ti has no bfloat16; use --fp16 True"):
        runner.settle_precision({"bf16": True})


def test_flash_attention_without_a_gpu(said, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="flash attention needs a CUDA GPU; use --attn_implementation sdpa"):
        models.attention("flash_attention_2", None)
    assert models.attention(None, "fa2") == "sdpa"
    assert said == ["--flash_attn: there is no GPU; using torch's own attention (sdpa)"]
    assert models.attention("eager", None) == "eager"


def test_a_launcher_places_models_itself(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert models.placement("auto", quantised=False) is None
    assert models.placement("auto", quantised=True) == {"": 1}
    monkeypatch.delenv("LOCAL_RANK")
    assert models.placement("auto", quantised=False) == "auto"
