"""kto_training.py as a user calls it: main([...]) on a tiny model; and its warnings about labels.

sh run_tests.sh tests/stages/test_kto.py
"""

import shutil
from pathlib import Path

import pytest

import kto_training
import supervised_finetuning
from bedside import lineage, settle_kto
from bedside.errors import ConfigError, DataError
from tests.stages.files import losses, metrics, same, write


def labelled_rows(count: int = 16) -> list[dict]:
    return [
        {
            "prompt": f"Fever for {n} days?",
            "completion": "Rest, drink." if n % 2 else "Run a race.",
            "label": n % 2 == 1,
        }
        for n in range(count)
    ]


@pytest.fixture(scope="module")
def labelled(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("labelled") / "rows.jsonl", labelled_rows())


def flags(model: str, data: Path, output: Path, *more: str) -> list[str]:
    return [
        "--model_name_or_path", model, "--train_file_dir", str(data), "--output_dir", str(output),
        "--template_name", "qwen3", "--max_length", "128", "--per_device_train_batch_size", "4",
        "--learning_rate", "1e-3", "--gradient_checkpointing", "False", "--logging_steps", "1", "--report_to", "none",
        "--max_steps", "2", "--save_strategy", "no", "--seed", "7", *more,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_model_dir, labelled, sft_rows):
    """An SFT adapter continued by QLoRA, with checkpoints and held-out rows."""
    root = tmp_path_factory.mktemp("kto")
    supervised_finetuning.main([*flags(tiny_model_dir, sft_rows, root / "sft"), "--qlora", "True"])
    argv = flags(str(root / "sft"), labelled, root / "out", "--qlora", "True", "--max_steps", "4", "--save_strategy",
                 "steps", "--save_steps", "2", "--validation_split_percentage", "25")  # fmt: skip
    kto_training.main(argv)
    return argv, root / "sft", root / "out"


@pytest.fixture(scope="module")
def sft_rows(tmp_path_factory) -> Path:
    rows = [{"instruction": f"Cough {n}?", "input": "", "output": "Drink water."} for n in range(8)]
    return write(tmp_path_factory.mktemp("sft") / "sft.jsonl", rows)


def test_the_reference_is_the_sft_that_was_continued(run):
    _, sft, output = run
    manifest = lineage.read(output)
    assert losses(output)[0] == 0.5  # 1 - sigmoid(0): policy and reference are equal
    assert (manifest["stage"], manifest["reference"]["kind"]) == ("kto", "adapter")
    assert manifest["reference"]["id"] == lineage.read(sft)["id"]
    assert [(parent["stage"], parent["how"]) for parent in manifest["parents"]] == [("sft", "continued")]
    assert same(output / "ref", sft)
    assert lineage.damage(output) is None
    found = metrics(output)
    assert {"eval_loss", "eval_kl"} <= found.keys()


def test_resume_is_bitwise_the_uninterrupted_run(run, tmp_path):
    argv, _, output = run
    shutil.copytree(output / "checkpoint-2", tmp_path / "resumed" / "checkpoint-2")
    argv = [str(tmp_path / "resumed") if word == str(output) else word for word in argv]
    kto_training.main([*argv, "--resume_from_checkpoint", "True"])
    assert same(tmp_path / "resumed", output)
    assert losses(tmp_path / "resumed") == losses(output)


def test_resume_with_a_library_that_loads_only_the_adapters_beside_it(run, tmp_path, monkeypatch):
    # As transformers 5.17 does where a checkpoint holds directories of adapters.
    def load(self, checkpoint, model=None):
        self.model.load_adapter(f"{checkpoint}/ref", "ref", is_trainable=False)
        self.model.set_adapter("default")

    monkeypatch.setattr("transformers.Trainer._load_from_checkpoint", load)
    argv, _, output = run
    shutil.copytree(output / "checkpoint-2", tmp_path / "resumed" / "checkpoint-2")
    argv = [str(tmp_path / "resumed") if word == str(output) else word for word in argv]
    kto_training.main([*argv, "--resume_from_checkpoint", "True"])
    assert same(tmp_path / "resumed", output)


@pytest.mark.parametrize(
    "more, kind",
    [
        ([], "adapter_off"),
        (["--use_peft", "False"], "model"),
        (["--use_peft", "False", "--precompute_ref_log_probs", "True"], "model"),
        (["--precompute_ref_log_probs", "True"], "adapter_off"),
        (["--use_peft", "False", "--sync_ref_model", "True", "--ref_model_sync_steps", "1"], "model"),
        (["--loss_type", "apo_zero_unpaired", "--per_device_train_batch_size", "1"], "adapter_off"),
    ],
    ids=lambda more: " ".join(more) if isinstance(more, list) else more,
)
def test_every_reference_starts_at_one_half(tiny_model_dir, labelled, tmp_path, more, kind):
    output = tmp_path / "out"
    kto_training.main(flags(tiny_model_dir, labelled, output, *more))
    assert losses(output)[0] == pytest.approx(0.5, abs=1e-4)
    assert lineage.read(output)["reference"]["kind"] == kind


def test_preference_rows_become_a_good_and_a_bad_answer(tiny_model_dir, tmp_path, capsys):
    rows = [{"prompt": f"Fever {n}?", "chosen": "Rest.", "rejected": "Run."} for n in range(6)]
    data = write(tmp_path / "pairs.jsonl", rows)
    kto_training.main([*flags(tiny_model_dir, data, tmp_path / "out"), "--kto_chosen_weight", "2",
                       "--kto_rejected_weight", "2", "--pref_beta", "0.3"])  # fmt: skip
    told = capsys.readouterr().err
    assert "6 preference pairs: each is a good and a bad answer to its question here" in told
    assert "6 good and 6 bad answers" in told and "the KTO paper wants" not in told
    assert losses(tmp_path / "out")[0] == pytest.approx(1.0, abs=1e-4)  # both weights are 2
    manifest = lineage.read(tmp_path / "out")
    assert manifest["inputs"]["beta"] == 0.3 and manifest["data"][0]["used"] == 6


def test_unequal_labels_are_told_with_the_weight_that_helps(tiny_model_dir, tmp_path, capsys):
    rows = labelled_rows(24)
    data = write(tmp_path / "rows.jsonl", rows[1::2] + rows[:8:2])
    kto_training.main(flags(tiny_model_dir, data, tmp_path / "out", "--max_steps", "1"))
    told = " ".join(capsys.readouterr().err.split())
    assert "12 good and 4 bad answers: the KTO paper wants their weighted ratio in [1, 1.33], here it is 3" in told
    assert "add --undesirable_weight 2.25 to 3" in told


@pytest.mark.parametrize(
    "good, bad, weights, told",
    [
        (10, 10, (1.0, 1.0), None),
        (13, 10, (1.0, 1.0), None),
        (10, 30, (1.0, 1.0), "--desirable_weight 3 to 4"),
        (10, 30, (3.5, 1.0), None),
        (10, 10, (1.0, 2.0), "--desirable_weight 2 to 2.67"),
        (5, 0, (1.0, 1.0), "there is no bad answer"),
        (0, 5, (1.0, 1.0), "there is no good answer"),
    ],
)
def test_balance_by_hand(good, bad, weights, told):
    found = settle_kto.told_balance(good, bad, *weights)
    assert found is None if told is None else told in found


@pytest.mark.parametrize(
    "more, message",
    [
        (["--per_device_train_batch_size", "1"], "KTO compares the answers of one batch; give at least 2"),
        (["--group_by_length", "True"], "--train_sampling_strategy group_by_length: KTO compares the answers"),
        (["--sync_ref_model", "True"], "--sync_ref_model True: an adapter's reference is frozen"),
        (["--beta", "0"], "--beta 0: expected more than 0"),
        (["--kto_rejected_weight", "-1"], "--undesirable_weight -1: expected at least 0"),
        (["--loss_type", "bco"], "--loss_type bco: .*expected kto or apo_zero_unpaired"),
    ],
)
def test_a_wrong_flag_is_a_sentence(tiny_model_dir, labelled, tmp_path, more, message):
    with pytest.raises(ConfigError, match=message):
        kto_training.main(flags(tiny_model_dir, labelled, tmp_path / "out", *more))


def test_rows_without_a_label_are_refused_before_anything_is_loaded(tiny_model_dir, sft_rows, tmp_path):
    with pytest.raises(DataError, match="sft.jsonl:1: E_SCHEMA .*expected label or kto_tag, or chosen and rejected"):
        kto_training.main(flags(tiny_model_dir, sft_rows, tmp_path / "out"))


def test_a_checkpoint_of_kto_is_no_new_reference_by_accident(run, labelled, tmp_path):
    _, _, output = run
    with pytest.raises(
        lineage.LineageError, match="is a checkpoint of a kto run; starting anew from it would make it"
    ):
        kto_training.main(flags(str(output / "checkpoint-2"), labelled, tmp_path / "out"))
