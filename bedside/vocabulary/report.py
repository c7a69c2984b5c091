"""What new words do to texts: tokens per character before and after, and how much of the vocabulary is used."""

from dataclasses import dataclass
from typing import Any

from bedside.vocabulary.words import REASONS, Account

_SHOWN = 3  # places named for each reason; vocabulary.json has them all


@dataclass
class Measured:
    """One file: characters, tokens before and after, texts whose ids changed without any new token in them."""

    file: str
    characters: int
    before: int
    after: int
    texts: int
    changed: int  # texts with a new token
    others: int  # texts without one whose ids are nevertheless others: two old tokens became a third old one

    def to_dict(self) -> dict:
        """As it lies in vocabulary.json."""
        return vars(self)


def measure(texts: dict[str, list[str]], before: Any, after: Any, new: set[int]) -> tuple[list[Measured], set[int]]:
    """Each file's `Measured`, by two `tokenizers` backends, and the new ids that occur."""
    found, seen = [], set()
    for file, lines in texts.items():
        old = [encoded.ids for encoded in before.encode_batch(lines, add_special_tokens=False)]
        now = [encoded.ids for encoded in after.encode_batch(lines, add_special_tokens=False)]
        used = [new.intersection(ids) for ids in now]
        seen.update(*used)
        others = sum(a != b for a, b, u in zip(old, now, used, strict=True) if not u)
        found.append(
            Measured(
                file, sum(map(len, lines)), sum(map(len, old)), sum(map(len, now)), len(lines), sum(map(bool, used)),
                others,
            )
        )  # fmt: skip
    return found, seen


def table(found: list[Measured]) -> list[str]:
    """Lines of a table for people."""
    names = [item.file for item in found]
    width = max(map(len, [*names, "text"]))
    lines = [
        f"{'text':<{width}}  {'characters':>11}  {'tokens':>9}  {'now':>9}  {'per char.':>9}  {'now':>6}  {'':>7}"
    ]
    for item in found:
        each = max(1, item.characters)
        lines.append(
            f"{item.file:<{width}}  {item.characters:>11,}  {item.before:>9,}  {item.after:>9,}  "
            f"{item.before / each:>9.3f}  {item.after / each:>6.3f}  {item.after / max(1, item.before) - 1:>+7.1%}"
        )
    return lines


def account_lines(account: Account) -> list[str]:
    """A line for every reason: how many, the first places."""
    lines = []
    for reason, text in REASONS.items():
        if count := account.reasons[reason]:
            places = account.places[reason]
            more = ", ..." if len(places) > _SHOWN else ""
            lines.append(f"  {count:>6,} {text}: {', '.join(places[:_SHOWN])}{more}")
    return lines
