"""argv and recipes: what parses to what, and what each mistake says.

sh run_tests.sh tests/test_cli.py
"""

import shlex

import pytest

from bedside import cli
from bedside.args import (
    AdapterArguments,
    DataArguments,
    InferenceArguments,
    MergeArguments,
    ModelArguments,
    RunArguments,
)
from bedside.stage_args import ChatArguments
from tests.parsing import parse, problems

LLAMAFACTORY = """--stage sft --do_train True --model_name_or_path deepseek-ai/DeepSeek-R1-Distill-Qwen-7B
 --dataset medical-o1-reasoning-SFT --template deepseek --finetuning_type lora --lora_target all
 --output_dir results/MedCoT-7B-Final --overwrite_cache --overwrite_output_dir --cutoff_len 2048
 --preprocessing_num_workers 16 --per_device_train_batch_size 1 --gradient_accumulation_steps 16
 --lr_scheduler_type cosine --logging_steps 10 --save_steps 500 --learning_rate 5e-5 --num_train_epochs 3.0
 --quantization_bit 4 --plot_loss True --fp16 True --seed 42"""

MEDICALGPT = """--model_name_or_path Qwen/Qwen2.5-0.5B-Instruct --train_file_dir ./data/finetune
 --validation_file_dir ./data/finetune --per_device_train_batch_size 4 --per_device_eval_batch_size 4 --do_train
 --do_eval --template_name qwen --use_peft True --max_train_samples 1000 --max_eval_samples 10 --model_max_length 4096
 --num_train_epochs 1 --learning_rate 2e-5 --warmup_ratio 0.05 --weight_decay 0.05 --logging_strategy steps
 --logging_steps 10 --eval_steps 50 --eval_strategy steps --save_steps 500 --save_strategy steps --save_total_limit 13
 --gradient_accumulation_steps 8 --preprocessing_num_workers 4 --output_dir outputs-sft-qwen-v1 --overwrite_output_dir
 --ddp_timeout 30000 --logging_first_step True --target_modules all --lora_rank 8 --lora_alpha 16 --lora_dropout 0.05
 --torch_dtype bfloat16 --bf16 --device_map auto --report_to tensorboard --ddp_find_unused_parameters False
 --gradient_checkpointing True --cache_dir ./cache --flash_attn True"""


def test_the_llamafactory_command_parses_as_written():
    args = parse(LLAMAFACTORY)
    assert args[DataArguments].dataset == "medical-o1-reasoning-SFT"
    assert args[ChatArguments].template_name == "deepseek"
    assert args[DataArguments].overwrite_cache is True
    assert args[ModelArguments].quantization_bit == 4
    assert args[AdapterArguments].finetuning_type == "lora"
    assert args[AdapterArguments].lora_target_modules == "all"
    assert (args[RunArguments].stage, args[RunArguments].overwrite_output_dir) == ("sft", True)
    assert args.trainer == {
        "do_train": True, "output_dir": "results/MedCoT-7B-Final", "max_length": 2048, "dataset_num_proc": 16,
        "per_device_train_batch_size": 1, "gradient_accumulation_steps": 16, "lr_scheduler_type": "cosine",
        "logging_steps": 10.0, "save_steps": 500.0, "learning_rate": 5e-5, "num_train_epochs": 3.0, "fp16": True,
        "seed": 42,
    }  # fmt: skip


def test_the_medicalgpt_command_parses_as_written():
    args = parse(MEDICALGPT)
    assert args[DataArguments].train_file_dir == "./data/finetune"
    assert args[DataArguments].max_train_samples == 1000
    assert args[AdapterArguments].lora_r == 8
    assert args[ModelArguments].dtype == "bfloat16"
    assert (args[ModelArguments].device_map, args[ModelArguments].flash_attn) == ("auto", "True")
    wanted = {
        "max_length": 4096, "warmup_steps": 0.05, "bf16": True, "report_to": ["tensorboard"], "ddp_timeout": 30000,
        "ddp_find_unused_parameters": False, "logging_first_step": True, "eval_strategy": "steps",
    }  # fmt: skip
    assert {name: args.trainer[name] for name in wanted} == wanted


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("--optim paged_adamw_8bit", "optim", "paged_adamw_8bit"),
        ("--neft_alpha 5", "neftune_noise_alpha", 5.0),
        ("--warmup_steps 100", "warmup_steps", 100.0),
        ("--resume_from_checkpoint True", "resume_from_checkpoint", "True"),
        ("--resume_from_checkpoint", "resume_from_checkpoint", "True"),
        ("--include_num_input_tokens_seen", "include_num_input_tokens_seen", True),
        ("--include_num_input_tokens_seen True", "include_num_input_tokens_seen", True),
        ("--include_num_input_tokens_seen non_padding", "include_num_input_tokens_seen", "non_padding"),
        ("--deepspeed ds.json", "deepspeed", "ds.json"),
        ('--deepspeed \'{"zero_optimization": {"stage": 2}}\'', "deepspeed", {"zero_optimization": {"stage": 2}}),
        ("--lr_scheduler_kwargs '{\"num_cycles\": 2}'", "lr_scheduler_kwargs", {"num_cycles": 2}),
        ("--evaluation_strategy epoch", "eval_strategy", "epoch"),
        ("--group_by_length", "train_sampling_strategy", "group_by_length"),
        ("--report_to wandb tensorboard", "report_to", ["wandb", "tensorboard"]),
        ("--report_to none", "report_to", None),
        ("--activation_checkpointing False", "gradient_checkpointing", False),
        ("--neat_packing true", "packing", True),
        ("--no_cuda", "use_cpu", True),
        ("--eval_steps 0.1", "eval_steps", 0.1),
        ("--pad_to_multiple_of 8", "pad_to_multiple_of", 8),
        ("--num_epochs 2", "num_train_epochs", 2.0),
        ("--max-grad-norm=0.3", "max_grad_norm", 0.3),
        ("--max_steps -1", "max_steps", -1),
        ("--learning_rate 1.0e-4", "learning_rate", 1e-4),
    ],
)
def test_trainer_flags_that_people_have_in_their_fingers(text, name, value):
    assert parse(text).trainer == {name: value}


@pytest.mark.parametrize(
    ("text", "group", "name", "value"),
    [
        ("--lora_target q_proj,v_proj", AdapterArguments, "lora_target_modules", "q_proj,v_proj"),
        ("--lora_target_modules q_proj v_proj", AdapterArguments, "lora_target_modules", "q_proj,v_proj"),
        ("--modules_to_save embed_tokens lm_head", AdapterArguments, "lora_modules_to_save", "embed_tokens,lm_head"),
        ("--adapter_name_or_path a", AdapterArguments, "peft_path", "a"),
        ("--val_size 0.1", DataArguments, "val_size", 0.1),
        ("--max_samples 1000", DataArguments, "max_train_samples", 1000),
        ("--max_train_samples -1", DataArguments, "max_train_samples", -1),
        ("--eval_dataset a,b", DataArguments, "eval_dataset", "a,b"),
        ("--flash_attn fa2", ModelArguments, "flash_attn", "fa2"),
        ("--flash_attn", ModelArguments, "flash_attn", "True"),
        ("--trust_remote_code", ModelArguments, "trust_remote_code", True),
        ("--use_bnb_nested_quant False", ModelArguments, "double_quantization", False),
        ("--base_model m", ModelArguments, "model_name_or_path", "m"),
        ("--device_map None", ModelArguments, "device_map", None),
        ("--system=x --cache_dir none", ModelArguments, "cache_dir", None),
    ],
)
def test_own_flags_that_people_have_in_their_fingers(text, group, name, value):
    assert getattr(parse(text.replace("--system=x ", ""))[group], name) == value


@pytest.mark.parametrize("text", ["True", "true", "1", "yes", "on", "Y"])
def test_a_boolean_is_switched_on_in_all_spellings(text):
    assert parse(f"--qlora {text}")[ModelArguments].qlora is True
    assert parse(f"--use_dora={text} --strict")[AdapterArguments].use_dora is True


@pytest.mark.parametrize("text", ["False", "false", "0", "no", "off", "N"])
def test_a_boolean_is_switched_off_in_all_spellings(text):
    assert parse(f"--use_peft {text}")[AdapterArguments].use_peft is False


def test_merge_and_inference_commands_parse_as_written():
    merge = cli.parse((MergeArguments,), shlex.split(
        "--base_model_name_or_path b --peft_model_path a/checkpoint-500 --output_dir o"))[MergeArguments]  # fmt: skip
    assert (merge.base_model_name_or_path, merge.peft_model_path, merge.output_dir) == ("b", "a/checkpoint-500", "o")
    other = cli.parse((MergeArguments,), shlex.split("--base_model b --lora_model a --output_dir o"))[MergeArguments]
    assert (other.base_model_name_or_path, other.peft_model_path) == ("b", "a")
    export = cli.parse((MergeArguments,), shlex.split(
        "--model_name_or_path b --adapter_name_or_path a --template qwen3 --finetuning_type lora --export_dir o "
        "--export_size 2"))[MergeArguments]  # fmt: skip
    assert (export.output_dir, export.max_shard_size) == ("o", "2")
    chat = cli.parse((InferenceArguments,), shlex.split("--base_model b --lora_model l --interactive"))
    assert chat[InferenceArguments].interactive is True
    batch = cli.parse((InferenceArguments,), shlex.split(
        "--base_model b --lora_model l --data_file i.jsonl --output_file o.jsonl --template_name qwen"))  # fmt: skip
    assert batch[InferenceArguments].data_file == "i.jsonl"
    api = cli.parse(
        (InferenceArguments,),
        shlex.split(
            "--model_name_or_path b --adapter_name_or_path a --template deepseek --finetuning_type lora "
            "--quantization_bit 4"
        ),
    )
    assert (api[InferenceArguments].base_model, api[InferenceArguments].lora_model) == ("b", "a")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("--lerning_rate 1", "--lerning_rate: unknown flag; did you mean --learning_rate?"),
        ("--xyzzy 1", "--xyzzy: unknown flag; --help lists all flags"),
        ("--lora_r x", "--lora_r x: expected a whole number"),
        ("--lora_r 8.5", "--lora_r 8.5: expected a whole number"),
        ("--learning_rate fast", "--learning_rate fast: expected a number"),
        ("--learning_rate nan", "--learning_rate nan: expected a number"),
        ("--qlora maybe", "--qlora maybe: expected True or False"),
        ("--dtype int8", "--dtype int8: expected auto, bfloat16, bf16, float16, fp16, float32 or fp32"),
        ("--finetuning_type freeze", "--finetuning_type freeze: expected lora or full"),
        ("--device_map balanced", "--device_map balanced: expected auto"),
        ("--save_strategy step", "--save_strategy step: did you mean steps? expected no, steps, epoch or best"),
        ("--seed 1 --output_dir", "--output_dir: expected a value after it"),
        ("--seed 1 2", "unexpected argument 2 after --seed 1"),
        ("train --seed 1", "unexpected argument train; flags begin with --, a recipe ends in .yaml"),
        ("--lora_rank 8 --lora_r 16", "--lora_rank 8 and --lora_r 16 are the same flag; give one"),
        ("--warmup_ratio 0.1 --warmup_steps 100", "--warmup_ratio 0.1 and --warmup_steps 100: give one"),
        ("--warmup_ratio 3", "--warmup_ratio 3.0: expected 0 <= ratio < 1; a number of steps is --warmup_steps"),
        ("--group_by_length --train_sampling_strategy sequential",
         "--group_by_length True and --train_sampling_strategy sequential: give one"),
        ("--max_source_length 9", "--max_source_length: use --max_length (question and answer together, in tokens)"),
        ("--hf_hub_token x", "--hf_hub_token: secrets come from the environment; set HF_TOKEN"),
        ("--freeze_trainable_layers 2",
         "--freeze_trainable_layers: freeze-tuning is not offered; use LoRA (--use_peft True)"),
        ("--use_fast_tokenizer False",
         "--use_fast_tokenizer False: not offered; accepted as True: fast tokenizers are always used"),
        ("--train_on_prompt True",
         "--train_on_prompt True: not offered; accepted as False: only answers are trained on"),
        ("--packing_strategy wrapped",
         "--packing_strategy: rows are packed by best fit and never cut; drop the flag"),
        ("--config", "--config: expected one YAML file after it"),
        ("a.yaml --config b.yaml", "a.yaml and b.yaml: give one recipe"),
    ],
)  # fmt: skip
def test_a_mistake_says_what_was_found_and_expected(text, sentence):
    assert sentence in problems(text)


def test_all_mistakes_are_reported_together():
    assert len(problems("--lerning_rate 1 --lora_r x --dtype int8 --warmup_ratio 2 --output_dir")) == 5


def test_the_same_spelling_twice_lets_the_last_win():
    assert parse("--seed 1 --seed 2").trainer == {"seed": 2}
    assert parse("--lora_rank 8 --lora_r 8")[AdapterArguments].lora_r == 8


def test_what_other_toolkits_need_and_we_do_not_is_told():
    args = parse("--use_unsloth True --booster auto --preprocessing_batch_size 5 --local-rank=0")
    assert args.notes[0] == "--use_unsloth: not needed, bedside's own fast path needs no flag"
    assert len(args.notes) == 4
    assert args.trainer == {}


@pytest.mark.parametrize(
    "text",
    [
        "--save_only_model False", "--streaming false", "--use_galore False", "--assistant_only_loss",
        "--assistant_only_loss True", "--shuffle_dataset True", "--export_device cpu", "--infer_backend huggingface",
    ],
)  # fmt: skip
def test_a_refused_flag_that_asks_for_what_is_done_anyway_is_told(text):
    args = parse(text)
    assert args.notes == [f"--{text[2:].lower()}: not needed, it is so here"]
    assert args.trainer == {}


@pytest.mark.parametrize("text", ["--save_only_model", "--save_only_model True", "--assistant_only_loss False"])
def test_a_refused_flag_that_asks_for_something_else_is_refused(text):
    assert problems(text)[0].startswith(text.split()[0] + ": ")


def test_no_in_front_of_a_name_switches_it_off():
    assert parse("--no_remove_unused_columns --no-bf16").trainer == {"remove_unused_columns": False, "bf16": False}
    assert problems("--no_learning_rate")[0].startswith("--no_learning_rate: unknown flag")
    assert problems("--no_bf16 True")[0].startswith("--no_bf16: unknown flag")


def test_a_recipe_that_is_not_there_names_a_near_one():
    assert problems("recipes/starter_sfp.yaml") == [
        "recipes/starter_sfp.yaml: no such recipe; did you mean recipes/starter_sft.yaml?"
    ]
