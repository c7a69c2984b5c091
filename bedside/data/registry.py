"""`dataset_info.json` as LLaMA-Factory users write it: names to files, and their columns to ours."""

import difflib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bedside.data.conversation import RowError, kind_of
from bedside.data.strict_json import shown_names
from bedside.errors import ConfigError

# Keys of `columns` (theirs) -> the field our row formats read.
_ALPACA = {"prompt": "instruction", "query": "input", "response": "output", "system": "system", "history": "history"}
_ALPACA["thought"] = "thought"
_TAGS = {"user_tag": "user", "assistant_tag": "gpt", "observation_tag": "observation"}
_TAGS |= {"function_tag": "function_call", "system_tag": "system"}
_TURN_TAGS = {"sharegpt": ("from", "value"), "openai": ("role", "content")}
_THOUGHTS = ("Complex_CoT", "reasoning", "thought", "cot", "reasoning_content")


@dataclass(frozen=True)
class Entry:
    """One registered dataset."""

    name: str
    file: Path
    formatting: str = "alpaca"
    columns: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def adapt(self, row: Any) -> Any:
        """The row under our field names; RowError E_FIELD if a named column is not in it."""
        if not isinstance(row, dict) or (not self.columns and not self.tags):
            return row
        if self.formatting != "alpaca":
            return self._adapt_turns(row)
        names = {"prompt": "instruction", "response": "output"} | self.columns  # as LLaMA-Factory calls them unasked
        for key in ("prompt", "response"):
            if names[key] not in row:
                raise RowError("E_FIELD", f"no field {names[key]!r} (has: {shown_names(row)})")
        return {ours: row.get(names[theirs]) for theirs, ours in _ALPACA.items() if theirs in names}

    def _adapt_turns(self, row: dict) -> dict:
        key = self.columns.get("messages", "conversations" if self.formatting == "sharegpt" else "messages")
        if key not in row:
            raise RowError("E_FIELD", f"no field {key!r} (has: {shown_names(row)})")
        adapted = {"conversations": row[key]}
        if isinstance(row[key], list):
            adapted["conversations"] = [self._adapt_turn(turn) for turn in row[key]]
        for ours in ("system", "tools"):
            if row.get(self.columns.get(ours, ours)):
                adapted[ours] = row[self.columns.get(ours, ours)]
        return adapted

    def _adapt_turn(self, turn: Any) -> Any:
        who, what = _TURN_TAGS[self.formatting]
        who, what = self.tags.get("role_tag", who), self.tags.get("content_tag", what)
        if not isinstance(turn, dict) or who not in turn:
            return turn
        names = {name: _TAGS[tag] for tag, name in self.tags.items() if tag in _TAGS}
        speaker = turn[who]
        adapted = {"from": names.get(speaker, speaker) if isinstance(speaker, str) else speaker}
        return adapted | ({"value": turn[what]} if what in turn else {})

    def forgotten_thought(self, row: Any) -> str | None:
        """The field of `row` that holds a thought which this entry does not map (seed 000's mistake), or None."""
        if self.formatting != "alpaca" or not isinstance(row, dict) or not self.columns:
            return None
        used = set(self.columns.values())
        return next((name for name in _THOUGHTS if row.get(name) and name not in used), None)


def load(names: str, dataset_dir: str) -> list[Entry]:
    """Entries for comma-separated `names` from `dataset_dir/dataset_info.json`."""
    path = Path(dataset_dir) / "dataset_info.json"
    if not path.is_file():
        raise ConfigError(f"--dataset {names}: {path} does not exist; write it, or use --train_file_dir")
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not JSON ({error})") from None
    if not isinstance(info, dict):
        raise ConfigError(f"{path}: expected an object of datasets, found {kind_of(info)}")
    return [_entry(name.strip(), info, path) for name in names.split(",") if name.strip()]


def _entry(name: str, info: dict, path: Path) -> Entry:
    if name not in info:
        near = difflib.get_close_matches(name, info, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(f"--dataset {name}: not in {path} (has: {', '.join(info)}){hint}")
    row = info[name]
    if not isinstance(row, dict):
        raise ConfigError(f"--dataset {name}: {path} says {kind_of(row)}, expected an object with file_name")
    if row.get("ranking"):
        raise ConfigError(f"--dataset {name}: a preference dataset (ranking: true), which this stage cannot train on")
    if not isinstance(row.get("file_name"), str):
        raise ConfigError(f"--dataset {name}: {path} gives no file_name; only local files are read so far")
    file = path.parent / row["file_name"]
    if not file.exists():
        fetch = f"download it from {row['download']} and put it there" if row.get("download") else "put it there"
        raise ConfigError(f"--dataset {name}: {file} does not exist; {fetch}, or correct file_name in {path}")
    formatting = row.get("formatting", "alpaca")
    if formatting not in ("alpaca", *_TURN_TAGS):
        raise ConfigError(f"--dataset {name}: formatting {formatting!r}: expected alpaca, sharegpt or openai")
    return Entry(name, file, formatting, _names(name, row, "columns"), _names(name, row, "tags"))


def _names(dataset: str, row: dict, key: str) -> dict[str, str]:
    """The mapping under `key` without its empty entries."""
    mapping = row.get(key) or {}
    if not isinstance(mapping, dict) or not all(isinstance(name, str | None) for name in mapping.values()):
        raise ConfigError(f"--dataset {dataset}: {key}: expected an object of names")
    return {ours: name for ours, name in mapping.items() if name}
