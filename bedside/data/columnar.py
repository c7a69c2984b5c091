"""Parquet and Arrow to rows, batch by batch. A row's line is its number in the file, from 1.

In these files every row has every column, so that an absent field and a null are the same thing: nulls are left out,
at every level. Dates become ISO text and decimals text; columns of bytes (images, audio) are left out with a remark.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bedside.data.lines import LONGEST
from bedside.data.rows import Fault, Origin, Row
from bedside.data.strict_json import shown
from bedside.errors import ConfigError, DataError

if TYPE_CHECKING:
    import pyarrow

SUFFIXES = (".parquet", ".arrow")
_ROWS = 1000  # held at once
_END = b"\xff\xff\xff\xff\0\0\0\0"  # of an Arrow stream


def is_saved(directory: Path) -> bool:
    """True for a folder that `save_to_disk` of the datasets library wrote."""
    return (directory / "dataset_dict.json").is_file() or (
        (directory / "state.json").is_file() and (directory / "dataset_info.json").is_file()
    )


def shards(directory: Path, split: str | None = None) -> list[Path]:
    """The Arrow files of a folder that `save_to_disk` wrote, in order; of several splits, those of `split`.

    Raises ConfigError where a split or a shard is not there.
    """
    if (directory / "dataset_dict.json").is_file():
        splits = _object(directory / "dataset_dict.json").get("splits") or []
        wanted = split or "train"
        if wanted not in splits:
            raise ConfigError(f"{directory}: no split {wanted!r} (has: {', '.join(map(str, splits)) or 'none'})")
        return shards(directory / wanted)
    named = _object(directory / "state.json").get("_data_files")
    names = [entry.get("filename") for entry in named or [] if isinstance(entry, dict)]
    files = [directory / name for name in names if isinstance(name, str)]
    missing = [file.name for file in files if not file.is_file()]
    if missing or not files:
        gone = f"{missing[0]} is missing" if missing else "state.json names no data file"
        raise ConfigError(f"{directory}: {gone}; write the folder anew with save_to_disk")
    return files


def _object(path: Path) -> dict:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: does not exist; write the folder anew with save_to_disk") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not JSON ({error})") from None
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: expected an object; write the folder anew with save_to_disk")
    return value


def read(path: Path) -> Iterator[Row | Fault]:
    """Every row of a .parquet or .arrow file; DataError E_COLUMNAR for a file that is damaged or something else."""
    number, file = 0, str(path)
    with _told(path, lambda: number):
        batches, schema = _opened(path)
        names = [column.name for column in schema]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise DataError("E_COLUMNAR", file, f"two columns are called {shown(twice)}; rename one")
        kept = [column for column in schema if not _holds_bytes(column.type)]
        for column in schema:
            if column not in kept:
                yield Fault(Origin(file, 1), "I_COLUMN", f"column {shown(column.name)} holds bytes and is left out")
        for batch in batches:
            for part in range(0, batch.num_rows, _ROWS):
                rows = batch.select([column.name for column in kept]).slice(part, _ROWS)
                for item in _values(rows, file, number + 1):
                    number += 1
                    yield item
    if not number:
        raise DataError("E_EMPTY_FILE", file, "no rows")


def _opened(path: Path) -> tuple[Iterator["pyarrow.RecordBatch"], "pyarrow.Schema"]:
    import pyarrow

    if path.suffix.lower() == ".parquet":
        from pyarrow import parquet

        table = parquet.ParquetFile(path)
        return table.iter_batches(batch_size=_ROWS), table.schema_arrow
    source = pyarrow.OSFile(str(path))
    if source.read(6) == b"ARROW1":
        reader = pyarrow.ipc.open_file(source)
        return (reader.get_batch(index) for index in range(reader.num_record_batches)), reader.schema
    source.seek(max(0, source.size() - len(_END)))
    if source.read() != _END:  # a stream that stops between two batches looks complete otherwise
        raise pyarrow.ArrowInvalid("the file is cut off, or no Arrow file")
    source.seek(0)
    stream = pyarrow.ipc.open_stream(source)
    return iter(stream), stream.schema


@contextmanager
def _told(path: Path, reached: Callable[[], int]) -> Iterator[None]:
    """What pyarrow says of a broken file, as a DataError that names the row reached."""
    try:
        import pyarrow
    except ImportError:
        raise ConfigError(f"{path}: needs pyarrow: pip install pyarrow, or write the file as JSONL") from None
    try:
        yield
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError, SystemError) as error:
        if isinstance(error, FileNotFoundError | PermissionError):
            raise
        why = " ".join(str(error).split())[:200]
        where = f"{path}:{reached()}" if reached() else str(path)
        what = path.suffix.lower().removeprefix(".")
        detail = f"cannot be read as {what} behind row {reached()} ({why}); fetch or write the file again"
        raise DataError("E_COLUMNAR", where, detail) from None


def _holds_bytes(kind: "pyarrow.DataType") -> bool:
    from pyarrow import types

    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        return True
    return any(_holds_bytes(kind.field(index).type) for index in range(kind.num_fields))


def _values(rows: "pyarrow.RecordBatch", file: str, first: int) -> Iterator[Row | Fault]:
    if _is_sound(rows):
        for index, value in enumerate(rows.to_pylist()):
            yield _row(Origin(file, first + index), value)
        return
    for index in range(rows.num_rows):  # one cell is enough: find its row
        origin, row = Origin(file, first + index), rows.slice(index, 1)
        if _is_sound(row):
            yield _row(origin, row.to_pylist()[0])
        else:
            yield Fault(origin, "E_ENCODING", "a cell is not UTF-8")


def _is_sound(rows: "pyarrow.RecordBatch") -> bool:
    """False if a text is not UTF-8; raises ArrowInvalid where the columns themselves are damaged."""
    import pyarrow

    try:
        rows.validate(full=True)
    except pyarrow.ArrowInvalid as error:
        if "UTF8" not in str(error):
            raise
        return False
    return True


class _NoJson(Exception):
    """A value that JSON cannot hold: its code and detail."""


def _row(origin: Origin, value: dict) -> Row | Fault:
    try:
        row = _plain(value)
    except _NoJson as fault:
        return Fault(origin, *fault.args)
    longest = max((len(cell) for cell in row.values() if isinstance(cell, str)), default=0)
    if longest > LONGEST:
        return Fault(origin, "W_LONG", f"cell of {longest} characters, at most {LONGEST} are read")
    return Row(origin, row)


def _plain(value: Any) -> Any:
    """`value` as JSON has it."""
    if isinstance(value, str | bool | int | None):
        return value
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        if value - value != 0:  # NaN and infinities
            raise _NoJson("E_NAN", "a number that JSON does not have")
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
