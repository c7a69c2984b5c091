"""Data sets named as on the Hugging Face hub: cached, or downloaded once, they are Arrow files like any other."""

import re
from pathlib import Path
from typing import NamedTuple

from bedside.errors import ConfigError

_PART = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_NAME = re.compile(rf"({_PART}/{_PART})(?:/({_PART}))?(?::([A-Za-z0-9._-]+))?")


class Name(NamedTuple):
    """A data set on the hub: `owner/name`, one of its subsets (configurations), one of its splits."""

    repo: str
    subset: str | None = None
    split: str | None = None

    def __str__(self) -> str:
        return self.repo + (f"/{self.subset}" if self.subset else "") + (f":{self.split}" if self.split else "")


def parse(text: str) -> Name | None:
    """`owner/name`, `owner/name:split` or `owner/name/subset:split`; None for what cannot be a name on the hub."""
    found = _NAME.fullmatch(text)
    return Name(*found.groups()) if found else None


def fetch(name: Name, cache_dir: str | None = None) -> list[Path]:
    """The Arrow files of a data set's split (default: train), downloaded if they are not in the cache.

    Raises ConfigError with one sentence if there is no such data set or split, or no way to it.
    """
    split = name.split or "train"
    try:
        import datasets
    except ImportError:
        raise ConfigError(f"--dataset {name}: needs the datasets library: pip install datasets") from None
    shown, quiet = datasets.are_progress_bars_disabled(), datasets.logging.get_verbosity()
    datasets.logging.set_verbosity_error()
    try:
        found = datasets.load_dataset(name.repo, name.subset, split=split, cache_dir=cache_dir)
    except datasets.exceptions.DatasetsError as error:
        raise ConfigError(_sentence(name, error)) from None
    except (OSError, ValueError, RuntimeError) as error:  # no network, no such split, a script, nothing cached
        raise ConfigError(_sentence(name, error)) from None
    finally:
        datasets.logging.set_verbosity(quiet)
        if not shown:
            datasets.enable_progress_bars()
    return [Path(file["filename"]) for file in found.cache_files]


def _sentence(name: Name, error: Exception) -> str:
    """What went wrong and what to do, in one line without the library's own advice."""
    import os

    text = " ".join(str(error).split())
    why = re.split(r"(?<=[a-z0-9'\"\])])\. |; | \(Request ID", text)[0][:200]
    offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON")
    if offline and "split" not in text.lower() and "Available configs" not in text:
        remedy = "HF_HUB_OFFLINE is set: unset it to download the data set, or name files that are here"
        return f"--dataset {name}: not in the cache ({why}); {remedy}"
    remedy = "check the name, the split and the network, or download it and use --train_file_dir"
    return f"--dataset {name}: cannot be loaded ({why}); {remedy}"
