"""Killed at any step and started again, the pipeline ends in what it would have ended in; one pipeline a directory.

sh run_tests.sh tests/pipeline/test_pipeline_kills.py
"""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import time

import pytest

STEPS = ["pt", "merged-pt", "sft", "merged-sft", "dpo", "merged-dpo", "evaluate-starter", "evaluate-pt",
         "evaluate-sft", "evaluate-dpo", "against-sft", "report", "answer"]  # fmt: skip


@pytest.fixture
def whole(place):
    """What an uninterrupted run leaves; the directory is empty again."""
    assert place.run("--only", "dpo").returncode == 0
    outputs = place.outputs()
    (place.root / "outputs-pipeline").rename(place.root / "outputs-whole")
    return outputs


@contextlib.contextmanager
def started(place, *argv):
    """The pipeline in the background, in a process group of its own; gone at the end."""
    process = subprocess.Popen(
        place.command(*argv), cwd=place.root, env=place.environment, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def waited_for(path, process) -> int:
    """The process id that a step wrote down when it began to wait."""
    while not (path.is_file() and path.read_text()):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
    return int(path.read_text())


def gone(number: int) -> bool:
    """Whether a process has ended, at most a few seconds later."""
    for _ in range(100):
        try:
            os.kill(number, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


@pytest.mark.parametrize("when", ["amid", "after"])
def test_killed_at_every_step_it_ends_in_the_same(place, whole, when):
    place.orders(**{name: when if name not in ("against-sft", "report", "answer") else "after" for name in STEPS})
    kills, run = 0, place.run("--only", "dpo")
    while run.returncode == -signal.SIGKILL:
        kills, run = kills + 1, place.run("--only", "dpo")
    assert run.returncode == 0, run.stdout + run.stderr
    assert len(STEPS) // 2 <= kills <= len(STEPS), "one kill may strike two steps, which run side by side"
    assert place.outputs() == whole


def test_a_training_that_was_killed_goes_on_from_its_checkpoint(place):
    place.orders(sft="amid")
    assert place.run("--only", "sft").returncode == -signal.SIGKILL
    place.write("outputs-pipeline/sft/checkpoint-10/weights", "half")
    run = place.run("--only", "sft")
    assert "sft --resume_from_checkpoint" in place.ran
    assert "going on from its last checkpoint" in run.stdout


def test_a_checkpoint_of_other_data_is_not_gone_on_from(place):
    place.orders(sft="amid")
    assert place.run("--only", "sft").returncode == -signal.SIGKILL
    place.write("outputs-pipeline/sft/checkpoint-10/weights", "half")
    place.write("data/sft/rows.jsonl", '{"text": "other"}\n')
    place.run("--only", "sft")
    assert "sft --overwrite_output_dir" in place.ran


def test_an_evaluation_that_was_killed_goes_on_in_its_book(place):
    place.orders(evaluate_pt="amid")
    assert place.run("--only", "pt").returncode == -signal.SIGKILL
    place.write("outputs-pipeline/evaluations/pt/answers.jsonl", "{}\n")
    place.run("--only", "pt")
    assert "evaluate-pt" in place.ran, "without --overwrite_output_dir"


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_ctrl_c_ends_the_steps_and_says_how_to_go_on(place, number, status):
    place.orders(sft="wait")
    with started(place, "--only", "sft") as process:
        step = waited_for(place.root / "sft.waits", process)
        os.kill(process.pid, number)
        shown, _ = process.communicate(timeout=60)
    assert process.returncode == status
    assert "stopped; the same command goes on where this one was" in shown
    assert "Traceback" not in shown
    assert gone(step)
    place.orders()
    assert place.run("--only", "sft").returncode == 0
    assert "pt" not in place.ran


def test_no_step_outlives_a_pipeline_that_was_killed(place):
    place.orders(sft="wait")
    with started(place, "--only", "sft") as process:
        step = waited_for(place.root / "sft.waits", process)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert gone(step)
    place.orders()
    assert place.run("--only", "sft").returncode == 0


def test_two_pipelines_in_one_directory_are_refused(place):
    place.orders(sft="wait")
    with started(place, "--only", "sft") as process:
        waited_for(place.root / "sft.waits", process)
        second = place.run("--only", "sft")
        assert second.returncode == 2
        assert "outputs-pipeline: another pipeline works here since " in second.stderr
        assert f"(process {process.pid}); wait for it, end it (kill -INT {process.pid})" in second.stderr
        assert process.poll() is None, "the first one is not disturbed"
        elsewhere = place.run("--only", "pt", "--output_dir", "outputs-second")
        assert elsewhere.returncode == 0


def test_a_lock_file_that_nobody_holds_is_no_lock(place):
    place.write("outputs-pipeline/.lock", '{"pid": 1, "since": "yesterday", "steps": {"sft": 1}}')
    assert place.run("--only", "pt").returncode == 0


def test_the_steps_of_a_pipeline_that_is_gone_are_waited_for(place, monkeypatch):
    from bedside.errors import ConfigError
    from bedside.pipeline import lock

    path = place.write("outputs-pipeline/.lock", json.dumps({"pid": 2**22 + 1, "steps": {"sft": os.getppid()}}))
    told = []
    with path.open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with (
            pytest.raises(
                ConfigError, match=rf"sft \(process {os.getppid()}\) still runs; .* kill -- -{os.getppid()}"
            ),
            lock.held(path.parent, told.append, patience=0.5),
        ):
            pass
    assert told == [f"{path.parent}: the steps of a pipeline that was killed are ending, waiting for them"]
    with lock.held(path.parent, told.append) as mine:
        mine.note({"dpo": 7})
        assert json.loads(path.read_text())["steps"] == {"dpo": 7}
