"""Which token ends a document: what a base closed each text with in its pretraining, and never a chat's turn end.

A base's eos is that token. An instruct model's eos is often the end of a turn instead: closing documents with it would
teach the model that an answer is over wherever a text is. Such a family keeps its older end of document beside it.
"""

from typing import Any

from bedside.templates.rows import ROWS

# Ends of documents that families keep beside a turn end of their own, most common first.
_KEPT = ("<|endoftext|>", "<|end_of_text|>", "<｜end▁of▁sentence｜>", "<eos>", "</s>")
_TURN_ENDS = {row.turn_end for row in ROWS} - {"eos_token"}


def of(tokenizer: Any) -> str | None:
    """The token that closes a document for this tokenizer; None where it has none.

    The eos, unless that ends a turn: then the family's own end of document, and the eos only where there is no other
    (families that close turns and documents alike).
    """
    eos = tokenizer.eos_token
    if eos is not None and eos not in _TURN_ENDS:
        return eos
    vocabulary = tokenizer.get_vocab()
    return next((token for token in _KEPT if token in vocabulary), eos)


def beginning(tokenizer: Any) -> list[int]:
    """Ids that this tokenizer puts in front of every text (Llama's and Gemma's bos), `[]` for most others."""
    plain = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole = tokenizer("a", add_special_tokens=True)["input_ids"]
    places = range(len(whole) - len(plain) + 1)
    return whole[: next((place for place in places if whole[place : place + len(plain)] == plain), 0)]
