"""Memory ran out: the sentence that a stage ends in, and the command that it names.

sh run_tests.sh tests/fitting/test_sentence.py
"""

from dataclasses import replace

from bedside.args import AdapterArguments, ModelArguments, RunArguments
from bedside.cli import Parsed
from bedside.fitting import attempt as attempts
from bedside.fitting import retry
from bedside.fitting.attempt import Attempt
from bedside.fitting.remedies import OTHER, TRAINING
from bedside.fitting.shortage import Shortage
from bedside.kernel_args import KernelArguments


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


def test_another_training_does_not_resume_and_one_that_was_named_is_named_again(tmp_path):
    words = ["recipe.yaml", "--resume_from_checkpoint", "out/checkpoint-20"]
    kept = failed(checkpoint=tmp_path / "checkpoint-30")
    kept.attempt.output, kept.attempt.resumes = tmp_path / "out", tmp_path / "checkpoint-20"
    kept.attempt.args.given.add("resume_from_checkpoint")
    exact, other = retry.offered(kept)[0], retry.offered(kept)[-2]
    assert retry.again(words, exact, kept)[-2:] == ["--resume_from_checkpoint", f"{tmp_path}/checkpoint-30"]
    assert retry.again(words, other, kept) == [
        "recipe.yaml", "--qlora", "True", "--output_dir", f"{tmp_path}/out-again", "--resume_from_checkpoint", "None",
    ]  # fmt: skip


def test_a_checkpoint_that_was_not_finished_is_no_earlier_run(tmp_path):
    (tmp_path / "checkpoint-4").mkdir()
    torn = failed()
    torn.attempt.output = tmp_path
    assert retry.again([], retry.offered(torn)[0], torn)[-2:] == ["--overwrite_output_dir", "True"]


def test_where_no_flag_helps_the_command_goes_on_from_what_is_saved(tmp_path):
    kept = failed(checkpoint=tmp_path / "checkpoint-20")
    kept = kept._replace(shortage=replace(kept.shortage, moment=OTHER))
    assert retry.sentence(kept, "x.py", ["a.yaml"], []).splitlines()[-2:] == [
        "no flag of batches helps here; end what else uses this memory, or take a larger machine",
        f"then go on from there: python x.py a.yaml --resume_from_checkpoint {tmp_path}/checkpoint-20",
    ]


def test_flags_by_which_a_step_depends_on_its_micro_batches():
    told = {
        "dataloader_drop_last": True,
        "entropy_coef": 0.01,
        "top_entropy_quantile": 0.2,
        "neftune_noise_alpha": 5.0,
    }
    assert retry._depends("sft", told) == (
        "--dataloader_drop_last True", "--neftune_noise_alpha 5", "--entropy_coef 0.01", "--top_entropy_quantile 0.2",
    )  # fmt: skip
    assert retry._depends("ppo", {"dataloader_drop_last": True, "entropy_coef": 0.0}) == ()


def test_answers_that_are_drawn_at_once_are_a_setting_of_ppo_alone():
    outcome = failed()
    outcome.attempt.batch |= {"rows": 32, "accumulation": 4}

    def together(stage, **trainer):
        outcome.attempt.stage, outcome.attempt.args.trainer = stage, trainer
        return retry.settings_of(outcome.attempt, outcome.shortage).together

    assert together("ppo") == 64  # of 128, as its trainer draws them
    assert together("ppo", rollout_batch_size=8) == 8
    assert together("grpo") is None


def test_a_script_is_named_as_it_was_typed(monkeypatch):
    import supervised_finetuning

    main = supervised_finetuning.main.__wrapped__
    monkeypatch.setattr("sys.argv", ["../bedside/supervised_finetuning.py"])
    assert retry._script(main, None) == "../bedside/supervised_finetuning.py"
    assert retry._script(main, []) == "supervised_finetuning.py"
    monkeypatch.setattr("sys.argv", ["/usr/bin/pytest"])
    assert retry._script(main, None) == "supervised_finetuning.py"
