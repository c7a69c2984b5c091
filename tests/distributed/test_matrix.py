"""Which way of training works under which launcher: every cell of the table in docs/distributed.md. gloo, on a CPU.

BEDSIDE_ALL_LAUNCHERS=1 runs all of the table and prints it; what runs always is in test_shards.py and
test_deepspeed.py.

sh run_tests.sh tests/distributed/test_matrix.py
"""

import json
import re

import pytest

from bedside import lineage
from tests.resume import toys
from tests.stages.files import losses

from .launches import ALL, can, launch

STAGES = ("pt", "sft", "rm", "dpo", "orpo", "kto", "grpo", "ppo")
METHODS = {"LoRA": (), "QLoRA": ("--qlora", "True"), "every parameter": ("--use_peft", "False")}
CONFIGS = ("ddp", "fsdp2", "zero1", "zero2", "zero3")
MORE = {
    "kto": ("--loss_type", "apo_zero_unpaired"),
    "grpo": ("--beta", "0.1"),
    "ppo": ("--max_grad_norm", "0"),
}
# 4-bit codes are one number in one process and in two, so the loss is what rounding leaves.
LOSS = 2e-5


@pytest.fixture(scope="module")
def argv(tmp_path_factory, tiny_model_dir):
    """The flags of a cell: two steps of four rows each."""
    root = tmp_path_factory.mktemp("rows")

    def of(stage: str, method: str, output, processes: int) -> list[str]:
        data = toys.write(stage, root, 40 if stage == "pt" else 16)
        return toys.flags(
            stage, tiny_model_dir, data, output, "--dtype", "float32", "--lora_dropout", "0", "--max_steps", "2",
            "--per_device_train_batch_size", str(2 // processes), "--save_strategy", "no", *MORE.get(stage, ()),
            *METHODS[method],
        )  # fmt: skip

    return of


def ends(config: str, runs: list, place) -> dict[str, str]:
    """How each run ended under the launcher, by its name."""
    place.mkdir(parents=True, exist_ok=True)
    (place / "runs.json").write_text(json.dumps(runs))
    status, said = launch(config, ["tests/distributed/cells.py", str(place / "runs.json")])
    found = dict(re.findall(r"^cell ([\w ]+): (.*)$", said, flags=re.MULTILINE))
    assert status == 0 and len(found) == len(runs), said[-4000:]
    return found


@pytest.fixture(scope="module")
def alone(argv, tmp_path_factory):
    """`(outputs, ends)` of one process, made when a method is first asked for."""
    root, made = tmp_path_factory.mktemp("one"), {}

    def of(method: str, stages: tuple):
        if (method, stages) not in made:
            runs = [[s, toys.SCRIPTS[s], argv(s, method, root / method / s, 1)] for s in stages]
            made[method, stages] = ends("one", runs, root / method)
        return root / method, made[method, stages]

    return of


def cells(config: str, method: str, stages: tuple, argv, alone, place) -> dict[str, str]:
    """Each stage's cell: the largest difference of a loss from one process, or the refusal."""
    one, first = alone(method, stages)
    runs = [[s, toys.SCRIPTS[s], argv(s, method, place / s, 2)] for s in stages]
    second, table = ends(config, runs, place), {}
    for stage in stages:
        if second[stage] != "trained" or first[stage] != "trained":
            table[stage] = second[stage]
            continue
        assert lineage.damage(place / stage) is None
        pairs = zip(losses(place / stage), losses(one / stage), strict=True)
        table[stage] = f"{max(abs(a - b) for a, b in pairs):.1e}"
    return table


def check(table: dict[str, str], config: str, method: str) -> None:
    """Trained alike, or refused with a sentence that says what to use instead."""
    for stage, cell in table.items():
        if cell.startswith("refused"):
            expected = "accelerate/zero2.yaml" if (config, method) == ("zero3", "QLoRA") else "--use_peft"
            assert expected in cell, f"{stage}: {cell}"
        else:
            assert float(cell) <= LOSS, f"{stage}: {cell}"


@pytest.mark.skipif(not ALL, reason="BEDSIDE_ALL_LAUNCHERS=1 runs the whole table")
@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("method", METHODS)
def test_every_cell_of_the_table(argv, alone, tmp_path, config, method):
    if not can(config):
        pytest.skip("DeepSpeed is not installed")
    table = cells(config, method, STAGES, argv, alone, tmp_path)
    print("\n".join(f"{config} | {method} | {stage} | {cell}" for stage, cell in table.items()))
    check(table, config, method)
