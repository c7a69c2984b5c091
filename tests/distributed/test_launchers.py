"""Two processes train the same model as one, under every launcher: copied whole, and cut into shards. gloo, on a CPU.

A few launches run always; BEDSIDE_ALL_LAUNCHERS=1 runs every stage as its own command under every configuration.

sh run_tests.sh tests/distributed
"""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from bedside import lineage
from tests.resume import toys
from tests.stages.files import losses, same, weights

REPO = Path(__file__).resolve().parents[2]
ALL = bool(os.environ.get("BEDSIDE_ALL_LAUNCHERS"))
FULL = ("--use_peft", "False")
WAYS = {
    "sft": ("sft", ()),
    "sft in full": ("sft", FULL),
    "sft packing": ("sft", ("--packing", "True")),
    "pt": ("pt", ()),
    "rm": ("rm", ()),
    "rm in full": ("rm", FULL),
    "dpo": ("dpo", ()),
    "dpo in full": ("dpo", FULL),
    "orpo": ("orpo", ()),
    "kto": ("kto", ("--loss_type", "apo_zero_unpaired")),  # whose loss is a mean over rows, however they are batched
    "grpo": ("grpo", ("--beta", "0.1")),
    # DeepSpeed clips the gradients of policy and critic together, others each by itself.
    "ppo": ("ppo", ("--max_grad_norm", "0", "--eval_strategy", "epoch", "--per_device_eval_batch_size", "1")),
}
# What runs always.
ALWAYS = {
    "torchrun": list(WAYS),
    "fsdp2": ["sft in full", "dpo", "grpo", "ppo"],
    "zero2": ["sft", "ppo"],
    "zero3": ["dpo", "grpo", "ppo"],
}
SHARDED = ("fsdp2", "zero3")
CONFIGS = ("torchrun", "ddp", "fsdp2", "zero1", "zero2", "zero3")
# How far two processes may be from one: sums of float32 in another order, and what Adam makes of it in four steps.
LOSS, WEIGHT = 1e-5, 2e-5


def can(config: str) -> bool:
    """DeepSpeed is a requirement of development only."""
    return not config.startswith("zero") or find_spec("deepspeed") is not None


@pytest.fixture(scope="module")
def argv(tmp_path_factory, tiny_model_dir):
    """The flags of a way, by its name, output and number of processes: four steps of four rows each; then held-out
    rows, whose number two processes cannot share evenly."""
    root = tmp_path_factory.mktemp("rows")
    (root / "held_out").mkdir()

    def of(name: str, output: Path, processes: int) -> list[str]:
        stage, more = WAYS[name]
        data = toys.write(stage, root, 40 if stage == "pt" else 16)
        held_out = toys.write(stage, root / "held_out", 5)
        return toys.flags(
            stage, tiny_model_dir, data, output, "--dtype", "float32", "--lora_dropout", "0", "--max_steps", "4",
            "--per_device_train_batch_size", str(2 // processes), "--do_train", "True", "--do_eval", "True",
            "--validation_file_dir", str(held_out), *more,
        )  # fmt: skip

    return of


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


@pytest.fixture(scope="module")
def alone(argv, tmp_path_factory):
    """The outputs of one process, by way."""
    root = tmp_path_factory.mktemp("one")
    runs = [[toys.SCRIPTS[WAYS[name][0]], argv(name, root / name, 1)] for name in WAYS]
    (root / "runs.json").write_text(json.dumps(runs))
    status, said = launch("one", ["tests/distributed/several.py", str(root / "runs.json")])
    assert status == 0, said[-4000:]
    return root


def metric(directory: Path, name: str) -> float:
    return json.loads((directory / "metrics.json").read_text(encoding="utf-8"))[name]


def check(two: Path, one: Path, whole: bool) -> None:
    """The same model, complete and sealed; `whole` if each process held all of it."""
    assert losses(two) == pytest.approx(losses(one), abs=LOSS) and len(losses(two)) == 4
    first, second = weights(one), weights(two)
    assert first.keys() == second.keys()  # nothing cut, nothing twice
    assert max((first[name] - second[name]).abs().max().item() for name in first) < WEIGHT
    for directory in (two, two / "checkpoint-2", two / "checkpoint-4"):
        assert lineage.damage(directory) is None
    manifest = lineage.read(two)
    assert manifest["world"]["size"] == 2
    assert bool(manifest["probe"]) == whole  # a shard cannot be probed
    if manifest["stage"] == "ppo":  # every reward, the KL, lengths
        for name in ("eval_reward", "eval_kl", "eval_length"):
            assert metric(two, name) == pytest.approx(metric(one, name), abs=LOSS)
    elif manifest["stage"] not in ("dpo", "kto", "grpo"):  # whose trainer counts rows that fill up the last batch
        assert metric(two, "eval_loss") == pytest.approx(metric(one, "eval_loss"), abs=LOSS)


@pytest.mark.slow
@pytest.mark.parametrize("config", ALWAYS)
def test_two_processes_train_the_same_model_as_one(alone, argv, tmp_path, config):
    if not can(config):
        pytest.skip("DeepSpeed is not installed")
    names, whole = ALWAYS[config], config not in SHARDED
    runs = [[toys.SCRIPTS[WAYS[name][0]], argv(name, tmp_path / name, 2)] for name in names]
    # The first, and PPO where a checkpoint of its critic is put together from shards.
    resumed = [names[0], *(name for name in names[1:] if name == "ppo" and not whole)]
    for name in resumed:
        script, flags = runs[names.index(name)]
        runs.append(["set aside", [str(tmp_path / name), str(tmp_path / f"{name} kept")]])
        runs.append([script, [*flags, "--resume_from_checkpoint", "True"]])
    if config == "torchrun":
        runs.append([runs[0][0], [*runs[0][1], "--resume_from_checkpoint", "nothing"]])
    (tmp_path / "runs.json").write_text(json.dumps(runs))
    status, said = launch(config, ["tests/distributed/several.py", str(tmp_path / "runs.json")])
    if config == "torchrun":  # a refusal that rank 0 decides ends every process
        assert status == 1 and "error: --resume_from_checkpoint nothing: no such directory" in said
    else:
        assert status == 0, said[-4000:]
    for name in names:
        check(tmp_path / (f"{name} kept" if name in resumed else name), alone / name, whole)
    # Both processes went on from the same checkpoint, the one before the damaged, and came to the same end.
    assert said.count("changed since it was saved; set aside as broken-checkpoint-4") == len(resumed)
    for name in resumed:
        output, kept = tmp_path / name, tmp_path / f"{name} kept"
        assert lineage.read(output)["resumed_from"] == [str(output / "checkpoint-2")]
        assert same(output, kept) and losses(output) == losses(kept)
        assert (output / "broken-checkpoint-4").is_dir()
        assert said.count(f"saved {output}/") == 2
    # Rank 0 alone speaks: one line a step, one table and one end a run.
    trained = len(names) + len(resumed)
    assert said.count("'train_runtime'") == said.count("2 process(es) = 4") == trained


@pytest.mark.skipif(not ALL, reason="BEDSIDE_ALL_LAUNCHERS=1 runs every stage under every launcher")
@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("name", WAYS)
def test_every_stage_runs_as_a_command_under_every_launcher(alone, argv, tmp_path, config, name):
    script = toys.SCRIPTS[WAYS[name][0]] + ".py"
    status, said = launch(config, [script, *argv(name, tmp_path / "two", 2)])
    assert status == 0, said[-4000:]
    check(tmp_path / "two", alone / name, config not in SHARDED)
    found = [abs(a - b) for a, b in zip(losses(tmp_path / "two"), losses(alone / name), strict=True)]
    print(f"{config} | {name} | {max(found):.1e}")
    assert said.count("'train_runtime'") == 1
