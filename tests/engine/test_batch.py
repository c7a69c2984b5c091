"""A file of questions through a server, as a user calls it: order, errors, a run that is killed, and wrong flags.

sh run_tests.sh tests/engine/test_batch.py
"""

import io
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time

import pytest

import inference
from bedside import batch, questions
from bedside.answers import EngineFailed, Sampling
from bedside.errors import ConfigError
from bedside.remote import RemoteEngine
from tests.engine.server import refuses, running, says, scripted


@pytest.fixture
def asked(tmp_path):
    """Twenty questions, the fourth empty and the last no JSON."""
    path = tmp_path / "in.jsonl"
    rows = [{"id": f"r{number}", "prompt": f"question {number}", "response": "Rest."} for number in range(19)]
    rows[3]["prompt"] = ""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + "{broken\n")
    return path


def echo(handler, body):
    """Answers with the question and its seed, sooner or later."""
    time.sleep(random.random() * 0.02)
    says(f"{body['messages'][-1]['content']} seed {body['seed']}", "hm")(handler, body)


def written(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def run(server, asked, output, *flags):
    inference.main(["--server", server.url, "--data_file", str(asked), "--output_file", str(output), *flags])


def test_rows_are_in_order_and_none_is_missing(asked, tmp_path, said):
    output = tmp_path / "out.jsonl"
    with running(echo) as server:
        run(server, asked, output, "--concurrency", "5", "--system_prompt", "Be brief.")
    rows = written(output)
    assert [row["line"] for row in rows] == list(range(1, 21))
    assert {row["line"]: row["error"] for row in rows if "error" in row} == {4: "E_EMPTY", 20: "E_JSON"}
    assert [row["answer"] for row in rows if "answer" in row] == [
        f"question {number} seed {42 + number}" for number in range(19) if number != 3
    ]
    assert rows[0] == {
        "id": "r0", "line": 1,
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "question 0"}],
        "answer": "question 0 seed 42", "thought": "hm",
        "text": "<think>\nhm\n</think>\n\nquestion 0 seed 42", "finish_reason": "stop", "prompt_tokens": 5,
        "completion_tokens": 3, "reference": "Rest.",
    }  # fmt: skip
    assert f"{output}: 20 rows = 18 finished + 1 E_EMPTY + 1 E_JSON" in said
    assert any(" rows/s, " in line and " tokens/s, " in line for line in said)


def test_a_row_that_the_server_refuses_is_written_with_its_error(asked, tmp_path, said):
    def step(handler, body):
        if body["messages"][-1]["content"] == "question 7":
            handler.error(400, "maximum context length is 8 tokens")
        elif body["messages"][-1]["content"] == "question 9":
            handler.error(400, "no: question 9")
        else:
            echo(handler, body)

    with running(step) as server:
        run(server, asked, tmp_path / "out.jsonl")
    rows = written(tmp_path / "out.jsonl")
    assert len(rows) == 20
    assert {row["line"]: row["error"] for row in rows if "error" in row} == {
        4: "E_EMPTY", 8: "W_OVERLONG", 10: "E_TEMPLATE", 20: "E_JSON"
    }  # fmt: skip
    assert rows[9]["detail"] == "the server refuses these messages (HTTP 400: no: ...)"


def test_a_server_in_trouble_is_waited_for(asked, tmp_path, said):
    trouble = [refuses(429, Retry_After="0.01"), refuses(500), echo, refuses(503), echo]
    with running(scripted(*trouble)) as server:
        run(server, asked, tmp_path / "out.jsonl", "--concurrency", "4")
    assert [row["line"] for row in written(tmp_path / "out.jsonl")] == list(range(1, 21))


def test_a_server_that_dies_leaves_what_is_written_and_the_same_command_goes_on(asked, tmp_path, said):
    output, whole = tmp_path / "out.jsonl", tmp_path / "whole.jsonl"
    rows = questions.read(str(asked))

    def step(handler, body):
        if len(server.asked) > 9:
            handler.error(401, "the key has run out")
        else:
            echo(handler, body)

    with running(step) as server, pytest.raises(EngineFailed, match="refuses the request|asks for a key") as error:
        run(server, asked, output, "--concurrency", "3")
    there = len(written(output))
    assert 3 <= there <= 11
    assert f"{output} holds the first {there} rows, and the same command goes on from there" in str(error.value)
    assert [row["line"] for row in written(output)] == [row.origin.line for row in rows[:there]]
    with running(echo) as server:
        run(server, asked, output, "--concurrency", "3")
        run(server, asked, whole, "--concurrency", "7")
        assert f"{output}: {there} of 20 rows are there, going on with the rest" in said
        begun = len(server.asked)
        run(server, asked, output)
        assert len(server.asked) == begun
    assert output.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_is_killed_goes_on_to_the_same_file(asked, tmp_path, repo, sign):
    output, whole = tmp_path / "out.jsonl", tmp_path / "whole.jsonl"

    killed, ended = threading.Event(), threading.Event()

    def slow(handler, body):
        # The ninth answer waits for the signal, and then a while: however busy the machine, the run cannot end before.
        if len(server.asked) >= 9 and not ended.is_set():
            killed.wait(60)
            ended.wait(0.8)
        echo(handler, body)

    with running(slow) as server:
        command = [sys.executable, "inference.py", "--server", server.url, "--data_file", str(asked)]
        command += ["--concurrency", "3", "--output_file", str(output)]
        # What a shell puts into the background ignores Ctrl-C, and hands that on.
        process = subprocess.Popen(
            command, cwd=repo, stderr=subprocess.PIPE, text=True, env={**os.environ},
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip
        while len(server.asked) < 9:
            assert process.poll() is None
            time.sleep(0.005)
        process.send_signal(sign)
        killed.set()
        told = process.communicate(timeout=30)[1]
        ended.set()
        assert process.returncode == (-9 if sign == signal.SIGKILL else 130)
        assert sign == signal.SIGKILL or "stopped by Ctrl-C; what was saved so far is intact" in told
        with output.open("a") as stream:
            stream.write('{"id": 1, "line')  # a line that was being written
        run(server, asked, output, "--concurrency", "2")
        run(server, asked, whole)
    assert [row["line"] for row in written(output)] == list(range(1, 21))
    assert output.read_bytes() == whole.read_bytes()


def test_another_models_file_is_not_continued(asked, tmp_path):
    output = tmp_path / "out.jsonl"
    with running(echo) as server:
        run(server, asked, output)
        with pytest.raises(ConfigError, match=r"is another run's: settings temperature \(0.7 then, 0.0 now\)"):
            run(server, asked, output, "--temperature", "0")
    with (
        running(echo, ({"id": "other"},)) as server,
        pytest.raises(ConfigError, match=r"is another run's: model served \(m then, other now\)"),
    ):
        run(server, asked, output)
    with running(echo) as server:  # elsewhere, but the same model
        run(server, asked, output)


def test_tools_of_a_row_go_along(tmp_path):
    tools = [{"type": "function", "function": {"name": "t", "description": "d", "parameters": {}}}]
    path = tmp_path / "in.jsonl"
    path.write_text(json.dumps({"messages": [{"role": "user", "content": "Fever?"}], "tools": tools}) + "\n")
    with running(says("Rest.")) as server:
        batch.run_on_server(RemoteEngine(server.url), questions.read(str(path)), 0, str(tmp_path / "out"), Sampling(9))
    assert (server.asked[0]["tools"][0]["function"]["name"], server.asked[0]["tool_choice"]) == ("t", "none")


def test_a_chat_with_a_server(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO("Fever?\nAnd then?\nexit\n"))
    with running(says("Rest.", "hm")) as server:
        inference.main(["--server", server.url, "--interactive", "--seed", "3"])
    shown = capsys.readouterr().out
    assert "\n> Fever?\nthinking ...\nhm\n\nRest.\n[3 tokens, " in shown
    assert [len(asked["messages"]) for asked in server.asked] == [1, 3]
    assert [asked["seed"] for asked in server.asked] == [3, 3]


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ("--server h:1 --interactive --load_in_4bit True --lora_model outputs-sft",
         "--lora_model, --load_in_4bit: the server has loaded its model already; say so where it is started"),
        ("--server h:1 --interactive --template_name qwen3", "--template_name: the server has loaded"),
        ("--server h:1 --interactive --batch_size 4", "--batch_size: a server makes its own batches; --concurrency"),
        ("--server h:1 --interactive --concurrency 4", "--concurrency belongs to --data_file"),
        ("--server h:1 --interactive --concurrency 0", "--concurrency 0: expected 1 to 1024"),
        ("--server h:1 --interactive --server_timeout 0", "--server_timeout 0.0: expected more than 0 seconds"),
        ("--interactive --served_model m --concurrency 4", "--served_model: belongs to --server\n--concurrency: b"),
        ("--server ftp://h --interactive", "--server ftp://h: expected an address such as http://127.0.0.1:8000"),
        ("--sever h:1 --interactive", "--sever: unknown flag; did you mean --server"),
    ],
)  # fmt: skip
def test_wrong_wishes(flags, told):
    with pytest.raises(ConfigError, match=told):
        inference.main(flags.split())


def test_a_wrong_key_and_a_wrong_name(asked, tmp_path):
    def guarded(handler):
        handler.error(401, "no valid API key")

    with running(echo, guarded) as server, pytest.raises(EngineFailed, match="asks for a key .HTTP 401: no valid"):
        run(server, asked, tmp_path / "out.jsonl")
    with running(echo) as server, pytest.raises(ConfigError, match="--served_model sft: http://.* serves m"):
        run(server, asked, tmp_path / "out.jsonl", "--served_model", "sft")
    assert not (tmp_path / "out.jsonl").exists()


def modules_of(code, repo):
    """Which of the heavy libraries are loaded after `code`."""
    heavy = "{'torch', 'transformers', 'openai', 'httpx2', 'peft', 'trl'}"
    code += f"\nimport sys; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=repo, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1]


def test_help_loads_nothing_heavy_and_a_server_needs_no_torch(repo, asked, tmp_path):
    code = "import contextlib, inference\nwith contextlib.suppress(SystemExit): inference.main({})"
    assert modules_of(code.format("['--help']"), repo) == "[]"
    with running(echo) as server:
        flags = ["--server", server.url, "--data_file", str(asked), "--output_file", str(tmp_path / "out.jsonl")]
        assert modules_of(code.format(flags), repo) == "['httpx2', 'openai']"
