"""`dataset_info.json` as LLaMA-Factory users write it: names to files, and their columns to ours."""

import difflib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bedside.data import columnmap, files, hub, mixture
from bedside.data.conversation import kind_of
from bedside.errors import ConfigError

# What of LLaMA-Factory's keys is read; whatever else stands in an entry is a note for people, unless it is nearly one.
_KEYS = ("file_name", "hf_hub_url", "ms_hub_url", "om_hub_url", "formatting", "columns", "tags", "ranking", "subset",
         "split", "num_samples", "folder", "download", "script_url", "cloud_file_name", "load_from")  # fmt: skip
_REFUSED = {
    "ms_hub_url": "ModelScope is not read directly",
    "om_hub_url": "Modelers is not read directly",
    "script_url": "scripts that come with data are not run",
    "cloud_file_name": "cloud storage is not read directly",
    "load_from": "where a data set comes from is told by file_name or hf_hub_url",
}
_FORMATS = ("alpaca", "sharegpt", "openai")


@dataclass(frozen=True)
class Entry:
    """One registered dataset, or one on the hub: where it is, how its fields are called, how much of it is used."""

    name: str
    file: Path | None = None  # a file, a folder or a pattern
    formatting: str = "alpaca"
    columns: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    ranking: bool = False
    on_hub: hub.Name | None = None
    split: str | None = None
    num_samples: int | None = None
    share: float = 1.0

    def paths(self, texts: bool = False, cache_dir: str | None = None) -> list[Path]:
        """Its files, downloaded first where it is a data set of the hub; ConfigError if there are none."""
        if self.on_hub is not None:
            return hub.fetch(self.on_hub, cache_dir)
        if self.file.exists():
            return files.find([str(self.file)], texts or self.file.suffix == ".txt", self.split)
        root, pattern = self.file.parent, self.file.name
        while columnmap.is_pattern(root.name):
            root, pattern = root.parent, f"{root.name}/{pattern}"
        found = sorted(path for path in root.glob(pattern) if not path.name.startswith("."))
        if not found:
            raise ConfigError(f"--dataset {self.name}: no file is called {self.file}")
        return files.find([str(path) for path in found], texts=True)

    def all_rows(self) -> bool:
        """True if every row is used once."""
        return self.share == 1 and self.num_samples is None

    def adapt(self, row: Any) -> Any:
        """The row under our field names; RowError E_FIELD if a named column is not in it."""
        return columnmap.adapt(row, self.formatting, self.columns, self.tags)

    def forgotten_thought(self, row: Any) -> str | None:
        """The field of `row` that holds a thought which this entry does not map (seed 000's mistake), or None."""
        return columnmap.forgotten_thought(row, self.formatting, self.columns)


def load(names: str, dataset_dir: str, ranking: bool = False) -> list[Entry]:
    """Entries for `names`, joined by commas, from `dataset_dir/dataset_info.json`, else from the hub (`owner/name`).

    A name may be followed by its split and its share: `a,b:0.3,owner/c:test:2`. `ranking` allows preference datasets.
    """
    path = Path(dataset_dir) / "dataset_info.json"
    wanted = [_asked(name.strip()) for name in names.split(",") if name.strip()]
    twice = next((name for name, *_ in wanted if [other for other, *_ in wanted].count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"--dataset {names}: {twice} stands there twice; to use its rows twice, write {twice}:2")
    info = _info(path, names) if path.is_file() else {}
    entries = []
    for name, split, share in wanted:
        on_hub = hub.parse(f"{name}:{split}" if split else name)
        if name not in info and on_hub is not None:
            entries.append(Entry(name, on_hub=on_hub, share=share))
        elif not path.is_file():
            raise ConfigError(f"--dataset {name}: {path} does not exist; write it, or use --train_file_dir")
        else:
            entries.append(_entry(name, info, path, ranking, split, share))
    return entries


def _asked(text: str) -> tuple[str, str | None, float]:
    """`name`, `name:split`, `name:share` or `name:split:share`, taken apart."""
    name, *more = text.split(":")
    share = 1.0
    if more and columnmap.is_number(more[-1]):
        share = float(more.pop())
    if not 0 < share <= mixture.MOST - 1:
        raise ConfigError(f"--dataset {text}: expected a share above 0 and at most {mixture.MOST - 1}")
    if len(more) > 1 or not name or "" in more:
        raise ConfigError(f"--dataset {text}: expected NAME, NAME:SPLIT, NAME:SHARE or NAME:SPLIT:SHARE")
    return name, (more[0] if more else None), share


def _info(path: Path, names: str) -> dict:
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not JSON ({error})") from None
    if not isinstance(info, dict):
        raise ConfigError(f"{path}: expected an object of datasets, found {kind_of(info)}")
    return info


def _entry(name: str, info: dict, path: Path, ranking: bool, split: str | None, share: float) -> Entry:
    if name not in info:
        near = difflib.get_close_matches(name, info, n=1)
        hint = f"; did you mean {near[0]}?" if near else "; a data set of the hub is written owner/name"
        raise ConfigError(f"--dataset {name}: not in {path} (has: {', '.join(info)}){hint}")
    row = info[name]
    if not isinstance(row, dict):
        raise ConfigError(f"--dataset {name}: {path} says {kind_of(row)}, expected an object with file_name")
    _check(name, row, path)
    if row.get("ranking") and not ranking:
        raise ConfigError(f"--dataset {name}: a preference dataset (ranking: true), which this stage cannot train on")
    split = split or row.get("split")
    file, on_hub = _place(name, row, path, split)
    columns, tags = (columnmap.names(f"--dataset {name}", row, key) for key in ("columns", "tags"))
    return Entry(name, file, row.get("formatting", "alpaca"), columns, tags, bool(row.get("ranking")), on_hub, split,
                 row.get("num_samples"), share)  # fmt: skip


def _check(name: str, row: dict, path: Path) -> None:
    """ConfigError for values of the wrong type, and for keys that look like misspelt ones."""
    for key in row:
        near = difflib.get_close_matches(key, _KEYS, n=1, cutoff=0.75)
        if key not in _KEYS and near:
            raise ConfigError(f"--dataset {name}: {path} has an unknown key {key!r}; did you mean {near[0]}?")
    for key in ("file_name", "hf_hub_url", "subset", "split", "folder"):
        if row.get(key) is not None and not isinstance(row[key], str):
            raise ConfigError(f"--dataset {name}: {key} is {kind_of(row[key])}, expected text")
    if row.get("formatting", "alpaca") not in _FORMATS:
        raise ConfigError(f"--dataset {name}: formatting {row['formatting']!r}: expected alpaca, sharegpt or openai")
    if row.get("ranking") not in (None, True, False):
        raise ConfigError(f"--dataset {name}: ranking is {kind_of(row['ranking'])}, expected true or false")
    samples = row.get("num_samples")
    if samples is not None and (isinstance(samples, bool) or not isinstance(samples, int) or samples < 1):
        raise ConfigError(f"--dataset {name}: num_samples: expected a whole number of rows, at least 1")


def _place(name: str, row: dict, path: Path, split: str | None) -> tuple[Path | None, hub.Name | None]:
    """Where the rows are: the file if it is there, else the data set on the hub."""
    file = path.parent / row["file_name"] if row.get("file_name") else None
    if file is not None and row.get("folder"):
        file = file / row["folder"]
    if file is not None and (file.exists() or columnmap.is_pattern(str(file))):
        return file, None
    if row.get("hf_hub_url"):
        on_hub = hub.parse(row["hf_hub_url"])
        if on_hub is None:
            raise ConfigError(f"--dataset {name}: hf_hub_url {row['hf_hub_url']!r}: expected owner/name")
        return None, on_hub._replace(subset=row.get("subset") or on_hub.subset, split=split or on_hub.split)
    if file is not None:
        fetch = f"download it from {row['download']} and put it there" if row.get("download") else "put it there"
        raise ConfigError(f"--dataset {name}: {file} does not exist; {fetch}, or correct file_name in {path}")
    for key, why in _REFUSED.items():
        if row.get(key):
            raise ConfigError(f"--dataset {name}: {key}: {why}; download the files and name them in file_name")
    raise ConfigError(f"--dataset {name}: {path} gives neither file_name nor hf_hub_url")
