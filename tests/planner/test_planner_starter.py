"""The planner against the memory of a process: within 15 % for plain steps of the starter on a CPU.

sh run_tests.sh tests/planner/test_planner_starter.py
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bedside.planner import memory, shapes
from bedside.planner.memory import LORA, Setting

REPO = Path(__file__).resolve().parents[2]
# Large pieces go back to the system at once, so that the process is as large as what lives in it.
GIVEN_BACK = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1"}


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="the peak of a process is not reset here")
@pytest.mark.parametrize("checkpointed", [False, True])
def test_two_steps_of_the_starter_take_what_is_planned(checkpointed):
    ran = subprocess.run(
        [sys.executable, "tests/planner/one_step.py", "4", "512", str(checkpointed)],
        cwd=REPO, env=os.environ | GIVEN_BACK | {"PYTHONPATH": str(REPO)}, capture_output=True, text=True,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    setting = Setting(precision=LORA, rows=4, length=512, width=4, kernels=False, whole=0 if checkpointed else 6)
    planned = memory.peak(shapes.model_of(str(REPO / "models/starter")), setting)
    assert planned == pytest.approx(int(ran.stdout), rel=0.15)
