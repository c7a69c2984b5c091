"""JSON, strictly: what other loaders let pass in silence is a fault here, told without the text it stands in."""

import json
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

DEEPEST = 100  # levels: real rows have five, and beyond some hundreds Python's own functions give up


class JsonFault(Exception):
    """A text that is not strict JSON: a code from docs/data-formats.md and a detail without the text."""

    def __init__(self, code: str, detail: str, line: int = 1):
        self.code, self.detail, self.line = code, detail, line
        super().__init__(f"{code} {detail}")


_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,39}")


def shown(name: Any) -> str:
    """A field's name for a message. Names that look like text are described: a CSV without a header line has
    a patient's words where names should stand."""
    return name if isinstance(name, str) and _PLAIN_NAME.fullmatch(name) else f"<{len(str(name))} characters>"


def shown_names(row: dict, none: str = "nothing") -> str:
    """The row's field names, at most ten, as `shown`."""
    names = [shown(name) for name in list(row)[:10]]
    return ", ".join(names + ["..."] * (len(row) > 10)) or none


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise JsonFault("E_DUPKEY", f"key '{shown(key)}' twice in one object")
            seen.add(key)
    return row


def _no_nan(name: str) -> None:
    raise JsonFault("E_NAN", f"{name} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise JsonFault("E_NAN", "a number too large for a float")
    return number


_STRICT = json.JSONDecoder(object_pairs_hook=_no_duplicates, parse_constant=_no_nan, parse_float=_finite)
_LENIENT = json.JSONDecoder()
_HALF = re.compile(r"\\u[dD][89a-fA-F]")
_SURROGATE = re.compile("[\ud800-\udfff]")


def _too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(DEEPEST):
        level = [
            child
            for item in level
            if isinstance(item, (dict, list))
            for child in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return False
    return True


def _check(value: Any, text: str) -> Any:
    """`value` (parsed from `text`) if it is neither too deep nor holds half a character."""
    if text.count("[") + text.count("{") > DEEPEST and _too_deep(value):
        raise JsonFault("E_JSON", "nested too deeply")
    # A lone \ud83d parses, and crashes the tokenizer an hour later. Pairs are joined by the parser.
    if _HALF.search(text) and _SURROGATE.search(json.dumps(value, ensure_ascii=False)):
        raise JsonFault("E_SURROGATE", "a lone surrogate escape (half a character)")
    return value


def parse_at(text: str, position: int) -> tuple[Any, int]:
    """The JSON value that begins at `position`, and where it ends.

    Raises JsonFault; its `line` counts from the beginning of `text`.
    """
    try:
        value, end = _STRICT.raw_decode(text, position)
    except json.JSONDecodeError as error:
        raise JsonFault("E_JSON", f"{error.msg} at column {error.colno}", error.lineno) from None
    except RecursionError:
        raise JsonFault("E_JSON", "nested too deeply") from None
    except ValueError:  # Python refuses to convert an integer of thousands of digits
        raise JsonFault("E_JSON", "a number with too many digits") from None
    return _check(value, text[position:end]), end


def parse(text: str) -> Any:
    """One JSON text with nothing after it; JsonFault says what is wrong."""
    begin = len(text) - len(text.lstrip(" \t\r\n"))
    value, end = parse_at(text, begin)
    rest = text[end:].lstrip(" \t\r\n")
    if rest:
        before = text[: len(text) - len(rest)]
        column = len(before) - before.rfind("\n")
        raise JsonFault("E_JSON", f"Extra data at column {column}", before.count("\n") + 1)
    return value


def end_of(text: str, position: int) -> int | None:
    """Where the value at `position` ends for a lenient parser; None if it cannot tell either."""
    try:
        return _LENIENT.raw_decode(text, position)[1]
    except (ValueError, RecursionError):
        return None


@lru_cache(maxsize=1)
def _fast_loads() -> Callable[[bytes], Any] | None:
    """orjson's parser, or None where it is not installed: it is faster, and nothing depends on it."""
    try:
        from orjson import loads
    except ImportError:
        return None
    return loads


_UNSURE = -(1 << 60)  # a count of names that no text has
_INTEGERS_END = 2.0**53  # above it a float may stand for an integer that orjson could not hold


def _names_in(value: Any, levels: int = DEEPEST) -> int:
    """How many names the objects in `value` have, or less than 0 where orjson may have read it differently."""
    if isinstance(value, dict):
        count, value = len(value), value.values()
    elif isinstance(value, list):
        count = 0
    else:
        return _UNSURE if isinstance(value, float) and not 0 < abs(value) < _INTEGERS_END else 0
    if not levels:
        return _UNSURE
    for item in value:
        if type(item) is not str:
            count += _names_in(item, levels - 1)
    return count


def _no_name_twice(raw: bytes, names: int) -> bool:
    """Whether a JSON text surely has as many names as the `names` that were read from it."""
    # A colon stands behind each name, and else only inside a text; where there is none in a text, that is all.
    if raw.count(b":") == names:
        return True
    # With no blank in front of a colon, `":` stands behind each name, and else only behind an escaped quote.
    return raw.count(b'":') == names and not (b" :" in raw or b"\t:" in raw or b"\n:" in raw or b"\r:" in raw)


def loads(raw: bytes) -> Any:
    """`parse` of UTF-8 bytes, some ten times as fast on rows with nothing odd in them.

    The strict parser decides wherever the fast one could be more lenient: a fault, an object with fewer names than
    the text (one of them twice), a number that a float cannot hold, depth. Raises JsonFault and UnicodeDecodeError.
    """
    fast = _fast_loads()
    if fast is not None:
        try:
            value = fast(raw)
        except ValueError:
            return parse(raw.decode("utf-8"))
        if _no_name_twice(raw, _names_in(value)):
            return value
    return parse(raw.decode("utf-8"))
