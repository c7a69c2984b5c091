"""A word list to the words that can become tokens, and what became of every line of it."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bedside.data import encodings
from bedside.errors import DataError

# Why a line, or a part of it, is no new token. Every line of a list ends in one of them or as "taken".
REASONS = {
    "empty": "empty lines",
    "duplicate": "said before",
    "symbols": "no letters: digits or punctuation only",
    "control": "a control token of this tokenizer",
    "damaged": "unreadable characters (U+FFFD or a control character)",
    "short": "one character, or one Latin letter",
    "long": "longer than --max_word_length",
    "apart": "phrases, whose words were taken one by one",
    "known": "one token already",
    "rare": "seen less often than --min_count",
    "limit": "no room left in --max_new_tokens",
    "cut": "cut by the tokenizer's own rules, which no token can cross",
    "unreached": "other tokens are joined first, so it would never be used",
    "undecodable": "would not be read back as written",
}
_LETTERS = re.compile(r"[^\W\d_]+(?:[\u0300-\u036f]+[^\W\d_]*)*")
_CJK = re.compile(r"[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
# "vitamin B 12" is a phrase and no count.
_COUNT = re.compile(r"^(.*[^\s,])(?:\s*[\t,]\s*)(\d+)$|^(\S+) +(\d+)$")
LONGEST_LATIN = 30  # characters; longer ones are chains of something else


@dataclass
class Account:
    """What became of every line: how many by reason, and `file:line` of those that are no new token."""

    reasons: Counter = field(default_factory=Counter)
    places: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    lines: int = 0

    def drop(self, reason: str, place: str) -> None:
        """One line ends here."""
        self.reasons[reason] += 1
        self.places[reason].append(place)

    def end(self, reason: str, word: "Word") -> None:
        """A word is no new token: the line that is that word ends here, a part of a phrase has no line."""
        if not word.part:
            self.drop(reason, word.place)

    def to_dict(self) -> dict:
        """As it lies in the report: counts, and places by reason."""
        return {"lines": self.lines, "reasons": dict(self.reasons), "places": dict(self.places)}


@dataclass
class Word:
    """A word that may become a token: how often it was seen or said to be, and where it comes from."""

    text: str
    count: int
    place: str
    part: bool = False  # of a phrase, or found in a text: it has no line of its own to be accounted for


def is_cjk(text: str) -> bool:
    """True if a Chinese character is in it: such a word stands without blanks around it."""
    return bool(_CJK.search(text))


def lines_of(path: str, encoding: str | None = None) -> Iterator[tuple[str, str]]:
    """`(file:line, text)` of a text file; DataError for a file that is missing, empty or in another encoding."""
    if not Path(path).is_file():
        raise DataError("E_MISSING", path, "no such file; expected a text file with one word a line")
    stream, inner = encodings.binary(Path(path), encodings.checked(encoding))
    with stream:
        head = stream.read(encodings.SAMPLE)
        encodings.refuse_other_things(Path(path), head, whole=len(head) < encodings.SAMPLE)
        stream.seek(0)
        for number, raw in enumerate(stream, 1):
            try:
                text = raw.decode(inner or "utf-8").removeprefix("\ufeff").strip("\r\n")
            except UnicodeDecodeError as error:
                hint = "; it reads as Chinese in GB18030: add --encoding gb18030" if encodings.is_gb18030(head) else ""
                name = (inner or "utf-8").upper()
                raise DataError("E_ENCODING", f"{path}:{number}", f"byte {error.start} is not {name}{hint}") from None
            yield f"{path}:{number}", text


def reason_against(text: str, controls: set[str], longest: int) -> str | None:
    """Why a line cannot become a token whatever the tokenizer's rules are, or None."""
    if not text:
        return "empty"
    if text in controls:
        return "control"
    if "\ufffd" in text or any(unicodedata.category(c) in ("Cc", "Cs", "Co", "Cn") for c in text):
        return "damaged"
    runs = _LETTERS.findall(text)
    if not runs:
        return "symbols"
    if len(runs) == 1 and runs[0] == text:
        if len(text) < 2:
            return "short"
        if len(text) > (longest if is_cjk(text) else LONGEST_LATIN):
            return "long"
    return None


def from_list(lines: Iterable[tuple[str, str]], controls: set[str], longest: int) -> tuple[list[Word], Account]:
    """Every word once, with its count (0 where none is given), and the account of the lines that are no word.

    A line is `word`, or `word` and its count behind a tab or a comma, or behind a blank if it is the only one. The
    parts of phrases are words too.
    """
    account, found, phrases, parts = Account(), {}, set(), {}
    for place, raw in lines:
        account.lines += 1
        line = unicodedata.normalize("NFC", raw.strip())
        counted = _COUNT.match(line)
        text = (counted[1] or counted[3]) if counted else line
        count = int(counted[2] or counted[4]) if counted else 0
        reason = reason_against(text, controls, longest)
        if reason is None and text in found:
            reason = "duplicate"
        if reason is None and (inside := _LETTERS.findall(text)) != [text]:
            reason = "duplicate" if text in phrases else "apart"
            phrases.add(text)
            for part in inside:
                if reason_against(part, controls, longest) is None:
                    parts.setdefault(part, Word(part, 0, place, part=True)).count += count
        if reason:
            account.drop(reason, place)
        else:
            found[text] = Word(text, count, place)
    return list((parts | found).values()), account
