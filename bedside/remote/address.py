"""Where a server is, and which key it is shown: a key goes to the address that was given, and nowhere else."""

from __future__ import annotations

import os
from typing import NamedTuple
from urllib.parse import urlsplit

from bedside import logs
from bedside.errors import ConfigError
from bedside.openers import is_loopback

_OWN_KEYS = ("BEDSIDE_API_KEY", "VLLM_API_KEY")


class Address(NamedTuple):
    """`base` ends in /v1; `local` says that requests never leave this machine."""

    base: str
    local: bool
    encrypted: bool


def read(url: str, flag: str = "--server") -> Address:
    """The address in `url`, which may end in /v1 or not and may lack http://.

    ConfigError for what is no address; a warning where the text goes to another machine without encryption.
    """
    given = url.strip()
    full = given if "://" in given else f"http://{given}"
    try:
        parts = urlsplit(full)
        sound = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:  # brackets that do not close, a port that is no number
        sound = False
    if not sound:
        raise ConfigError(f"{flag} {given}: expected an address such as http://127.0.0.1:8000")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigError(
            f"{flag} {parts.scheme}://{parts.hostname}: holds more than an address; a key belongs into the "
            "environment variable BEDSIDE_API_KEY"
        )
    local, encrypted = is_loopback(parts.hostname), parts.scheme == "https"
    if not local and not encrypted:
        logs.warn(f"{flag} {given}: another machine, without encryption; whoever is on the way reads along")
    path = parts.path.rstrip("/").removesuffix("/chat/completions").removesuffix("/v1").rstrip("/")
    return Address(f"{parts.scheme}://{parts.netloc}{path}/v1", local, encrypted)


def key(address: Address) -> str | None:
    """The key in the environment: our own names first. OpenAI's is not shown to other machines without encryption."""
    found = next((os.environ[name] for name in _OWN_KEYS if os.environ.get(name)), None)
    if found is None and (address.local or address.encrypted):
        found = os.environ.get("OPENAI_API_KEY")
    return found or None
