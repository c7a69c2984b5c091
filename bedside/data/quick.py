"""A quick yes for rows that nothing is wrong with; everything else is `None`, and the full check decides and tells.

`format_of(row, raw)` may only say yes where `admit.conversation` would accept the row without a remark: a test holds
the two together over thousands of mutated rows. It exists because nearly every row of a good file is plain, and the
full check costs ten times as much.
"""

import re
from typing import Any

import numpy as np

from bedside.data import records

# What no plain row holds: U+FFFD, U+FDD0 and U+FDD1, 锟斤拷, and [INST].
_ODD = (b"\xef\xbf\xbd", b"\xef\xb7", "锟斤拷".encode(), b"INST]")
# The same as escapes, and escapes of ASCII, which may hide a tag.
_ODD_ESCAPE = re.compile(rb"\\u(?:00|[fF][fFdD]|951[fF])")
_OPEN, _CLOSE = "<think>", "</think>"
_ROLES = {"user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant"}
_PAIRS = {
    "medical_o1": ("Question", "Response", "Complex_CoT"),
    "input_output": ("input", "output", "thought"),
    "prompt_response": ("prompt", "response", "thought"),
    "prompt_completion": ("prompt", "completion", "thought"),
    "query_response": ("query", "response", "thought"),
    "question_answer": ("question", "answer", "thought"),
    "alpaca": ("instruction", "output", "thought"),
    "toyhom": ("ask", "answer", "thought"),
}
_TURNS = {"sharegpt": ("conversations", "from", "value"), "messages": ("messages", "role", "content")}
_detected: dict[tuple[str, ...], str | None] = {}  # by a row's names: which format it is depends on nothing else


def oddities(raw: bytes) -> tuple[bytes, ...] | None:
    """What of a chunk of lines each line must be searched for; None if for nothing.

    Most chunks hold none of it, and one search of the chunk is cheaper than one of each line.
    """
    values = np.frombuffer(raw, np.uint8)[:-1]
    after = np.frombuffer(raw, np.uint8)[1:]
    rare = after[np.flatnonzero(values == 0xEF)]  # pairs of bytes: thrice as fast as searching for them
    found = [odd for odd in _ODD[:2] if (rare == odd[1]).any()]
    found += [odd for odd in _ODD[2:] if odd in raw]
    escapes = (after[np.flatnonzero(values == ord("\\"))] == ord("u")).any()
    return tuple(found) or (() if escapes else None)


def _known(row: dict) -> str | None:
    names = tuple(row)
    if names not in _detected:
        if len(_detected) > 10_000:
            _detected.clear()
        try:
            _detected[names] = records.detect(dict.fromkeys(names, ""))
        except records.RowError:
            _detected[names] = None
    return _detected[names]


def format_of(row: Any, raw: bytes, odd: tuple[bytes, ...] | None = ()) -> str | None:
    """The name of the format of a row (parsed from the line `raw`) that is surely good; None if it may not be."""
    if odd is not None:
        for text in odd:
            if text in raw:
                return None
        if b"\\u" in raw and _ODD_ESCAPE.search(raw):
            return None
    tags = raw.count(b"<")
    if tags and tags != raw.count(b"<think>") + raw.count(b"</think>"):
        return None
    if type(row) is not dict:
        return None
    system = row.get("system")
    if system is not None and type(system) is not str:
        return None
    name = _known(row)
    if name in _TURNS:
        return name if row.get("tools") in (None, [], "") and _turns(row, *_TURNS[name], bool(tags)) else None
    return name if name in _PAIRS and _pair(row, name, bool(tags)) else None


def _blank(text: Any) -> bool:
    return type(text) is not str or not text or text.isspace()


def _answer(text: Any, thought: Any, tags: bool) -> bool:
    """Whether answer and thought are surely what `conversation.assistant` accepts."""
    if _blank(text):
        return False
    if thought is not None:
        return not _blank(thought) and not (tags and (_OPEN in text or _CLOSE in text or "think>" in thought))
    if not tags or "think>" not in text:
        return True
    inside, closing, answer = text.partition(_CLOSE)
    return (
        bool(closing)
        and inside.startswith(_OPEN)
        and not _blank(inside[len(_OPEN) :])
        and not _blank(answer)
        and "think>" not in answer
        and "think>" not in inside[len(_OPEN) :]
    )


def _turns(row: dict, key: str, who: str, what: str, tags: bool) -> bool:
    turns = row[key]
    if type(turns) is not list or not turns:
        return False
    wanted = "user"
    for index, turn in enumerate(turns):
        if type(turn) is not dict:
            return False
        speaker, text = turn.get(who), turn.get(what)
        if speaker == "system" and not index and not row.get("system") and len(turn) == 2 and not _blank(text):
            continue
        if (
            type(speaker) is not str
            or _ROLES.get(speaker) != wanted
            or (speaker in ("human", "gpt")) != (who == "from")
        ):
            return False
        thought = turn.get("reasoning_content")
        if len(turn) != 2 + ("reasoning_content" in turn):
            return False
        if wanted == "user":
            if thought is not None or _blank(text):
                return False
            wanted = "assistant"
        else:
            if not _answer(text, thought, tags):
                return False
            wanted = "user"
    return wanted == "user" and len(turns) > 1


def _pair(row: dict, name: str, tags: bool) -> bool:
    question, answer, thought = _PAIRS[name]
    if name == "medical_o1":
        if thought in row and _blank(row[thought]):
            return False
    elif name == "alpaca":
        extra = row.get("input")
        if row.get("history") or extra is not None and type(extra) is not str:
            return False
    elif name == "toyhom":
        title = row.get("title")
        if title is not None and type(title) is not str:
            return False
    return not _blank(row.get(question)) and _answer(row.get(answer), row.get(thought) or None, tags)
