"""Two processes under torchrun train the same model as one, in every stage. gloo, on a CPU.

BEDSIDE_ALL_LAUNCHERS=1 also runs every stage as its own command under every configuration.

sh run_tests.sh tests/distributed
"""

import pytest

from bedside import lineage
from tests.resume import toys
from tests.stages.files import losses, same

from .launches import ALL, CONFIGS, SHARDED, WAYS, check, launch, run_all

# What shards are for is tested with shards, in test_shards.py and test_deepspeed.py.
NAMES = [name for name in WAYS if "qlora" not in name]
# What people give torchrun as they give it one process.
USUAL = ("--device_map", "auto", "--ddp_timeout", "30000", "--ddp_find_unused_parameters", "False")


@pytest.mark.slow
def test_two_processes_train_the_same_model_as_one(alone, argv, tmp_path):
    runs = [[toys.SCRIPTS[WAYS[name][0]], argv(name, tmp_path / name, 2)] for name in NAMES]
    script, flags = runs[0]
    for name in ("sft", "rm", "orpo"):
        runs[NAMES.index(name)][1] += USUAL
    runs.append(["set aside", [str(tmp_path / "sft"), str(tmp_path / "sft kept")]])
    runs.append([script, [*flags, "--resume_from_checkpoint", "True"]])
    runs.append(["tests.distributed.host_embedding", []])
    runs.append([script, [*flags, "--resume_from_checkpoint", "nothing"]])
    status, said = run_all("torchrun", tmp_path, runs)
    # A refusal that rank 0 decides ends every process.
    assert status == 1 and "error: --resume_from_checkpoint nothing: no such directory" in said, said[-4000:]
    for name in NAMES:
        check(tmp_path / ("sft kept" if name == "sft" else name), alone(name), True)
    # Both processes went on from the same checkpoint, the one before the damaged, and came to the same end.
    assert said.count("changed since it was saved; set aside as broken-checkpoint-3") == 1
    output, kept = tmp_path / "sft", tmp_path / "sft kept"
    assert lineage.read(output)["resumed_from"] == [str(output / "checkpoint-2")]
    assert same(output, kept) and losses(output) == losses(kept)
    assert (output / "broken-checkpoint-3").is_dir() and said.count(f"saved {output}/") == 2
    assert said.count("the gradients of both rows") == 2
    # Rank 0 alone speaks: one line a step, one table and one end a run.
    trained = len(NAMES) + 1
    assert said.count("'train_runtime'") == said.count("2 process(es) = 4") == trained
    assert said.count("training data: 16 rows") == 5  # SFT in three ways, resumed, and refused


@pytest.mark.skipif(not ALL, reason="BEDSIDE_ALL_LAUNCHERS=1 runs every stage under every launcher")
@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("name", NAMES)
def test_every_stage_runs_as_a_command_under_every_launcher(alone, argv, tmp_path, config, name):
    script = toys.SCRIPTS[WAYS[name][0]] + ".py"
    status, said = launch(config, [script, *argv(name, tmp_path / "two", 2)])
    assert status == 0, said[-4000:]
    check(tmp_path / "two", alone(name), config not in SHARDED)
    found = [abs(a - b) for a, b in zip(losses(tmp_path / "two"), losses(alone(name)), strict=True)]
    print(f"{config} | {name} | {max(found):.1e}")
    assert said.count("'train_runtime'") == 1
