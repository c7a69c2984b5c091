"""The names that a registered dataset gives its fields (`columns`) and its turns (`tags`), and rows under ours."""

import difflib
from typing import Any

from bedside.data.conversation import RowError
from bedside.data.strict_json import shown_names
from bedside.errors import ConfigError

# Keys of `columns` (theirs) -> the field our row formats read.
_ALPACA = {"prompt": "instruction", "query": "input", "response": "output", "system": "system", "history": "history",
           "thought": "thought", "chosen": "chosen", "rejected": "rejected", "kto_tag": "kto_tag"}  # fmt: skip
_TURNS = ("messages", "system", "tools", "chosen", "rejected", "kto_tag")
_MEDIA = ("images", "videos", "audios")
_TAGS = {"user_tag": "user", "assistant_tag": "gpt", "observation_tag": "observation"}
_TAGS |= {"function_tag": "function_call", "system_tag": "system"}
_TURN_TAGS = {"sharegpt": ("from", "value"), "openai": ("role", "content")}
_KNOWN = {"columns": tuple(dict.fromkeys((*_ALPACA, *_TURNS))), "tags": ("role_tag", "content_tag", *_TAGS)}
_THOUGHTS = ("Complex_CoT", "reasoning", "thought", "cot", "reasoning_content")


def names(where: str, row: dict, key: str) -> dict[str, str]:
    """The mapping under `columns` or `tags` without its empty entries; ConfigError for names that nobody knows."""
    mapping = row.get(key) or {}
    if not isinstance(mapping, dict) or not all(isinstance(name, str | None) for name in mapping.values()):
        raise ConfigError(f"{where}: {key}: expected an object of names")
    mapping = {ours: name for ours, name in mapping.items() if name}
    for ours in mapping:
        if ours in _MEDIA and key == "columns":
            raise ConfigError(f"{where}: columns.{ours}: only text is trained; leave these rows out, and the key")
        if ours not in _KNOWN[key]:
            near = difflib.get_close_matches(ours, _KNOWN[key], n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(_KNOWN[key])}"
            raise ConfigError(f"{where}: {key}.{ours} is unknown; {hint}")
    return mapping


def adapt(row: Any, formatting: str, columns: dict[str, str], tags: dict[str, str]) -> Any:
    """The row under our field names; RowError E_FIELD if a named column is not in it."""
    if not isinstance(row, dict) or (not columns and not tags):
        return row
    if formatting != "alpaca":
        return _adapt_turns(row, formatting, columns, tags)
    # As LLaMA-Factory calls them unasked; a preference has two answers instead of the response.
    answer = {} if "chosen" in columns or "rejected" in columns else {"response": "output"}
    theirs = {"prompt": "instruction"} | answer | columns
    for key in ("prompt", "response", "chosen", "rejected", "kto_tag"):
        if key in theirs:
            _field(row, theirs[key])
    return {ours: row.get(theirs[key]) for key, ours in _ALPACA.items() if key in theirs}


def _field(row: dict, name: str) -> Any:
    if name not in row:
        raise RowError("E_FIELD", f"no field {name!r} (has: {shown_names(row)})")
    return row[name]


def _adapt_turns(row: dict, formatting: str, columns: dict[str, str], tags: dict[str, str]) -> dict:
    turns = _field(row, columns.get("messages", "conversations" if formatting == "sharegpt" else "messages"))
    adapted = {"conversations": turns}
    if isinstance(turns, list):
        adapted["conversations"] = [_adapt_turn(turn, formatting, tags) for turn in turns]
    for key in ("chosen", "rejected", "kto_tag"):
        if key in columns:
            value = _field(row, columns[key])
            adapted[key] = _answer(value, formatting, tags) if isinstance(value, dict) else value
    for ours in ("system", "tools"):
        if row.get(columns.get(ours, ours)):
            adapted[ours] = row[columns.get(ours, ours)]
    return adapted


def _answer(turn: dict, formatting: str, tags: dict[str, str]) -> Any:
    """A turn that is one of two answers, as an OpenAI message."""
    adapted = _adapt_turn(turn, formatting, tags)
    if "from" not in adapted or "value" not in adapted:
        return turn
    if adapted["from"] not in ("gpt", "assistant"):
        raise RowError("E_ROLE", "chosen or rejected is a turn of somebody else than the assistant")
    return {"role": "assistant", "content": adapted["value"]}


def _adapt_turn(turn: Any, formatting: str, tags: dict[str, str]) -> Any:
    who, what = _TURN_TAGS[formatting]
    who, what = tags.get("role_tag", who), tags.get("content_tag", what)
    if not isinstance(turn, dict) or who not in turn:
        return turn
    names = {name: _TAGS[tag] for tag, name in tags.items() if tag in _TAGS}
    speaker = turn[who]
    adapted = {"from": names.get(speaker, speaker) if isinstance(speaker, str) else speaker}
    return adapted | ({"value": turn[what]} if what in turn else {})


def forgotten_thought(row: Any, formatting: str, columns: dict[str, str]) -> str | None:
    """The field of `row` that holds a thought which `columns` do not map, or None."""
    if formatting != "alpaca" or not isinstance(row, dict) or not columns:
        return None
    used = set(columns.values())
    return next((name for name in _THOUGHTS if row.get(name) and name not in used), None)


def is_pattern(name: str) -> bool:
    """True for a file name with `*`, `?` or `[...]` in it."""
    return any(character in name for character in "*?[")


def is_number(text: str) -> bool:
    """True for a number that a person writes: `2`, `0.3`, `.5`, `-1`."""
    return text.lstrip("+-").replace(".", "", 1).isdigit()
