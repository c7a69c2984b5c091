"""The data report: its numbers by hand, its page, and that no row's text is in it.

sh run_tests.sh tests/test_datareport.py
"""

import html.parser
import re
import subprocess
import sys

import numpy as np
import pytest

from bedside import datareport, models
from bedside.data import build, chats, facts, tokens
from bedside.datareport.lengths import edges
from tests.data.malformed import jsonl

WORDS = "SECRET 头痛"


def row(question, answer, *more):
    turns = [("human", question), ("gpt", answer), *more]
    return {"conversations": [{"from": who, "value": text} for who, text in turns]}


@pytest.fixture
def files(tmp_path):
    thought = {"Question": f"{WORDS}怎么办？", "Complex_CoT": "Think of rest and of water.", "Response": "休息。"}
    rows = [
        row("fever?", "Rest."),
        row("fever?", "Rest. "),
        thought,
        row("咳嗽", "喝水", ("human", "还有吗"), ("gpt", "没有")),
    ]
    train, valid = tmp_path / "train.jsonl", tmp_path / "valid.jsonl"
    train.write_bytes(jsonl(*rows, row(WORDS, "long " * 200), "{", {"instruction": WORDS, "output": ""}))
    valid.write_bytes(jsonl(row("cough?", "Water."), row("fever?", "Rest.")))
    return train, valid


@pytest.fixture
def data(files):
    tokenizer = models.load_tokenizer("models/starter")
    encoding = tokens.encoding_for(tokenizer, models.install_template(tokenizer, "qwen3"), 128)
    plan = chats.Plan(*(build.sources([str(path)]) for path in files), build.Reading(), 1.0)
    return chats.datasets(plan, tokenizer.backend_tokenizer, encoding, None)


def test_the_numbers(data, files):
    report = datareport.counted(data, 128, "qwen3")
    train, held_out = report.sets
    assert (train.conversations, train.samples, train.thoughts) == (4, 5, 1)
    assert train.languages == {"Chinese": 2, "Latin script": 3}
    assert train.turns == {"1": 4, "2": 1}
    assert (train.duplicates.count, train.duplicates.examples) == (1, [(f"{files[0]}:2", f"{files[0]}:1")])
    assert (report.also_held_out.count, report.also_held_out.examples) == (2, [(f"{files[0]}:1", f"{files[1]}:2")])
    ((place, size),) = train.overlong
    assert place == f"{files[0]}:5" and size == max(train.lengths) == train.percentiles[100] > 128
    assert 0 < train.thought_tokens < train.trained < train.tokens
    assert report.examples == {
        "E_JSON": [f"{files[0]}:6"],
        "E_EMPTY": [f"{files[0]}:7"],
        "W_OVERLONG": [f"{files[0]}:5"],
    }
    assert (held_out.conversations, held_out.thought_tokens) == (2, 0)


def test_the_thought_ends_where_it_ends(tmp_path, data):
    """Trained tokens of a thought: from the answer's beginning to the thought's last token."""
    tokenizer = models.load_tokenizer("models/starter")
    text = "<think>\nThink of rest and of water."
    wanted = len(tokenizer(text)["input_ids"])
    assert data.parts[0].facts()["thought_tokens"].tolist() == [0, 0, wanted, 0, 0]


class Page(html.parser.HTMLParser):
    """Open tags, and every address."""

    def __init__(self, text):
        super().__init__()
        self.open, self.addresses = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.addresses += [value for name, value in attributes if name in ("src", "href")]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_stands_alone_and_holds_no_text_of_rows(tmp_path, data, files):
    datareport.write(tmp_path / "out", data, 128, "qwen3")
    text = (tmp_path / "out" / "data_report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == []
    assert [address[:22] for address in page.addresses] == ["data:image/png;base64,"]
    assert "<script" not in text and "http" not in re.sub(r"base64,[^\"]*", "", text)
    assert "SECRET" not in text and "头痛" not in text
    assert f"{files[0]}:5" in text and "训练集" in text and "Held out" in text and "E_EMPTY" in text
    assert (tmp_path / "out" / "data_lengths.png").read_bytes()[:4] == b"\x89PNG"


def test_what_the_terminal_shows(data, files):
    shown = "\n".join(datareport.lines(datareport.counted(data, 128, "qwen3")))
    assert f"  {files[0]}: 4 of 7 rows used; E_JSON: 1, E_EMPTY: 1, W_OVERLONG: 1" in shown
    assert "  turns         1: 4, 2: 1\n  languages     Chinese: 2, Latin script: 3" in shown
    assert "2 training conversations are held out too, word for word" in shown
    assert "SECRET" not in shown


@pytest.mark.parametrize(
    ("text", "language"),
    [("发热三天 CRP 38.5", "Chinese"), ("fever of 38", "Latin script"), ("熱があります", "Japanese"),
     ("열이 나요", "Korean"), ("38.5!", "other"), ("阿司匹林 aspirin 100 mg bid", "Chinese")],
)  # fmt: skip
def test_languages(text, language):
    assert facts.LANGUAGES[facts.language_of(text)] == language


def test_bars_end_at_the_limit_and_grow_where_lengths_differ_much():
    even, growing = np.arange(10, 100), np.array([10] * 50 + [5000])
    for lengths, limit, grows in ((even, 40, False), (growing, 512, True), (np.array([7]), 9, False)):
        made, grow = edges(lengths, limit)
        assert grow is grows
        assert (limit + 1 in made) == (lengths.max() > limit)
        assert (np.diff(made) > 0).all()
        assert np.histogram(lengths, made)[0].sum() == len(lengths)


def test_the_command(tmp_path, files):
    command = [sys.executable, "-m", "bedside.datareport", *map(str, files), "--template_name", "qwen3"]
    done = subprocess.run([*command, "--output_dir", str(tmp_path / "out")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "data_report.html", "data_lengths.png", "ledger.json", "rejected.jsonl",
    }  # fmt: skip
    done = subprocess.run(command[:3], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (
        2, "error: no files: name files or directories, as python -m bedside.datareport data/sft\n",
    )  # fmt: skip
