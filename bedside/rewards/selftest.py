"""Rewards are tested on the user's own rows before a model is trained on them: a reward that cannot be earned teaches
nothing, and one that anything earns teaches the wrong thing.

The gold answer must score 1, a different row's answer about 0, an empty answer 0.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import bedside.rewards.number as number
import bedside.rewards.words as words
import bedside.rewards.yes_no as yes_no
from bedside import logs, rewards, thoughts
from bedside.errors import ConfigError
from bedside.rewards import python
from bedside.rewards.accuracy import kind_of
from bedside.rewards.completion import Completion, language, plain
from bedside.rewards.reward import FOREIGN, FORMAT, SHAPING, VERIFIABLE, Gold, Messages, Reward

MOST = 256  # rows
_SHOWN = 5
_GOLD_AT_LEAST, _SHUFFLED_AT_MOST = 0.99, 0.05
_THOUGHT = {"zh": "想一想。", "en": "Let me think."}
_SENTENCE = {"zh": "答案是{}。", "en": "The answer is {}."}


@dataclass(frozen=True)
class Row:
    """A row of the data: its gold, its messages and where it stands."""

    gold: Gold
    messages: Messages
    where: str

    @classmethod
    def of(cls, row: dict[str, Any]) -> "Row":
        """From a row of a task dataset: `gold` and `prompt` as JSON or as they are, `source` and `line`."""
        gold, prompt = (json.loads(row[key]) if isinstance(row[key], str) else row[key] for key in ("gold", "prompt"))
        return cls(gold, prompt, f"{row.get('source', 'row')}:{row.get('line', '?')}")

    @cached_property
    def sort(self) -> tuple[str | None, str | None, str]:
        """What the data calls the answer's kind, how it is checked, and the language."""
        return self.gold.get("kind"), kind_of(self.gold, self.messages), language(self.gold, self.messages)

    def completion(self, answer: str, thought: str | None = None) -> Completion:
        """The answer in the strict format of thoughts."""
        thought = _THOUGHT[language(self.gold, self.messages)] if thought is None else thought
        text = f"{thoughts.OPEN}\n{thought}\n{thoughts.CLOSE}\n\n{answer}"
        return Completion(text, finished=True, tokens=max(1, len(words.tokens(text))))

    def right(self) -> str:
        """What is to score 1: the answer, with its unit, and every red flag."""
        answer, unit = str(self.gold.get("answer") or ""), str(self.gold.get("unit") or "")
        return f"{answer} {unit}".strip() if unit and number.whole(plain(answer)) else answer

    def sentence(self) -> str:
        """The right answer as a sentence in the row's language."""
        return _SENTENCE[language(self.gold, self.messages)].format(self.right().rstrip(".。"))


@dataclass
class Finding:
    """What one reward gave to the rows: means, and the rows that it scored wrongly."""

    reward: Reward
    rows: int = 0
    kinds: Counter = field(default_factory=Counter)
    gold: float | None = None
    shuffled: float | None = None
    empty: float | None = None
    wrong: list[str] = field(default_factory=list)
    missed: int = 0  # rows whose gold answer scores less than 1

    def line(self) -> str:
        """The finding on one line."""
        means = {"gold": self.gold, "shuffled": self.shuffled, "empty": self.empty}
        told = ", ".join(f"{name} {value:.2f}" for name, value in means.items() if value is not None) or "no score"
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.kinds.most_common())
        return f"reward {self.reward.name}: {told} ({self.rows} rows{f': {kinds}' if kinds else ''})"


def check(
    scorer: "rewards.Scorer | Sequence[str]", rows: Iterable[dict[str, Any]], most: int = MOST, **options: Any
) -> list[Finding]:
    """Test every reward on up to `most` rows, evenly spread, and print a line each.

    ConfigError shows rows that a reward scores wrongly. `options` are those of `rewards.resolve`, for names.
    """
    tried = [Row.of(row) for row in _spread(rows, most)]
    if not tried:
        raise ConfigError("the rewards cannot be tested: no rows")
    if not isinstance(scorer, rewards.Scorer):
        scorer = rewards.resolve(list(scorer), **{"golds": [row.gold for row in tried], **options})
    findings = [_examined(reward, _spread(tried, reward.most or most)) for reward in scorer.rewards]
    problems = [problem for finding in findings for problem in _problems(finding)]
    for finding in findings:
        logs.info(finding.line())
        if finding.missed and not problems:
            logs.warn("\n".join([f"reward {finding.reward.name}: {finding.missed} gold answers do not score 1",
                                 *finding.wrong[:_SHOWN]]))  # fmt: skip
    if problems:
        raise ConfigError(problems)
    return findings


def _spread(rows: Iterable[Any], most: int) -> list[Any]:
    if not hasattr(rows, "__getitem__") or not hasattr(rows, "__len__"):
        rows = list(rows)
    count = len(rows)
    return [rows[index * count // most] for index in range(most)] if count > most else [rows[i] for i in range(count)]


def _scores(reward: Reward, rows: list[Row], completions: list[Completion]) -> list[float | None]:
    try:
        return reward.score(completions, [row.gold for row in rows], [row.messages for row in rows])
    except python.WrongScore as error:
        raise ConfigError(f"{rows[error.row].where}: {error}" if error.row is not None else str(error)) from error


def _mean(scores: Iterable[float | None]) -> float | None:
    there = [score for score in scores if score is not None]
    return sum(there) / len(there) if there else None


def _examined(reward: Reward, rows: list[Row]) -> Finding:
    finding = Finding(reward)
    answers = {"gold": _flags(rows) if reward.needs == "red_flags" else [row.right() for row in rows]}
    if reward.needs != "red_flags":
        answers["gold in a sentence"] = [row.sentence() for row in rows]
    gold_rows = [row for row, answer in zip(rows, answers["gold"], strict=True) if answer]
    if reward.role != SHAPING and reward.role != FORMAT and not gold_rows:
        return finding
    scored = {}
    for name, texts in answers.items():
        pairs = [
            (row, row.completion(text))
            for row, text in zip(rows, texts, strict=True)
            if text or reward.role in (SHAPING, FORMAT)
        ]
        scores = _scores(reward, [row for row, _ in pairs], [completion for _, completion in pairs])
        scored[name] = [(row, done.text, score) for (row, done), score in zip(pairs, scores, strict=True)]
    applied = [row for row, _, score in next(iter(scored.values())) if score is not None]
    finding.rows = len(applied)
    finding.gold = _mean(score for told in scored.values() for _, _, score in told)
    if reward.role == VERIFIABLE:
        if reward.needs != "red_flags":
            finding.kinds.update(map(_kind, applied))
        _note_missed(finding, scored)
    if reward.role in (VERIFIABLE, FOREIGN):
        _shuffled(finding, reward, applied)
    _empty(finding, reward, applied)
    return finding


def _kind(row: Row) -> str:
    """What the data calls the answer's kind, where that says more than how it is checked."""
    told, checked, _ = row.sort
    return told if told not in (None, "choice", "number") else str(checked)


def _flags(rows: list[Row]) -> list[str]:
    """Answers that warn of every red flag, one a sentence."""
    return ["\n".join(map(str, row.gold.get("red_flags") or [])) for row in rows]


def _note_missed(finding: Finding, scored: dict[str, list[tuple[Row, str, float | None]]]) -> None:
    missed = set()
    for name, told in scored.items():
        for row, text, score in told:
            if score is not None and score < 1:
                missed.add(row.where)
                finding.wrong.append(f"{row.where}: {name} scores {score:g}, expected 1: {_shown(text)}")
    finding.missed = len(missed)


def _shuffled(finding: Finding, reward: Reward, rows: list[Row]) -> None:
    """Another row's answer for each row, one that is really different."""
    flags = reward.needs == "red_flags"
    pairs = [(row, other) for index, row in enumerate(rows) if (other := _other(rows, index, flags))]
    scores = _scores(reward, [row for row, _ in pairs], [row.completion(text) for row, text in pairs])
    finding.shuffled = _mean(scores)
    for (row, text), score in zip(pairs, scores, strict=True):
        if score and reward.role == VERIFIABLE and finding.shuffled > _SHUFFLED_AT_MOST:
            finding.wrong.append(f"{row.where}: another row's answer scores {score:g}, expected 0: {_shown(text)}")


def _other(rows: list[Row], index: int, flags: bool) -> str | None:
    """The answer of a later row (of the same kind, if there is one) that differs from this row's."""
    row = rows[index]
    later = rows[index + 1 :] + rows[:index]
    if flags:
        here = set(map(str, row.gold["red_flags"]))
        return next((_flags([other])[0] for other in later if not here & set(map(str, other.gold["red_flags"]))), None)
    same = [other for other in later if other.sort == row.sort]
    # A letter that is no option of this question would test nothing.
    options = set(row.gold.get("options") or ()) if row.sort[1] == "choice" else set()
    for other in same + later:
        if _differs(row.gold, other.gold) and (not options or set(other.right()) <= options):
            return other.right()
    return None


def _differs(one: Gold, other: Gold) -> bool:
    """Whether two golds are answers to different things, by their texts and not by the reward under test."""
    texts = [[plain(str(text)) for text in (gold["answer"], *(gold.get("aliases") or []))] for gold in (one, other)]
    said = [yes_no.truth(side[0]) for side in texts]
    if said[0] is not None and said[1] is not None:
        return said[0] is not said[1]
    values = [
        number.whole(side[0], str(gold.get("unit") or "")) for side, gold in zip(texts, (one, other), strict=True)
    ]
    if values[0] and values[1]:
        return not number.same(values[1], values[0], one.get("tolerance"))
    keys = [{words.key(text) for text in side} - {""} for side in texts]
    return bool(keys[0] and keys[1]) and not any(a in b or b in a for a in keys[0] for b in keys[1])


def _empty(finding: Finding, reward: Reward, rows: list[Row]) -> None:
    """No text at all, no answer, and the right answer inside the thought only."""
    forms = [
        ("an empty answer", lambda row: Completion("", True, tokens=1)),
        ("an answer without text", lambda row: row.completion("", "")),
    ]
    if reward.role != FORMAT:
        forms.append(("gold in the thought only", lambda row: row.completion("", row.sentence())))
    scores: list[float | None] = []
    for name, make in forms:
        told = _scores(reward, rows, [make(row) for row in rows])
        scores += told
        if reward.role in (VERIFIABLE, FORMAT):
            finding.wrong += [
                f"{row.where}: {name} scores {score:g}, expected 0"
                for row, score in zip(rows, told, strict=True)
                if score
            ]
    finding.empty = _mean(scores)


def _problems(finding: Finding) -> list[str]:
    """What is wrong with a reward: how it failed, the rows, and what to do."""
    reward, name = finding.reward, f"reward {finding.reward.name}"
    if not finding.rows:
        if reward.role == FOREIGN:
            return []
        return [f"{name}: applies to no row; it needs {reward.needs}. Add the fields, or drop the reward"]
    if reward.role in (SHAPING, FOREIGN):
        return _unearned(finding, name)
    faults = []
    if finding.missed > (1 - _GOLD_AT_LEAST) * finding.rows:
        faults.append(f"{finding.missed} of {finding.rows} gold answers do not score 1")
    if (finding.shuffled or 0) > _SHUFFLED_AT_MOST:
        faults.append(f"other rows' answers score {finding.shuffled:.2f} on average, expected about 0")
    if finding.empty:
        faults.append(f"empty answers score {finding.empty:.2f} on average, expected 0")
    if reward.role == FORMAT and (finding.gold or 0) < 1:
        faults.append(f"answers in the right format score {finding.gold or 0:.2f}, expected 1")
    if not faults:
        return []
    shown = finding.wrong[:_SHOWN] + [f"... and {len(finding.wrong) - _SHOWN} more"] * (len(finding.wrong) > _SHOWN)
    remedy = "give the rows an answer that can be checked (aliases, options, unit, kind), or choose another reward"
    return [f"{name}: {'; '.join(faults)}; {remedy}", *(f"  {line}" for line in shown)]


def _unearned(finding: Finding, name: str) -> list[str]:
    """The fault of a shaping or foreign reward that pays most for saying nothing; other doubts are warnings."""
    others = [score for score in (finding.gold, finding.shuffled) if score is not None]
    if finding.empty is not None and others and finding.empty > max(others):
        return [
            f"{name}: empty answers score {finding.empty:.2f}, more than answers ({max(others):.2f}); "
            "a policy would learn to be silent"
        ]
    if (
        finding.reward.role == FOREIGN
        and finding.gold is not None
        and finding.shuffled is not None
        and finding.gold <= finding.shuffled
    ):
        logs.warn(
            f"{name}: gold answers score {finding.gold:.2f}, other rows' answers {finding.shuffled:.2f}; "
            "does it read gold?"
        )
    return []


def _shown(text: str) -> str:
    """The answer of a completion that we wrote, short enough for a line."""
    answer = " ".join(thoughts.parse(text).answer.split())
    return repr(answer if len(answer) <= 60 else answer[:57] + "...")
