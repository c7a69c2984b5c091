"""Does an answer name the right diagnosis, drug or department, and no other one? 1 or 0.

What is stated last and most explicitly counts. Without a statement the answer must offer one name only: a list of
guesses earns nothing.
"""

import functools
import re
from collections.abc import Iterable
from typing import Any

import bedside.rewards.negation as negation
import bedside.rewards.statements as statements
import bedside.rewards.words as words
from bedside.rewards.completion import Completion, answer, asked, plain
from bedside.rewards.lexicon import Lexicon, Mention
from bedside.rewards.synonyms import NEITHER, known, read, with_more

# A name with a word in front that contradicts the right name's own word is another name: chronic, not acute.
_OPPOSITES = (
    {"acute", "chronic", "subacute", "急性", "慢性", "亚急性"},
    {"viral", "bacterial", "fungal", "tuberculous", "parasitic", "病毒性", "细菌性", "真菌性", "结核性"},
    {"primary", "secondary", "原发性", "继发性"},
    {"left", "right", "左", "右", "左侧", "右侧"},
    {"benign", "malignant", "良性", "恶性"},
    {"systolic", "diastolic", "收缩期", "舒张期"},
    {"pulmonary", "portal", "intracranial", "essential", "gestational", "肺动脉", "门静脉", "妊娠期"},
    {"upper", "lower"},
)
# What is named beside a diagnosis: "most likely gout" says nothing about the department.
_BESIDE = ("department", "drug", "urgency")
_OTHERS = ("non", "pseudo", "pre", "anti", "post", "非", "假性", "抗")
_GAP = re.compile(
    r"[\s,，、/&+()（）]*(?:and/or|or|and|plus|或者?|和|与|及|以及|还是)?[\s,]*(?:an?|the|possibly|probably"
    r"|maybe|perhaps|可能是?)?\s*",
    re.IGNORECASE,
)  # fmt: skip
_OR_AFTER = re.compile(r"[\s,，)\"']*(?:\bor\b|and/or|或(?!许)|还是|/)", re.IGNORECASE)
_OR_BEFORE = re.compile(r"(?:\bor|或者?|还是|/)\s*(?:an?|the|possibly|maybe|可能是?)?\s*$", re.IGNORECASE)
_DOUBT = re.compile(
    r"\b(?:may|might|could|possibl[ey]|maybe|perhaps)\b|(?<!最)(?<!不)可能(?!性)|也许|或许|疑似", re.IGNORECASE
)
_ITEM = re.compile(r"[,，、;；。|\n]|\.(?=\s|$)|\bor\b|\band\b|或者?|和|与")
_BULLET = re.compile(r"^\s*(?:[-•]|\d+[.)、])\s*")
_FILLER = re.compile(
    r"\W*(?:yes|no|sure|ok(?:ay)?|hello|hi|dear \w+|well|good \w+|so|是的?|好的?|您好|你好|嗯|根据描述)\W*",
    re.IGNORECASE,
)


class Names:
    """The reward: 1 if the answer names what gold names. Knows further names, so that a list is seen as one."""

    def __init__(self, aliases: str | None = None, golds: Iterable[dict[str, Any]] = ()):
        groups = read(aliases) if aliases else []
        groups += [
            (gold.get("kind") or None, [gold["answer"], *(gold.get("aliases") or [])]) for gold in _named(golds)
        ]
        self._lexicons = with_more(groups) if groups else {**known(), "": Lexicon()}

    def __call__(self, completion: Completion, gold: dict[str, Any], messages: list[dict[str, Any]]) -> float | None:
        """1 or 0; None where gold has no answer."""
        if not gold.get("answer"):
            return None
        names = [plain(str(name)) for name in (gold["answer"], *(gold.get("aliases") or []))]
        text = statements.own_words(answer(completion), plain(asked(messages)), names)
        told = [plain(str(text)) for text in (gold.get("options") or {}).values()]  # of a question that shows none
        others = tuple(text for text in told if words.key(text) not in [words.key(name) for name in names])
        lexicon, right = self.lexicon(str(gold.get("kind") or ""), tuple(names), others)
        return float(Reading(text, lexicon, right, names, gold.get("kind") not in _BESIDE).verdict())

    def lexicon(
        self, kind: str, names: tuple[str, ...], others: tuple[str, ...] = ()
    ) -> tuple[Lexicon, frozenset[int]]:
        """The names of this kind with the right ones among them and `others`, and the entities that are right."""
        return _with(_Held(self._table(kind, names[0])), names, others)

    def _table(self, kind: str, name: str) -> Lexicon:
        if kind in self._lexicons and kind:
            return self._lexicons[kind]
        for lexicon in self._lexicons.values():
            if lexicon.entities(name):
                return lexicon
        return self._lexicons[""]


def _named(golds: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The golds that are names, and not sentences, numbers or letters."""
    kinds = ("choice", "number", "reference", "contraindication")
    return [
        gold for gold in golds
        if gold.get("answer")
        and gold.get("kind") not in kinds
        and 1 < len(words.key(plain(str(gold["answer"])))) <= 40
    ]  # fmt: skip


@functools.lru_cache(maxsize=256)
def _with(held: "_Held", names: tuple[str, ...], others: tuple[str, ...]) -> tuple[Lexicon, frozenset[int]]:
    same = held.lexicon.entities(names[0])
    merged, own = held.lexicon.merged(names)
    for other in others:
        merged.add([other])
    shared = frozenset(same) if len(same) == 1 else frozenset()
    return merged, shared | {own}


class _Held:
    """A lexicon as a key of the cache: the same object, the same key."""

    def __init__(self, lexicon: Lexicon):
        self.lexicon = lexicon

    def __hash__(self) -> int:
        return id(self.lexicon)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Held) and other.lexicon is self.lexicon


class Reading:
    """One answer, its names, and which of them it offers."""

    def __init__(self, text: str, lexicon: Lexicon, right: frozenset[int], names: list[str], strict: bool = True):
        self.text, self.right, self.strict = text, right, strict
        own = [words.key(name) for name in names]
        found = [mention for mention in lexicon.find(text) if not self._is_part(mention, own)]
        offered = negation.offered(text, found)
        self.mentions = [mention for mention, wanted in zip(found, offered, strict=True) if wanted]
        self.good = [self._is_right(mention, names) for mention in self.mentions]

    def _is_part(self, mention: Mention, own: list[str]) -> bool:
        """A more general name of the right thing, or an abbreviation in brackets: neither right nor wrong."""
        if mention.entities & self.right:
            return False
        if mention.entities == {NEITHER}:
            return True
        key = words.key(self.text[mention.start : mention.end])
        return mention.bracketed or any(key in name for name in own)

    def _is_right(self, mention: Mention, names: list[str]) -> bool:
        if not mention.entities & self.right:
            return False
        before = self.text[max(0, mention.start - 24) : mention.start].lower()
        written = " ".join(names).lower()
        if re.search(rf"(?:{'|'.join(_OTHERS[:5])})-?$|(?:{'|'.join(_OTHERS[5:])})$", before):
            return False
        for group in _OPPOSITES:
            word = next((word for word in group if re.search(rf"(?:^|\W){word}\s$|{word}$", before)), None)
            if word and not _has(written, word) and any(_has(written, other) for other in group):
                return False
        return True

    def verdict(self) -> bool:
        """Whether the most explicit statement, or else the whole answer, names the right one alone."""
        if not any(self.good):
            return False
        found = statements.find(self.text)
        for strength in (statements.FINAL, statements.SUPERLATIVE):
            stated = [statement for statement in found if statement.strength == strength]
            if strength == statements.SUPERLATIVE and not self.strict:
                stated = [statement for statement in stated if self._inside(statement.start, statement.end)]
            if stated:
                return self._stated(stated[-1])
        for statement in reversed(found):
            if self._inside(statement.start, statement.end):
                return self._stated(statement)
        return self._alone()

    def _inside(self, start: int, end: int) -> list[int]:
        return [index for index, mention in enumerate(self.mentions) if start <= mention.start < end]

    def _stated(self, statement: statements.Statement) -> bool:
        """Whether the first name behind the marker, or the last in front of it, is right and stands alone."""
        behind = self._inside(statement.marker, statement.end)
        chosen = behind[:1] or self._inside(statement.start, statement.marker)[-1:]
        return bool(chosen) and self.good[chosen[0]] and not self._one_of_several(chosen[0])

    def _one_of_several(self, index: int) -> bool:
        """Whether an alternative stands beside the name: "A or B", "A, B and C"."""
        mention = self.mentions[index]
        for other in (index - 1, index + 1):
            if 0 <= other < len(self.mentions) and not self.good[other]:
                first, second = sorted((mention, self.mentions[other]), key=lambda one: one.start)
                gap = self.text[first.end : second.start]
                if len(gap) < 40 and _GAP.fullmatch(gap):
                    return True
        follows = index + 1 < len(self.mentions) and self.good[index + 1]
        begins = index > 0 and self.good[index - 1]
        after = _OR_AFTER.match(self.text, mention.end)
        before = _OR_BEFORE.search(self.text[max(0, mention.start - 24) : mention.start])
        return bool(after and not follows or before and not begins)

    def _alone(self) -> bool:
        """Without a statement: no other known name, no alternative, no guess in front."""
        if not all(self.good):
            return False
        index = self.good.index(True)
        mention = self.mentions[index]
        if self._one_of_several(index) or len(_DOUBT.findall(self.text)) > 1:
            return False
        items = _ITEM.split(self.text[: mention.start])
        rest = _ITEM.split(self.text[mention.end :], maxsplit=1)[0]
        alone = not words.tokens(_BULLET.sub("", items[-1])) and not words.tokens(rest)
        before = next((item for item in reversed(items[:-1]) if words.tokens(item)), "")
        guess = bool(before) and len(words.tokens(_BULLET.sub("", before))) <= (12 if _is_han(before) else 4)
        return not (alone and guess and not _FILLER.fullmatch(before))


def _has(written: str, word: str) -> bool:
    return bool(re.search(rf"\b{word}\b", written)) if word.isascii() else word in written


def _is_han(text: str) -> bool:
    return bool(re.search(f"[{words.HAN}]", text))
