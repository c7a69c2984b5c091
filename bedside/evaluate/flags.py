"""The flags of evaluation.py; `conflicts` holds them against each other."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from bedside.answers import Sampling
from bedside.args import flag
from bedside.evaluate import registry
from bedside.inference_flags import same
from bedside.stage_args import RewardArguments

_REWARD = {field.name: field for field in dataclasses.fields(RewardArguments)}


def _judges(name: str, text: str | None = None) -> Any:
    """The flag of this name as grpo_training.py has it."""
    meta = _REWARD[name].metadata
    return flag(_REWARD[name].default, text or meta["help"].replace("the reward judge", "a judge"), meta["aliases"])


@dataclass
class EvaluationArguments:
    """Evaluate a model on held-out questions, alone or beside another one."""

    model_name_or_path: str = flag(
        "models/starter",
        "model directory, adapter directory or hub name",
        ("base_model", "base_model_name_or_path", "model", "pretrained"),
    )
    lora_model: str | None = same("lora_model")
    compare_with: str | None = flag(
        None,
        "the model that stands before it in every comparison: a model, an adapter, a server's address, or the "
        "--output_dir of an earlier evaluation",
        ("baseline",),
    )
    evaluations: list | None = flag(
        None, "only a report: directories of earlier evaluations, the first is the baseline; joined by commas"
    )
    output_dir: str = flag(
        "outputs-evaluation", "where cases, answers and the report go; a run that is there is continued",
        ("save_dir", "output_path"),
    )  # fmt: skip
    overwrite_output_dir: bool = flag(False, "evaluate anew what an earlier run left in --output_dir")
    name: str | None = flag(
        None, "what the model is called in tables (default: its directory's name)", ("model_label",)
    )
    tasks: list | None = flag(
        None,
        f"which of {', '.join(registry.NAMES)}; joined by commas (default: all that fit the model)",
        ("task", "eval_tasks"),
    )
    document_file: str | None = flag(None, "held-out documents (default: data/eval/documents.txt)")
    eval_file: str | None = flag(None, "questions of the tasks perplexity, chat and instructions, with answers or not")
    choice_files: list | None = flag(
        None,
        "multiple choice: CMB, CMExam, MedQA, MedMCQA, MMLU or ours; joined by commas",
        ("choice_file", "mcq_files"),
    )
    verifiable_file: str | None = flag(None, "questions whose answers can be checked (docs/rewards.md)")
    alias_file: str | None = flag(
        None, 'other names of conditions, drugs ...: JSON lines of {"name": "...", "aliases": ["..."]}'
    )
    safety_file: str | None = flag(None, "emergencies, doses and contraindications (docs/evaluation/safety.md)")
    pairs_file: str | None = flag(None, "preference pairs, for a reward model")
    encoding: str | None = flag(None, "encoding of the files if not UTF-8, such as gb18030")
    train_file_dir: list | None = flag(
        None,
        "what the model was trained on: measured apart from unseen rows, and searched for what is evaluated; joined "
        "by commas",
        ("train_file", "train_data"),
    )
    max_eval_samples: int | None = flag(
        None,
        "items of each task, evenly spread (default: all)",
        ("limit", "eval_limit"),
    )
    server: str | None = same("server")
    served_model: str | None = same("served_model")
    concurrency: int = same("concurrency")
    server_timeout: float = same("server_timeout")
    tokenizer_path: str | None = same("tokenizer_path")
    cache_dir: str | None = same("cache_dir")
    model_revision: str = same("model_revision")
    trust_remote_code: bool = same("trust_remote_code")
    template_name: str | None = same("template_name")
    dtype: str = same("dtype")
    device_map: str | None = same("device_map")
    attn_implementation: str | None = same("attn_implementation")
    load_in_4bit: bool = same("load_in_4bit")
    load_in_8bit: bool = same("load_in_8bit")
    quantization_bit: int | None = same("quantization_bit")
    memory_gb: float | None = same("memory_gb")
    finetuning_type: str = same("finetuning_type")
    resize_emb: bool = same("resize_emb")
    only_cpu: bool = same("only_cpu")
    gpus: str | None = same("gpus")
    batch_size: int = flag(
        32, "questions answered at once", ("eval_batch_size", "per_device_eval_batch_size", "infer_batch_size")
    )
    max_new_tokens: int = same("max_new_tokens")
    temperature: float = flag(0.0, "0 takes the likeliest token every time")
    top_p: float = flag(1.0, "sample from the smallest set of tokens with this probability, 0..1")
    top_k: int = same("top_k")
    repetition_penalty: float = same("repetition_penalty")
    samples_per_question: int = flag(
        1, "with --temperature: answers to each question, whose mean counts", ("num_samples",)
    )
    seed: int = flag(42, "seed of sampling, of permutations and of the bootstrap")
    enable_thinking: bool | None = same("enable_thinking")
    system_prompt: str | None = same("system_prompt")
    choice_by: list | None = flag(
        None, "multiple choice by likelihood, by generation, or both; joined by commas (default: both)"
    )
    choice_permutations: int | None = flag(
        None, "orders of the options that each question is asked in (default: likelihood every rotation, generation 1)"
    )
    choice_score: str = flag("letter", "likelihood of the option's letter, or of its text", (), ("letter", "text"))
    lm_eval: list | None = flag(
        None, "tasks of lm-evaluation-harness, where it is installed, as medqa_4options; joined by commas",
        ("lm_eval_tasks",),
    )  # fmt: skip
    judge: list | None = flag(
        None,
        "who compares the answers of two models: rules, reward (--reward_model_path) or endpoint (--judge_url); "
        "joined by commas",
    )
    reward_model_path: str | None = flag(
        None,
        "reward model: scores the answers (task reward), and judges",
        ("reward_model", "reward_model_name_or_path"),
    )
    reward_template_name: str | None = flag(None, "template of the reward model, if not its own")
    judge_url: str | None = _judges("judge_url")
    judge_model: str | None = _judges("judge_model")
    judge_key_variable: str = _judges("judge_key_variable")
    judge_timeout: float = _judges("judge_timeout")
    judge_retries: int = _judges("judge_retries")
    judge_concurrency: int = _judges("judge_concurrency")
    judge_cache: str | None = _judges("judge_cache")
    judge_max_failures: float = _judges("judge_max_failures")
    judge_rubric: str | None = _judges("judge_rubric")
    judge_price_in: float = _judges("judge_price_in")
    judge_price_out: float = _judges("judge_price_out")
    judge_thoughts: bool = flag(False, "show a judge the thoughts too; without it, answers only")
    review_sheet: bool = flag(False, "write review.html, in which people compare the answers of two models blindly")
    votes: list | None = flag(None, "what they exported from it, votes-NAME.json; joined by commas")
    report_to: str = flag(
        "none", "tensorboard: the report's numbers too, in OUTPUT_DIR/runs", (), ("none", "tensorboard")
    )


def is_url(name: str | None) -> bool:
    """Whether this is a server's address.

    >>> is_url("http://127.0.0.1:8000"), is_url("outputs-sft")
    (True, False)
    """
    return bool(name) and name.startswith(("http://", "https://"))


def sampling(args: EvaluationArguments) -> Sampling:
    """How answers are drawn."""
    return Sampling(args.max_new_tokens, args.temperature, args.top_p, args.top_k, args.repetition_penalty)
