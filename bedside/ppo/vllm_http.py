"""Questions to a vLLM server: JSON over HTTP, the key from the environment, and a sentence where no answer comes."""

from __future__ import annotations

import http.client
import json
import os
import time
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

from bedside.errors import ConfigError
from bedside.openers import opener

_FLAG = "--vllm_server_base_url"
_PAUSES = (1.0, 2.0, 4.0, 8.0)  # seconds before a request is sent again: a server that restarts needs longer
_AGAIN = (502, 503, 504)  # what a proxy in front of the server says while it is busy or away
_TAIL = 500  # characters of the server's reason that a message shows


class Refused(ConfigError):
    """The server answered with an error: its status and its reason."""

    def __init__(self, status: int, reason: str):
        self.status, self.reason = status, reason
        super().__init__(f"HTTP {status}: {reason}")


class Server:
    """A server at `url`, asked by `get` and `post`. `command` starts one, and stands in the messages."""

    def __init__(self, url: str, timeout: float, command: str):
        url = url if "://" in url else f"http://{url}"
        self._opener = opener(url, _FLAG)  # ConfigError for what is no address
        parts = urlsplit(url)
        self.url = f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/").removesuffix("/v1")
        self.timeout, self.command = timeout, command
        self._headers = {"Content-Type": "application/json"}
        if key := os.environ.get("VLLM_API_KEY"):
            self._headers["Authorization"] = f"Bearer {key}"

    def get(self, path: str) -> Any:
        """The JSON at `path`."""
        return self._ask(path, None)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """The JSON (or text) that `path` answers `body` with. Sent again where the connection breaks; Refused where
        the server says no, ConfigError where there is none."""
        return self._ask(path, json.dumps(body).encode())

    def _ask(self, path: str, data: bytes | None) -> Any:
        for pause in (*_PAUSES, None):
            try:
                return self._once(path, data)
            except Refused as refusal:
                if refusal.status not in _AGAIN or pause is None:
                    raise
            except TimeoutError:
                raise ConfigError(
                    f"{self.url}{path}: no answer within {self.timeout:g} s; raise --vllm_server_timeout, or sample "
                    "fewer or shorter answers at a time"
                ) from None
            except OSError as error:
                if pause is None:
                    reason = getattr(error, "reason", error)
                    raise ConfigError(
                        f"{_FLAG} {self.url}: no vLLM server answers there ({reason}); start one where vLLM is "
                        f"installed: {self.command}"
                    ) from None
            time.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    def _once(self, path: str, data: bytes | None) -> Any:
        request = urllib.request.Request(self.url + path, data, self._headers)
        try:
            with self._opener.open(request, timeout=self.timeout) as reply:
                text = reply.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                raise _refused(error, self.url) from None
        except urllib.error.URLError as error:
            if isinstance(error.reason, TimeoutError):
                raise error.reason from None
            raise
        except http.client.HTTPException as error:  # an answer that broke off
            raise ConnectionError(str(error)) from None
        try:
            return json.loads(text) if text else None
        except ValueError:
            return text


def _refused(error: urllib.error.HTTPError, url: str) -> Refused | ConfigError:
    if error.code in (401, 403):
        return ConfigError(
            f"{_FLAG} {url}: refuses the key; put the one it was started with into the environment variable "
            "VLLM_API_KEY"
        )
    text = error.read().decode(errors="replace")
    try:
        body = json.loads(text)
        text = str((body.get("error") or body).get("message", text))
    except (ValueError, AttributeError):
        text = text.strip() or str(error.reason)
    return Refused(error.code, text[:_TAIL])
