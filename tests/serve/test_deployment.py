"""vllm_deployment.sh on a trained model, merged and as an adapter, asked by the official client until Ctrl-C.

sh run_tests.sh --serve -k deployment
"""

import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from bedside import parity
from bedside.parity import first_model

from . import server
from .test_trained import FACTS, train

REPO = Path(__file__).resolve().parents[2]
TOOL = {
    "type": "function",
    "function": {
        "name": "dose",
        "description": "The dose of a drug.",
        "parameters": {
            "type": "object",
            "properties": {"drug": {"type": "string", "enum": ["ibuprofen", "paracetamol"]}},
            "required": ["drug"],
            "additionalProperties": False,
        },
    },
}


class Deployed(NamedTuple):
    """What is served, under which name and address, vLLM's log, and what the command printed."""

    kind: str
    directory: Path
    model: str
    url: str
    log: Path
    shown: str

    def client(self):
        from openai import OpenAI

        return OpenAI(base_url=f"{self.url}/v1", api_key="none", timeout=120, max_retries=0)


@pytest.fixture(scope="module")
def directories(tmp_path_factory) -> dict[str, Path]:
    """The starter trained on a few facts, as an adapter and merged."""
    root = tmp_path_factory.mktemp("a trained model")
    return {"merged": train("qwen3", root), "adapter": root / "adapter"}


@pytest.fixture(scope="module", params=["merged", "adapter"])
def deployed(request, directories, tmp_path_factory) -> Iterator[Deployed]:
    """What `sh vllm_deployment.sh DIRECTORY` serves, from another directory; Ctrl-C must leave nothing behind."""
    directory, port, place = directories[request.param], server.free_port(), tmp_path_factory.mktemp("elsewhere")
    command = ["sh", str(REPO / "vllm_deployment.sh"), str(directory), "--port", str(port)]
    with (place / "errors").open("w") as errors:
        process = subprocess.Popen(command, cwd=place, stdout=subprocess.PIPE, stderr=errors, text=True)
    try:
        shown = ""
        for line in process.stdout:  # ends with the command, if that fails
            shown += line
            if line == "print(message.content)\n":
                break
        assert process.poll() is None and shown.endswith("(message.content)\n"), (place / "errors").read_text()
        log = place / f"vllm_{directory.name}.log"
        yield Deployed(request.param, directory, directory.name, f"http://127.0.0.1:{port}", log, shown)
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) >= 2  # the server and its engine
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert (place / "errors").read_text().endswith("vLLM is stopped\n")
        assert [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE] == []
        with socket.socket() as again:
            again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            again.bind(("127.0.0.1", port))
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(60)


def test_the_printed_commands_answer_as_they_stand(deployed, tmp_path):
    (curl,) = [line for line in deployed.shown.splitlines() if line.startswith("curl ")]
    done = subprocess.run(["sh", "-c", curl], capture_output=True, text=True, timeout=120)
    assert json.loads(done.stdout)["choices"][0]["message"]["content"], done.stderr
    snippet = tmp_path / "snippet.py"
    snippet.write_text(deployed.shown[deployed.shown.index("from openai") :], encoding="utf-8")
    done = subprocess.run([sys.executable, str(snippet)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stdout.strip(), done.stderr


@pytest.mark.parametrize(("question", "answer", "thought"), FACTS)
def test_thought_and_answer_come_apart_streaming_and_not(deployed, question, answer, thought):
    asked = {"model": deployed.model, "messages": [{"role": "user", "content": question}], "temperature": 0}
    choice = deployed.client().chat.completions.create(**asked).choices[0]
    assert choice.finish_reason == "stop"
    assert (choice.message.reasoning.strip(), choice.message.content.strip()) == (thought, answer)
    told = {"reasoning": "", "content": ""}
    ended = None
    for chunk in deployed.client().chat.completions.create(**asked, stream=True):
        for name in told:
            told[name] += getattr(chunk.choices[0].delta, name, None) or ""
        ended = chunk.choices[0].finish_reason or ended
    assert (told["reasoning"].strip(), told["content"].strip(), ended) == (thought, answer, "stop")


def test_the_server_reads_what_training_wrote(deployed, capsys):
    argv = ["--url", deployed.url, "--tokenizer", str(deployed.directory), "--model", deployed.model]
    assert parity.main(argv) == 0
    assert "44 chats: all equal." in capsys.readouterr().out


def test_a_call_of_a_tool_and_its_result(deployed):
    """The starter knows no tools: `required` makes the server hold it to the tool's form, and a ban on tokens of white
    space keeps it from writing those for ever, which the form allows."""
    from bedside import models

    tokenizer = models.load_tokenizer(str(deployed.directory))
    blank = {str(token): -100 for token in range(len(tokenizer)) if tokenizer.decode([token]).isspace()}
    client, messages = deployed.client(), [{"role": "user", "content": "How much ibuprofen?"}]
    asked = {"model": deployed.model, "tools": [TOOL], "temperature": 0, "max_tokens": 128}
    forced = {"tool_choice": "required", "logit_bias": blank}
    forced["extra_body"] = {"chat_template_kwargs": {"enable_thinking": False}}
    choice = client.chat.completions.create(**asked, **forced, messages=messages).choices[0]
    (call,) = choice.message.tool_calls
    assert (choice.finish_reason, call.function.name) == ("tool_calls", "dose")
    assert json.loads(call.function.arguments)["drug"] in ("ibuprofen", "paracetamol")
    messages += [
        {"role": "assistant", "content": None, "tool_calls": [call.model_dump()]},
        {"role": "tool", "tool_call_id": call.id, "content": "400 mg"},
    ]
    ids = {"return_token_ids": True}
    reply = client.chat.completions.create(**asked, messages=messages, tool_choice="none", extra_body=ids)
    assert reply.choices[0].finish_reason in ("stop", "length")
    read = tokenizer.decode(reply.prompt_token_ids)
    assert "<tool_response>\n400 mg\n</tool_response>" in read
    assert re.search(r'<tool_call>\n\{"name": "dose", "arguments": \{"drug": ?"\w+"\}\}\n</tool_call>', read)


def test_the_names_that_are_served(deployed):
    listed = [card.id for card in deployed.client().models.list()]
    assert listed == (["merged"] if deployed.kind == "merged" else ["adapter-base", "adapter"])
    assert first_model(deployed.url) == listed[0]


def test_the_log_holds_no_patients_text(deployed):
    text = deployed.log.read_text(encoding="utf-8", errors="replace")
    assert "Application startup complete" in text
    assert FACTS[0][0] not in text and "ibuprofen" not in text
