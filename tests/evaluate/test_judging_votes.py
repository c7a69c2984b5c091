"""People's votes: read and checked, merged with a judge's, and how far they agree.

sh run_tests.sh tests/evaluate/test_judging_votes.py
"""

import json

import pytest

from bedside.answers import Sampling
from bedside.errors import ConfigError, DataError
from bedside.evaluate import judging
from bedside.evaluate.judging import agreement, sheet, votes
from bedside.evaluate.task import Settings
from tests.evaluate.judging_pairs import EVEN, FIRST_MODEL, SECOND_MODEL, Scripted, answer, many

NAMES = ("base", "tuned")


@pytest.fixture
def key(tmp_path):
    """The key of a sheet over four questions."""
    sheet.write(tmp_path, *many(4), NAMES)
    return tmp_path / "review_key.json"


def save(key, rater: str, wins: dict, name: str | None = None, more: dict | None = None) -> str:
    """A file as the page saves it; `wins` is 1, 0.5 or 0 of the second model by question."""
    known = json.loads(key.read_text(encoding="utf-8"))
    said = {}
    for pair, behind in known["items"].items():
        win = wins.get(behind["question"])
        if win is not None:
            second = "left" if behind["left"] == "second" else "right"
            said[pair] = "tie" if win == 0.5 else second if win == 1 else {"left": "right", "right": "left"}[second]
    path = key.with_name(name or f"votes-{rater}.json")
    made = {"schema": 1, "sheet": known["sheet"], "rater": rater, "votes": said, **(more or {})}
    path.write_text(json.dumps(made, ensure_ascii=False), encoding="utf-8")
    return str(path)


def run(key, files: list, said: list, names=NAMES):
    settings = Settings(Sampling(), options={"votes": files})
    return judging.instructions(*many(4), [Scripted(said.__getitem__)], settings, names, key.parent)


def test_votes_are_read_back_as_wins(key):
    wins = {"q0": 1.0, "q1": 0.0, "q2": 0.5}
    found = votes.load([save(key, "Ann", wins), save(key, "小李", {"q0": 0.0})], key)
    assert found.wins == {"Ann": wins, "小李": {"q0": 0.0}} and found.names == NAMES and len(found.answers) == 4


def test_people_and_judge_in_one_table(key):
    """By hand. Ann 1, 0, 0.5; Bo 1, 1: human 1, 0.5, 0.5. Judge 1, 1, 0, 0.5: both 1, 0.75, 0.25."""
    files = [save(key, "Ann", {"q0": 1, "q1": 0, "q2": 0.5}), save(key, "Bo", {"q0": 1, "q1": 1})]
    found = run(key, files, [SECOND_MODEL, SECOND_MODEL, FIRST_MODEL, EVEN])
    assert [comparison.judge for comparison in found] == ["scripted", "human", "human + AI"]
    values = [{case.id: case.values["win"] for case in comparison.cases} for comparison in found]
    assert values == [
        {"q0": 1.0, "q1": 1.0, "q2": 0.0, "q3": 0.5}, {"q0": 1.0, "q1": 0.5, "q2": 0.5},
        {"q0": 1.0, "q1": 0.75, "q2": 0.25},
    ]  # fmt: skip
    people = {case.id: case for case in found[1].cases}["q1"]
    assert people.shown["votes"] == {"Ann": 0.0, "Bo": 1.0} and people.shown["first"] == "one 1"
    notes = "\n".join(found[1].notes)
    assert "people: votes on 4 pairs, Ann 3, Bo 2" in notes
    assert "agreement of Ann and Bo: " in notes and "50 % of 2 questions alike" in notes
    assert "agreement of scripted and Ann: " in notes and "33 % of 3 questions alike" in notes


def test_kappa_of_two_raters_by_hand():
    one = {f"q{n}": value for n, value in enumerate([1, 1, 0, 0])}
    other = {f"q{n}": value for n, value in enumerate([1, 1, 0, 1])}
    assert agreement.between(one, other).value == 0.5 and agreement.between(one, {}).n == 0
    lines = agreement.told({"a": one, "b": other, "c": {"q9": 1}}, people=["a", "b", "c"])
    assert lines[0].startswith("agreement of a and b: kappa 0.50 [") and lines[0].endswith("75 % of 4 questions alike")
    assert lines[1] == "agreement of a and c: they have no question in common"
    assert lines[-1].startswith("agreement of all 3 people: alpha ")
    same = agreement.told({"a": {"x": 1, "y": 1}, "b": {"x": 1, "y": 1}}, people=["a", "b"])
    assert same == ["agreement of a and b: 100 % of 2 questions alike; no kappa: all votes are the same"]


def test_the_same_person_twice_and_an_empty_file(key):
    once, again = save(key, "Ann", {"q0": 1}), save(key, "ann", {"q0": 0}, "votes-2.json")
    with pytest.raises(DataError, match=r"votes-2.json: E_VOTES the rater ann has voted in .*votes-Ann.json already"):
        votes.load([once, again], key)
    with pytest.raises(DataError, match="Bo has not voted yet; leave the file out"):
        votes.load([save(key, "Bo", {})], key)


@pytest.mark.parametrize("change, told", [
    ({"sheet": "0123456789abcdef"}, "votes on another sheet .0123456789abcdef. than .*review_key.json belongs to"),
    ({"votes": {"abc": "left"}}, "votes on the pair abc, which the sheet does not have"),
    ({"votes": []}, "votes is no object"),
    ({"rater": " "}, "rater is empty"),
    ({"rater": None}, "rater is empty"),
])  # fmt: skip
def test_votes_that_do_not_fit_are_refused(key, change, told):
    with pytest.raises(DataError, match=told):
        votes.load([save(key, "Ann", {"q0": 1}, more=change)], key)


def test_a_vote_that_is_none_is_refused(key):
    pair = next(iter(json.loads(key.read_text(encoding="utf-8"))["items"]))
    with pytest.raises(DataError, match=f'the vote on the pair {pair} is "both"; expected left, right or tie'):
        votes.load([save(key, "Ann", {}, more={"votes": {pair: "both"}})], key)
    path = key.with_name("twice.json")
    path.write_text(save_text(key, f'{{"{pair}": "left", "{pair}": "right"}}'), encoding="utf-8")
    with pytest.raises(DataError, match="twice.json"):
        votes.load([path], key)


def save_text(key, said: str) -> str:
    name = json.loads(key.read_text(encoding="utf-8"))["sheet"]
    return f'{{"sheet": "{name}", "rater": "Ann", "votes": {said}}}'


@pytest.mark.parametrize("text, told", [
    ("", "save the votes from the review sheet again"), ("[1]", "expected a file that the review sheet saved"),
    ('{"q": 1}', "has no sheet .has: q."), ("{", "save the votes from the review sheet again"),
])  # fmt: skip
def test_files_that_are_no_votes(key, text, told):
    path = key.with_name("broken.json")
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=told):
        votes.load([path], key)


def test_missing_files_and_keys_are_told(key, tmp_path):
    with pytest.raises(ConfigError, match="none.json: no such file"):
        votes.load(["none.json"], key)
    with pytest.raises(ConfigError, match="other.json: no such file; it is written beside review.html"):
        votes.load([save(key, "Ann", {"q0": 1})], tmp_path / "other.json")
    with pytest.raises(DataError, match="is no key of a review sheet"):
        votes.load([save(key, "Ann", {"q0": 1})], tmp_path / "votes-Ann.json")
    binary = tmp_path / "binary.json"
    binary.write_bytes(b"\xff\xfe{}")
    with pytest.raises(DataError, match="is not UTF-8"):
        votes.load([binary], key)


def test_votes_on_other_models_or_questions_are_refused(key):
    files = [save(key, "Ann", {"q0": 1})]
    with pytest.raises(ConfigError, match="the sheet compares base with tuned, this evaluation x with y"):
        run(key, files, [EVEN] * 4, ("x", "y"))
    questions, first, second = many(4)
    settings = Settings(Sampling(), options={"votes": files})
    with pytest.raises(ConfigError, match="people saw other answers than the models give now"):
        judging.instructions(questions, second, first, [], settings, NAMES, key.parent)
    (people,) = judging.instructions(questions, first, second, [], settings, NAMES, key.parent)
    assert people.judge == "human" and people.cases[0].shown["first"] == "one 0"


def test_votes_on_answers_that_changed_are_left_out_and_told(key):
    questions, first, second = many(4)
    second[1] = answer("another answer")
    settings = Settings(Sampling(), options={"votes": [save(key, "Ann", {"q0": 1, "q1": 0})]})
    (people,) = judging.instructions(questions, first, second, [], settings, NAMES, key.parent)
    assert [case.id for case in people.cases] == ["q0"]
    assert "1 votes are left out: the models give other answers to these questions now" in people.notes


def test_equal_answers_are_not_shown_and_are_ties(tmp_path):
    questions, first, second = many(4)
    second[3] = first[3]
    sheet.write(tmp_path, questions, first, second, NAMES)
    key = tmp_path / "review_key.json"
    settings = Settings(Sampling(), options={"votes": save(key, "Ann", {"q0": 1, "q1": 1})})
    people, both = judging.instructions(
        questions, first, second, [Scripted(lambda n: EVEN)], settings, NAMES, tmp_path
    )[1:]
    assert {case.id: case.values["win"] for case in people.cases} == {"q0": 1.0, "q1": 1.0, "q3": 0.5}
    assert {case.id: case.values["win"] for case in both.cases} == {"q0": 0.75, "q1": 0.75, "q3": 0.5}
    assert "1 pairs of equal answers were not shown, and are ties" in people.notes
    assert "in a hundred questions, a divided vote in parts" in "".join(both.notes)


def test_judges_and_votes_are_checked_before_a_model_answers(key):
    files = [save(key, "Ann", {"q0": 1})]
    assert (
        judging.check({"votes": files}, key.parent) == [] and judging.check({"review_sheet": True}, key.parent) == []
    )
    assert [judge.name for judge in judging.check({}, key.parent)] == ["rules"]
    assert [judge.name for judge in judging.check({"judge": ["rules"], "votes": files}, key.parent)] == ["rules"]
    with pytest.raises(ConfigError, match="no such file; it is written beside review.html"):
        judging.check({"votes": files}, key.parent / "elsewhere")
    with pytest.raises(ConfigError, match="--judge rulse"):
        judging.check({"judge": "rulse"}, key.parent)


def test_a_sheet_is_written_and_said(key, tmp_path):
    place = tmp_path / "new"
    settings = Settings(Sampling(), seed=7, options={"review_sheet": True})
    judging.instructions(*many(4), [Scripted(lambda n: EVEN)], settings, NAMES, place)
    assert (place / "review.html").is_file() and json.loads((place / "review_key.json").read_text())["seed"] == 7
