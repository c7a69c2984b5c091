"""From two lists of answers to cases that say who won, and the sentences that belong beside the win rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import bedside.evaluate.judging.prompt as prompt
import bedside.evaluate.judging.sheet as sheet
import bedside.evaluate.judging.votes as votes
from bedside import logs
from bedside.answers import Answer
from bedside.errors import ConfigError
from bedside.evaluate import results, rows
from bedside.evaluate.evaluation import Judged
from bedside.evaluate.judging.choose import judges_of
from bedside.evaluate.judging.questions import Question, of_chat
from bedside.evaluate.judging.verdicts import Judge, Position, Verdict, position
from bedside.evaluate.statistics import wilson
from bedside.evaluate.task import MEAN, SHARE, Case, Measure, Settings
from bedside.rewards.completion import plain
from bedside.rewards.words import tokens

WIN = Measure("win", "win rate", "胜率", MEAN)
MEASURES = (
    WIN,
    Measure("inconsistent", "decided by the place of an answer", "判定随位置改变", SHARE, "lower"),
    Measure("unreadable", "verdict could not be read", "判定无法读取", SHARE, "lower"),
)
KEY = sheet.KEY


def judged(
    items: Sequence[Question | rows.Chat],
    first: Sequence[Answer],
    second: Sequence[Answer],
    judge: Judge,
    settings: Settings | None = None,
) -> list[Case]:
    """One case an item: `win` of the second model over the first is 1, 0.5 (a tie) or 0, None where the judge could
    not be read. `inconsistent` and `unreadable` are there where the judge was asked in both orders."""
    questions = questions_of(items)
    return [
        _case(question, one, other, verdict, judge.name)
        for question, one, other, verdict in zip(
            questions, first, second, judge.verdicts(questions, first, second), strict=True
        )
    ]


def questions_of(items: Sequence[Question | rows.Chat]) -> list[Question]:
    """Items of this module, or of the task `chat`, as questions."""
    return [item if isinstance(item, Question) else of_chat(item) for item in items]


def check(options: Mapping[str, Any], directory: Path) -> list[Judge]:
    """The judges that the options ask for, none where people alone are to judge. To be called before any model
    answers: ConfigError or DataError for judges that cannot judge and votes that cannot be read."""
    people = options.get("review_sheet") or options.get("votes")
    judges = judges_of(options) if options.get("judge") or options.get("judge_url") or not people else []
    if options.get("votes"):
        _votes(options, directory)
    return judges


def _votes(options: Mapping[str, Any], directory: Path) -> votes.Votes:
    given = options["votes"]
    key = Path(options.get("review_key") or directory / KEY)
    return votes.load([given] if isinstance(given, str) else list(given), key)


def instructions(
    items: Sequence[Question | rows.Chat],
    first: Sequence[Answer],
    second: Sequence[Answer],
    judges: Sequence[Judge],
    settings: Settings,
    names: tuple[str, str],
    directory: Path | None = None,
) -> list[Judged]:
    """The comparison of two models by each judge, printed; `first` is the baseline.

    With the option `review_sheet`, review.html and its key are written to `directory`; with `votes` (files that people
    exported from it), what people say, and people and judges together, are comparisons of their own.
    """
    if not len(items) == len(first) == len(second):
        raise ConfigError(f"{len(items)} questions, {len(first)} and {len(second)} answers: expected as many of each")
    questions = questions_of(items)
    if settings.options.get("review_sheet") and directory:
        page = sheet.write(Path(directory), questions, first, second, names, settings.seed,
                           bool(settings.options.get("judge_thoughts")))  # fmt: skip
        logs.info(f"people compare the answers in {page}; give what they export back with --votes")
    found = []
    for judge in judges:
        cases = judged(questions, first, second, judge, settings)
        found.append(Judged(*names, judge.name, cases, told(cases, judge, names), MEASURES))
    if settings.options.get("votes"):
        given = _votes(settings.options, Path(directory or "."))
        pairs = [
            _case(question, one, other, Verdict(None), "")
            for question, one, other in zip(questions, first, second, strict=True)
        ]
        for one in votes.merged(given, found, names, pairs):
            found.append(replace(one, notes=[*counted(one.cases, names), *one.notes]))
    for comparison in found:
        logs.info("\n".join([f"\n{comparison.judge}: {names[1]} against {names[0]}", *comparison.notes]))
    return found


def told(cases: Sequence[Case], judge: Judge, names: tuple[str, str]) -> list[str]:
    """Sentences for terminal and report: what was counted, what a win is, what the place did, length, cost."""
    verdicts = [Verdict(case.values["win"], tuple(case.shown.get("orders") or ())) for case in cases]
    return [*counted(cases, names), *_place(position(verdicts)), *_length(cases), *judge.told()]


def counted(cases: Sequence[Case], names: tuple[str, str]) -> list[str]:
    """Wins, ties and losses of the second model, its win rate and its net win with their intervals."""
    values = [value for case in cases if (value := case.values["win"]) is not None]
    wins, ties, losses = (sum(map(test, values)) for test in (_won, _tied, _lost))
    lost = len(cases) - len(values)
    left = f"; {lost} of {len(cases)} questions have no verdict and are left out" if lost else ""
    if not values:
        return [f"no question has a verdict{left}"]
    n, first, second = len(values), *names
    places = sum(bool(case.values.get("inconsistent")) for case in cases)
    parts = ", a divided vote in parts" if set(values) - {0.0, 0.5, 1.0} else ""
    odd = f" ({places} of them because the order of the answers decided)" if places else ""
    found = results.estimate(WIN, cases)
    lines = [
        f"{second} wins {wins}, ties {ties}{odd}, loses {losses} of {n} questions{left}",
        f"win rate of {second}: {_percent(found.value, found.low, found.high)}, a tie counting half; net win "
        f"{_net(found.value, found.low, found.high)}: wins less losses in a hundred questions{parts} (95 % "
        "intervals)",
    ]
    if found.low is None:
        return [*lines, f"{found.note}; nothing can be said about a difference"]
    if found.low <= 0.5 <= found.high:
        return [*lines, f"no clear difference between {first} and {second}"]
    return [*lines, f"{second if found.low > 0.5 else first} is preferred"]


def _percent(value: float, low: float | None, high: float | None) -> str:
    interval = "" if low is None else f" [{100 * low:.1f}, {100 * high:.1f}]"
    return f"{100 * value:.1f} %{interval}"


def _net(value: float, low: float | None, high: float | None) -> str:
    """Wins less losses a hundred: twice the win rate less one, so that no difference is 0."""
    interval = "" if low is None else f" [{200 * low - 100:+.1f}, {200 * high - 100:+.1f}]"
    return f"{200 * value - 100:+.1f}{interval}"


def _won(value: float) -> bool:
    return value > 0.5


def _tied(value: float) -> bool:
    return value == 0.5


def _lost(value: float) -> bool:
    return value < 0.5


def _place(found: Position) -> list[str]:
    """What the place of an answer does to this judge's verdicts; nothing for a judge that sees no places."""
    if not found.questions:
        return []
    line = f"place: the answer shown first won {100 * found.share:.1f} % of {2 * found.questions} verdicts"
    if not found.moved:
        return [f"{line}; changing the places changed no verdict"]
    low, high = found.interval
    line += (
        f"; changing the places changed the verdict in {found.moved} of {found.questions} questions, {found.for_a} "
        f"times for the first place: {100 * found.for_a / found.moved:.0f} % [{100 * low:.0f}, {100 * high:.0f}]"
    )
    if not found.biased:
        return [f"{line}; no leaning to a place is shown"]
    side = "first" if found.for_a > found.for_b else "second"
    return [
        line,
        f"this judge is biased: it leans to the answer that is shown {side} (p = {found.p:.2g}, sign test). Both "
        "orders cancel that out, but every question where the place decided is a tie, so fewer differences are seen; "
        "another judge would see more",
    ]


def _length(cases: Sequence[Case]) -> list[str]:
    """How often the longer answer won, where there was a winner and a longer one."""
    longer = won = 0
    for case in cases:
        value, sizes = case.values["win"], case.shown.get("words")
        if value not in (0.0, 1.0) or not sizes or sizes[0] == sizes[1]:
            continue
        longer += 1
        won += (sizes[1] > sizes[0]) == (value == 1.0)
    if not longer:
        return []
    low, high = wilson(won, longer)
    return [
        f"length: the longer answer won {won} of {longer} decided questions, {100 * won / longer:.0f} % "
        f"[{100 * low:.0f}, {100 * high:.0f}]"
    ]


def _case(question: Question, one: Answer, other: Answer, verdict: Verdict, judge: str) -> Case:
    values: dict[str, float | None] = {"win": verdict.win}
    if verdict.orders:
        values["unreadable"] = float(verdict.unreadable)
        values["inconsistent"] = None if verdict.unreadable else float(verdict.inconsistent)
    else:
        values["unreadable"] = values["inconsistent"] = None
    shown: dict[str, Any] = {
        "question": question.text, "expected": prompt.reference(question), "judge": judge,
        "first": one.answer, "second": other.answer, "orders": list(verdict.orders), "why": verdict.why,
        "words": [len(tokens(plain(answer.answer))) for answer in (one, other)], "where": question.where,
    }  # fmt: skip
    for side, answer in (("first", one), ("second", other)):
        shown |= {f"{side}_thought": answer.thought, f"{side}_finish_reason": answer.finish_reason}
    return Case(question.id, values, groups={"language": question.language, **question.groups}, shown=shown)
