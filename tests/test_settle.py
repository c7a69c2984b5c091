"""Flags against each other: what they become.

sh run_tests.sh tests/test_settle.py
"""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from bedside import cli, settle, trainer_checks
from bedside.args import AdapterArguments, ModelArguments
from bedside.errors import ConfigError
from bedside.stage_args import ChatArguments, SupervisedArguments
from tests.settled import STAGE, files, problems, settled


def test_defaults():
    args = settled("")
    assert args.trainer == {
        "report_to": ["tensorboard"], "logging_steps": 10, "max_length": 2048, "gradient_checkpointing": True,
        "do_train": True, "learning_rate": 1e-4, "output_dir": "outputs-sft",
    }  # fmt: skip
    assert settled("--use_peft False").trainer["learning_rate"] == 2e-5
    assert settled("--learning_rate 3e-4").trainer["learning_rate"] == 3e-4


def test_quantisation_in_its_three_spellings_is_one_thing():
    for text in ("--qlora", "--load_in_4bit", "--quantization_bit 4", "--finetuning_type lora --quantization_bit 4"):
        wish = settle.quantisation_wish(settled(text)[ModelArguments])
        assert wish == {"bits": 4, "type": "nf4", "double": True}, text
    assert settle.quantisation_wish(settled("--quantization_bit 8")[ModelArguments]) == {"bits": 8}
    assert settle.quantisation_wish(settled("")[ModelArguments]) is None
    fp4 = settled("--load_in_4bit --bnb_4bit_quant_type fp4 --double_quantization False")[ModelArguments]
    assert settle.quantisation_wish(fp4) == {"bits": 4, "type": "fp4", "double": False}


def test_adapter_flags_become_lora_keywords():
    adapter = settled("--lora_rank 4 --lora_alpha 8 --lora_dropout 0 --lora_target q_proj,v_proj --pissa_init")
    assert settle.lora(adapter[AdapterArguments]) == {
        "r": 4, "alpha": 8.0, "dropout": 0.0, "target_modules": "q_proj,v_proj", "modules_to_save": None,
        "use_dora": False, "use_rslora": False, "init_lora_weights": "pissa",
    }  # fmt: skip
    assert settle.lora(settled("--finetuning_type full")[AdapterArguments]) is None


def test_loading_keywords():
    loading = settle.loading(settled("--torch_dtype bf16 --flash_attn True --device_map auto")[ModelArguments], False)
    assert (loading["dtype"], loading["flash_attn"], loading["device_map"]) == ("bfloat16", "fa2", "auto")
    assert settle.loading(settled("--use_peft False")[ModelArguments], True)["dtype"] == "float32"


def test_data_flags_become_reading_keywords():
    args = settled("--max_train_samples -1 --validation_split_percentage 2 --role_map patient=user,doctor=assistant "
                   "--columns ask,answer --encoding gb18030 --strict --seed 7")  # fmt: skip
    keywords = files(args)
    assert keywords["holdout"] == 0.02
    assert (keywords["max_train"], keywords["seed"], keywords["max_bad_rate"]) == (None, 7, 0.0)
    assert keywords["reading"].roles == {"patient": "user", "doctor": "assistant"}
    assert (keywords["reading"].columns, keywords["reading"].encoding) == (["ask", "answer"], "gb18030")
    assert files(settled("--do_eval"))["holdout"] == 0.01
    assert files(settled("--val_size 50"))["holdout"] == 50
    assert files(settled(""))["holdout"] == 0.0


@pytest.mark.parametrize("flag", ["--mask_history True", "--train_on_last_turn_only True", "--mask_history"])
def test_the_last_answer_only(flag):
    assert settled(flag)[SupervisedArguments].mask_history is True
    assert settled("")[SupervisedArguments].mask_history is False


def test_tool_formats():
    def wish(text):
        return settled(text)[ChatArguments].tool_format

    assert [wish(""), wish("--tool_format none"), wish("--tool_format qwen")] == [None, None, "qwen"]
    assert wish("--template_name chatml --tool_format default") == "default"
    (told,) = problems("--tool_format defualt")
    assert told.startswith("--tool_format defualt: did you mean default? expected default, qwen, llama3, mistral")


def test_resuming_with_other_answers_trained_is_refused():
    from bedside.checkpoints import _compare

    with pytest.raises(ConfigError, match="mask_history was False in that run and is True now"):
        _compare(Path("c"), {"mask_history": False}, {"mask_history": True}, force=False)
    _compare(Path("c"), {"mask_history": False}, {"mask_history": True}, force=True)
    _compare(Path("c"), {}, {"mask_history": True}, force=False)  # written before there was a choice


def test_registered_datasets_train_and_evaluate():
    args = cli.parse(STAGE, ["--dataset", "starter_cot", "--eval_dataset", "starter_alpaca"], "SFTConfig")
    settle.training(args, "sft")
    keywords = files(args)
    assert [str(source.path) for source in keywords["train"]] == ["data/sft/cot.jsonl"]
    assert [str(source.path) for source in keywords["validation"]] == ["data/sft/alpaca.jsonl"]
    assert args.trainer["do_eval"] is True


@pytest.mark.parametrize(
    ("text", "train", "evaluate", "strategy"),
    [
        ("", True, None, None),
        ("--do_train", True, None, None),
        ("--do_eval", False, True, None),
        ("--do_train --do_eval", True, True, None),
        ("--eval_strategy steps", True, True, "steps"),
        ("--do_eval --eval_strategy epoch", True, True, "epoch"),
        ("--validation_split_percentage 1", True, True, None),
        ("--validation_split_percentage 1 --eval_steps 50", True, True, "steps"),
        ("--val_size 0.1 --do_eval False", True, False, None),
    ],
)
def test_what_is_trained_and_evaluated(text, train, evaluate, strategy):
    trainer = settled(text).trainer
    assert (trainer["do_train"], trainer.get("do_eval"), trainer.get("eval_strategy")) == (train, evaluate, strategy)


def test_reporters(monkeypatch):
    monkeypatch.setattr(trainer_checks, "find_spec", lambda name: object())
    assert settled("--report_to all").trainer["report_to"] == ["tensorboard", "wandb"]
    assert settled("--report_to none").trainer["report_to"] == "none"
    monkeypatch.setattr(trainer_checks, "find_spec", lambda name: None)
    assert settled("").trainer["report_to"] == "none"


@pytest.mark.parametrize("text", ["False", "no", "0", "none"])
def test_not_resuming_is_not_resuming(text):
    assert not settled(f"--resume_from_checkpoint {text}").trainer.get("resume_from_checkpoint")


def test_notes_are_told(said):
    settled("--use_unsloth True")
    assert said == ["--use_unsloth: not needed, bedside's own fast path needs no flag"]


def test_the_thought_column_of_medical_o1_is_mapped(repo):
    info = json.loads((repo / "data/dataset_info.json").read_text())
    assert info["medical-o1-reasoning-SFT"]["columns"]["thought"] == "Complex_CoT"


def test_flags_that_follow_from_ready_ids():
    assert settle.for_ready_ids({"use_cpu": True})["dataloader_pin_memory"] is False
    assert settle.for_ready_ids({})["dataloader_pin_memory"] is True
    assert settle.for_ready_ids({"dataloader_pin_memory": False})["dataloader_pin_memory"] is False
    assert settle.for_ready_ids({"packing": True})["packing"] is False


def test_several_files_may_be_joined_by_commas(tmp_path):
    odd = tmp_path / "a,b.jsonl"
    odd.write_text("{}")
    assert settle.several("x.jsonl, y.json") == ["x.jsonl", "y.json"]
    assert settle.several(str(odd)) == [str(odd)]
    assert settle.several(None) == []


def test_a_template_by_its_alias_or_with_a_slip():
    args = SimpleNamespace(template_name="qwen2_5")
    assert settle.template_problems(args) == []
    assert args.template_name == "qwen"
    (told,) = settle.template_problems(SimpleNamespace(template_name="qwn"))
    assert told.startswith("--template_name qwn: no such template; did you mean qwen?")
    assert settle.template_problems(SimpleNamespace(template_name=None)) == []


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"nf4_cache": True}, "--nf4_cache True: only a 4-bit base is kept on disk"),
        ({"nf4_cache_dir": "copies"}, "--nf4_cache_dir: only a 4-bit base is kept on disk"),
        ({"nf4_cache_dir": "copies", "nf4_cache": False, "qlora": True}, "--nf4_cache_dir with --nf4_cache False"),
        ({"nf4_cache_dir": "copies", "qlora": True}, None),
        ({"nf4_cache": False}, None),
    ],
)
def test_flags_of_the_4_bit_copy(given, problem):
    model = ModelArguments(**given)
    problems = settle._model(model)
    assert [text.startswith(problem) for text in problems] == [True] if problem else problems == []
    if not problem:
        kept = settle.loading(model, full=False)
        assert kept["nf4_cache"] == ("off" if model.nf4_cache is False else "auto")
        assert kept["nf4_cache_dir"] == model.nf4_cache_dir
