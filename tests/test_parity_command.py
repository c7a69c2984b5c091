"""The parity command against a stand-in for a server, which renders as vLLM does: `tests/serve` has the real one.

sh run_tests.sh tests/test_parity_command.py
"""

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from bedside import models, parity, parity_chats, templates
from bedside.errors import ConfigError
from bedside.parity import Side
from bedside.parity_chats import Chat

CHAT = Chat("one turn", {"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}]}, None)


@pytest.fixture(scope="module")
def tokenizer_dir(tmp_path_factory, tiny_tokenizer):
    directory = tmp_path_factory.mktemp("parity") / "tokenizer"
    tiny_tokenizer.save_pretrained(directory)
    tokenizer = models.load_tokenizer(str(directory))
    models.install_template(tokenizer, "chatml")
    tokenizer.save_pretrained(directory)
    return directory


class StandIn(BaseHTTPRequestHandler):
    """Answers as vLLM does; what it does wrong is set on the server."""

    def log_message(self, *_):
        pass

    def reply(self, status, body):
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def do_GET(self):
        self.reply(200, {"data": [{"id": "tiny"}]} if self.server.lists_models else {})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.bodies.append(body)
        if self.server.refusal:
            self.reply(self.server.refusal[0], {"error": {"message": self.server.refusal[1]}})
            return
        template = body.get("chat_template", self.server.template)
        ids = self.server.tokenizer.apply_chat_template(
            body["messages"], chat_template=template, add_generation_prompt=True, **body["chat_template_kwargs"]
        )["input_ids"]
        self.reply(200, {"prompt_token_ids": ids} if self.server.returns_ids else {})


@pytest.fixture
def server(tokenizer_dir):
    """A stand-in on a port of its own: `.url`, the bodies it was sent, and what to do wrong."""
    made = ThreadingHTTPServer(("127.0.0.1", 0), StandIn)
    made.tokenizer = models.load_tokenizer(str(tokenizer_dir))
    made.template = made.tokenizer.chat_template
    made.bodies, made.refusal, made.lists_models, made.returns_ids = [], None, True, True
    made.url = f"http://127.0.0.1:{made.server_port}"
    threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


def test_a_server_that_renders_what_was_trained(server, tokenizer_dir, capsys, tmp_path):
    document = tmp_path / "templates.md"
    document.write_text("before\n<!-- parity -->\n<!-- /parity -->\nafter\n")
    argv = ["--url", server.url + "/v1/", "--tokenizer", str(tokenizer_dir), "--markdown", str(document)]
    assert parity.main(argv) == 0
    shown = capsys.readouterr().out
    assert shown == (
        "1 template, 24 chats: all equal.\n\n"
        "| template | chats | equal | refused alike | first difference |\n"
        "| --- | ---: | ---: | ---: | --- |\n"
        "| `chatml` | 24 | 24 | 0 |  |\n"
    )
    assert document.read_text() == f"before\n<!-- parity -->\n\n{shown}\n<!-- /parity -->\nafter\n"
    assert len(server.bodies) == 24
    first = next(body for body in server.bodies if body["messages"] == [{"role": "user", "content": "头晕怎么办？"}])
    assert first == {
        "model": "tiny", "messages": first["messages"], "max_tokens": 1, "temperature": 0, "return_token_ids": True,
        "chat_template_kwargs": {},
    }  # fmt: skip


def test_a_server_with_another_template_is_told_with_the_place(server, tokenizer_dir, capsys):
    server.template = server.template.replace("<|im_start|>user\\n", "<|im_start|>user\\n\\n")
    assert parity.main(["--url", server.url, "--tokenizer", str(tokenizer_dir)]) == 1
    out = capsys.readouterr().out
    assert out.startswith("1 template, 24 chats: 0 equal, 24 different.\n")
    assert "| `chatml` | 24 | 0 | 0 | Chinese, one turn: token " in out
    assert "training has '<\\|im_start\\|>user\\n" in out and "server has" not in out and ", server '" in out


def test_all_sends_every_template_with_its_special_tokens(server, tokenizer_dir):
    names = ["chatml", "vicuna"]
    results = parity.compare(server.url, str(tokenizer_dir), names, "mine", send=True)
    assert [(r.template, r.chats == r.equal > 0) for r in results] == [("chatml", True), ("vicuna", True)]
    sent = {body["chat_template"]: body["chat_template_kwargs"] for body in server.bodies}
    assert sent == {templates.get(name).source: {"eos_token": "<|im_end|>"} for name in names}
    assert {body["model"] for body in server.bodies} == {"mine"}


def test_a_server_that_returns_no_ids(server, tokenizer_dir):
    server.returns_ids = False
    with pytest.raises(ConfigError, match="returns no prompt_token_ids; expected vLLM 0.11 or newer"):
        parity.main(["--url", server.url, "--tokenizer", str(tokenizer_dir)])


def test_a_server_that_lists_no_model(server, tokenizer_dir):
    server.lists_models = False
    with pytest.raises(ConfigError, match="lists no model at /v1/models; expected an OpenAI-compatible server"):
        parity.main(["--url", server.url, "--tokenizer", str(tokenizer_dir)])


def test_a_server_that_takes_no_template(server, tokenizer_dir):
    server.refusal = (400, "Chat template is passed with request, but --trust-request-chat-template is not set.")
    with pytest.raises(ConfigError, match="--all: start the server at http.* with --trust-request-chat-template"):
        parity.compare(server.url, str(tokenizer_dir), ["chatml"], send=True)


def test_a_model_that_the_server_does_not_have(server, tokenizer_dir):
    server.refusal = (404, "The model `other` does not exist.")
    with pytest.raises(ConfigError, match="answers with status 404 \\(The model `other` does not exist.\\)"):
        parity.main(["--url", server.url, "--tokenizer", str(tokenizer_dir), "--model", "other"])


def test_a_chat_that_only_the_server_refuses_is_a_difference(server, tokenizer_dir):
    server.refusal = (400, "too long")
    (result,) = parity.compare(server.url, str(tokenizer_dir), [None])
    assert (result.chats, result.equal, result.refused) == (24, 0, 0)
    assert result.differences[0] == "Chinese, one turn: server refuses it: too long"


def test_no_server_at_all(tokenizer_dir):
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{place.getsockname()[1]}"
    with pytest.raises(ConfigError, match=f"--url: {url}/v1/models does not answer .*start the server, or check"):
        parity.main(["--url", url, "--tokenizer", str(tokenizer_dir)])


def test_flags_that_do_not_fit(tokenizer_dir, tmp_path):
    argv = ["--all", "--template_name", "qwen3", "--url", "localhost:8000"]
    with pytest.raises(ConfigError) as found:
        parity.main(argv)
    assert found.value.problems == [
        "--tokenizer: give the model directory that the server serves (or its tokenizer's)",
        "--all and --template_name qwen3: give one",
        "--url localhost:8000: expected an address such as http://127.0.0.1:8000",
    ]
    with pytest.raises(ConfigError, match="--tokenizer no/such: no such directory"):
        parity.main(["--tokenizer", "no/such"])
    bare = tmp_path / "bare.md"
    bare.write_text("# Templates\n<!-- /parity --> <!-- parity -->\n")
    with pytest.raises(ConfigError, match="bare.md: no place for the table; put the lines <!-- parity --> and"):
        parity.main(["--tokenizer", str(tokenizer_dir), "--markdown", str(bare)])
    with pytest.raises(ConfigError, match="none.md: no such file"):
        parity.main(["--tokenizer", str(tokenizer_dir), "--markdown", str(tmp_path / "none.md")])


def test_where_two_sides_part():
    def decode(ids):
        return "".join(map(chr, ids))

    abc, abd, ab = (list(map(ord, text)) for text in ("abc", "abd", "ab"))
    same = [Side("training", abc), Side("server", abc), Side("transformers", abc)]
    assert parity.difference(CHAT, same, decode) is None
    told = parity.difference(CHAT, [same[0], Side("server", abd), same[2]], decode)
    assert told == "one turn: token 2: training has 'abc', server 'abd'"
    told = parity.difference(CHAT, [Side("training", ab), same[1], Side("transformers", ab)], decode)
    assert told == "one turn: token 2: training has 'ab', server 'abc'"
    told = parity.difference(CHAT, [Side("training", None, "E_BOUNDARY b"), same[1], Side("transformers", ab)], decode)
    assert told == ("one turn: training refuses it: E_BOUNDARY b; token 2: server has 'abc', transformers 'ab'")


def test_what_the_template_refuses_everywhere_is_not_compared():
    refused = [Side("training", None, "E_TEMPLATE one call a turn"), Side("server", None, "x"), Side("hf", None, "x")]
    assert parity.refused_by_all(refused)
    assert not parity.refused_by_all([refused[0], Side("server", [1]), refused[2]])
    assert not parity.refused_by_all([Side("training", None, "E_ROLE_ORDER x"), *refused[1:]])


@pytest.mark.parametrize(
    ("name", "thinking", "tools"), [("chatml", [], False), ("qwen3", ["by default", "asked for"], True)]
)
def test_every_shape_is_there_with_and_without_system(name, thinking, tools):
    found = parity_chats.chats(templates.get(name), {"eos_token": "<|im_end|>"})
    shapes = [chat.shape for chat in found]
    kinds = [f"{kind}, {count}" for kind in ("Chinese", "English", "emoji", "white space", "braces")
             for count in ("one turn", "three turns")]  # fmt: skip
    kinds += ["parts, three turns", "control tokens typed"]
    if tools:
        kinds += ["tools, offered", "tools, offered as people write them", "tools, to call", "tools, called",
                  "tools, two calls", "tools, called earlier"]  # fmt: skip
    kinds += [f"thought {how}, {count}" for how in thinking for count in ("one turn", "three turns")]
    assert shapes == [shape for kind in kinds for shape in (kind, f"{kind}, system")]
    for chat in found:
        roles = [message["role"] for message in chat.row["messages"]]
        assert (roles[0] == "system") == chat.shape.endswith(", system") and roles[-1] == "assistant"
    asked = {chat.shape: chat.enable_thinking for chat in found}
    assert asked["Chinese, one turn"] is (False if thinking else None)
    assert [asked.get(f"thought {how}, one turn", "none") for how in thinking] == [None, True][: len(thinking)]
    typed = next(chat for chat in found if chat.shape == "control tokens typed")
    others = "<|eot_id|> <｜User｜> [INST] </s> <end_of_turn>"
    assert (
        typed.row["messages"][0]["content"] == f"<|im_start|> <|im_end|> {others}?\n<|im_start|> <|im_end|> {others}"
    )


def test_tools_are_sent_as_clients_write_them():
    found = parity_chats.chats(templates.get("qwen3"), {"eos_token": "<|im_end|>"})
    row = next(chat.row for chat in found if chat.shape == "tools, two calls")
    arguments = [call["function"]["arguments"] for call in row["messages"][1]["tool_calls"]]
    assert [type(text) for text in arguments] == [str, str] and json.loads(arguments[0])["dose"] == 1.5
    keys = [list(tool["function"]) for tool in row["tools"]]
    assert keys == [["name", "description", "parameters"], ["parameters", "name"]]
