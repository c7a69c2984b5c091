"""The smallest run of every stage: its rows and its flags."""

from pathlib import Path

from tests.stages import files

SCRIPTS = {
    "sft": "supervised_finetuning",
    "pt": "pretraining",
    "rm": "reward_modeling",
    "dpo": "dpo_training",
    "orpo": "orpo_training",
    "kto": "kto_training",
    "grpo": "grpo_training",
    "ppo": "ppo_training",
}


def sums(completion, gold, messages) -> float:
    """A reward that tells any two texts apart, and which a random model's answers earn some of."""
    return sum(map(ord, completion.text)) % 100 / 100


def rows(stage: str, count: int = 8) -> list[dict]:
    """Rows of different lengths, as the stage reads them."""
    if stage == "pt":
        return [{"text": f"Fever for {n} days. " + "Drink water. " * (n % 4 + 1)} for n in range(count)]
    if stage in ("grpo", "ppo"):
        return [
            {"question": f"Fever for {n} days? " + "Really? " * (n % 4), "answer": f"flu {n}"} for n in range(count)
        ]
    if stage == "sft":
        return [
            {"instruction": f"Fever for {n} days?", "input": "", "output": "Drink water. " * (n % 4 + 1)}
            for n in range(count)
        ]
    return [
        {
            "prompt": f"Fever for {n} days?",
            "chosen": f"Rest {n} days. " + "Drink water. " * (n % 4 + 1),
            "rejected": f"Wait {n} weeks. " + "No. " * (n % 3 + 1),
        }
        for n in range(count)
    ]


def write(stage: str, directory: Path, count: int = 8) -> Path:
    """The stage's rows as a file."""
    return files.write(directory / f"{stage}.jsonl", rows(stage, count))


def flags(stage: str, model: str, data: Path, output: Path, *more: str) -> list[str]:
    """Six steps of two accumulated rows each over eight rows, with dropout and shuffling: one and a half epochs."""
    template = [] if stage == "pt" else ["--template_name", "qwen3"]
    length = {
        "pt": ["--block_size", "32"],
        "grpo": ["--max_source_length", "96", "--max_completion_length", "12", "--num_generations", "2",
                 "--reward_funcs", "tests.resume.toys:sums"],
        "ppo": ["--max_source_length", "96", "--response_length", "12", "--num_ppo_epochs", "1", "--reward_funcs",
                "tests.resume.toys:sums", "--samples_kept", "1"],
    }.get(stage, ["--max_length", "96"])  # fmt: skip
    report = ["--data_report", "False"] if stage == "sft" else []
    return [
        "--model_name_or_path", str(model), "--train_file_dir", str(data), "--output_dir", str(output), *template,
        *length, *report, "--per_device_train_batch_size", "1", "--gradient_accumulation_steps", "2",
        "--learning_rate", "1e-3", "--lora_r", "4", "--lora_dropout", "0.1", "--gradient_checkpointing", "False",
        "--logging_steps", "1", "--report_to", "none", "--max_steps", "6", "--save_strategy", "steps",
        "--save_steps", "2", "--seed", "7", "--plot_loss", "False", "--disable_tqdm", "True", *more,
    ]  # fmt: skip
