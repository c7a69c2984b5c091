"""What is remembered of each conversation beside its ids: what became of it, and what a report counts. No text."""

import hashlib
import re
from typing import Any

import numpy as np

from bedside.data.conversation import Conversation

LANGUAGES = ("Chinese", "Latin script", "Japanese", "Korean", "other")
FACTS = np.dtype(
    [
        ("samples", np.uint16),  # training sequences made
        ("overlong", np.int32),  # tokens of the longest that did not fit, else 0
        ("turns_dropped", np.uint16),
        ("tokens", np.int32),  # of all its samples
        ("trained", np.int32),
        ("thought_tokens", np.int32),  # of the trained ones
        ("longest", np.int32),  # tokens of its longest sample, an over-long one included
        ("longest_kept", np.int32),
        ("turns", np.uint16),  # answers
        ("thought", np.bool_),  # whether an answer has one
        ("language", np.uint8),  # index into LANGUAGES
        ("fingerprint", np.uint64),  # equal for conversations of equal turns
    ]
)
_LOOKED_AT = 150  # characters of a text by which its language is told
_SCRIPTS = [re.compile(f"[{letters}]") for letters in ("\u4e00-\u9fff", "A-Za-z", "\u3040-\u30ff", "\uac00-\ud7af")]
_LATIN = re.compile("[A-Za-z]").search


def language_of(text: str) -> int:
    """Index into LANGUAGES of the script that most of the text's beginning is written in.

    >>> LANGUAGES[language_of("发热 38.5 CRP")]
    'Chinese'
    """
    beginning = text[:_LOOKED_AT]
    if beginning.isascii():
        return 1 if _LATIN(beginning) else 4
    chinese, latin, japanese, korean = (len(script.findall(beginning)) for script in _SCRIPTS)
    if japanese and 10 * japanese > chinese:
        return 2
    if korean > max(chinese, latin / 4):
        return 3
    if chinese and 4 * chinese >= latin:  # a Chinese character says as much as a Latin word of four letters
        return 0
    return 1 if latin else 4


def fingerprint(conversation: Conversation) -> int:
    """64 bits that are equal for conversations whose turns are the same but for outer blanks."""
    digest = hashlib.blake2b(digest_size=8)
    for message in conversation["messages"]:
        texts = (message["role"], message["content"].strip(), (message.get("reasoning_content") or "").strip())
        digest.update("\0".join(texts).encode())
        digest.update(repr(message.get("tool_calls") or "").encode() + b"\1")
    return int.from_bytes(digest.digest(), "little")


def of_conversation(conversation: Conversation, encoded: Any) -> tuple:
    """A row of FACTS; `encoded` is what `tokens.encode_chunk` made of the conversation."""
    messages = conversation["messages"]
    answers = [message for message in messages if message["role"] == "assistant"]
    lengths = [len(sample.ids) for sample in encoded.samples]
    trained = sum(end - start for sample in encoded.samples for start, end in sample.spans)
    question = next((message["content"] for message in messages if message["role"] == "user"), "")
    beginning = question if len(question) >= _LOOKED_AT else question + answers[-1]["content"][:_LOOKED_AT]
    return (
        len(lengths), encoded.overlong, encoded.turns_dropped, sum(lengths), trained, encoded.thought,
        max([encoded.overlong, *lengths]), max(lengths, default=0), len(answers),
        any(message.get("reasoning_content") for message in answers),
        language_of(beginning), fingerprint(conversation),
    )  # fmt: skip
