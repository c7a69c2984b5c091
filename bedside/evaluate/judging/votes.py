"""Votes that people gave on a review sheet: read, checked, and laid beside what the judges said."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bedside.evaluate.judging.agreement as agreement
import bedside.evaluate.judging.sheet as sheet
from bedside.data import strict_json
from bedside.errors import ConfigError, DataError
from bedside.evaluate.evaluation import Judged
from bedside.evaluate.judging.sheet import LEFT, RIGHT
from bedside.evaluate.task import MEAN, Case, Measure

TIE = "tie"
HUMAN, BOTH = "human", "human + AI"
_WIN = (Measure("win", "win rate", "胜率", MEAN),)


@dataclass(frozen=True)
class Votes:
    """What each rater said: `wins[rater][question]` is 1 where the second model's answer was preferred, 0.5 for a tie,
    0 where the first one's was. `names` are the models; `answers` tells by question which answers the sheet shows,
    `equal` are the questions whose answers were equal and are not shown."""

    wins: dict[str, dict[str, float]]
    names: tuple[str, str]
    answers: dict[str, str]
    equal: tuple[str, ...] = ()


def load(paths: Sequence[str | Path], key: Path) -> Votes:
    """The votes in these files, by the key of their sheet; ConfigError for a file that is not there, DataError for one
    of another sheet, with a name or a vote that the sheet does not have, or of a rater who has one already."""
    known = _key(key)
    wins: dict[str, dict[str, float]] = {}
    files: dict[str, str] = {}
    for path in map(str, paths):
        rater, votes = _file(path, known, key)
        if rater.casefold() in files:
            raise DataError(
                "E_VOTES", path, f"the rater {rater} has voted in {files[rater.casefold()]} already; leave one of the "
                "files out, or give the second person another name in it"
            )  # fmt: skip
        files[rater.casefold()] = path
        wins[rater] = votes
    answers = {item["question"]: item["answers"] for item in known["items"].values()}
    return Votes(wins, (known["first"], known["second"]), answers, tuple(known.get("equal") or ()))


def _read(path: str) -> dict[str, Any]:
    if not Path(path).is_file():
        raise ConfigError(f"{path}: no such file")
    try:
        made = strict_json.parse(Path(path).read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError:
        raise DataError("E_ENCODING", path, "is not UTF-8; save the votes from the review sheet again") from None
    except strict_json.JsonFault as fault:
        raise DataError(fault.code, path, f"{fault.detail}; save the votes from the review sheet again") from None
    if not isinstance(made, dict):
        raise DataError("E_VOTES", path, "is no object; expected a file that the review sheet saved")
    return made


def _key(path: Path) -> dict[str, Any]:
    """The key of a sheet: its models, and for each pair the question and who stands on the left."""
    try:
        made = _read(str(path))
    except ConfigError:
        raise ConfigError(
            f"{path}: no such file; it is written beside review.html and says which answer is whose: without it votes "
            "cannot be read"
        ) from None
    items = made.get("items")
    sound = isinstance(items, dict) and all(
        isinstance(item, dict)
        and all(isinstance(item.get(name), str) for name in ("question", "answers"))
        and item.get(LEFT) in ("first", "second")
        for item in items.values()
    )
    if not sound or not all(isinstance(made.get(name), str) for name in ("sheet", "first", "second")):
        raise DataError("E_VOTES", str(path), "is no key of a review sheet; take the one that was written beside it")
    return made


def _file(path: str, key: Mapping[str, Any], key_path: Path) -> tuple[str, dict[str, float]]:
    """Rater and votes of one file."""
    made = _read(path)
    missing = [name for name in ("sheet", "rater", "votes") if name not in made]
    if missing:
        found = ", ".join(list(map(str, made))[:5]) or "nothing"
        raise DataError("E_VOTES", path, f"has no {missing[0]} (has: {found}); expected a file that the review sheet "
                        "saved")  # fmt: skip
    if made["sheet"] != key["sheet"]:
        raise DataError(
            "E_VOTES", path, f"votes on another sheet ({str(made['sheet'])[:16]}) than {key_path} belongs to "
            f"({key['sheet']}): other questions, answers or seed; give the key of that sheet"
        )  # fmt: skip
    rater, votes = made["rater"], made["votes"]
    if not isinstance(rater, str) or not rater.strip():
        raise DataError("E_VOTES", path, "rater is empty; expected the name of who voted")
    if not isinstance(votes, dict):
        raise DataError("E_VOTES", path, "votes is no object; expected a vote for each pair, by its name")
    if not votes:
        raise DataError("E_VOTES", path, f"{rater.strip()} has not voted yet; leave the file out")
    wins = {name: _win(path, name, vote, key) for name, vote in votes.items()}
    return rater.strip(), {key["items"][name]["question"]: win for name, win in wins.items()}


def _win(path: str, name: str, vote: Any, key: Mapping[str, Any]) -> float:
    if name not in key["items"]:
        raise DataError("E_VOTES", path, f"votes on the pair {name[:20]}, which the sheet does not have")
    if vote not in (LEFT, RIGHT, TIE):
        said = json.dumps(vote, ensure_ascii=False)[:20]
        raise DataError("E_VOTES", path, f"the vote on the pair {name} is {said}; expected left, right or tie")
    if vote == TIE:
        return 0.5
    return float((key["items"][name][LEFT] == "second") == (vote == LEFT))


def merged(votes: Votes, judged: Sequence[Judged], names: tuple[str, str], pairs: Sequence[Case]) -> list[Judged]:
    """People as a comparison of their own, and people and judges together; `pairs` are the answers of now.

    A question's human value is the mean of its raters, a tie where the answers are equal and were not shown; its AI
    value is the mean of the judges; "human + AI" is the mean of the two, one vote each, over the questions that have
    both. Votes on answers that are not those of now are left out and told. ConfigError where the sheet compares other
    models, or none of its answers is one of now.
    """
    if votes.names != names:
        raise ConfigError(
            f"--votes: the sheet compares {votes.names[0]} with {votes.names[1]}, this evaluation {names[0]} with "
            f"{names[1]}; give the votes on this evaluation's own sheet"
        )
    seen = {case.id: case for case in pairs if votes.answers.get(case.id) == _digest(case)}
    said = {rater: {q: win for q, win in wins.items() if q in seen} for rater, wins in votes.wins.items()}
    human = _means(list(said.values()))
    same = [case for case in pairs if case.id in votes.equal and case.shown["first"] == case.shown["second"]]
    if human:
        human |= {case.id: 0.5 for case in same}
        seen |= {case.id: case for case in same}
    else:
        raise ConfigError(
            "--votes: people saw other answers than the models give now (other settings, or other questions), and "
            "votes hold for what was seen; evaluate as then, or let people vote on a new sheet"
        )
    by_judge = {
        comparison.judge: {case.id: win for case in comparison.cases if (win := case.values["win"]) is not None}
        for comparison in judged
    }
    notes = [*_told(votes, said, len(same)), *agreement.told({**by_judge, **said}, people=list(said))]
    found = [Judged(*names, HUMAN, _cases(human, seen, said), notes, _WIN)]
    ai = _means(list(by_judge.values()))
    both = {question: (human[question] + ai[question]) / 2 for question in human if question in ai}
    if both:
        note = (
            "of a question that people and judges voted on, the mean of its raters and the mean of its judges have "
            f"one vote each; {len(human) - len(both)} questions that people voted on have no judge's vote"
        )
        found.append(Judged(*names, BOTH, _cases(both, seen, said), [note], _WIN))
    return found


def _digest(case: Case) -> str:
    return sheet.digest(case.shown["first"], case.shown["second"])


def _means(votes: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Of each question the mean of the votes it has."""
    questions = dict.fromkeys(question for wins in votes for question in wins)
    given = {question: [wins[question] for wins in votes if question in wins] for question in questions}
    return {question: sum(values) / len(values) for question, values in given.items()}


def _cases(wins: Mapping[str, float], seen: Mapping[str, Case], said: Mapping[str, Mapping[str, float]]) -> list[Case]:
    """A case a question, with its answers and each rater's vote."""
    made = []
    for question, win in wins.items():
        pair = seen[question]
        kept = {name: value for name, value in pair.shown.items() if name not in ("judge", "orders", "why")}
        raters = {rater: votes[question] for rater, votes in said.items() if question in votes}
        made.append(Case(question, {"win": win}, groups=pair.groups, shown={**kept, "votes": raters}))
    return made


def _told(votes: Votes, said: Mapping[str, Mapping[str, float]], same: int) -> list[str]:
    counts = ", ".join(f"{rater} {len(wins)}" for rater, wins in said.items())
    lines = [f"people: votes on {len(votes.answers)} pairs, {counts}; each saw them blind, in an order of chance"]
    if same:
        lines.append(f"{same} pairs of equal answers were not shown, and are ties")
    lost = sum(map(len, votes.wins.values())) - sum(map(len, said.values()))
    if lost:
        lines.append(f"{lost} votes are left out: the models give other answers to these questions now")
    return lines
