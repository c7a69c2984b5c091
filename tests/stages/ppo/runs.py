"""Short runs of PPO and of the stages before it, as a user calls them, and the tasks they learn from."""

from pathlib import Path

from tests.stages.files import history

# Rewards that a tiny random model can earn, and some that are wrong.
REWARDS = """
def sums(completion, gold, messages):
    return sum(map(ord, completion.text)) % 100 / 100

def raises(completion, gold, messages):
    return gold["dose"]

def words(completion, gold, messages):
    return "much"

def later(completion, gold, messages):
    return 1.0 if completion.text.startswith("<think>") else float("nan")
"""


def task_rows(count: int = 8) -> list[dict]:
    return [{"question": f"Fever for {n} days? " + "Really? " * (n % 3), "answer": f"flu {n}", "kind": "diagnosis"}
            for n in range(count)]  # fmt: skip


def flags(model, data, output, *more) -> list[str]:
    """Three rollouts of four answers, two steps on each."""
    return [
        "--model_name_or_path", str(model), "--train_file_dir", str(data), "--output_dir", str(output),
        "--max_source_length", "100", "--response_length", "12", "--per_device_train_batch_size", "2",
        "--gradient_accumulation_steps", "2", "--num_ppo_epochs", "2", "--total_episodes", "12", "--learning_rate",
        "1e-2", "--lora_r", "4", "--gradient_checkpointing", "False", "--logging_steps", "1", "--report_to", "none",
        "--save_strategy", "no", "--plot_loss", "False", "--seed", "7", *map(str, more),
    ]  # fmt: skip


def trained(script, model, data, output, *more) -> Path:
    """What a short run of another stage leaves."""
    script.main([
        "--model_name_or_path", str(model), "--train_file_dir", str(data), "--output_dir", str(output), "--max_length",
        "96", "--per_device_train_batch_size", "2", "--max_steps", "4", "--learning_rate", "1e-2", "--lora_r", "4",
        "--gradient_checkpointing", "False", "--report_to", "none", "--save_strategy", "steps", "--save_steps", "2",
        "--plot_loss", "False", *more,
    ])  # fmt: skip
    return output


def first_rewards(output: Path) -> dict[str, float]:
    """Every reward of the first rollout, by its name."""
    first = history(output)[0]
    return {name.removeprefix("rewards/"): first[name] for name in first if name.startswith("rewards/")}
