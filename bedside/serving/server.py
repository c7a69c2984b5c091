"""A port, and uvicorn on it until Ctrl-C or until the engine is dead."""

from __future__ import annotations

import socket
from contextlib import suppress
from threading import Thread
from typing import Any

import uvicorn

from bedside import logs
from bedside.errors import CHECK_FAILED, ConfigError
from bedside.serving.batched import BatchedEngine

_LAST_SECONDS = 5  # that open replies have to end in
# Longer than clients keep an idle connection: else one sends into a connection that is being closed, and fails.
_IDLE_SECONDS = 75


def bound(host: str, port: int) -> socket.socket:
    """A socket bound to the address and not listening yet, so that clients are refused until the model is there.

    Raises ConfigError for a port that is taken, or an address that is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    place = socket.socket(family, socket.SOCK_STREAM)
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        place.bind((host, port))
    except (OSError, OverflowError) as error:
        place.close()
        told = f"--host {host} --port {port}: {error}; choose another --port, or an address of this machine"
        raise ConfigError(told) from None
    return place


def run(app: Any, engine: BatchedEngine, place: socket.socket, greeting: str) -> int:
    """Serve until Ctrl-C (returns 0) or until the engine is dead (1)."""
    quiet = {"log_level": "warning", "access_log": False, "server_header": False, "lifespan": "off"}
    waits = {"timeout_graceful_shutdown": _LAST_SECONDS, "timeout_keep_alive": _IDLE_SECONDS}
    server = _Server(uvicorn.Config(app, **quiet, **waits))
    server.engine, server.greeting = engine, greeting

    def leave() -> None:
        server.should_exit = True

    engine.scheduler.on_death = leave
    if engine.scheduler.failed:
        leave()
    with suppress(KeyboardInterrupt):  # uvicorn raises it again, once all is closed
        server.run(sockets=[place])
    if not server.asked_to_stop and engine.scheduler.failed:
        return CHECK_FAILED
    logs.info("stopped")
    return 0


class _Server(uvicorn.Server):
    """uvicorn's, which says when it is ready, and on Ctrl-C ends open replies instead of waiting for them."""

    engine: BatchedEngine
    greeting: str
    asked_to_stop = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            logs.info(self.greeting)

    def handle_exit(self, sig: int, frame: Any) -> None:
        if not self.asked_to_stop:
            self.asked_to_stop = True
            # In a thread: the signal may have come while this one holds the scheduler's lock.
            Thread(target=self.engine.close, daemon=True).start()
        super().handle_exit(sig, frame)
