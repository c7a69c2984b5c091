"""Every registered template against the live server: what it reads is what training wrote, token for token.

sh run_tests.sh --serve -k parity
WRITE_TABLES=1 sh run_tests.sh --serve -k every_template     writes the table of docs/templates.md
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from bedside import documents, models, parity, parity_chats, templates

from . import server, toys

KINDS = {"byte-level": (toys.byte_level, "qwen3"), "SentencePiece-like": (toys.sentencepiece_like, "llama")}


class Live(NamedTuple):
    """A tokenizer and a random model in `directory`, and the URL that serves them."""

    kind: str
    directory: Path
    url: str


@pytest.fixture(scope="module", params=KINDS)
def live(request, tmp_path_factory) -> Iterator[Live]:
    """One server for each kind of tokenizer, which takes the template from the request."""
    root = tmp_path_factory.mktemp("live")
    make, architecture = KINDS[request.param]
    tokenizer = make(root / "model")
    toys.model_of(architecture, tokenizer, root / "model")
    flags = ("--trust-request-chat-template", "--served-model-name", "toy")
    with server.serving(root / "model", root / "server.log", *flags, max_model_len=toys.WIDTH) as url:
        yield Live(request.param, root / "model", url)


def test_every_template_is_served_as_it_is_trained(live, capsys, tmp_path):
    document = tmp_path / "templates.md"
    document.write_text("# T\n\n<!-- parity -->\nold\n<!-- /parity -->\nend\n")
    argv = ["--url", live.url, "--tokenizer", str(live.directory), "--all", "--markdown", str(document)]
    status = parity.main(argv)
    shown = capsys.readouterr().out
    assert status == 0, shown
    assert shown.startswith(f"{len(templates.REGISTRY)} templates, ") and ": all equal." in shown.splitlines()[0]
    assert [line.split("`")[1] for line in shown.splitlines() if line.startswith("| `")] == list(templates.REGISTRY)
    assert document.read_text() == f"# T\n\n<!-- parity -->\n\n{shown}\n<!-- /parity -->\nend\n"
    if live.kind == "byte-level":
        if os.environ.get("WRITE_TABLES"):
            documents.fill("docs/templates.md", "parity", shown.splitlines())
        assert shown in Path("docs/templates.md").read_text(encoding="utf-8"), "WRITE_TABLES=1 writes the table anew"


def test_the_prompt_has_the_special_tokens_that_the_template_writes(live):
    """No BOS is added, none is lost: both tokenizers here would put one in front of plain text."""
    tokenizer = models.load_tokenizer(str(live.directory))
    assert tokenizer("a")["input_ids"].count(tokenizer.bos_token_id) == 1
    for name in templates.REGISTRY:
        tokenizer = models.load_tokenizer(str(live.directory))
        template = models.install_template(tokenizer, name)
        names = dict(tokenizer.special_tokens_map)
        chat = parity_chats.chats(template, names)[0]
        ids = parity.served(chat, live.url, "toy", names, template.source).ids
        switches = {} if chat.enable_thinking is None else {"enable_thinking": chat.enable_thinking}
        prompt = template.render(chat.row["messages"][:-1], None, add_generation_prompt=True, **names, **switches)
        assert ids.count(tokenizer.bos_token_id) == prompt.text.count(tokenizer.bos_token), name
        if live.kind == "byte-level":
            assert tokenizer.decode(ids, skip_special_tokens=False) == prompt.text, name


def test_a_refusal_and_a_changed_template_are_differences(live):
    """The toy has no template of its own, and the server says so; nothing is equal by being empty."""
    (result,) = parity.compare(live.url, str(live.directory), ["chatml"])
    assert result.equal == 0 and result.chats == 24
    assert "server refuses it: " in result.differences[0]
    changed = templates.get("chatml").source.replace("user", "User")
    chat = parity_chats.chats(templates.get("chatml"), {"eos_token": "</s>"})[0]
    assert changed != templates.get("chatml").source
    tokenizer = models.load_tokenizer(str(live.directory))
    template = models.install_template(tokenizer, "chatml")
    sides = [parity.trained(chat, tokenizer, template), parity.served(chat, live.url, "toy", {}, changed)]
    assert parity.difference(chat, sides, tokenizer.decode).startswith("Chinese, one turn: token ")
