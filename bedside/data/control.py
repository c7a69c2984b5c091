"""Control tokens of chat formats as text: found, and made harmless the same way in training, inference and serving.

As text inside a message such a token would forge a turn. One space behind its first character takes that power away
and leaves it readable; the templates do the same to their own tokens, so text that went through here passes unchanged.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

# What bedside.templates marks trained spans with; no text has any business with them.
MARKS = ("\ufdd0", "\ufdd1")
# Tokens of the formats in use, whichever of them a tokenizer knows.
_GENERIC = (
    r"<\|(?:im_start|im_end|im_sep|endoftext|eot_id|eom_id|begin_of_text|end_of_text|start_header_id|end_header_id"
    r"|user|assistant|system|observation|end|python_tag)\|>"
    r"|<｜[A-Za-z0-9_▁ ]{1,40}｜>|</?s>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>"
)


class Clean(NamedTuple):
    """Messages and tools without control tokens, and `(field, token)` of each field that held one."""

    messages: list[dict]
    tools: list[dict] | None
    found: list[tuple[str, str]]


@lru_cache(maxsize=16)
def _search(forbidden: tuple[str, ...]) -> tuple[tuple[str, ...], re.Pattern]:
    """The characters that a token can begin with, and the pattern of all tokens.

    A special token made of blanks (or of one character and blanks) forges nothing and stays itself with a space more.
    """
    tokens = [token for token in forbidden if token and token not in apart(token)]
    pattern = re.compile("|".join([_GENERIC, *map(re.escape, tokens)]))
    return tuple(sorted({"<", "[", *(token[0] for token in tokens)})), pattern


def apart(token: str) -> str:
    """`token` as it is written in the text of others: one space behind its first character.

    >>> apart("[INST]")
    '[ INST]'
    """
    return f"{token[0]} {token[1:]}"


def first_token(text: str, forbidden: tuple[str, ...] = ()) -> str | None:
    """The first control token (or `forbidden` text) in `text`, or None."""
    firsts, pattern = _search(forbidden)
    for first in firsts:  # most texts hold none of these characters, and need no search
        if first in text:
            found = pattern.search(text)
            return found.group() if found else None
    return None


def neutralise(text: str, forbidden: tuple[str, ...] = ()) -> str:
    """`text` with a space inside every control token, nested ones too; clean text comes back as it is."""
    if first_token(text, forbidden) is None:
        return text
    pattern = _search(forbidden)[1]
    while pattern.search(text):
        text = pattern.sub(lambda found: apart(found.group()), text)
    return text


def _strings(value: Any) -> Iterator[str]:
    """Every text in a JSON value, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _strings(key)
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)


def _apart_in(value: Any, forbidden: tuple[str, ...]) -> Any:
    """A JSON value with every text in it neutralised."""
    if isinstance(value, str):
        return neutralise(value, forbidden)
    if isinstance(value, dict):
        return {_apart_in(key, forbidden): _apart_in(item, forbidden) for key, item in value.items()}
    return [_apart_in(item, forbidden) for item in value] if isinstance(value, list) else value


def _token_in(value: Any, forbidden: tuple[str, ...]) -> str | None:
    if isinstance(value, str):
        return first_token(value, forbidden)
    return next((token for text in _strings(value) if (token := first_token(text, forbidden))), None)


def mark_in(value: Any) -> str | None:
    """The name of the first noncharacter in a JSON value that marks trained text here, or None."""
    for text in (value,) if isinstance(value, str) else _strings(value):
        for mark in MARKS:
            if mark in text:
                return f"U+{ord(mark):04X}"
    return None


FIELDS = ("content", "reasoning_content", "tool_calls")  # of a message: what a template writes


def found_in(message: dict, forbidden: tuple[str, ...] = ()) -> tuple[str, str] | None:
    """`(field, token)` of the first control token in a message, or None."""
    for field in FIELDS:
        value = message.get(field)
        if value and (token := _token_in(value, forbidden)):
            return field, token
    return None


def _holds_none(messages: list[dict], tools: list[dict] | None, forbidden: tuple[str, ...]) -> bool:
    """Whether there is nothing to do, which is so for nearly every row; this loop is all that those cost."""
    firsts, pattern = _search(forbidden)
    for message in messages:
        for field in FIELDS:
            value = message.get(field)
            if not value:
                continue
            if not isinstance(value, str):
                if _token_in(value, forbidden):
                    return False
                continue
            for first in firsts:
                if first in value:
                    if pattern.search(value):
                        return False
                    break
    return not tools or _token_in(tools, forbidden) is None


def neutralised(messages: list[dict], tools: list[dict] | None = None, forbidden: tuple[str, ...] = ()) -> Clean:
    """Messages of every role and tool definitions with their control tokens neutralised; nothing is changed in place.

    `forbidden` are the tokenizer's special tokens. Where there is nothing to do, what was given comes back itself.
    """
    if _holds_none(messages, tools, forbidden):
        return Clean(messages, tools, [])
    found: list[tuple[str, str]] = []
    clean = [dict(message) for message in messages]
    for index, message in enumerate(messages):
        for field in FIELDS:
            value = message.get(field)
            if value and (token := _token_in(value, forbidden)):
                found.append((f"messages[{index}].{field}", token))
                clean[index][field] = _apart_in(value, forbidden)
    if tools and (token := _token_in(tools, forbidden)):
        found.append(("tools", token))
        tools = _apart_in(tools, forbidden)
    return Clean(clean, tools, found)


def told(found: list[tuple[str, str]]) -> str:
    """What was found, as a remark for people: fields and tokens, no other text."""
    field, token = found[0]
    more = f" (and there are more in {len(found) - 1} other field{'s' * (len(found) > 2)})" if len(found) > 1 else ""
    return f"{field} holds the control token {token}{more}, kept as {apart(token)}, which forges no turn"
