"""From words to a tokenizer that has learnt them, with the proof that nothing else changed."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bedside.errors import ConfigError
from bedside.vocabulary import find
from bedside.vocabulary.codec import Codec
from bedside.vocabulary.merges import Learnt, learn_added, learn_letters, learn_merges, state_of
from bedside.vocabulary.words import Account, Word, is_cjk

METHODS = ("auto", "merges", "added")


def method_for(backend: Any, wanted: str) -> str:
    """`merges` for a BPE, `added` for other models, unless one of them is asked for."""
    if wanted != "auto":
        return wanted
    return "merges" if state_of(backend)["model"]["type"] == "BPE" else "added"


def found_words(texts: list[str], least: int, longest: int, known: set[str] = frozenset()) -> list[Word]:
    """The words that raw texts give, Chinese and Latin, with their counts, but those `known` by a list."""
    found = find.chinese_words(texts, max(1, least), longest) | find.latin_words(texts, max(1, least))
    return [Word(text, count, "", part=True) for text, count in found.items() if text not in known]


def count(words: list[Word], texts: Iterable[str]) -> None:
    """Fill in how often each word without a count occurs in the texts."""
    from collections import Counter

    unknown = {word.text for word in words if not word.count}
    texts = list(texts)
    seen: Counter = find.count_strings(texts, {text for text in unknown if is_cjk(text)})
    seen |= Counter(find.latin_words(texts, 1))
    for word in words:
        word.count = word.count or seen[word.text]


def choose(words: list[Word], codec: Codec, account: Account, least: int = 0, room: int | None = None) -> list[Word]:
    """The words that become tokens, those that save most a row first; the others go into the account.

    `least`: seen at least so often; `room`: for at most so many new tokens, the steps towards a word included.
    """
    taken: list[tuple[int, int, Word]] = []
    for word in words:
        pieces = codec.pieces(word.text)
        if codec.cut(word.text):
            account.end("cut", word)
        elif pieces < 2:
            account.end("known", word)
        elif word.count < least:
            account.end("rare", word)
        else:
            # A merge is a row and saves a token wherever it is applied; an added token is one row for all pieces.
            saved, cost = (word.count, pieces - 1) if codec.merges else (word.count * (pieces - 1), 1)
            taken.append((saved, cost, word))
    taken.sort(key=lambda item: -item[0])  # stable: words that are never seen keep the order of the list
    chosen = []
    for _, cost, word in taken:
        if room is not None and cost > room:
            account.end("limit", word)
            continue
        room = None if room is None else room - cost
        chosen.append(word)
    return chosen


@dataclass
class Extended:
    """A tokenizer that has learnt words: before, after, and the pieces that each new token replaces."""

    before: Codec
    after: Codec
    learnt: Learnt
    words: list[Word]
    pieces: dict[int, list[int]]  # new id to the old ids of the same text


def learn(words: list[Word], codec: Codec, account: Account) -> Extended:
    """Teach the words; those that would never be used, or not be read back as written, are left out and accounted.

    Raises ConfigError if a token that was there before has another id afterwards.
    """
    for _ in range(3):
        learnt = _learn(words, codec)
        after = codec.learnt(learnt.state)
        _check_ids(codec, after)
        faults = {word.text: fault for word in words if (fault := _fault(word, after, learnt))}
        if not faults:
            break
        for word in words:
            if word.text in faults:
                account.end(faults[word.text], word)
        words = [word for word in words if word.text not in faults]
    new = learnt.words | learnt.steps
    return Extended(codec, after, learnt, words, {number: codec.ids(surface) for surface, number in new.items()})


def _learn(words: list[Word], codec: Codec) -> Learnt:
    surfaces = [codec.surface(word.text) for word in words]
    if not codec.merges:
        return learn_added(codec.state, surfaces, alone=lambda text: not is_cjk(text))
    letters = learn_letters(codec.state, codec.tokenize, surfaces)
    learnt = learn_merges(letters.state, codec.learnt(letters.state).tokenize, surfaces)
    learnt.steps = letters.steps | learnt.steps
    return learnt


def _fault(word: Word, after: Codec, learnt: Learnt) -> str | None:
    ids = after.ids(after.surface(word.text))
    number = learnt.words.get(after.surface(word.text), ids[0])
    if number not in ids or (after.merges and len(ids) != 1):
        return "unreached"
    if after.backend.decode(ids, skip_special_tokens=False).strip() != word.text:
        return "undecodable"
    return None


def _check_ids(before: Codec, after: Codec) -> None:
    now = after.backend.get_vocab(with_added_tokens=True)
    moved = [token for token, number in before.backend.get_vocab(with_added_tokens=True).items()
             if now.get(token) != number]  # fmt: skip
    if moved:
        raise ConfigError(
            f"{len(moved)} tokens of the base would get other ids, such as {moved[0]}; its tokenizer.json "
            f"cannot be extended so: try --method {'added' if after.merges else 'merges'}"
        )


def save(extended: Extended, tokenizer: Any, directory: Path) -> Any:
    """Write the tokenizer's files with the new words; returns it as read back, which is compared with what was meant.

    Raises ConfigError if the files do not read back as the same tokenizer.
    """
    from bedside import models

    tokenizer.save_pretrained(directory)
    extended.after.backend.save(str(directory / "tokenizer.json"))
    again = models.load_tokenizer(str(directory))
    meant = extended.after.backend
    sample = [extended.after.form(word.text) for word in extended.words] + [word.text for word in extended.words]
    wrong = [
        text
        for text in sample
        if again(text, add_special_tokens=False)["input_ids"] != meant.encode(text, add_special_tokens=False).ids
    ]
    if wrong or again.get_vocab() != meant.get_vocab(with_added_tokens=True):
        raise ConfigError(
            f"{directory}: read back, the tokenizer differs for {len(wrong)} of {len(sample)} words; its class "
            f"({type(tokenizer).__name__}) builds itself from other files: try --method added"
        )
    return again
