"""One thread that owns the model, and a bounded queue in front of it: requests join and leave the running batch.

A round: rows that nobody wants any more leave, waiting requests are read in and join, every row gets a token.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from secrets import randbits
from threading import Condition, Event, Thread
from typing import TYPE_CHECKING, Any

from bedside import draws, logs
from bedside.answers import Answer, EngineFailed, Sampling
from bedside.generate import ChatEngine, Prompt, first_line
from bedside.serving.rows import Reader, Rows
from bedside.thoughts import Delta
from bedside.written import Written

if TYPE_CHECKING:
    import torch

_READ_AT_ONCE = 4096  # prompt tokens, padding included, that are read between two steps of the rows already running


class Busy(EngineFailed):
    """The queue is full; the same request may be made again later."""

    def __init__(self, waiting: int):
        super().__init__(f"the queue is full: {waiting} waiting, and no more may; ask again later", True)


@dataclass(eq=False)
class Request:
    """A prompt on its way to its answer. `put` takes deltas and at last the Answer, or the EngineFailed."""

    prompt: Prompt
    sampling: Sampling
    limit: int
    put: Callable[[Delta | Answer | EngineFailed], Any]
    written: Written
    numbers: list[float]
    cancel: Event | None = None
    gone: Event = field(default_factory=Event)  # the reader went away

    @property
    def unwanted(self) -> bool:
        """Whether nobody waits for more of it."""
        return self.gone.is_set() or (self.cancel is not None and self.cancel.is_set())

    @property
    def ids(self) -> list[int]:
        """Prompt and completion so far."""
        return self.prompt.ids + self.written.ids

    @property
    def left(self) -> int:
        """Tokens it may still write."""
        return self.limit - len(self.written.ids)

    def hand(self, piece: Delta | Answer | EngineFailed) -> None:
        """Give the reader a piece; one that cannot take it has gone away."""
        try:
            self.put(piece)
        except Exception:  # noqa: BLE001 - a reader's trouble is not the model's
            self.gone.set()

    def take(self, token: int) -> bool:
        """Write a token; returns whether there is more to come."""
        for delta in self.written.add(token):
            self.hand(delta)
        if not self.written.ended and self.left > 0:
            return True
        self.finish()
        return False

    def finish(self) -> None:
        """Hand on what was held back, and the Answer."""
        for delta in self.written.close():
            self.hand(delta)
        self.hand(self.written.answer(len(self.prompt.ids), self.unwanted))


class Scheduler:
    """Answers up to `max_batch` requests at once, while up to `max_waiting` wait.

    `max_tokens` bounds what the cache may grow to: rows times the longest of them, answers included. `failed` is None,
    or why there will be no more answers. `on_death` is called when that happens.
    """

    def __init__(
        self,
        engine: ChatEngine,
        max_batch: int = 8,
        max_waiting: int = 64,
        max_tokens: int = 16384,
        on_death: Callable[[], Any] = lambda: None,
    ):
        self.engine, self.max_waiting, self.max_tokens, self.on_death = engine, max_waiting, max_tokens, on_death
        self._reader = Reader(engine.model, engine.tokenizer.pad_token_id)
        self.max_batch = max_batch if self._reader.joins else 1
        self.failed: str | None = None
        self._news = Condition()
        self._waiting: deque[Request] = deque()
        self._joining: list[Request] = []
        self._running: list[Request] = []
        self._rows: Rows | None = None
        self._closed = False
        self._worker = Thread(target=self._work, name="bedside-model", daemon=True)
        self._worker.start()

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """Requests that are being answered."""
        return len(self._running) + len(self._joining)

    def submit(
        self,
        prompt: Prompt,
        sampling: Sampling,
        limit: int,
        put: Callable[[Delta | Answer | EngineFailed], Any],
        cancel: Event | None = None,
        patient: bool = False,
    ) -> Request:
        """Queue a prompt for at most `limit` tokens. Raises Busy when the queue is full (`patient`: waits for room
        instead) and EngineFailed when the engine is dead. `put` is called in the model's thread and must not block."""
        seed = randbits(63) if sampling.seed is None else sampling.seed
        numbers = draws.numbers(seed, limit) if sampling.temperature > 0 else [0.0] * limit
        written = Written(self.engine.decode, self.engine.stop_ids, sampling.stop, prompt.opened)
        request = Request(prompt, sampling, limit, put, written, numbers, cancel)
        with self._news:
            # What the free places of the batch take in at once does not wait.
            room = self.max_waiting + max(0, self.max_batch - self.running)
            while patient and not self.failed and len(self._waiting) >= max(1, room):
                self._news.wait()
                room = self.max_waiting + max(0, self.max_batch - self.running)
            if self.failed:
                raise EngineFailed(self.failed, again=self._closed)
            if not patient and len(self._waiting) >= room:
                raise Busy(len(self._waiting))
            self._waiting.append(request)
            self._news.notify_all()
        return request

    def close(self) -> None:
        """Answer nobody any more: who waits gets EngineFailed. Returns when the model is at rest."""
        with self._news:
            self._closed = True
            self.failed = self.failed or "the server is stopping"
            self._news.notify_all()
        self._worker.join()

    def _work(self) -> None:
        import torch

        self.engine.model.eval()
        with torch.inference_mode():
            while self._wait():
                try:
                    self._round()
                except BaseException as error:  # noqa: BLE001 - those who wait must hear of it, whatever it is
                    if not _out_of_memory(error):
                        self._die(error)
                        return
                    self._shrink()
        self._fail_all(EngineFailed(self.failed, again=True))

    def _wait(self) -> bool:
        """Wait for something to do; False once closed."""
        with self._news:
            while not (self._waiting or self._running or self._closed):
                self._news.wait()
            return not self._closed

    def _round(self) -> None:
        self._leave([request for request in self._running if request.unwanted])
        self._admit()
        if self._joining:
            rows, logits = self._reader.read([request.ids for request in self._joining])
            going = self._write(self._joining, logits)
            self._join(rows, going)
        if self._running:
            logits = self._reader.step(self._rows, [request.written.ids[-1] for request in self._running])
            going = self._write(self._running, logits)
            self._stay([self._running[place] for place in going], going)

    def _admit(self) -> None:
        """Take requests that fit, in their order, out of the queue."""
        with self._news:
            taken: list[Request] = []
            for request in [request for request in self._waiting if request.unwanted]:
                self._waiting.remove(request)
                request.finish()
            while self._waiting and self._fits([*taken, self._waiting[0]]):
                taken.append(self._waiting.popleft())
            self._joining = taken
            self._news.notify_all()

    def _fits(self, new: list[Request]) -> bool:
        rows = [*self._running, *new]
        if len(rows) == 1:
            return True
        longest = max(len(request.ids) for request in new)
        if len(rows) > self.max_batch or (len(new) > 1 and len(new) * longest > _READ_AT_ONCE):
            return False
        width = max(longest, self._rows.width if self._rows else 0)
        return len(rows) * (width + max(request.left for request in rows)) <= self.max_tokens

    def _write(self, requests: list[Request], logits: torch.Tensor) -> list[int]:
        """Give each request its next token; returns the places of those that go on."""
        bad = logits.isnan().any(-1).tolist()
        rows = [draws.Row(r.sampling, r.ids, r.numbers[len(r.written.ids)]) for r in requests]
        tokens = draws.tokens(logits.nan_to_num() if any(bad) else logits, rows)
        going = []
        for place, (request, token, broken) in enumerate(zip(requests, tokens, bad, strict=True)):
            if broken:
                request.hand(EngineFailed("the model computed NaN for this chat; load it with --dtype bfloat16"))
            elif request.take(token):
                going.append(place)
        return going

    def _join(self, rows: Rows, going: list[int]) -> None:
        joined, self._joining = [self._joining[place] for place in going], []
        if not joined:
            return
        # Named before they are joined: should the memory not suffice for that, they are asked again.
        self._running += joined
        if len(going) < len(rows.mask):
            rows.keep(going)
        if self._rows is None:
            self._rows = rows
        else:
            self._rows.join(rows)

    def _leave(self, gone: list[Request]) -> None:
        if gone:
            for request in gone:
                request.finish()
            going = [place for place, request in enumerate(self._running) if request not in gone]
            self._stay([self._running[place] for place in going], going)

    def _stay(self, requests: list[Request], places: list[int]) -> None:
        """Only these go on."""
        changed = len(requests) < len(self._running)
        self._running = requests
        if not requests:
            self._rows = None
        elif changed:
            self._rows.keep(places)

    def _shrink(self) -> None:
        """Out of memory: forget the cache, and ask the same requests again, half as many at once."""
        import torch

        held = list(dict.fromkeys([*self._running, *self._joining]))
        self._running, self._joining, self._rows = [], [], None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if len(held) == 1:
            size = len(held[0].ids)
            held.pop().hand(EngineFailed(f"the memory does not hold one chat of {size} tokens; ask for less"))
        else:
            self.max_batch = max(1, min(self.max_batch, len(held)) // 2)
            logs.warn(f"out of memory with {len(held)} chats at once; going on with at most {self.max_batch}")
        with self._news:
            self._waiting.extendleft(reversed(held))

    def _die(self, error: BaseException) -> None:
        with self._news:
            self.failed = f"the model broke off ({type(error).__name__}: {first_line(error)}); start the server again"
        logs.warn(self.failed)
        self._fail_all(EngineFailed(self.failed))
        self.on_death()

    def _fail_all(self, failure: EngineFailed) -> None:
        with self._news:
            left = list(dict.fromkeys([*self._running, *self._joining, *self._waiting]))
            self._running, self._joining, self._rows = [], [], None
            self._waiting.clear()
            self._news.notify_all()
        for request in left:
            request.hand(failure)


def _out_of_memory(error: BaseException) -> bool:
    import torch

    # The CPU's allocator raises a RuntimeError of its own.
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error)
