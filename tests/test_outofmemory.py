"""Memory runs out: the sentence, the next setting to try, and --auto_fit True that tries it.

sh run_tests.sh tests/test_outofmemory.py
"""

import json
import math
import weakref
from types import SimpleNamespace

import pytest
import torch

import dpo_training
import supervised_finetuning
from bedside import lineage
from bedside.args import AdapterArguments, ModelArguments, RunArguments
from bedside.cli import Parsed
from bedside.errors import ConfigError
from bedside.fitting import attempt as attempts
from bedside.fitting import reality, retry, shortage
from bedside.fitting.attempt import Attempt
from bedside.fitting.remedies import EVALUATING, LOADING, MEASURING, OPTIMIZER, TRAINING, Settings, remedies, smaller
from bedside.fitting.shortage import OutOfMemory, Shortage, is_shortage
from bedside.kernel_args import KernelArguments
from tests.resume import toys
from tests.stages.files import losses, same

SAID = "CUDA out of memory. Tried to allocate 1.50 GiB. GPU 0 has a total capacity of 10.75 GiB of which 0.9 is free."
sft, dpo = retry.fitted(supervised_finetuning.main), retry.fitted(dpo_training.main)


class Hungry:
    """An embedding that takes up to `rows` rows while gradients are made, and `eval_rows` rows without them; from
    step `after` on only, counted in calls."""

    def __init__(self, monkeypatch, rows=10**9, eval_rows=10**9, after=0):
        self.alive, self.seen, self.calls = [], [], 0
        plain = torch.nn.Embedding.forward

        def forward(module, ids):
            self.calls += 1
            if not any(known() is module for known in self.alive):
                # An earlier attempt's model is gone when the next one begins to compute.
                assert [known() for known in self.alive if known() is not None] == []
                self.alive.append(weakref.ref(module))
            self.seen.append(len(ids))
            if len(ids) > (rows if torch.is_grad_enabled() else eval_rows) and self.calls > after:
                raise torch.OutOfMemoryError(SAID)
            return plain(module, ids)

        monkeypatch.setattr(torch.nn.Embedding, "forward", forward)


def flags(model, tmp_path, name, *more, stage="sft", rows=16):
    data = toys.write(stage, tmp_path, rows)
    return toys.flags(
        stage, model, data, tmp_path / name, "--lora_dropout", "0", "--dtype", "float32", "--gradient_checkpointing",
        "True", "--max_steps", "3", "--save_strategy", "no", *more,
    )  # fmt: skip


def batch(rows, accumulation):
    return ["--per_device_train_batch_size", str(rows), "--gradient_accumulation_steps", str(accumulation)]


# ---------------------------------------------------------------------------------------------- what to try


def names(settings, moment=TRAINING):
    return [str(remedy) for remedy in remedies(settings, moment)]


def test_settings_are_offered_in_order_and_only_those_that_are_not_on():
    bare = Settings(4, 2, lengths={"max_length": 2048}, checkpointing=False)
    assert names(bare) == [
        "--per_device_train_batch_size 2 --gradient_accumulation_steps 4",
        "--gradient_checkpointing True",
        "--mlp_tile 4096",
        "--offload_checkpoints True",
        "--embedding_on_host True",
        "--qlora True",
        "--max_length 1024",
    ]
    full = Settings(1, 8, lengths={"max_length": 8192}, mlp_tile=4096, offload=True, embedding_on_host=True,
                    quantised=True)  # fmt: skip
    assert names(full) == ["--max_length 4096"]
    assert [remedy.exact for remedy in remedies(bare, TRAINING)] == [True] * 5 + [False] * 2


def test_what_does_nothing_here_is_not_offered():
    # 2,048 tokens are less than a tile, without a GPU there is nothing to move to the host, the head is tied.
    assert names(Settings(1, 1, lengths={"max_length": 2048})) == [
        "--offload_checkpoints True", "--embedding_on_host True", "--qlora True", "--max_length 1024"
    ]  # fmt: skip
    assert names(Settings(1, 1, gpu=False, lengths={"max_length": 256})) == ["--qlora True"]
    assert "--embedding_on_host True" not in names(Settings(1, 1, stays="it is tied to the output head"))
    assert names(Settings(1, 1, gpu=False, peft=False)) == ["--use_peft True"]
    assert names(Settings(1, 1, gpu=False, quantisable=False)) == []
    assert names(Settings(1, 1, gpu=False, budget=True))[0] == "--memory_budget_gb None"


@pytest.mark.parametrize(
    ("moment", "offered"),
    [
        (LOADING, ["--qlora True"]),
        (OPTIMIZER, ["--embedding_on_host True", "--qlora True"]),
        (MEASURING, ["--embedding_on_host True", "--qlora True"]),
        (EVALUATING, ["--per_device_eval_batch_size 4", "--qlora True"]),
    ],
)
def test_a_smaller_micro_batch_is_offered_only_where_it_helps(moment, offered):
    assert names(Settings(8, 1), moment) == offered


def test_a_micro_batch_is_cut_evenly():
    assert [smaller(rows) for rows in (8, 6, 3, 7, 2, 1)] == [4, 3, 1, 1, 1, None]
    assert smaller(2, least=2) is None
    assert names(Settings(3, 5))[0] == "--per_device_train_batch_size 1 --gradient_accumulation_steps 15"
    assert names(Settings(4, 2, sampled_for=6))[0].endswith("--steps_per_generation 12")


def test_a_loss_that_compares_the_rows_of_a_batch_is_not_kept_by_a_smaller_one():
    first = remedies(Settings(4, 1, losses=("kto",), least=2), TRAINING)[0]
    assert not first.exact and "--loss_type kto compares its rows" in first.why
    assert remedies(Settings(4, 1, losses=("sigmoid",)), TRAINING)[0].exact


# ---------------------------------------------------------------------------------------------- what ran out


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError(SAID),
        RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("NCCL Error 1: unhandled cuda error. Last error: Failed to CUDA calloc async 6291456 bytes"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you "
                     "tried to allocate 40000000000 bytes. Error code 12 (Cannot allocate memory)"),
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


def failed(shape=(4, 512), step=3, checkpoint=None, gpu=True, doing=attempts.TRAINING):
    groups = {ModelArguments: ModelArguments(), AdapterArguments: AdapterArguments(),
              KernelArguments: KernelArguments(), RunArguments: RunArguments()}  # fmt: skip
    batch = {"rows": 4, "accumulation": 2, "eval_rows": 8, "checkpointing": 1}
    attempt = Attempt("sft", Parsed(groups, {"max_length": 512}, set()), None, True, doing,
                      batch, step, shape, None)  # fmt: skip
    facts = Shortage(gpu, TRAINING, "training, backward pass", "1.50 GiB", 9.1e9, 9.9e9, 11.5e9)
    return retry.Failed(facts, attempt, checkpoint)


def test_the_sentence_says_what_ran_out_what_is_kept_and_the_next_command():
    words = ["recipes/my sft.yaml", "--train_batch_size", "4", "--output_dir=out"]
    assert retry.sentence(failed(), "supervised_finetuning.py", words, []).splitlines() == [
        "the GPU's memory ran out (sft, training, backward pass in step 3): micro-batches of 4 rows, the last of "
        "4 x 512 tokens; 9.10 GB allocated, 9.90 GB reserved, 11.50 GB in all; 1.50 GiB more were asked for",
        "on the disk: no checkpoint was made yet",
        "try next (a smaller micro-batch, accumulated more often: the same effective batch): python "
        "supervised_finetuning.py 'recipes/my sft.yaml' --output_dir=out --per_device_train_batch_size 2 "
        "--gradient_accumulation_steps 4",
        "and after that, in this order: --offload_checkpoints True, --embedding_on_host True, --qlora True, "
        "--max_length 256",
    ]


def test_the_command_goes_on_from_a_sealed_checkpoint_unless_the_training_changes(tmp_path):
    kept = failed(checkpoint=tmp_path / "checkpoint-20")
    exact, other = retry.offered(kept)[0], retry.offered(kept)[-2]
    assert retry.again([], exact, kept)[-2:] == ["--resume_from_checkpoint", "True"]
    kept.attempt.output = tmp_path / "out"
    assert retry.again([], other, kept) == ["--qlora", "True", "--output_dir", f"{tmp_path}/out-again"]
    assert f"{tmp_path}/checkpoint-20 is sealed" in retry.sentence(kept, "x.py", [], [])


def test_under_a_launcher_the_command_is_the_launchers(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "with the same launcher: supervised_finetuning.py" in retry.sentence(
        failed(), "supervised_finetuning.py", [], []
    )


def test_every_spelling_of_a_flag_is_replaced():
    words = ["--micro-batch-size=4", "--seed", "7", "--finetuning_type", "full", "--use_unsloth_gc", "False"]
    groups = (AdapterArguments, KernelArguments)
    given = {"per_device_train_batch_size": "2", "use_peft": "True", "offload_checkpoints": "True"}
    assert retry.with_flags(words, given, groups) == [
        "--seed", "7", "--per_device_train_batch_size", "2", "--use_peft", "True", "--offload_checkpoints", "True",
    ]  # fmt: skip


# ---------------------------------------------------------------------------------------------- stages that fit


def test_a_stage_survives_and_is_the_run_with_these_settings(tiny_model_dir, tmp_path, monkeypatch, caplog):
    sft(flags(tiny_model_dir, tmp_path, "given", *batch(1, 4)))
    sft(flags(tiny_model_dir, tmp_path, "roomy", *batch(4, 1)))
    hungry = Hungry(monkeypatch, rows=1)
    sft(flags(tiny_model_dir, tmp_path, "fitted", *batch(4, 1), "--auto_fit", "True"))
    assert max(hungry.seen[-5:]) == 1 and len(hungry.alive) == 3  # 4, 2, 1
    assert losses(tmp_path / "fitted") == pytest.approx(losses(tmp_path / "given"), abs=1e-5)
    assert same(tmp_path / "fitted", tmp_path / "given")
    assert losses(tmp_path / "fitted") == pytest.approx(losses(tmp_path / "roomy"), abs=1e-5)
    used = lineage.read(tmp_path / "fitted")
    asked = json.dumps(used)
    assert '"per_device_train_batch_size": 1' in asked and '"gradient_accumulation_steps": 4' in asked
    assert '"auto_fit": true' in asked


def test_pairs_keep_their_loss(tiny_model_dir, tmp_path, monkeypatch):
    dpo(flags(tiny_model_dir, tmp_path, "roomy", *batch(4, 1), stage="dpo"))
    Hungry(monkeypatch, rows=4)  # a pair is two rows
    dpo(flags(tiny_model_dir, tmp_path, "fitted", *batch(4, 1), "--auto_fit", "True", stage="dpo"))
    assert losses(tmp_path / "fitted") == pytest.approx(losses(tmp_path / "roomy"), abs=1e-5)


def test_without_the_flag_the_stage_ends_in_the_sentence(tiny_model_dir, tmp_path, monkeypatch):
    Hungry(monkeypatch, rows=1)
    with pytest.raises(OutOfMemory) as caught:
        sft(flags(tiny_model_dir, tmp_path, "out", *batch(4, 1)))
    first, disk, next_, *_ = str(caught.value).splitlines()
    assert first.startswith("the GPU's memory ran out (sft, training in step 1): micro-batches of 4 rows, the last of")
    assert "1.50 GiB more were asked for" in first and disk == "on the disk: no checkpoint was made yet"
    assert "python supervised_finetuning.py --model_name_or_path" in next_
    assert next_.endswith("--per_device_train_batch_size 2 --gradient_accumulation_steps 2")
    assert caught.value.__cause__ is None and caught.value.__context__ is None


def test_three_tries_are_all(tiny_model_dir, tmp_path, monkeypatch):
    hungry = Hungry(monkeypatch, rows=0)
    with pytest.raises(OutOfMemory) as caught:
        sft(flags(tiny_model_dir, tmp_path, "out", *batch(8, 1), "--auto_fit", "True"))
    assert len(hungry.alive) == 4
    assert "--auto_fit True tried 3 times: --per_device_train_batch_size 4 --gradient_accumulation_steps 2, " in str(
        caught.value
    )
    assert "--offload_checkpoints True" in str(caught.value).splitlines()[-2]


def test_a_retry_goes_on_from_a_sealed_checkpoint(tiny_model_dir, tmp_path, monkeypatch, caplog):
    more = ("--save_strategy", "steps", "--save_steps", "1", "--overwrite_output_dir", "True")
    sft(flags(tiny_model_dir, tmp_path, "roomy", *batch(2, 2), *more))
    hungry = Hungry(monkeypatch, rows=1, after=5)  # two steps of two micro-batches each, then too little
    sft(flags(tiny_model_dir, tmp_path, "fitted", *batch(2, 2), *more, "--auto_fit", "True"))
    assert len(hungry.alive) == 2
    assert losses(tmp_path / "fitted") == pytest.approx(losses(tmp_path / "roomy"), abs=1e-5)


def test_a_change_of_the_training_is_left_to_the_user(tiny_model_dir, tmp_path, monkeypatch):
    """A base in 4 bit, or shorter rows, would be another training: it is named, and not tried."""
    hungry = Hungry(monkeypatch, rows=0)
    error = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 64000 bytes.")
    monkeypatch.setattr(torch, "OutOfMemoryError", lambda _: error)
    with pytest.raises(OutOfMemory, match="host memory ran out") as caught:
        sft(flags(tiny_model_dir, tmp_path, "out", *batch(1, 1), "--auto_fit", "True"))
    assert len(hungry.alive) == 1
    assert str(caught.value).splitlines()[-1].endswith("--qlora True")


def test_memory_that_runs_out_while_loading_is_told(tiny_model_dir, tmp_path, monkeypatch):
    from bedside import policy

    def load(*_):
        raise torch.OutOfMemoryError(SAID)

    monkeypatch.setattr(policy, "load", load)
    with pytest.raises(OutOfMemory, match=r"ran out \(sft, loading the model\): .*(?s:.)*--qlora True$"):
        sft(flags(tiny_model_dir, tmp_path, "out", "--auto_fit", "True"))


def test_an_evaluation_after_the_training_takes_fewer_rows(tiny_model_dir, tmp_path, monkeypatch, caplog):
    held_out = ["--do_train", "True", "--do_eval", "True", "--validation_split_percentage", "25",
                "--per_device_eval_batch_size", "4"]  # fmt: skip
    sft(flags(tiny_model_dir, tmp_path, "roomy", *held_out))
    Hungry(monkeypatch, eval_rows=1)
    sft(flags(tiny_model_dir, tmp_path, "small", *held_out))
    roomy, small = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("roomy", "small"))
    assert small["eval_loss"] == pytest.approx(roomy["eval_loss"], abs=1e-5) and math.isfinite(small["eval_loss"])


def test_an_evaluation_that_fits_in_no_way_costs_a_trained_model_nothing(caplog):
    def evaluate():
        rows.append(args.per_device_eval_batch_size)
        raise torch.OutOfMemoryError(SAID)

    rows, args = [], SimpleNamespace(per_device_eval_batch_size=4)
    trainer = SimpleNamespace(args=args, evaluate=evaluate)
    assert retry.evaluated(trainer, trained=True) == {} and rows == [4, 2, 1]
    assert "one row at a time; the model is saved without its numbers" in caplog.text
    with pytest.raises(torch.OutOfMemoryError):
        retry.evaluated(trainer, trained=False)


def test_an_evaluation_during_the_training_is_fitted_too(tiny_model_dir, tmp_path, monkeypatch):
    during = ["--eval_strategy", "steps", "--eval_steps", "2", "--validation_split_percentage", "25",
              "--per_device_eval_batch_size", "2", "--auto_fit", "True"]  # fmt: skip
    hungry = Hungry(monkeypatch, eval_rows=1)
    sft(flags(tiny_model_dir, tmp_path, "out", *during))
    assert len(hungry.alive) == 2 and lineage.damage(tmp_path / "out") is None


def test_flags_that_cannot_be_are_refused(tiny_model_dir, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="--auto_find_batch_size True: shrinks .* use --auto_fit True"):
        sft(flags(tiny_model_dir, tmp_path, "out", "--auto_find_batch_size", "True"))
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="--auto_fit True under a launcher: .* settings on one GPU, then drop"):
        sft(flags(tiny_model_dir, tmp_path, "out", "--auto_fit", "True"))


def test_another_error_comes_through_as_it_is():
    def main(argv=None):
        raise KeyError(argv[0])

    with pytest.raises(KeyError, match="x"):
        retry.fitted(main)(["x"])
    assert retry.fitted(lambda argv: 3)([]) == 3


# ---------------------------------------------------------------------------------------------- plan and reality


def test_plan_and_reality_in_a_line():
    plan = SimpleNamespace(peak_gb=8.0, tokens_per_second=6000.0)
    told = reality.compare(plan, reality.Measured(10.0, 4000.0))
    assert told == (
        "after step 1: peak memory 10.00 GB, planned 8.00 GB (the plan is 20 % below); 4,000 tokens/s, planned 6,000, "
        "the first step with its preparations included"
    )
    assert reality.far(plan, reality.Measured(10.0, None)) and not reality.far(plan, reality.Measured(9.0, None))
    assert reality.compare(None, reality.Measured(None, None)) == ""
    assert reality.compare(None, reality.Measured(1.0, None)) == "after step 1: peak memory 1.00 GB"


def test_the_line_comes_after_the_first_step(tiny_model_dir, tmp_path, monkeypatch, capfd):
    argv = flags(tiny_model_dir, tmp_path, "out")
    sft(argv)
    assert "after step 1" not in capfd.readouterr().err  # no GPU and no plan
    monkeypatch.setattr(reality, "plan_of", lambda *_: SimpleNamespace(peak_gb=1e-3, tokens_per_second=1.0))
    sft([*argv, "--overwrite_output_dir", "True"])
    said = capfd.readouterr().err
    assert said.count("after step 1: peak memory") == 1 and "tokens/s, planned 1, the first step" in said
    assert "more memory is used than was planned" in said
