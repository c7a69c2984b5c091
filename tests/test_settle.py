"""Flags against each other, the machine and what is installed: what they become, or the sentence they stop with.

sh run_tests.sh tests/test_settle.py
"""

import json
import os
import shlex
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import AutoConfig

from bedside import cli, logs, models, runner, settle, trainer_checks
from bedside.args import AdapterArguments, DataArguments, ModelArguments, RunArguments
from bedside.data import pack
from bedside.errors import ConfigError
from bedside.stage_args import ChatArguments, EvalArguments, SupervisedArguments

STAGE = (
    ModelArguments, AdapterArguments, DataArguments, ChatArguments, SupervisedArguments, EvalArguments, RunArguments,
)  # fmt: skip


def files(args: cli.Parsed) -> dict:
    return settle.files(args[DataArguments], args.trainer, args[ChatArguments].role_map)


def settled(text: str) -> cli.Parsed:
    args = cli.parse(STAGE, shlex.split(f"--train_file_dir data/sft {text}"), "SFTConfig")
    settle.training(args, "sft")
    return args


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        settled(text)
    return caught.value.problems


@pytest.fixture
def said(monkeypatch):
    """Lines told to the user."""
    lines: list[str] = []
    monkeypatch.setattr(logs, "info", lines.append)
    monkeypatch.setattr(logs, "warn", lines.append)
    return lines


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


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("--load_in_4bit --load_in_8bit", "--load_in_4bit and --load_in_8bit: choose one"),
        ("--quantization_bit 3", "--quantization_bit 3: expected 4 or 8"),
        ("--quantization_bit 8 --load_in_4bit", "--quantization_bit 8 contradicts the --load_in flag; give one"),
        ("--qlora --load_in_8bit", "--qlora is 4-bit; drop --load_in_8bit (or drop --qlora for 8-bit LoRA)"),
        ("--qlora --use_peft False",
         "--qlora cannot be trained in full: use --use_peft True, or load the base in bfloat16"),
        ("--load_in_8bit --finetuning_type full",
         "a quantised base cannot be trained in full: use --use_peft True, or load the base in bfloat16"),
        ("--finetuning_type full --use_peft True", "--finetuning_type full contradicts --use_peft True"),
        ("--flash_attn maybe", "--flash_attn maybe: expected True, False, fa2, sdpa, disabled or auto"),
        ("--flash_attn fa2 --attn_implementation eager", "--flash_attn fa2 and --attn_implementation eager: give one"),
        ("--peft_path a --lora_r 4 --use_dora",
         "--peft_path continues an adapter whose shape is fixed; drop --lora_r, --use_dora"),
        ("--peft_path a --use_peft False",
         "--peft_path with --use_peft False: merge the adapter first, then train the merged model in full"),
        ("--lora_r 0", "--lora_r 0: expected at least 1"),
        ("--lora_alpha 0", "--lora_alpha 0: expected more than 0"),
        ("--lora_dropout 1", "--lora_dropout 1.0: expected 0 <= p < 1"),
        ("--pissa_init --init_lora_weights gaussian",
         "--pissa_init True contradicts --init_lora_weights gaussian; give one"),
        ("--validation_file_dir v --val_size 0.1",
         "--validation_file_dir and --val_size: give validation files or a validation split, not both"),
        ("--validation_split_percentage 3 --val_size 0.1", "--validation_split_percentage and --val_size: give one"),
        ("--validation_split_percentage 100", "--validation_split_percentage 100: expected 0 to 100"),
        ("--val_size 1.5", "--val_size 1.5: expected a share below 1 or a whole number of rows"),
        ("--do_eval --validation_split_percentage 0",
         "an evaluation is asked for and nothing is held out: give --validation_split_percentage 1"),
        ("--max_bad_rate 5", "--max_bad_rate 5: expected a share, 0 to 1"),
        ("--role_map patient", "--role_map patient: expected name=role pairs, as patient=user,doctor=assistant"),
        ("--stage dpo", "--stage dpo: this script is the sft stage; run that stage's script"),
        ("--do_predict", "--do_predict: use inference.py --data_file for answers"),
        ("--do_train False", "--do_train False without --do_eval True: nothing to do"),
        ("--bf16 --fp16", "--bf16 and --fp16: choose one"),
        ("--push_to_hub --hub_strategy every_save",
         "--hub_strategy every_save: the finished model is sent, never checkpoints with their optimizer states; drop "
         "the flag, and send a checkpoint by hand: python -m bedside.hub CHECKPOINT --hub_model_id OWNER/NAME"),
        ("--hub_model_id a/b",
         "--hub_model_id without --push_to_hub True: nothing would be sent; add it, or drop the flag"),
        ("--report_to mlflow", "--report_to mlflow: expected tensorboard, wandb or none"),
        ("--deepspeed no.json", "--deepspeed no.json: no such file; give a DeepSpeed JSON file, or drop the flag"),
        ("--packing --pad_to_multiple_of 8",
         "--pad_to_multiple_of with --packing True: packed rows are full; drop the flag"),
        ("--load_best_model_at_end",
         "--load_best_model_at_end True: needs --eval_strategy steps (or epoch) to know the best"),
        ("--per_device_train_batch_size 0", "--per_device_train_batch_size 0: expected at least 1"),
        ("--max_length 0", "--max_length 0: expected at least 1"),
        ("--learning_rate -0.1", "--learning_rate -0.1: expected at least 0"),
        ("--num_train_epochs 0", "--num_train_epochs 0: expected more than 0"),
    ],
)  # fmt: skip
def test_a_conflict_says_what_to_do(text, sentence):
    assert sentence in problems(text)


def test_conflicts_are_reported_together():
    found = problems("--load_in_4bit --load_in_8bit --use_peft False --lora_r 0 --bf16 --fp16 --template_name qwn3")
    assert len(found) == 5
    assert any("did you mean qwen3?" in problem for problem in found)


def test_no_data_is_told():
    args = cli.parse(STAGE, [], "SFTConfig")
    with pytest.raises(
        ConfigError, match="no training data: give --train_file_dir FILE_OR_DIRECTORY or --dataset NAME"
    ):
        settle.training(args, "sft")


def test_pissa_on_a_quantised_base_is_refused():
    assert problems("--qlora --pissa_init")[0].startswith("--init_lora_weights pissa changes the base's weights")


@pytest.mark.parametrize("package", ["wandb", "liger_kernel", "deepspeed"])
def test_what_is_not_installed_says_how_to_get_it(package, monkeypatch, tmp_path):
    monkeypatch.setattr(trainer_checks, "find_spec", lambda name: None if name == package else object())
    config = tmp_path / "ds.json"
    config.write_text("{}")
    text, sentence = {
        "wandb": ("--report_to wandb",
                  "--report_to wandb: wandb is not installed; run `pip install wandb`, or use none"),
        "liger_kernel": ("--use_liger_kernel",
                         "--use_liger_kernel: liger-kernel is not installed; "
                         "run `pip install liger-kernel`, or drop it"),
        "deepspeed": (f"--deepspeed {config}",
                      "--deepspeed: deepspeed is not installed; run `pip install deepspeed`, or drop the flag"),
    }[package]  # fmt: skip
    assert problems(text) == [sentence]


def test_reporters(monkeypatch):
    monkeypatch.setattr(trainer_checks, "find_spec", lambda name: object())
    assert settled("--report_to all").trainer["report_to"] == ["tensorboard", "wandb"]
    assert settled("--report_to none").trainer["report_to"] == "none"
    monkeypatch.setattr(trainer_checks, "find_spec", lambda name: None)
    assert settled("").trainer["report_to"] == "none"


@pytest.mark.parametrize("text", ["False", "no", "0", "none"])
def test_not_resuming_is_not_resuming(text):
    assert not settled(f"--resume_from_checkpoint {text}").trainer.get("resume_from_checkpoint")


def test_a_run_does_not_delete_what_it_starts_from(tmp_path):
    (tmp_path / "m" / "checkpoint-5").mkdir(parents=True)
    for flag, name in (("--model_name_or_path", "m"), ("--peft_path", "m/checkpoint-5")):
        found = problems(f"{flag} {tmp_path / name} --output_dir {tmp_path / 'm'} --overwrite_output_dir")
        assert found == [
            f"--overwrite_output_dir True would delete {flag} {tmp_path / name}; choose another --output_dir"
        ]
    assert settled(f"--model_name_or_path {tmp_path / 'm'} --output_dir {tmp_path / 'n'} --overwrite_output_dir")


def test_notes_are_told(said):
    settled("--use_unsloth True")
    assert said == ["--use_unsloth: not needed, bedside's own fast path needs no flag"]


@pytest.mark.parametrize("name", ["medical-o1-reasoning-SFT", "med_o1"])
def test_a_dataset_that_is_not_shipped_says_where_to_get_it(name, repo):
    info = json.loads((repo / "data/dataset_info.json").read_text())[name]
    if (repo / "data" / info["file_name"]).exists():
        pytest.skip("the file has been downloaded here")
    args = cli.parse(STAGE, ["--dataset", name], "SFTConfig")
    settle.training(args, "sft")
    with pytest.raises(ConfigError) as caught:
        files(args)
    assert str(caught.value).startswith(
        f"--dataset {name}: data/{info['file_name']} does not exist; download it from "
    )
    assert "FreedomIntelligence/medical-o1-reasoning-SFT" in str(caught.value)


def test_the_thought_column_of_medical_o1_is_mapped(repo):
    info = json.loads((repo / "data/dataset_info.json").read_text())
    assert info["medical-o1-reasoning-SFT"]["columns"]["thought"] == "Complex_CoT"


def test_precision_on_a_cpu(said, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for given, bf16 in (({"fp16": True}, False), ({"bf16": True}, True), ({}, False)):
        runner.settle_precision(given)
        assert given == {"fp16": False, "bf16": bf16, "use_cpu": True}
    assert said == ["--fp16 needs a CUDA GPU; computing in float32 on this CPU (use --bf16 True for bfloat16)"]
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
    runner.settle_precision(given)
    assert (given["bf16"], given.get("fp16")) == (bf16, fp16)


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


def test_an_output_directory_that_is_used_needs_a_word(tmp_path):
    (tmp_path / "checkpoint-5").mkdir()
    with pytest.raises(ConfigError, match="holds an earlier run; add --overwrite_output_dir True to replace it"):
        runner.prepare_output(str(tmp_path), overwrite=False, resuming=False)
    runner.prepare_output(str(tmp_path), overwrite=False, resuming=True)
    assert (tmp_path / "checkpoint-5").is_dir()


def test_overwriting_removes_only_what_a_run_leaves(tmp_path):
    for name in ("checkpoint-5", "runs", "my_notes"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("x")
    for name in ("lineage.json", "adapter_model.safetensors", "adapter_config.json", "notes.txt", "rows.jsonl"):
        (tmp_path / name).write_text("x")
    before = sorted(path.name for path in tmp_path.iterdir())
    runner.prepare_output(str(tmp_path), overwrite=True, resuming=False)
    runner.clear_output(tmp_path, overwrite=True, resuming=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == before  # bad data must not cost the old run
    runner.clear_output(tmp_path, overwrite=True, resuming=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["my_notes", "notes.txt", "rows.jsonl"]


def test_a_directory_of_someone_else_is_left_alone(tmp_path):
    (tmp_path / "config.json").write_text("x")
    runner.clear_output(tmp_path, overwrite=True, resuming=False)
    assert (tmp_path / "config.json").exists()


def test_an_output_directory_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match=r"cannot be written \((Not a directory|File exists)\); choose another"):
        runner.prepare_output(str(tmp_path / "file"), overwrite=False, resuming=False)
    if os.geteuid() != 0:  # root writes everywhere
        tmp_path.chmod(0o500)
        with pytest.raises(ConfigError, match=r"cannot be written \(Permission denied\)"):
            runner.prepare_output(str(tmp_path / "new"), overwrite=False, resuming=False)


def test_what_the_trainer_refuses_is_one_sentence(tmp_path):
    def refuses(**flags):
        raise ValueError("save_steps must be\n  a multiple of eval_steps")

    with pytest.raises(
        ConfigError, match="^the trainer refuses these flags: save_steps must be a multiple of eval_steps$"
    ):
        runner.trainer_config(refuses, {"output_dir": str(tmp_path)}, None)
    made = runner.trainer_config(
        lambda **flags: SimpleNamespace(
            seed=1,
            process_index=0,
            per_device_train_batch_size=1,
            per_device_eval_batch_size=1,
            gradient_accumulation_steps=1,
            gradient_checkpointing=False,
        ),
        {"output_dir": str(tmp_path)},
        "logs",
    )
    assert made.seed == 1
    assert os.environ["TENSORBOARD_LOGGING_DIR"] == "logs"


def test_what_a_library_refuses_is_a_sentence():
    with pytest.raises(ConfigError) as caught, runner.refusals():
        AutoConfig.for_model("a-model-that\nnobody-has")
    assert caught.value.problems[0].startswith("the trainer refuses these flags: ")
    assert "a-model-that nobody-has" in caught.value.problems[0]


def test_what_this_package_raises_is_raised_again_as_it_is():
    with pytest.raises(ValueError, match="^sample 0 has 9 tokens, a row holds 8$"), runner.refusals():
        pack.best_fit(np.array([9]), 8)
    with pytest.raises(ConfigError, match="^--beta 0: expected more$"), runner.refusals():
        raise ConfigError("--beta 0: expected more")


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


@pytest.mark.parametrize("flag", ["--bf16_full_eval", "--fp16_full_eval"])
def test_an_evaluation_never_rounds_what_is_saved(flag):
    (told,) = problems(f"{flag} True")
    assert told.startswith(f"{flag} True: casts the model itself")


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
