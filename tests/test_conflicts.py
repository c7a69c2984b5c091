"""Flags that contradict each other, what is installed or what is there: the sentence they stop with.

sh run_tests.sh tests/test_conflicts.py
"""

import json

import pytest

from bedside import cli, settle, trainer_checks
from bedside.errors import ConfigError
from tests.settled import STAGE, files, problems, settled


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


def test_a_run_does_not_delete_what_it_starts_from(tmp_path):
    (tmp_path / "m" / "checkpoint-5").mkdir(parents=True)
    for flag, name in (("--model_name_or_path", "m"), ("--peft_path", "m/checkpoint-5")):
        found = problems(f"{flag} {tmp_path / name} --output_dir {tmp_path / 'm'} --overwrite_output_dir")
        assert found == [
            f"--overwrite_output_dir True would delete {flag} {tmp_path / name}; choose another --output_dir"
        ]
    assert settled(f"--model_name_or_path {tmp_path / 'm'} --output_dir {tmp_path / 'n'} --overwrite_output_dir")


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


@pytest.mark.parametrize("flag", ["--bf16_full_eval", "--fp16_full_eval"])
def test_an_evaluation_never_rounds_what_is_saved(flag):
    (told,) = problems(f"{flag} True")
    assert told.startswith(f"{flag} True: casts the model itself")
