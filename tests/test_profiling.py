"""--profile N: kinds by names, moments counted once, and the files that a run leaves.

sh run_tests.sh tests/test_profiling.py
"""

import gzip
import json

import pytest
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM, Trainer, TrainingArguments

from bedside import profiling
from bedside.errors import ConfigError
from bedside.profiling import Piece

# As a profiler prints them, of torch, cuBLAS, bitsandbytes, liger and our own kernels.
NAMES = {
    "nvjet_tst_192x192_64x4_2x1_v_bz_coopB_TNN": "GEMM",
    "sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize128x128x64_warpgroupsize1x1x1_execute_segment_k_off": "GEMM",
    "void cutlass::Kernel2<cutlass_80_tensorop_bf16_s16816gemm_relu_bf16_256x128_32x3_tn_align8>(...)": "GEMM",
    "void cublasLt::splitKreduce_kernel<32, 16, int, float, __nv_bfloat16>(...)": "GEMM",
    "void gemv2T_kernel_val<int, int, float, float, float, 128, 16, 4, 4, false>(...)": "GEMM",
    "aten::mm": "GEMM",
    "aten::addmm": "GEMM",
    "aten::addmm_": "GEMM",
    "aten::add_": "norms, activations, elementwise",
    "void pytorch_flash::flash_fwd_kernel<Flash_fwd_kernel_traits<128, 64, cutlass::bfloat16_t>>(...)": "attention",
    "void pytorch_flash::flash_bwd_dq_dk_dv_loop_seqk_parallel_kernel<...>(...)": "attention",
    "fmha_cutlassF_bf16_aligned_64x128_rf_sm80(PyTorchMemEffAttention::AttentionKernel<...>::Params)": "attention",
    "aten::_scaled_dot_product_flash_attention_for_cpu_backward": "attention",
    "void kDequantizeBlockwise<__nv_bfloat16, 512, 64, 8, 2>(float*, unsigned char*, float*, ...)": "dequantise",
    "bitsandbytes::dequantize_4bit": "dequantise",
    "nf4_dequantise": "dequantise",
    "cross_entropy": "loss",
    "liger_cross_entropy_kernel": "loss",
    "void at::native::(anonymous namespace)::cunn_SoftMaxForward<4, float, float, float, ...>(...)": "loss",
    "aten::nll_loss_forward": "loss",
    "void at::native::(anonymous namespace)::multi_tensor_apply_kernel<...FusedAdamMathFunctor...>(...)": "optimizer",
    "Optimizer.step: aten::mul": "optimizer",
    "void kOptimizer32bit2State<float, 5>(...)": "optimizer",
    "swiglu_lora_forward": "norms, activations, elementwise",
    "swiglu_lora_backward": "norms, activations, elementwise",
    "rms_norm_forward": "norms, activations, elementwise",
    "rms_norm_backward": "norms, activations, elementwise",
    "rotary": "norms, activations, elementwise",
    "_rms_norm_forward_kernel": "norms, activations, elementwise",
    "void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<c10::BFloat16>>(...)":
        "norms, activations, elementwise",
    "void at::native::reduce_kernel<512, 1, at::native::ReduceOp<float, ...>>(...)": "norms, activations, elementwise",
    "void at::native::(anonymous namespace)::indexSelectLargeIndex<c10::BFloat16, long, ...>(...)":
        "norms, activations, elementwise",
    "aten::silu_backward": "norms, activations, elementwise",
    "Memcpy DtoH (Device -> Pinned)": "copies",
    "Memcpy HtoD (Pinned -> Device)": "copies",
    "Memset (Device)": "copies",
    "aten::copy_": "copies",
    "ncclDevKernel_AllReduce_Sum_f32_RING_LL(ncclDevKernelArgsStorage<4096ul>)": "communication",
    "aten::view": "other",
    "something_new": "other",
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_the_kind_of_a_name(name):
    assert profiling.kind_of(name) == NAMES[name]


def test_each_moment_is_counted_once_and_gaps_are_idle():
    times = profiling.on_timeline([
        Piece("nvjet_a", 100, 200),
        Piece("Memcpy DtoH", 150, 260),  # 50 beside the product, 50 alone, 10 beside the norm
        Piece("rms_norm_forward", 250, 300),
        Piece("nvjet_a", 340, 400),
        Piece("flash_fwd", 380, 420),  # 20 beside a product that began before
        Piece("nothing", 390, 390),
    ])  # fmt: skip
    assert times == {"nvjet_a": 160, "Memcpy DtoH": 50, "rms_norm_forward": 50, "idle": 40, "flash_fwd": 20}
    assert sum(times.values()) == 420 - 100


def test_a_long_copy_under_short_kernels_counts_its_rest():
    times = profiling.on_timeline([Piece("Memcpy HtoD", 0, 100), Piece("rotary", 10, 20), Piece("rotary", 30, 40)])
    assert times == {"Memcpy HtoD": 80, "rotary": 20}


def test_nothing_that_ran_is_an_empty_table():
    assert profiling.on_timeline([]) == {}
    assert profiling.table({}, 2) == []


def test_the_table_names_the_five_largest_of_what_has_no_kind():
    times = {"nvjet_a": 6000.0, "nvjet_b": 1000.0, "idle": 2000.0, "rotary": 500.0}
    times |= {f"strange_{n}": 100.0 - n for n in range(6)}
    rows = profiling.table(times, 2)
    assert [row.kind for row in rows] == ["GEMM", "norms, activations, elementwise", "other", "idle"]
    assert rows[0].milliseconds == 3.5 and rows[0].names == ("nvjet_a", "nvjet_b")
    assert rows[2].names == ("strange_0", "strange_1", "strange_2", "strange_3", "strange_4")
    assert sum(row.share for row in rows) == pytest.approx(1)
    text = profiling.as_markdown(rows, 2, "a card", ["A note."])
    assert text.startswith("# Where the time of a step goes: 2 step(s) on a card, 5.0 ms each\n")
    assert "| GEMM | 3.50 | 69.4 % | nvjet_a, nvjet_b |\n" in text
    assert text.endswith("| idle | 1.00 | 19.8 % |  |\n\nA note.\n")


def test_names_are_short_in_the_table():
    rows = [profiling.Row("GEMM", 1.0, 1.0, ("void at::native::(anonymous namespace)::kernel_of|x<int, (a)1>(int)",
                                             "aten::mm"))]  # fmt: skip
    assert "| kernel_of x, aten::mm |" in profiling.as_markdown(rows, 1, "a card")


class Rows(torch.utils.data.Dataset):
    def __len__(self):
        return 16

    def __getitem__(self, index):
        ids = (torch.arange(16) * (index + 3)) % 64
        return {"input_ids": ids, "labels": ids}


def run(directory, profile, steps, **more):
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=16,
    )  # fmt: skip
    args = TrainingArguments(
        str(directory), per_device_train_batch_size=2, max_steps=steps, report_to="none", use_cpu=True,
        disable_tqdm=True, **{"save_strategy": "no", **more},
    )  # fmt: skip
    trainer = Trainer(Qwen3ForCausalLM(config), args, train_dataset=Rows())
    profiling.watch(trainer, profile, directory)
    trainer.train()
    return {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}


def test_a_run_leaves_a_trace_and_a_table_and_trains_the_same(tmp_path, said):
    plain = run(tmp_path / "plain", None, 6)
    assert not (tmp_path / "plain/profile").exists()
    profiled = run(tmp_path / "profiled", 2, 6)
    assert all(torch.equal(plain[name], profiled[name]) for name in plain)
    directory = tmp_path / "profiled/profile"
    assert sorted(path.name for path in directory.iterdir()) == ["profile.md", "trace.json.gz"]
    trace = json.loads(gzip.decompress((directory / "trace.json.gz").read_bytes()))
    steps = {event["name"] for event in trace["traceEvents"] if event.get("name", "").startswith("ProfilerStep#")}
    assert steps == {"ProfilerStep#3", "ProfilerStep#4"}
    text = (directory / "profile.md").read_text(encoding="utf-8")
    assert "2 step(s) on the CPU (operators)" in text
    shares = {line.split(" | ")[0].strip("| "): float(line.split(" | ")[2].strip(" %"))
              for line in text.splitlines()[4:] if line.startswith("|")}  # fmt: skip
    assert {"GEMM", "attention", "optimizer", "loss", "norms, activations, elementwise", "idle"} <= set(shares)
    assert sum(shares.values()) == pytest.approx(100, abs=1)
    assert any("| GEMM |" in line for line in said) and "trace.json.gz opens in" in said[-1]


def test_a_run_that_ends_sooner_is_profiled_as_far_as_it_went(tmp_path, said):
    run(tmp_path, 10, 5)
    text = (tmp_path / "profile/profile.md").read_text(encoding="utf-8")
    assert "2 step(s)" in text and "The run ended 8 step(s) before those asked for." in text


def test_a_run_shorter_than_the_warm_up_writes_nothing_and_says_so(tmp_path, said):
    run(tmp_path, 2, 3)
    assert not (tmp_path / "profile").exists()
    assert said == ["warning: --profile 2: the run had 3 step(s), and the first 3 are for warming up; nothing is "
                    "written. Give --max_steps 5 or more"]  # fmt: skip


def test_a_save_between_the_steps_is_noted(tmp_path, said):
    run(tmp_path, 3, 8, save_strategy="steps", save_steps=4)
    assert "An evaluation or a save ran between" in (tmp_path / "profile/profile.md").read_text(encoding="utf-8")


def test_a_negative_number_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"--profile -1: expected a number of steps"):
        run(tmp_path, -1, 1)
