"""Asking a language model for verdicts, behind any OpenAI-compatible `/v1/chat/completions`.

A verdict is paid for once: it lies in a cache on disk under a hash of model and prompt (no text of a patient). One
that fails or cannot be read is None and counted; too many of the latest ones stop the run.
"""

import hashlib
import http.client
import json
import os
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from bedside import logs
from bedside.errors import ConfigError
from bedside.openers import opener, target
from bedside.rewards.reward import Counts

Read = Callable[[str], Any]  # a verdict of a reply; None where it holds none

_TRY_AGAIN = (408, 409, 425, 429, 500, 502, 503, 504, 529)
_LONGEST_WAIT = 60.0  # seconds, whatever a server asks for
_WINDOW = 100  # the latest judgements: a judge that dies late has a long good record
_ENOUGH = 20  # judgements before their failures say something


@dataclass(frozen=True)
class Settings:
    """Where the judge is and how it is asked; prices are per million tokens."""

    url: str
    model: str
    key_variable: str = "OPENAI_API_KEY"
    cache: str | None = None
    rubric: str | None = None
    timeout: float = 60.0
    retries: int = 4
    concurrency: int = 8
    max_failures: float = 0.2
    price_in: float = 0.0
    price_out: float = 0.0

    def problems(self) -> list[str]:
        """What is wrong with the settings, in sentences."""
        found = []
        if not self.url.startswith(("http://", "https://")):
            found.append(f"judge URL {self.url!r}: expected http://host:port/v1 or https://...")
        if not self.model:
            found.append("the judge needs a model name")
        if self.key_variable and not self.key_variable.isidentifier():
            found.append("the judge's key is given by the name of an environment variable, never by itself")
        if self.timeout <= 0 or self.retries < 0 or self.concurrency < 1 or not 0 <= self.max_failures <= 1:
            found.append("judge: expected timeout > 0, retries >= 0, concurrency >= 1, max_failures from 0 to 1")
        if self.rubric and not Path(self.rubric).is_file():
            found.append(f"judge rubric {self.rubric}: no such file")
        return found


class _Failed(Exception):
    """One verdict that could not be had."""


@dataclass(frozen=True)
class Form:
    """What a reply must hold: how it is read, in words what was expected, and under which name a cache keeps it.
    `known` makes a verdict of what a cache holds, or raises ValueError or TypeError. `remedy` is told when too many
    replies fail."""

    read: Read
    expected: str
    field: str
    known: Read
    remedy: str


class Client:
    """Asks concurrently; counts tokens, failures and verdicts from the cache."""

    def __init__(self, settings: Settings, form: Form, sleep: Callable[[float], None] = time.sleep):
        if problems := settings.problems():
            raise ConfigError(problems)
        self.settings, self.form, self._sleep = settings, form, sleep
        self._opener = opener(settings.url, "--judge_url")
        self._known = _load(settings.cache, form)
        if settings.cache:
            Path(settings.cache).parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self.asked = self.failed = self.cached = self.tokens_in = self.tokens_out = 0
        self._latest: deque[bool] = deque(maxlen=_WINDOW)  # True for a failure
        self.last_failure = ""

    def verdicts(self, chats: Sequence[list[dict] | None]) -> list[Any]:
        """The verdict of each chat, None where there was none; a chat that is None is not asked."""
        keys = [chat and self._key(chat) for chat in chats]
        waiting = {key: chat for key, chat in zip(keys, chats, strict=True) if key and key not in self._known}
        self.cached += sum(bool(key) and key in self._known for key in keys)
        with ThreadPoolExecutor(max_workers=self.settings.concurrency) as pool:
            made = dict(zip(waiting, pool.map(self._judged, waiting.keys(), waiting.values()), strict=True))
        return [None if key is None else self._known.get(key, made.get(key)) for key in keys]

    def unknown(self, chats: Sequence[list[dict] | None]) -> list[list[dict]]:
        """The chats that asking these would be paid for, each once."""
        keyed = {self._key(chat): chat for chat in chats if chat}
        return [chat for key, chat in keyed.items() if key not in self._known]

    def told(self, summed: Counts = list) -> list[str]:
        """What the judge was asked and what it cost, as a line; `summed` adds the counts of all processes."""
        used = self.settings
        asked, cached, failed, read, written = summed(
            [self.asked, self.cached, self.failed, self.tokens_in, self.tokens_out]
        )
        cost = (read * used.price_in + written * used.price_out) / 1e6
        line = (
            f"judge {used.model}: {asked} asked, {cached} from the cache, {failed} failed; "
            f"{read} prompt and {written} completion tokens"
        )
        return [f"{line}, {cost:.4f} in the currency of the prices" if used.price_in or used.price_out else line]

    def _key(self, chat: list[dict]) -> str:
        text = json.dumps([self.settings.model, chat], ensure_ascii=True, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def _judged(self, key: str, chat: list[dict]) -> Any:
        form = self.form
        try:
            reply = self._reply(chat)
            verdict = form.read(reply)
            if verdict is None:
                raise _Failed(f"{form.expected} in a reply of {len(reply)} characters")
        except _Failed as failure:
            with self._lock:
                self.asked, self.failed, self.last_failure = self.asked + 1, self.failed + 1, str(failure)
                self._latest.append(True)
                self._stop_at_failures()
            return None
        with self._lock:
            self.asked += 1
            self._latest.append(False)
            self._known[key] = verdict
            if self.settings.cache:
                with open(self.settings.cache, "a", encoding="utf-8") as file:
                    file.write(json.dumps({"key": key, form.field: verdict}) + "\n")
        return verdict

    def _reply(self, chat: list[dict]) -> str:
        """The judge's text, after as many tries as are allowed; _Failed if there is none."""
        for attempt in range(self.settings.retries + 1):
            try:
                return self._once(chat)
            except urllib.error.HTTPError as error:
                reason, wait = f"HTTP {error.code}", _wait_told(error)
                self._refused(error)
                if error.code not in _TRY_AGAIN:
                    raise _Failed(reason) from None
            except (OSError, http.client.HTTPException) as error:  # also timeouts and URLError
                reason, wait = f"no reply ({getattr(error, 'reason', error)})", None
            except (ValueError, KeyError, IndexError, TypeError, AttributeError):  # no JSON, or of another shape
                raise _Failed("a reply that is no chat completion") from None
            if attempt < self.settings.retries:
                self._sleep(min(_LONGEST_WAIT, 0.5 * 2**attempt if wait is None else wait))
        raise _Failed(f"{reason} after {self.settings.retries + 1} tries")

    def _once(self, chat: list[dict]) -> str:
        body = {"model": self.settings.model, "messages": chat, "temperature": 0}
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(self.settings.key_variable, "").strip():
            headers["Authorization"] = f"Bearer {key}"
        request = urllib.request.Request(self._address(), json.dumps(body).encode(), headers)
        with self._opener.open(request, timeout=self.settings.timeout) as response:
            reply = json.load(response)
        usage = reply.get("usage") or {}
        with self._lock:
            self.tokens_in += int(usage.get("prompt_tokens") or 0)
            self.tokens_out += int(usage.get("completion_tokens") or 0)
        return str(reply["choices"][0]["message"]["content"] or "")

    def _address(self) -> str:
        base = self.settings.url.rstrip("/").removesuffix("/chat/completions")
        return f"{base}/chat/completions" if base.endswith("/v1") else f"{base}/v1/chat/completions"

    def _refused(self, error: urllib.error.HTTPError) -> None:
        """ConfigError for refusals that every further question would meet too."""
        if error.code in (401, 403):
            variable = self.settings.key_variable
            state = "is set" if os.environ.get(variable) else "is not set"
            raise ConfigError(
                f"judge {self._address()}: HTTP {error.code}; the environment variable {variable} {state}"
            )
        if 300 <= error.code < 400:
            raise ConfigError(
                f"judge {self._address()}: HTTP {error.code}, sends on to {target(error.headers)}; key and text go to "
                "the address that was given only. Give --judge_url the one that answers"
            )
        if error.code == 404:
            raise ConfigError(f"judge {self._address()}: HTTP 404; check the URL and the model {self.settings.model}")

    def _stop_at_failures(self) -> None:
        """ConfigError as soon as the latest judgements say so: those that wait would each time out in turn."""
        failed, latest = sum(self._latest), len(self._latest)
        if latest >= _ENOUGH and failed > self.settings.max_failures * latest:
            raise ConfigError(
                f"judge {self.settings.model}: {failed} of the last {latest} judgements failed, more than "
                f"{self.settings.max_failures:.0%}; the last one: {self.last_failure}. {self.form.remedy}"
            )


def _wait_told(error: urllib.error.HTTPError) -> float | None:
    """Seconds of a Retry-After header, as a number or a date; None without one."""
    told = (error.headers.get("Retry-After") or "").strip() if error.headers else ""
    if not told:
        return None
    try:
        return max(0.0, float(told))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(told).timestamp() - time.time())
    except (ValueError, TypeError):
        return None


def _load(path: str | None, form: Form) -> dict[str, Any]:
    """The cache of earlier runs; a line that was cut off when a run was killed is told and left out."""
    known: dict[str, Any] = {}
    if not path or not Path(path).is_file():
        return known
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), 1):
        row: Any = None
        try:
            row = json.loads(line)
            known[str(row["key"])] = form.known(row[form.field])
        except (ValueError, KeyError, TypeError):
            logs.warn(f"{path}:{number}: no judgement of a cache; expected key and {form.field}. It is asked again")
    return known
