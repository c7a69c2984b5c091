"""Requests that stay where they were sent: no redirect takes a key or a patient's text to an address nobody named."""

import http.client
import ipaddress
import urllib.request
from typing import Any
from urllib.parse import urlsplit

from bedside import logs
from bedside.errors import ConfigError


class _Here(urllib.request.HTTPRedirectHandler):
    """A redirect is an HTTPError, as any other refusal: urllib would send the headers along, to whatever host."""

    def redirect_request(self, *_: Any) -> None:
        return None


def opener(url: str, flag: str) -> urllib.request.OpenerDirector:
    """What opens requests to `url`, which `flag` gave: follows no redirect, and asks no proxy for this machine.

    ConfigError if the address has no host; a warning where the text goes to another machine without encryption.
    """
    scheme, host = _parts(url, flag)
    local = is_loopback(host)
    if not local and scheme == "http":
        logs.warn(f"{flag} {url}: another machine, without encryption; whoever is on the way reads along")
    # A proxy that is set for the internet knows nothing of addresses of this machine, and would read what is sent.
    proxies = [urllib.request.ProxyHandler({})] if local else []
    return urllib.request.build_opener(_Here(), *proxies)


def _parts(url: str, flag: str) -> tuple[str, str]:
    try:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0):
            return parts.scheme, parts.hostname
    except ValueError:  # brackets that do not close, a port that is no number
        pass
    raise ConfigError(f"{flag} {url}: expected an address such as http://127.0.0.1:8000")


def target(headers: http.client.HTTPMessage | None) -> str:
    """Where a redirect points, without what stands behind its path; words for one that does not say."""
    try:
        parts = urlsplit((headers.get("Location") or "") if headers else "")
    except ValueError:
        return "an address that cannot be read"
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}" if host else parts.path or "nowhere"


def is_loopback(host: str) -> bool:
    """True for an address that never leaves this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
