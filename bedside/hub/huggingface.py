"""The Hugging Face hub (or the mirror in HF_ENDPOINT): list a repository, fetch files, failures as sentences."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bedside.errors import ConfigError
from bedside.hub import transfer
from bedside.hub.remote import File, Listing


def endpoint() -> str:
    """The address that is asked."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def check_not_offline() -> None:
    """Raise ConfigError if the environment forbids the network."""
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        if os.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE"):
            raise ConfigError(f"{name}={os.environ[name]} is set, which forbids every download; unset it")


@contextmanager
def _sentences(name: str, kind: str, revision: str | None) -> Iterator[None]:
    """The client's errors as ConfigError: what failed, what to do."""
    from huggingface_hub import errors as hub

    token = "the HF_TOKEN in the environment has no access" if os.environ.get("HF_TOKEN") else "HF_TOKEN is not set"
    flag = "--dataset" if kind == "model" else "--model"
    try:
        yield
    except hub.GatedRepoError:
        raise ConfigError(
            f"{name}: gated, its authors want their terms accepted: do that at {_page(name, kind)}, then put a token "
            f"of your account into HF_TOKEN ({token})"
        ) from None
    except hub.RevisionNotFoundError:
        raise ConfigError(f"{name}: has no revision {revision}; see {_page(name, kind)}/tree/main") from None
    except hub.RepositoryNotFoundError:
        raise ConfigError(
            f"{name}: no such {kind} at {endpoint()}, or a private one ({token}); check the spelling of OWNER/NAME, "
            f"or is it for {flag}?"
        ) from None
    except hub.HFValidationError:
        raise ConfigError(f"{name}: not a name on the hub; expected OWNER/NAME, such as Qwen/Qwen3-0.6B") from None
    except hub.HfHubHTTPError as error:
        status = getattr(error.response, "status_code", "?")
        what = "too many requests: wait a while" if status == 429 else "try again later"
        raise ConfigError(f"{name}: {endpoint()} answered with status {status}; {what}") from None
    except (hub.HTTPError, hub.LocalEntryNotFoundError, ConnectionError) as error:  # HTTPError: no answer at all
        why = str(error).strip().splitlines()[0][:160] if str(error).strip() else type(error).__name__
        raise ConfigError(
            f"{name}: {endpoint()} cannot be reached ({why}); check the network or a proxy, set HF_ENDPOINT to a "
            "mirror, or use --source modelscope. What has been fetched is kept: the same command goes on from there"
        ) from None


def _page(name: str, kind: str) -> str:
    return f"{endpoint()}/{'datasets/' if kind == 'dataset' else ''}{name}"


def listing(name: str, kind: str, revision: str | None) -> Listing:
    """What the repository holds now at `revision` (default: main), with its commit."""
    check_not_offline()
    from huggingface_hub import HfApi

    with _sentences(name, kind, revision):
        info = HfApi(endpoint=endpoint()).repo_info(name, revision=revision, repo_type=kind, files_metadata=True)
    files = tuple(
        File(item.rfilename, item.size or 0, item.lfs.sha256 if item.lfs else None, None if item.lfs else item.blob_id)
        for item in info.siblings or ()
    )
    return Listing(name, kind, "huggingface", revision or "main", info.sha, files)


def fetch(found: Listing, files: list[File], directory: Path, workers: int) -> None:
    """Fetch the files of one commit into `directory`, going on where an earlier run broke off."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import build_hf_headers

    def address(file: File) -> str:
        return hf_hub_url(found.name, file.path, repo_type=found.kind, revision=found.commit, endpoint=endpoint())

    with _sentences(found.name, found.kind, found.revision):
        transfer.fetch_all(files, address, build_hf_headers(), directory, workers)
