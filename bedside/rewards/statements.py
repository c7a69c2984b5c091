"""Where an answer states its result: behind "the answer is", "最可能是", "diagnosis:" and the like."""

import re
from collections.abc import Iterable
from typing import NamedTuple

from bedside.rewards.negation import sentence

FINAL, SUPERLATIVE, PLAIN = 3, 2, 1

_FINAL = re.compile(
    r"\b(?:final|correct|right|best|my)? ?(?:answer|option|choice|conclusion)s?(?: here| then)?\s*(?:is|are"
    r"|would be|should be|:|=)\s*"
    r"|(?:最终|最后|正确|标准)?(?:答案|结论|选项)(?:应该?|就)?(?:[是为选][：:]?|[：:=])\s*|\bin conclusion,?\s*"
    r"|综上(?:所述)?，?(?:是|为|选)?",
    re.IGNORECASE,
)
_SUPERLATIVE = re.compile(
    r"\b(?:most|very) (?:likely|probabl[ey])(?! (?:to|due|because|complication|outcome|course))|\bbest match\b"
    r"|\bdrug of choice\b|\bfirst[- ]line\b|最(?:大可能|可能|符合|像|支持)(?!的?(?:并发症|后果|结局))"
    r"|首先(?:考虑|想到)|首选|最终诊断|最后诊断",
    re.IGNORECASE,
)
_PLAIN = re.compile(
    r"\b(?:diagnosis|condition|disease|illness|cause|treatment|drug|medicine|department|level)\s*(?:is|would be|:)"
    r"|\bdiagnosed (?:with|as)\b|\bthis is\b|\b(?:treated|looked after|handled|seen|managed) by\b"
    r"|\bpoints? to\b|\bconsistent with\b|\bcommonly (?:given|used"
    r"|treated with)\b"
    r"|诊断(?:结果)?(?:是|为|：|:|考虑)|考虑为?|(?:科室|药物|级别|程度)(?:是|为|：|:)|这是|常用|属于",
    re.IGNORECASE,
)
_MARKERS = ((FINAL, _FINAL), (SUPERLATIVE, _SUPERLATIVE), (PLAIN, _PLAIN))
_BLANK = re.compile(r"\s*")
_ECHO = 20  # letters of a sentence that stands in the question too; half as many in Chinese
_DENIED = re.compile(r"(?:\bnot|n't|不是|并非|不|非|无)\s*(?:the|an?|my)?\s*$", re.IGNORECASE)


class Statement(NamedTuple):
    """A statement: how explicit it is, and the text of its sentence before and behind the marker (positions)."""

    strength: int
    start: int
    marker: int
    end: int


def find(text: str) -> list[Statement]:
    """The statements of a plain text, in order; a marker that ends its line reaches over to the next one."""
    found = []
    for strength, pattern in _MARKERS:
        for match in pattern.finditer(text):
            if _DENIED.search(text, max(0, match.start() - 12), match.start()):
                continue
            start, _ = sentence(text, match.start())
            behind = _BLANK.match(text, match.end()).end()
            found.append(Statement(strength, start, match.end(), sentence(text, behind)[1]))
    return sorted(found, key=lambda statement: statement.marker)


def last(text: str, strength: int) -> Statement | None:
    """The last statement of this strength."""
    return next((statement for statement in reversed(find(text)) if statement.strength == strength), None)


def own_words(answer: str, question: str, right: Iterable[str] = ()) -> str:
    """The answer without sentences that only repeat the question (an echo says nothing), unless they are right.

    >>> own_words("Is it gout, or is it rather lupus? Gout.", "It hurts. Is it gout, or is it rather lupus?")
    'Gout.'
    """
    said, names = _flat(question), {_flat(name) for name in right}
    kept, start = [], 0
    for end in [*(match.end() for match in re.finditer(r"[。！？；!?;\n]|\.(?=\s|$)", answer)), len(answer)]:
        flat = _flat(answer[start:end])
        if flat in names or len(flat) < (_ECHO if flat.isascii() else _ECHO // 2) or flat not in said:
            kept.append(answer[start:end])
        start = end
    return "".join(kept).strip()


def _flat(text: str) -> str:
    return re.sub(r"[\W_]+", "", text).lower()
