"""Names that mean the same, and where they stand in a text: longest first, at the boundaries of words."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import bedside.rewards.words as words

_ACRONYM = re.compile(r"[A-Z][A-Z0-9]{1,4}")
_QUALIFIERS = ("acute", "chronic", "subacute", "primary", "secondary", "congenital", "idiopathic")
_INVERTED = re.compile(rf"(.+),\s*({'|'.join(_QUALIFIERS)})", re.IGNORECASE)
_DIRECT = re.compile(rf"({'|'.join(_QUALIFIERS)})\s+(.+)", re.IGNORECASE)
_BRACKETS = re.compile(r"\s*[(（]([^()（）]*)[)）]")
_ENDS = re.compile(r"[!?;！？。；\n，、:：|]")
_OF_A_DEPARTMENT = re.compile(r"\s+(?:department|clinic|ward)$|(?<=[科诊])(?:门诊|病房)$", re.IGNORECASE)


class Mention(NamedTuple):
    """A name in a text: the entities it may mean, and where it stands."""

    entities: frozenset[int]
    start: int
    end: int
    bracketed: bool = False  # an abbreviation in brackets behind another name


def variants(name: str) -> set[str]:
    """The ways in which a name is written: word order, abbreviation in brackets, Chinese endings.

    >>> sorted(variants("pancreatitis, acute"))
    ['acute pancreatitis', 'pancreatitis, acute']
    """
    name = name.strip().rstrip(".。")
    made = {name}
    if bracket := _BRACKETS.search(name):
        made.add(_BRACKETS.sub("", name).strip())
        if _ACRONYM.fullmatch(bracket[1].strip()):
            made.add(bracket[1].strip())
    for form in tuple(made):
        if inverted := _INVERTED.fullmatch(form):
            made.add(f"{inverted[2]} {inverted[1]}")
        elif direct := _DIRECT.fullmatch(form):
            made.add(f"{direct[2]}, {direct[1]}")
        if len(form) >= 5 and form.endswith("症"):
            made.add(form[:-1])
        made.add(_OF_A_DEPARTMENT.sub("", form))
    return {form for form in made if words.key(form)}


@dataclass
class Lexicon:
    """Names to entities. An entity is a number; a name may belong to several."""

    keys: dict[str, frozenset[int]] = field(default_factory=dict)
    acronyms: dict[str, frozenset[int]] = field(default_factory=dict)  # compared as written: PE, MS, AF
    crossing: bool = False  # a name may go over the end of a sentence
    count: int = 0

    def add(self, names: Iterable[str], entity: int | None = None) -> int:
        """Add the names of one entity (a new one, if none is given) and return its number."""
        if entity is None:
            entity, self.count = self.count, self.count + 1
        for name in names:
            for form in variants(name):
                self._add(form, entity)
        return entity

    def _add(self, form: str, entity: int) -> None:
        table, key = (self.acronyms, form) if _ACRONYM.fullmatch(form) else (self.keys, words.key(form))
        table[key] = table.get(key, frozenset()) | {entity}
        self.crossing |= bool(_ENDS.search(form)) or bool(re.search(r"\.\s+[A-Z]", form))

    def entities(self, name: str) -> set[int]:
        """The entities that the name may mean."""
        found: set[int] = set()
        for form in variants(name):
            table, key = (self.acronyms, form) if _ACRONYM.fullmatch(form) else (self.keys, words.key(form))
            found |= table.get(key, frozenset())
        return found

    def merged(self, names: Iterable[str]) -> tuple["Lexicon", int]:
        """A copy with one more entity of these names, and its number."""
        copy = Lexicon(dict(self.keys), dict(self.acronyms), self.crossing, self.count)
        return copy, copy.add(names)

    def find(self, text: str) -> list[Mention]:
        """The names in a plain text, leftmost and longest, none inside another."""
        tokens = words.tokens(text)
        longest = max(map(len, self.keys), default=0) + 6  # a spelling may shorten
        heads = {key[:size] for key in self.keys for size in (1, 2)}
        bare, found, index = len(tokens) <= 3, [], 0
        while index < len(tokens):
            entities, size = self._longest(text, tokens, index, longest, heads, bare)
            if size:
                end = tokens[index + size - 1].end
                bracketed = size == 1 and text[tokens[index].start - 1 : tokens[index].start] in ("(", "（")
                found.append(Mention(entities, tokens[index].start, end, bracketed and bool(found)))
            index += size or 1
        return found

    def _longest(
        self, text: str, tokens: list[words.Token], first: int, longest: int, heads: set[str], bare: bool
    ) -> tuple[frozenset[int], int]:
        """The entities of the longest name that begins at a token, and how many tokens it has (0: none does)."""
        token = tokens[first]
        written = token.text.upper() if bare else token.text.removesuffix("s")
        best, size = (self.acronyms[written], 1) if written in self.acronyms else (frozenset(), 0)
        run = ""
        if words.spelled(token.folded)[:2] not in heads:
            return best, size
        for index in range(first, len(tokens)):
            between = text[tokens[index - 1].end : tokens[index].start] if index > first else ""
            if between and not self.crossing and _ends(between, tokens[index].text):
                break
            run += tokens[index].folded
            if len(run) > longest:
                break
            if (known := self.keys.get(words.spelled(run))) and index - first + 1 > size:
                best, size = known, index - first + 1
        return best, size


def _ends(between: str, after: str) -> bool:
    """Whether a name cannot go over what stands between two tokens; the dot of "E. coli" ends nothing."""
    return bool(_ENDS.search(between)) or "." in between and after[:1].isupper()
