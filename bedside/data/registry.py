"""`dataset_info.json` as LLaMA-Factory users write it: names to files, and their columns to ours."""

import difflib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bedside.data.conversation import RowError
from bedside.errors import ConfigError

# Keys of `columns` (theirs) -> the field our row formats read.
_ALPACA = {"prompt": "instruction", "query": "input", "response": "output", "system": "system", "history": "history"}
_ALPACA["thought"] = "thought"
_TAGS = {"user_tag": "user", "assistant_tag": "gpt", "observation_tag": "observation"}
_TAGS |= {"function_tag": "function_call", "system_tag": "system"}
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
        """The row under our field names."""
        if not isinstance(row, dict) or (not self.columns and not self.tags):
            return row
        if self.formatting == "sharegpt":
            return self._adapt_turns(row)
        adapted = {ours: row.get(self.columns[theirs]) for theirs, ours in _ALPACA.items() if self.columns.get(theirs)}
        missing = [self.columns[key] for key in ("prompt", "response") if self.columns.get(key, key) not in row]
        if missing:
            raise RowError("E_FIELD", f"no field {missing[0]!r} (has: {', '.join(map(str, row))})")
        return adapted

    def _adapt_turns(self, row: dict) -> dict:
        key = self.columns.get("messages", "conversations")
        if key not in row:
            raise RowError("E_FIELD", f"no field {key!r} (has: {', '.join(map(str, row))})")
        who, what = self.tags.get("role_tag", "from"), self.tags.get("content_tag", "value")
        names = {name: _TAGS[tag] for tag, name in self.tags.items() if tag in _TAGS}
        turns = row[key]
        if isinstance(turns, list) and all(isinstance(turn, dict) and who in turn for turn in turns):
            turns = [{"from": names.get(turn[who], turn[who]), "value": turn.get(what)} for turn in turns]
        adapted = {"conversations": turns}
        for ours in ("system", "tools"):
            if row.get(self.columns.get(ours, ours)):
                adapted[ours] = row[self.columns.get(ours, ours)]
        return adapted

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
    except ValueError as error:
        raise ConfigError(f"{path}: not JSON ({error})") from None
    return [_entry(name.strip(), info, path) for name in names.split(",") if name.strip()]


def _entry(name: str, info: dict, path: Path) -> Entry:
    if name not in info:
        near = difflib.get_close_matches(name, info, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(f"--dataset {name}: not in {path} (has: {', '.join(info)}){hint}")
    row = info[name]
    if row.get("ranking"):
        raise ConfigError(f"--dataset {name}: a preference dataset (ranking: true), which this stage cannot train on")
    if "file_name" not in row:
        raise ConfigError(f"--dataset {name}: {path} gives no file_name; only local files are read so far")
    file = path.parent / row["file_name"]
    if not file.exists():
        raise ConfigError(f"--dataset {name}: {file} does not exist; put it there, or correct file_name in {path}")
    columns = {key: column for key, column in (row.get("columns") or {}).items() if column}
    return Entry(name, file, row.get("formatting", "alpaca"), columns, row.get("tags") or {})
