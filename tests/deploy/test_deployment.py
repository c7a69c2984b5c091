"""The whole command over a stand-in for vLLM: start, snippets, check, stop, and every way to fail.

sh run_tests.sh tests/deploy/test_deployment.py
"""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from bedside.deploy import trouble

REPO = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.usefixtures("visible_vllm")


def free_port() -> int:
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return place.getsockname()[1]


def run(*words, where: Path = REPO, **environment) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "bedside.deploy", *map(str, words)], cwd=where, capture_output=True, text=True,
        env=os.environ | environment, timeout=120,
    )  # fmt: skip


@contextmanager
def served(command: list[str], where: Path, **environment):
    """The process, once it has printed how to ask it, and what it printed."""
    process = subprocess.Popen(
        command, cwd=where, env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("print(message.content)"):
                break
        yield process, "".join(lines)
    finally:
        process.kill()
        process.communicate()


def gone(pid: int) -> bool:
    """Whether a process has ended (a zombie, which its new parent has not read yet, has)."""
    for _ in range(50):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.1)
    return False


@pytest.mark.parametrize(("sign", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 0), (signal.SIGHUP, 0)])
def test_from_another_directory_by_a_name_with_a_space_until_it_is_stopped(make_merged, tmp_path, sign, status):
    make_merged()
    port = free_port()
    command = ["sh", str(REPO / "vllm_deployment.sh"), "merged sft", "--port", str(port)]
    with served(command, tmp_path) as (process, shown):
        (curl,) = [line for line in shown.splitlines() if line.startswith("curl ")]
        asked = subprocess.run(["sh", "-c", curl], capture_output=True, text=True, timeout=60)
        assert "T: merged sft" in asked.stdout, asked.stderr
        snippet = shown[shown.index("from openai") :]
        assert f"base_url='http://127.0.0.1:{port}/v1'" in snippet and "print(message.reasoning)" in snippet
        compile(snippet, "snippet", "exec")
        engine = int(re.search(r"engine (\d+)", (tmp_path / "vllm_merged_sft.log").read_text()).group(1))
        process.send_signal(sign)
        assert process.wait(60) == status
        assert process.stderr.read().splitlines()[-1] == "vLLM is stopped"
    assert gone(engine)
    with socket.socket() as place:
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        place.bind(("127.0.0.1", port))


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's doing")
def test_a_command_that_is_killed_takes_the_server_along(make_merged, tmp_path):
    command = [sys.executable, "-m", "bedside.deploy", str(make_merged()), "--port", str(free_port())]
    with served(command, tmp_path) as (process, _):
        (child,) = psutil.Process(process.pid).children()
        process.kill()
    assert gone(child.pid)
    os.killpg(child.pid, signal.SIGKILL)  # the stand-in leaves its engine, which vLLM does not


def test_a_key_stays_in_the_environment(make_merged, tmp_path):
    port, place = free_port(), make_merged()
    command = [sys.executable, "-m", "bedside.deploy", str(place), "--port", str(port), "--log_file", "my.log"]
    with served(command, tmp_path, VLLM_API_KEY="s3cret-key") as (process, shown):
        (curl,) = [line for line in shown.splitlines() if line.startswith("curl ")]
        assert '-H "Authorization: Bearer $VLLM_API_KEY"' in curl
        assert "api_key=os.environ['VLLM_API_KEY']" in shown
        for key, found in (("s3cret-key", "T: merged sft"), ("another", "Unauthorized")):
            asked = subprocess.run(
                ["sh", "-c", curl], env=os.environ | {"VLLM_API_KEY": key}, capture_output=True, text=True, timeout=60
            )
            assert found in asked.stdout
        process.terminate()
        assert "s3cret-key" not in shown + process.stderr.read() + (tmp_path / "my.log").read_text()


def test_check_asks_in_both_languages_and_stops(make_merged, tmp_path):
    words = [make_merged(), "--check", "--port", free_port()]
    done = run(*words, where=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("    reasoning  T: merged sft") == done.stdout.count("finish_reason  stop") == 2
    assert done.stdout.endswith("\ncheck: 2 of 2 answers are whole and ended by themselves\n")
    done = run(*words, where=tmp_path, FAKE_REASON="length")
    assert done.returncode == 1
    assert done.stdout.endswith("\ncheck: 0 of 2 answers are whole and ended by themselves\n")


def test_a_dry_run_prints_the_command_and_starts_nothing(make_merged, tmp_path):
    done = run(make_merged(), "--dry_run", where=tmp_path)
    assert done.returncode == 0
    assert "-m vllm.entrypoints.openai.api_server --model " in done.stdout
    assert not list(tmp_path.glob("*.log"))


def test_a_server_that_dies_is_told_with_its_error_and_a_remedy(make_merged, tmp_path):
    done = run(make_merged(), "--port", free_port(), where=tmp_path, FAKE="dies")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-4:] == [
        "error: vLLM ended with status 1:",
        "error:   ValueError: No available memory for the cache blocks.",
        "error: the memory is short: try --max-model-len 2048, --max-num-seqs 16, --enforce-eager, or close what else "
        "uses it (nvidia-smi)",
        f"error: its whole log: {tmp_path}/vllm_merged_sft.log",
    ]


def test_a_server_that_dies_while_it_serves_ends_the_command(make_merged, tmp_path):
    command = [sys.executable, "-m", "bedside.deploy", str(make_merged()), "--port", str(free_port())]
    with served(command, tmp_path, FAKE="dies later") as (process, shown):
        (curl,) = [line for line in shown.splitlines() if line.startswith("curl ")]
        subprocess.run(["sh", "-c", curl], capture_output=True, timeout=60)
        assert process.wait(60) == 1
        assert "error: vLLM ended with status 3\n" in process.stderr.read()


def test_a_port_that_is_taken_is_told_before_anything_starts(make_merged, tmp_path):
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        place.listen()
        port = place.getsockname()[1]
        done = run(make_merged(), "--port", port, where=tmp_path)
    assert done.returncode == 2
    assert f"error: port {port} on 127.0.0.1 is taken by another program" in done.stderr
    assert not list(tmp_path.glob("*.log"))


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--port", "0"], "error: --port 0: expected a number from 1 to 65535"),
        (["--port", "70000"], "error: --port 70000: expected a number from 1 to 65535"),
        (["--host", "127.0.0.1.9"], "error: --host 127.0.0.1.9: other machines would reach the model without a key"),
    ],
)
def test_an_address_that_is_none(make_merged, tmp_path, flags, told):
    done = run(make_merged(), *flags, where=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(told)


def test_without_a_directory(make_merged, tmp_path):
    done = run("--dry_run", where=tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        "error: expected a model directory: sh vllm_deployment.sh MODEL_DIR (without one merged-sft is served, which "
        "is not here)\n"
    )
    make_merged(directory="merged-sft")
    assert "--served-model-name merged-sft " in run("--dry_run", where=tmp_path).stdout


@pytest.mark.parametrize(
    ("line", "helps"),
    [
        ("api_server.py: error: unrecognized arguments: --maxlen 3", "a flag that this vLLM does not take"),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB", "the memory is short"),
        ("OSError: [Errno 98] Address already in use", "another program took the port"),
        ("RuntimeError: DeepSeekR1ReasoningParser reasoning parser could not locate", "the reasoning parser does not"),
        (
            "ValueError: Model architectures ['X'] are not supported for now.",
            "this vLLM does not know the architecture",
        ),
    ],
)
def test_errors_and_their_remedies(tmp_path, line, helps):
    log = tmp_path / "log"
    log.write_text(f"INFO 11-22 10:00:00 [a.py:1] hello\n(EngineCore pid=3) {line}\n(EngineCore pid=3) {line}\n")
    assert trouble.errors_of(log) == [line]
    assert trouble.remedy([line]).startswith(helps)
    assert trouble.last_step(log) == "hello"
    assert "(out of main memory?)" in trouble.sentence(-9, log)
