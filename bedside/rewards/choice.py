"""Which options does an answer choose: by letter or by text, one or several, in Chinese or English?

A set of letters is right as a whole; what cannot be read is wrong. The last explicit statement counts.
"""

import re
from dataclasses import dataclass
from typing import Any

import bedside.rewards.negation as negation
import bedside.rewards.statements as statements
import bedside.rewards.words as words
from bedside.rewards.completion import Completion, answer, asked, plain
from bedside.rewards.lexicon import Lexicon

_LINE = re.compile(r"^[ \t]*[(（]?([A-Z])[)）]?[ \t]*[.．、:：)）][ \t]*(\S.*)$", re.MULTILINE)
_GAP = r"(?:\s*(?:,|，|、|;|；|/|\+|&|和|与|及|以及|\band\b)\s*(?:and\s+)?|\s+)"
_OR = re.compile(r"\s*(?:or|或者?|还是|/)\s*(?:options?\s+)?[(（\[\"']?[A-Za-z](?![A-Za-z0-9])", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[。！？；\n]|[.!?;](?=\s+[A-Z][a-z]|\s*$)")
# A letter stands alone: "A patient", "vitamin B12" and "E. coli" are none.
_LETTER = r"[(（\[\"']?(?<![A-Za-z0-9])({letters})(?![A-Za-z0-9'-])[)）\]\"']?"
_ARTICLE = re.compile(r"\s+(?!and\b|or\b|is\b|are\b|because\b|since\b|as\b|but\b|not\b|for\b|with\b|which\b)[a-z]")
_SAYS = re.compile(
    r"(?:\b(?:choose|pick|select|chose|go with|opt for)\s+(?:options?|answers?)?|\boptions?\s+|\bchoices?\s+"
    r"|(?:应该?|故|所以|因此|我|可)?选(?:择|项)?(?:是|为)?[:：]?|选项|\bbut\s+|而是|认为(?:是|应)?"
    r"|最可能(?:的)?(?:是|为)?[:：]?|most (?:likely|probably)(?: is)?:?)\s*(?=[(（\[\"']?[A-Za-z](?![A-Za-z]))",
    re.IGNORECASE,
)
_RIGHT_AFTER = re.compile(
    r"\s*(?:项|选项)?\s*(?:(?:is|are|seems?)\s+(?:the\s+)?(?:most\s+)?(?:correct|right|best|true|likely)|(?:均"
    r"|都|是)?(?:最)?(?:正确|对的?|合适)(?!吗))",
    re.IGNORECASE,
)
_WRONG_AFTER = re.compile(
    r"\s*(?:项|选项)?\s*(?:(?:is|are)\s+(?:\w+\s+)?(?:wrong|incorrect|false|unlikely|not)|isn't|aren't|(?:不|错"
    r"|可以?排除|有误|均不|都不))",
    re.IGNORECASE,
)
_DENIED_BEFORE = re.compile(
    r"(?:\bnot|\bneither|\bnor|rather than|instead of|不是|不选|而不是|而非|并非|排除|不应选)\s*(?:options?"
    r"|选项)?\s*[(（\[]?$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Exam:
    """The options of a question (letter to text) and the letters of the right ones."""

    options: dict[str, str]
    right: frozenset[str]

    @property
    def letters(self) -> str:
        """Every letter that may be chosen."""
        return "".join(self.options) or "ABCDEFGH"


def exam_of(gold: dict[str, Any], messages: list[dict[str, Any]]) -> Exam | None:
    """Options from gold, or else from the lines of the question; None where gold's answer is none of them."""
    told = gold.get("options") or dict(_LINE.findall(plain(asked(messages))))
    options = {str(letter).strip().upper(): plain(str(text)) for letter, text in told.items()}
    written = plain(str(gold.get("answer") or ""))
    by_text = {letter for letter, text in options.items() if words.key(text) == words.key(written) and words.key(text)}
    if len(by_text) == 1 and written.upper() not in options:
        return Exam(options, frozenset(by_text))
    letters = re.findall("[A-Z]", written.upper())
    if not letters or re.sub(r"[A-Z\s,，、;；|和与]|and", "", written) or options and set(letters) - set(options):
        return None
    return Exam(options, frozenset(letters))


def shown(exam: Exam, messages: list[dict[str, Any]]) -> bool:
    """Whether the question shows the options; else a letter would be a guess that nobody asked for."""
    if not exam.options:
        return True  # gold names letters, and nothing else is known
    asked_for = words.key(plain(asked(messages)))
    return sum(words.key(text) in asked_for for text in exam.options.values()) >= min(2, len(exam.options))


def score(
    completion: Completion, gold: dict[str, Any], messages: list[dict[str, Any]], partial: float = 0.0
) -> float | None:
    """1 for exactly the right options, else 0; a part of several right ones and no wrong one: its share of `partial`.

    None where gold is no choice.
    """
    exam = exam_of(gold, messages) if gold.get("answer") else None
    if exam is None:
        return None
    chosen = read(answer(completion), exam)
    if chosen == exam.right:
        return 1.0
    if chosen and chosen < exam.right:
        return partial * len(chosen) / len(exam.right)
    return 0.0


def read(text: str, exam: Exam) -> frozenset[str]:
    """The letters that a plain text chooses; none where it cannot be read, or where letter and text contradict.

    >>> sorted(read("not A but B", Exam({"A": "gout", "B": "lupus"}, frozenset("B"))))
    ['B']
    """
    return _Reading(text, exam).chosen()


class _Reading:
    """One answer and where the texts of options stand in it: a letter inside one of them ("E. coli") is no letter."""

    def __init__(self, text: str, exam: Exam):
        self.text, self.exam = text, exam
        lexicon = Lexicon()
        self.letters = {lexicon.add([option]): letter for letter, option in exam.options.items()}
        self.mentions = lexicon.find(text)
        wanted = negation.offered(text, self.mentions)
        self.offered = [one for one, good in zip(self.mentions, wanted, strict=True) if good]

    def chosen(self) -> frozenset[str]:
        """Explicit statements first, then letters that stand as an answer, then lines, then texts."""
        if final := statements.last(self.text, statements.FINAL):
            return self._behind(final.marker)
        if whole := self._bare():
            return whole
        for match in reversed(list(_SAYS.finditer(self.text))):
            letters, stop = self._letters(match.end())
            if letters and not self._denied(match.start(), stop):
                return self._agreed(letters, stop)
        single = re.compile(_LETTER.format(letters=f"[{self.exam.letters}]"))
        called = [self._letters(match.start()) for match in single.finditer(self.text)]
        called = [(letters, stop) for letters, stop in called if letters and _RIGHT_AFTER.match(self.text, stop)]
        if called:
            return called[-1][0]
        return self._lines() or self._by_text(0, len(self.text))

    def _denied(self, start: int, stop: int) -> bool:
        before = self.text[max(0, start - 24) : start]
        return bool(_DENIED_BEFORE.search(before) or before.endswith("不") or _WRONG_AFTER.match(self.text, stop))

    def _behind(self, marker: int) -> frozenset[str]:
        """The options that stand behind a marker, in its sentence: letters first, else texts."""
        start = re.compile(r"[\s\"']*").match(self.text, marker).end()
        end = _SENTENCE_END.search(self.text, start)
        while end and self._inside(end.start()):
            end = _SENTENCE_END.search(self.text, end.end())
        last = end.start() if end else len(self.text)
        known = self.exam.letters + self.exam.letters.lower()
        place = re.compile(rf"(?<![A-Za-z0-9])(?:[{known}]|[{self.exam.letters}]{{2,}})(?![A-Za-z0-9'])")
        for found in place.finditer(self.text, start, last):
            letters, stop = self._letters(found.start(), lower=found.start() - start < 2)
            if letters and not self._denied(found.start(), stop):
                return self._agreed(letters, stop)
        return self._by_text(start, last)

    def _inside(self, position: int) -> bool:
        return any(one.start <= position < one.end and one.end - one.start > 1 for one in self.mentions)

    def _letters(self, position: int, lower: bool = False) -> tuple[frozenset[str], int]:
        """The list of letters that begins at a position, and where it ends; an article or a part of a word is none."""
        known = self.exam.letters + (self.exam.letters.lower() if lower else "")
        joined = re.compile(rf"\s*([{self.exam.letters}]{{2,}})(?![A-Za-z0-9])").match(self.text, position)
        if joined and len(set(joined[1])) == len(joined[1]) and not self._inside(joined.start(1)):
            return frozenset(joined[1]), joined.end()
        one = _LETTER.format(letters=f"[{known}]")
        found = re.compile(rf"\s*{one}").match(self.text, position)
        letters: set[str] = set()
        end = position
        while found and not self._inside(found.start(1)):
            if found[1] in "Aa" and _ARTICLE.match(self.text, found.end()):
                break
            letters.add(found[1].upper())
            end = found.end()
            found = re.compile(rf"{_GAP}{one}").match(self.text, end)
        return frozenset(letters), end

    def _bare(self) -> frozenset[str]:
        """The letters of a text that begins with them and says nothing else in front: "B", "A and C", "(B) gout"."""
        letters, stop = self._letters(0, lower=len(self.text) <= 3)
        ends = re.compile(r"\s*(?:$|[.．、:：,，)）。;；\n-])").match(self.text, stop)
        if not letters or not ends or _WRONG_AFTER.match(self.text, ends.end()):
            return frozenset()
        listed = self._lines()
        return listed if len(listed) > 1 else self._agreed(letters, stop)

    def _lines(self) -> frozenset[str]:
        """The letters that begin lines of the text, as a list of options has them."""
        found = [one for one in _LINE.finditer(self.text) if not self._inside(one.start(1))]
        return frozenset(
            one[1] for one in found if one[1] in self.exam.letters and not _WRONG_AFTER.match(one[2])
            and self._agreed(frozenset(one[1]), one.start(2))
        )  # fmt: skip

    def _agreed(self, letters: frozenset[str], stop: int) -> frozenset[str]:
        """The letters, unless an alternative follows, or the text behind them names other options only."""
        if _OR.match(self.text, stop):
            return frozenset()
        behind = re.compile(r"[\s.．、:：,，)）]*").match(self.text, stop).end()
        end = _SENTENCE_END.search(self.text, behind)
        named = self._by_text(stop, end.start() if end else len(self.text))
        return frozenset() if named and not named & letters else letters

    def _by_text(self, start: int, end: int) -> frozenset[str]:
        """The options whose texts are offered between two places; one at most where one is right."""
        offered = [one for one in self.offered if start <= one.start < end]
        if len(self.exam.right) == 1 and len({one.entities for one in offered}) > 1:
            stated = [one for one in statements.find(self.text) if one.strength == statements.SUPERLATIVE]
            offered = [one for one in offered if stated and stated[-1].marker <= one.start < stated[-1].end]
            if len({one.entities for one in offered}) > 1:
                return frozenset()
        return frozenset(self.letters[entity] for one in offered for entity in one.entities)
