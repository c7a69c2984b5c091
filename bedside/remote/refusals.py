"""What a server's error means: ask again, ask in another way, this row cannot be asked, or nothing can."""

from __future__ import annotations

import email.utils
import random
import re
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from typing import Any

from bedside.answers import EngineFailed
from bedside.data.conversation import RowError
from bedside.remote.protocol import OPTIONAL

_OVERLONG = re.compile(
    r"context.?(?:length|window|size)|too (?:long|large)|W_OVERLONG|(?:exceeds?|longer than|fills?) .{0,40}context",
    re.I,
)
_AGAIN = (408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529)
_ROW = (400, 413, 422)  # what is asked is wrong, perhaps in this row alone
_FIRST, _LONGEST = 0.5, 16.0  # seconds before a request is sent again, doubled each time
_SHOWN = 300  # characters of the server's reason


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it came from."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def status_of(error: BaseException) -> int | None:
    """The HTTP status, or None for an error that is not the server's answer."""
    return getattr(error, "status_code", None)


def hopeless(error: BaseException) -> bool:
    """A connection that will not come about by waiting: no such host, or a certificate that does not hold."""
    return any(isinstance(cause, (socket.gaierror, ssl.SSLCertVerificationError)) or _unknown_host(cause)
               for cause in causes(error))  # fmt: skip


def _unknown_host(cause: BaseException) -> bool:
    return "Name or service not known" in str(cause) or "nodename nor servname" in str(cause)


def timed_out(error: BaseException) -> bool:
    """True for an answer that did not come in time (not for a connection that did not come about)."""
    names = {type(cause).__name__ for cause in causes(error)}
    return bool(names & {"ReadTimeout", "WriteTimeout"})


def again(error: BaseException) -> bool:
    """Whether the same request may succeed later."""
    status = status_of(error)
    if status is None:
        return not hopeless(error) and not timed_out(error)
    return status in _AGAIN and getattr(error, "code", None) != "insufficient_quota"


def busy(error: BaseException) -> bool:
    """Whether the server works and only has no room now, which is no failure to be counted."""
    told = retry_after(getattr(getattr(error, "response", None), "headers", {}))
    return status_of(error) == 429 or status_of(error) == 503 and told is not None


def pause(error: BaseException, attempt: int, now: float | None = None) -> float:
    """Seconds to wait before the request is sent again: as Retry-After says, else longer each time."""
    told = retry_after(getattr(getattr(error, "response", None), "headers", {}), now)
    seconds = min(_FIRST * 2**attempt, _LONGEST) if told is None else told
    # A little apart, so that many that were turned away do not come back at once.
    return seconds * random.uniform(1.0, 1.25)


def retry_after(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Seconds in a Retry-After header, which holds a number or a date; None where there is none to be read."""
    value = (headers.get("retry-after") or "").strip()
    if re.fullmatch(r"\d+(\.\d+)?", value):
        return float(value)
    try:
        date = email.utils.parsedate_to_datetime(value).timestamp()
    except (TypeError, ValueError):
        return None
    return max(0.0, date - (time.time() if now is None else now))


def reason(error: BaseException) -> str:
    """The server's own words, or what went wrong on the way."""
    status = status_of(error)
    if status is None:
        found = [str(cause).strip() for cause in causes(error) if isinstance(cause, OSError)]
        return next((text for text in found if text), str(error) or type(error).__name__)[:_SHOWN]
    told = getattr(error, "body", None)
    told = told.get("message", told) if isinstance(told, dict) else told
    text = " ".join(str(told or "").split())
    return f"HTTP {status}: {text[:_SHOWN]}" if text and "<html" not in text.lower() else f"HTTP {status}"


def overlong(error: BaseException) -> bool:
    """Whether the server says that the prompt, or prompt and answer, are too long."""
    if status_of(error) == 413 or getattr(error, "code", None) == "context_length_exceeded":
        return True
    return status_of(error) in _ROW and bool(_OVERLONG.search(_words(error)))


def refused_fields(error: BaseException, body: Mapping[str, Any]) -> list[str]:
    """Fields of `body` that this server does not know and that can be left out."""
    if status_of(error) not in _ROW:
        return []
    named = str(getattr(error, "param", None) or "")
    words = named if named in OPTIONAL else f"{named} {_words(error)}"
    return [name for name in OPTIONAL if name in body and re.search(rf"\b{name}\b", words)]


def other_limit(error: BaseException, body: Mapping[str, Any]) -> bool:
    """Whether the server wants max_tokens under its newer name."""
    return status_of(error) in _ROW and "max_tokens" in body and "max_completion_tokens" in _words(error)


def about_the_row(error: BaseException) -> bool:
    """Whether the request was refused for what it says, which another row may not."""
    return status_of(error) in _ROW


def row_error(error: BaseException, messages: list[dict]) -> RowError:
    """The refusal of one row. The server may repeat what it was sent: that is left out, for logs travel."""
    told = reason(error)
    for message in messages:
        if len(content := str(message.get("content") or "")) > 3:
            told = told.replace(content, "...")
    if overlong(error):
        return RowError("W_OVERLONG", f"the prompt is too long for the server's model ({told})")
    return RowError("E_TEMPLATE", f"the server refuses these messages ({told})")


def failed(error: BaseException, url: str, model: str | None, keyed: bool, tries: int = 1) -> EngineFailed:
    """The sentence for an error that no row is to blame for."""
    status, told = status_of(error), reason(error)
    if status is None and timed_out(error):
        return EngineFailed(
            f"{url}: no answer in time; raise --server_timeout, lower --concurrency, or ask for shorter answers", True
        )
    if status is None and getattr(error, "body", None):
        return EngineFailed(f"{url}: fails while it answers ({told}); its log says more", True)
    if status is None:
        often = f", {tries} times" if tries > 1 else ""
        return EngineFailed(
            f"{url}: no server answers there ({told}{often}); check the address, and that the server runs", True
        )
    if status in (401, 403):
        what = "refuses the key" if keyed else "asks for a key"
        return EngineFailed(
            f"{url}: {what} ({told}); put the one it was started with into the environment variable BEDSIDE_API_KEY"
        )
    if status == 404:
        named = f" called {model}" if model else ""
        return EngineFailed(f"{url}: no model{named}, or no OpenAI-compatible server there ({told})")
    if 300 <= status < 400:
        return EngineFailed(f"{url}: redirects elsewhere ({told}), and no key follows; give the final address")
    if status in _AGAIN:
        often = f" after {tries} tries" if tries > 1 else ""
        return EngineFailed(f"{url}: gives no answer{often} ({told}); try again later, or lower --concurrency", True)
    return EngineFailed(f"{url}: refuses the request ({told})")


def _words(error: BaseException) -> str:
    return f"{getattr(error, 'code', None) or ''} {getattr(error, 'body', None) or ''} {error}"
