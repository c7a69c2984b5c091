"""ModelScope, through its own client if that is installed: the same two functions as `huggingface`."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from bedside.errors import ConfigError
from bedside.hub.remote import File, Listing


def check_installed() -> None:
    """Raise ConfigError if the client is not there."""
    if find_spec("modelscope_hub") is None:
        raise ConfigError("--source modelscope: its client is not installed; run `pip install modelscope-hub`")


@contextmanager
def _sentences(name: str, kind: str) -> Iterator[None]:
    from modelscope_hub import errors as hub

    try:
        yield
    except hub.NotExistError:
        raise ConfigError(f"{name}: no such {kind}, or no such revision, at ModelScope; check OWNER/NAME") from None
    except (hub.AuthenticationError, hub.PermissionDeniedError):
        raise ConfigError(
            f"{name}: not open to everybody; put a token of your account into MODELSCOPE_API_TOKEN"
        ) from None
    except (hub.HubError, ConnectionError) as error:
        why = str(error).strip().splitlines()[0][:160] if str(error).strip() else type(error).__name__
        raise ConfigError(
            f"{name}: ModelScope cannot be reached ({why}); check the network, then run the same command again"
        ) from None


def listing(name: str, kind: str, revision: str | None) -> Listing:
    """What the repository holds now. ModelScope names no commit: each file's SHA-256 is what pins it."""
    check_installed()
    from modelscope_hub import HubApi

    with _sentences(name, kind):
        found = HubApi().list_repo_files(name, kind, revision=revision)
    files = tuple(File(item.path, item.size, item.sha256) for item in found if not item.is_dir)
    return Listing(name, kind, "modelscope", revision or "master", None, files)


def fetch(found: Listing, files: list[File], directory: Path, workers: int) -> None:
    """Fetch the files into `directory`."""
    from modelscope_hub.compat.snapshot_download import snapshot_download

    with _sentences(found.name, found.kind):
        snapshot_download(
            found.name,
            repo_type=found.kind,
            revision=found.revision,
            local_dir=str(directory),
            allow_patterns=[glob.escape(file.path) for file in files],
            max_workers=workers,
        )


@contextmanager
def writing(name: str) -> Iterator[None]:
    """What the client says against writing, as ConfigError."""
    from modelscope_hub import errors as hub

    try:
        yield
    except (hub.AuthenticationError, hub.PermissionDeniedError):
        raise ConfigError(
            f"{name}: ModelScope does not let you write there; put a token of that owner into MODELSCOPE_API_TOKEN"
        ) from None
    except (hub.HubError, ConnectionError) as error:
        why = " ".join(str(error).split())[:160] or type(error).__name__
        raise ConfigError(f"{name}: ModelScope did not take it ({why})") from None
