"""A row's fields, each taken with the fault that tells what is wrong with it."""

from typing import Any

from bedside.data.conversation import RowError, kind_of
from bedside.data.strict_json import shown_names

Row = dict[str, Any]


def field(row: Row, name: str) -> Any:
    """The field called `name`; E_FIELD if the row has none."""
    if name not in row:
        raise RowError("E_FIELD", f"no field '{name}' (has: {shown_names(row)})")
    return row[name]


def blank(value: Any) -> bool:
    """True for null and for text without a character to see."""
    return value is None or isinstance(value, str) and not value.strip()


def optional_text(row: Row, name: str) -> str:
    """The text of a field that may be missing, null or empty; anything but a string is a RowError."""
    value = row.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise RowError("E_TYPE", f"{name} is {kind_of(value)}, expected string")
    return value if value.strip() else ""


def list_of(value: Any, where: str) -> list:
    """`value` if it is a list with something in it."""
    if value is None:
        raise RowError("E_NULL", f"{where} is null")
    if not isinstance(value, list):
        raise RowError("E_TYPE", f"{where} is {kind_of(value)}, expected list")
    if not value:
        raise RowError("E_EMPTY", f"{where} is an empty list")
    return value


def first_of(row: Row, *names: str) -> str | None:
    """The first of the names that the row has with something in it; else the first that it has at all, or None."""
    there = [name for name in names if name in row]
    return next((name for name in there if not blank(row[name])), there[0] if there else None)
