"""The test of rewards before a run: what passes, what is refused and which rows it shows.

sh run_tests.sh tests/rewards/test_selftest.py
"""

import json
import re

import pytest

from bedside import rewards
from bedside.errors import ConfigError
from bedside.rewards import __main__ as command
from bedside.rewards import selftest


def row(line: int, gold: dict, question: str = "What is it?") -> dict:
    prompt = [{"role": "user", "content": question}]
    return {"gold": json.dumps(gold), "prompt": json.dumps(prompt), "source": "rows.jsonl", "line": line}


NAMES = ("gout", "migraine", "measles", "scabies", "mumps", "malaria")
ROWS = [row(number, {"answer": name, "kind": "diagnosis"}) for number, name in enumerate(NAMES, 1)]


def write(tmp_path, code: str) -> str:
    (tmp_path / "mine.py").write_text(code, encoding="utf-8")
    return f"{tmp_path}/mine.py"


@pytest.mark.parametrize("path", ["data/grpo/verifiable.jsonl", "data/eval/mcq.jsonl"])
def test_our_own_rows_pass(path, caplog):
    caplog.set_level("INFO", "bedside")
    rows = command.read([path])
    scorer = rewards.resolve(
        ["accuracy", "format", "length", "repetition", "language"], golds=[one["gold"] for one in rows]
    )
    findings = selftest.check(scorer, rows, most=1000)
    assert [finding.missed for finding in findings] == [0] * 5 and findings[0].rows == len(rows)
    assert re.search(r"reward accuracy: gold 1\.00, shuffled 0\.00, empty 0\.00 \(\d+ rows: ", caplog.text)


def test_the_line_counts_kinds(caplog):
    caplog.set_level("INFO", "bedside")
    rows = [
        *ROWS,
        row(7, {"answer": "B", "options": {"A": "gout", "B": "lupus"}, "kind": "choice"}, "Which?\nA. gout\nB. lupus"),
        row(8, {"answer": "500", "unit": "mg", "kind": "number"}),
        row(9, {"answer": "x" * 300, "kind": "reference"}),
    ]
    finding, _ = selftest.check(["accuracy", "format"], rows)
    assert (
        finding.line()
        == "reward accuracy: gold 1.00, shuffled 0.00, empty 0.00 (8 rows: 6 diagnosis, 1 choice, 1 number)"
    )
    assert "reward format: gold 1.00, empty 0.00 (9 rows)" in caplog.text


def test_rows_are_spread_evenly():
    assert [one["line"] for one in selftest._spread([{"line": n} for n in range(1000)], 4)] == [0, 250, 500, 750]
    assert len(selftest._spread(iter(ROWS), 256)) == 6


def test_a_reward_that_reads_latex_only_is_refused_with_its_rows(monkeypatch):
    """What the field's toolkits do: an answer counts if it is the same LaTeX expression. Medical answers are none."""

    def latex(completion, gold, messages):
        found = re.search(r"\\boxed\{(.*)\}", completion.text)
        return float(bool(found) and found[1] == gold["answer"])

    monkeypatch.setitem(rewards.REWARDS, "latex", lambda options: rewards.Reward("latex", rewards.each(latex)))
    with pytest.raises(ConfigError) as raised:
        selftest.check(["latex"], ROWS)
    first, *shown = raised.value.problems
    assert "reward latex: 6 of 6 gold answers do not score 1; give the rows an answer that can be checked" in first
    assert shown[0] == "  rows.jsonl:1: gold scores 0, expected 1: 'gout'"
    assert shown[-1] == "  ... and 7 more" and len(shown) == 6


def test_a_reward_that_anything_earns_is_refused(monkeypatch):
    made = rewards.Reward("kind", rewards.each(lambda completion, gold, messages: 1.0))
    monkeypatch.setitem(rewards.REWARDS, "kind", lambda options: made)
    with pytest.raises(ConfigError, match=r"other rows' answers score 1\.00 on average.*empty answers score 1\.00"):
        selftest.check(["kind"], ROWS)


def test_a_gold_that_denies_something_can_be_earned():
    odd = [
        row(9, {"answer": "It is not gout or lupus."}),
        row(10, {"answer": "No, or nearly no, loss of hearing (both ears)"}),
    ]
    assert selftest.check(["accuracy"], [*ROWS, *odd])[0].missed == 0


def test_a_few_bad_rows_are_a_warning(caplog, monkeypatch):
    def picky(completion, gold, messages):
        right = gold["answer"] in completion.text.partition("</think>")[2] and gold["answer"] != "name 7"
        return float(right and f"{gold['answer']}0" not in completion.text)

    monkeypatch.setitem(rewards.REWARDS, "picky", lambda options: rewards.Reward("picky", rewards.each(picky)))
    rows = [row(number, {"answer": f"name {number}"}) for number in range(100, 250)] + [row(7, {"answer": "name 7"})]
    assert selftest.check(["picky"], rows)[0].missed == 1
    assert "reward picky: 1 gold answers do not score 1\nrows.jsonl:7" in caplog.text


@pytest.mark.parametrize(
    "name, told",
    [
        ("red_flags", "it needs red_flags"),
        ("choice", "it needs answer, and options"),
        ("number", "it needs answer as a number"),
    ],
)
def test_a_reward_that_applies_to_no_row_says_what_it_needs(name, told):
    with pytest.raises(ConfigError, match=f"reward {name}: applies to no row; {told}"):
        selftest.check([name], ROWS)


def test_references_alone_cannot_be_verified():
    with pytest.raises(ConfigError, match="reward accuracy: applies to no row"):
        selftest.check(["accuracy", "format"], [row(1, {"answer": "Rest.", "kind": "reference"})])


def test_no_rows_are_told():
    with pytest.raises(ConfigError, match="no rows"):
        selftest.check(["accuracy"], [])


def test_red_flags_are_tested_by_their_own_texts():
    flags = (["coma or repeated convulsions"], ["sudden severe chest pain"], ["black tarry stools"])
    finding = selftest.check(["red_flags"], [row(n, {"answer": "gout", "red_flags": f}) for n, f in enumerate(flags)])[
        0
    ]
    assert (finding.gold, finding.shuffled, finding.empty) == (1.0, 0.0, 0.0)


def test_a_function_of_the_users_is_only_doubted(tmp_path, caplog):
    path = write(tmp_path, "def nice(completion, gold, messages):\n    return float(bool(completion.text))\n")
    selftest.check([f"{path}:nice"], ROWS)
    assert "reward nice: gold answers score 1.00, other rows' answers 1.00; does it read gold?" in caplog.text


def test_a_function_that_pays_most_for_silence_is_refused(tmp_path):
    path = write(tmp_path, "def terse(completion, gold, messages):\n    return 1 / (1 + len(completion.text))\n")
    with pytest.raises(ConfigError, match="reward terse: empty answers score .*a policy would learn to be silent"):
        selftest.check([f"{path}:terse"], ROWS)


def test_the_command_tests_every_reward_that_fits(caplog, tmp_path):
    caplog.set_level("INFO", "bedside")
    assert command.main(["data/eval/mcq.jsonl", "--rows", "16"]) == 0
    names = ["accuracy", "format", "choice", "length", "repetition", "language"]
    rows = command.read(["data/eval/mcq.jsonl"])
    assert command._fitting(rows) == names


def test_the_command_says_what_is_wrong(tmp_path):
    with pytest.raises(ConfigError, match="--rows 0: expected at least 1"):
        command.main(["data/eval/mcq.jsonl", "--rows", "0"])
    with pytest.raises(ConfigError, match="reward accuarcy: did you mean accuracy"):
        command.main(["data/eval/mcq.jsonl", "--rewards", "accuarcy"])
    (tmp_path / "a.jsonl").write_text('{"text": "no prompt"}\n', encoding="utf-8")
    with pytest.raises(ConfigError, match="no row is a prompt with an answer that can be checked"):
        command.main([str(tmp_path / "a.jsonl")])
