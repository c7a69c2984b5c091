"""A reward function of the user's own: found, called in either way, and its mistakes told with file and function.

sh run_tests.sh tests/rewards/test_python.py
"""

import pytest

from bedside import rewards
from bedside.errors import ConfigError
from bedside.rewards import Completion

ASKED = [[{"role": "user", "content": "Hm?"}]] * 2
DONE = [Completion("one", True), Completion("three", False)]
GOLDS = [{"answer": "a", "id": 1}, {"answer": "b"}]
CODE = """
import asyncio

def size(completion, gold, messages):
    return len(completion.text) if gold["answer"] == "a" else None

def trl(prompts, completions, answer, gold=None, **columns):
    assert columns["finished"] == [True, False] and columns["id"] == [1, None]
    rows = zip(completions, prompts, answer)
    return [len(one[0]["content"]) + len(asked[-1]["content"]) + len(text) for one, asked, text in rows]

def few(prompts, completions, unknown):
    return [0.5 if value is None else 1 for value in unknown]

def wrong(completion, gold, messages):
    return gold["nothing"]

def text(completion, gold, messages):
    return "high"

def nan(completion, gold, messages):
    return float("nan")

def short(prompts, completions):
    return [1.0]

def number(prompts, completions):
    return 1.0

def two(completion, gold):
    return 1.0

async def later(completion, gold, messages):
    return 1.0
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(CODE, encoding="utf-8")
    return path


def score(name: str) -> list:
    scorer = rewards.resolve([name])
    return [row[scorer.names[0]] for row in scorer.score(DONE, GOLDS, ASKED)]


def test_our_signature(file):
    assert score(f"{file}:size") == [3.0, None]


def test_trls_signature_with_and_without_columns(file):
    assert score(f"{file}:trl") == [7.0, 9.0]
    assert score(f"{file}:few") == [0.5, 0.5]


def test_a_function_of_a_package(file, monkeypatch):
    monkeypatch.syspath_prepend(str(file.parent))
    assert score("mine:size") == [3.0, None]


def test_the_name_is_the_functions(file):
    assert rewards.resolve(["format", f"{file}:size"]).names == ["format", "size"]


@pytest.mark.parametrize("function, told", [
    ("wrong", r"mine\.py:wrong: raised KeyError: 'nothing' at mine\.py:16"),
    ("text", "text: returned str, expected a number or None"),
    ("nan", "nan: returned nan; expected a finite number"), ("short", "short: returned 1 scores for 2 completions"),
    ("number", "number: returned float, expected one number a completion"),
])  # fmt: skip
def test_what_a_function_does_wrong_is_told(file, function, told):
    with pytest.raises(ConfigError, match=told):
        score(f"{file}:{function}")


@pytest.mark.parametrize("function, told", [
    ("none", r"mine\.py has no function none; it has size, trl"),
    ("two", r"takes \(completion, gold\); expected f\(completion, gold, messages\)"),
    ("later", "an async function; expected a plain one"),
])  # fmt: skip
def test_a_function_that_does_not_fit_is_refused_before_the_run(file, function, told):
    with pytest.raises(ConfigError, match=told):
        rewards.resolve([f"{file}:{function}"])


def test_a_file_that_is_missing_or_broken_is_told(tmp_path):
    with pytest.raises(ConfigError, match=r"no file .*none\.py; expected path/to/file\.py:function"):
        rewards.resolve([f"{tmp_path}/none.py:f"])
    (tmp_path / "broken.py").write_text("x = 1\ndef f(:\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"cannot be imported: SyntaxError: .*\(line 2\)"):
        rewards.resolve([f"{tmp_path}/broken.py:f"])
    with pytest.raises(ConfigError, match="cannot be imported: ModuleNotFoundError"):
        rewards.resolve(["no.such.module:f"])
