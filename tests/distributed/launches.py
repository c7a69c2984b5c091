"""Ways of training, launchers of two processes, and what both must agree on."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from bedside import lineage
from tests.resume import toys
from tests.stages.files import logged, losses, metrics, same, weights

REPO = Path(__file__).resolve().parents[2]
ALL = bool(os.environ.get("BEDSIDE_ALL_LAUNCHERS"))
FULL, QLORA = ("--use_peft", "False"), ("--qlora", "True")
# DeepSpeed clips the gradients of policy and critic together, others each by itself.
PPO = ("--max_grad_norm", "0", "--response_length", "4", "--eval_strategy", "epoch")
WAYS = {
    "sft": ("sft", ()),
    "sft in full": ("sft", FULL),
    "sft packing": ("sft", ("--packing", "True")),
    "sft qlora": ("sft", QLORA),
    "pt": ("pt", ()),
    "rm": ("rm", ("--center_rewards_coefficient", "0.01")),
    "rm in full": ("rm", FULL),
    "dpo": ("dpo", ()),
    "dpo in full": ("dpo", FULL),
    "orpo": ("orpo", ()),
    "kto": ("kto", ("--loss_type", "apo_zero_unpaired")),  # whose loss is a mean over rows, however they are batched
    "grpo": ("grpo", ("--beta", "0.1", "--max_completion_length", "6")),
    "ppo": ("ppo", PPO),
    "ppo qlora": ("ppo", (*PPO, *QLORA)),
}
# What a stage's evaluation tells, and what it logs every step; rows that fill up the last batch must not count.
EVALUATED = {
    "rm": ("eval_loss", "eval_accuracy", "eval_margin", "eval_mean_reward"),
    "orpo": ("eval_loss", "eval_rewards/accuracies", "eval_nll_loss", "heldout_margin"),
    "ppo": ("eval_reward", "eval_kl", "eval_length"),  # every reward, the KL, lengths
    # Their trainer counts rows that fill up the last batch.
    "dpo": (),
    "kto": (),
    "grpo": (),
}
STEPWISE = {"orpo": ("nll_loss", "rewards/accuracies", "rewards/margins", "log_odds_ratio")}
SHARDED = ("fsdp2", "zero3")
CONFIGS = ("torchrun", "ddp", "fsdp2", "zero1", "zero2", "zero3")
STEPS = 3
# How far two processes may be from one: sums of float32 in another order, and what Adam makes of it in three steps.
LOSS, WEIGHT = 1e-5, 2e-5


def can(config: str) -> bool:
    """DeepSpeed is a requirement of development only."""
    return not config.startswith("zero") or find_spec("deepspeed") is not None


def flags(name: str, root: Path, model: str, output: Path, processes: int) -> list[str]:
    """The flags of a way: three steps of four rows each, checkpoints after the second and the third; then five
    held-out rows, which two processes cannot share evenly."""
    stage, more = WAYS[name]
    (root / "held_out").mkdir(exist_ok=True)
    data = toys.write(stage, root, 40 if stage == "pt" else 16)
    held_out = toys.write(stage, root / "held_out", 5)
    return toys.flags(
        stage, model, data, output, "--dtype", "float32", "--lora_dropout", "0", "--max_steps", str(STEPS),
        "--per_device_train_batch_size", str(2 // processes), "--per_device_eval_batch_size", str(2 // processes),
        "--do_train", "True", "--do_eval", "True", "--validation_file_dir", str(held_out), *more,
    )  # fmt: skip


def command(config: str, port: int) -> list[str]:
    """The launcher and its flags, for two processes on this machine."""
    if config == "one":
        return [sys.executable]
    if config == "torchrun":
        return [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", str(port)]
    return [
        sys.executable, "-m", "accelerate.commands.launch", "--config_file", f"accelerate/{config}.yaml",
        "--num_processes", "2", "--main_process_port", str(port),
    ]  # fmt: skip


def launch(config: str, words: list[str]) -> tuple[int, str]:
    """Exit status, and what was said."""
    environment = {
        **os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false",
    }  # fmt: skip
    port = 20000 + os.getpid() % 9000 + CONFIGS.index(config) if config in CONFIGS else 0
    done = subprocess.run(
        [*command(config, port), *words], cwd=REPO, env=environment, capture_output=True, text=True, timeout=1800
    )
    return done.returncode, done.stdout + done.stderr


def check(two: Path, one: Path, whole: bool) -> None:
    """The same model, complete and sealed; `whole` if each process held all of it."""
    assert len(losses(two)) == STEPS
    assert losses(two) == pytest.approx(losses(one), abs=LOSS), two.name
    first, second = weights(one), weights(two)
    assert first.keys() == second.keys()  # nothing cut, nothing twice
    assert max((first[name] - second[name]).abs().max().item() for name in first) < WEIGHT
    for directory in (two, two / "checkpoint-2", two / "checkpoint-3"):
        assert lineage.damage(directory) is None
    manifest = lineage.read(two)
    assert manifest["world"]["size"] == 2
    assert bool(manifest["probe"]) == whole  # a shard cannot be probed
    stage, before, after = manifest["stage"], metrics(one), metrics(two)
    for name in STEPWISE.get(stage, ()):
        assert logged(two, name) == pytest.approx(logged(one, name), abs=LOSS) and len(logged(two, name)) == STEPS
    for name in EVALUATED.get(stage, ("eval_loss",)):
        assert after[name] == pytest.approx(before[name], abs=LOSS), name
    if stage == "rm":
        assert (
            before["reward"]["accuracy"] == after["reward"]["accuracy"] and after["reward"]["accuracy"]["pairs"] == 5
        )
        pair = [found["reward"]["length_correlation"] for found in (before, after)]
        assert pair[0] == pytest.approx(pair[1], abs=1e-3)
    if stage == "orpo":
        assert after["eval_rewards/accuracies"] in [n / 5 for n in range(6)]


def run_all(config: str, place: Path, runs: list) -> tuple[int, str]:
    """Run after run in the same two processes; `[script or "set aside", words]` each."""
    (place / "runs.json").write_text(json.dumps(runs))
    return launch(config, ["tests/distributed/several.py", str(place / "runs.json")])


def check_all(config: str, names: list[str], resumed: list[str], alone, argv, place: Path) -> None:
    """Train every way in the same two processes, resume some, and compare each with one process."""
    runs = [[toys.SCRIPTS[WAYS[name][0]], argv(name, place / name, 2)] for name in names]
    for name in resumed:
        script, flags = runs[names.index(name)]
        runs.append(["set aside", [str(place / name), str(place / f"{name} kept")]])
        runs.append([script, [*flags, "--resume_from_checkpoint", "True"]])
    status, said = run_all(config, place, runs)
    assert status == 0, said[-4000:]
    for name in names:
        check(place / (f"{name} kept" if name in resumed else name), alone(name), config not in SHARDED)
    # Both processes went on from the same checkpoint, the one before the damaged, and came to the same end.
    assert said.count("changed since it was saved; set aside as broken-checkpoint-3") == len(resumed)
    for name in resumed:
        output, kept = place / name, place / f"{name} kept"
        assert lineage.read(output)["resumed_from"] == [str(output / "checkpoint-2")]
        assert same(output, kept) and losses(output) == losses(kept)
        assert (output / "broken-checkpoint-3").is_dir()
        assert said.count(f"saved {output}/") == 2
    # Rank 0 alone speaks: one line a step, one table and one end a run.
    trained = len(names) + len(resumed)
    assert said.count("'train_runtime'") == said.count("2 process(es) = 4") == trained
