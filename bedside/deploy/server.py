"""vLLM as a child of this command: started, waited for, and ended with everything that it has started."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bedside.deploy import trouble
from bedside.deploy.command import Start
from bedside.errors import CHECK_FAILED, ConfigError, UserError

_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PATIENCE = 20.0  # seconds that vLLM has for ending by itself, and again for what it leaves behind
_TELL = 10.0  # seconds between two lines while it loads
_PAUSE = 0.25
_PR_SET_PDEATHSIG = 1


class Stopped(BaseException):
    """A signal asked this command to end."""

    def __init__(self, number: int):
        self.number = number
        super().__init__(number)


class Died(UserError):
    """vLLM ended although nobody asked it to."""

    status = CHECK_FAILED


@contextmanager
def stoppable() -> Iterator[None]:
    """Ctrl-C, SIGTERM and a closed terminal raise Stopped, also where a shell started this with signals ignored."""

    def stop(number: int, frame: object) -> None:
        for other in _STOPS:  # the ending is bounded, and must not be cut short
            signal.signal(other, signal.SIG_IGN)
        raise Stopped(number)

    before = {number: signal.signal(number, stop) for number in _STOPS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def check_port(address: tuple[str, int]) -> None:
    """ConfigError if nobody can listen on `address`."""
    host, port = address
    if not 0 < port < 1 << 16:
        raise ConfigError(f"--port {port}: expected a number from 1 to 65535")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as place:
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            place.bind((host, port))
        except OSError as error:
            if error.errno in (98, 48):  # address in use, as Linux and macOS number it
                raise ConfigError(
                    f"port {port} on {host} is taken by another program (a server that still runs?); stop that one, "
                    f"or choose another: --port {port + 1}"
                ) from None
            raise ConfigError(
                f"--host {host} --port {port}: cannot listen there ({error.strerror or error})"
            ) from None


@contextmanager
def running(start: Start, log: Path, tell: Callable[[str], None]) -> Iterator[subprocess.Popen]:
    """vLLM, ready to answer. It is ended on the way out, whatever happens. Died if it does not come up."""
    with log.open("w", encoding="utf-8") as sink:
        process = subprocess.Popen(
            start.command, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT,
            env={**os.environ, **start.environment}, start_new_session=True, preexec_fn=_end_with_parent,
        )  # fmt: skip
    try:
        _wait(process, start, log, tell)
        yield process
    finally:
        end(process)


def _end_with_parent() -> None:
    """Have the kernel end this new process when the command dies without a chance to do so (kill -9), on Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _wait(process: subprocess.Popen, start: Start, log: Path, tell: Callable[[str], None]) -> None:
    begun, told = time.monotonic(), 0.0
    while not healthy(start):
        if process.poll() is not None:
            raise Died(trouble.sentence(process.returncode, log))
        waited = time.monotonic() - begun
        if waited - told >= _TELL:
            told = waited
            tell(f"loading, {waited:.0f} s: {trouble.last_step(log) or 'starting Python'}")
        time.sleep(_PAUSE)
    tell(f"ready after {time.monotonic() - begun:.0f} s")


def watch(process: subprocess.Popen, log: Path) -> None:
    """Wait until vLLM ends by itself, which is an error: Died."""
    process.wait()
    raise Died(trouble.sentence(process.returncode, log))


def context(start: Start) -> ssl.SSLContext | None:
    """What checks the server's certificate: it must be the very one that was given."""
    if start.certificate is None:
        return None
    made = ssl.create_default_context(cafile=start.certificate)
    made.check_hostname = False  # it is asked by an address of this machine
    made.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return made


def opener(start: Start) -> urllib.request.OpenerDirector:
    """What opens requests to the server, past any proxy."""
    return urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context(start))
    )


def healthy(start: Start) -> bool:
    """Whether the server answers."""
    try:
        with opener(start).open(f"{start.url}/health", timeout=5) as reply:
            return reply.status == 200
    except (urllib.error.URLError, OSError):
        return False


def end(process: subprocess.Popen) -> None:
    """End vLLM and its engine, which share a process group: asked first, then killed."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_PATIENCE)
    for sign in (signal.SIGTERM, signal.SIGKILL):
        if not _signal_group(process.pid, sign):
            break
        limit = time.monotonic() + (_PATIENCE if sign == signal.SIGTERM else 2)
        while time.monotonic() < limit and _alive(process.pid):
            time.sleep(0.1)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_PATIENCE)


def _alive(group: int) -> bool:
    """Whether somebody in the process group still runs; one that has ended and that nobody has read does not."""
    import psutil

    for other in psutil.process_iter(["status"]):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.getpgid(other.pid) == group and other.info["status"] != psutil.STATUS_ZOMBIE:
                return True
    return False


def _signal_group(group: int, sign: int) -> bool:
    """Send a signal to a process group; False if nobody is in it."""
    try:
        os.killpg(group, sign)
    except (ProcessLookupError, PermissionError):
        return False
    return True
