"""Who is evaluated: a model in this process or on a server, asked through its book of answers."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from bedside import logs
from bedside.answers import Answer, EngineFailed, Sampling
from bedside.data.conversation import RowError
from bedside.errors import ConfigError
from bedside.evaluate import book as books
from bedside.evaluate.book import Book

if TYPE_CHECKING:
    from bedside.evaluate.task import Weights

FAILED = "failed"  # finish_reason of a question that could not be answered: it counts as answered wrongly
_SAVED = 16  # answers of a server that are written together
_MOST_LOST = 0.2  # share of a server's answers that may fail before a run is stopped


def failed() -> Answer:
    """What stands for an answer that could not be had."""
    return Answer("", None, "", FAILED, 0, 0)


@dataclass
class Asked:
    """A model that answers (see task.Subject). `batch` chats are answered at once in this process; `sample` is the
    number of the draw; `counted` are all questions that were put, `lost` says why some of them got no answer that may
    get one when they are asked again."""

    name: str
    engine: Any
    weights: Weights | None
    book: Book
    seed: int = 42
    batch: int = 32
    enable_thinking: bool | None = None
    system: str | None = None
    path: str | None = None
    sample: int = 0
    counted: int = 0
    lost: list[str] = field(default_factory=list)

    def draw(self, number: int) -> Asked:
        """The same model, asked for the answer of this number to each question."""
        other = copy.copy(self)
        other.sample, other.counted, other.lost = number, 0, []
        return other

    def answers(self, chats: Sequence[list[dict]], sampling: Sampling, what: str) -> list[Answer]:
        """The answers in the order of `chats`; those that the book has are not asked for. A question that cannot be
        answered is warned of and has the finish reason FAILED.

        Raises EngineFailed where a server does not answer.
        """
        chats = [self._with_system(chat) for chat in chats]
        keys = [books.key(chat, sampling, self.enable_thinking, self.sample) for chat in chats]
        self.counted += len(chats)
        asked = dict(zip(keys, chats, strict=True))  # the same question is asked once
        if any(one not in self.book for one in asked):
            given = self._remote if hasattr(self.engine, "ask") else self._here
            without = {key: (why, again) for key, why, again in given(asked, sampling, what)}
        else:
            without = {}
        self.lost += [why for why, again in without.values() if again]
        return [failed() if key in without else self.book[key] for key in keys]

    def _with_system(self, chat: list[dict]) -> list[dict]:
        if self.system and chat and chat[0]["role"] != "system":
            return [{"role": "system", "content": self.system}, *chat]
        return list(chat)

    def _drawn(self, sampling: Sampling, keys: Sequence[str]) -> Sampling:
        """The sampling of a batch: every answer is drawn by a seed of its own, whatever stands beside it."""
        if not sampling.temperature:
            return replace(sampling, seed=None)
        return replace(sampling, seed=tuple(books.seed_of(self.seed, key) for key in keys))

    def _here(self, asked: dict[str, list[dict]], sampling: Sampling, what: str) -> Iterator[tuple[str, str, bool]]:
        """Answer in this process, long prompts with long ones; yields the keys of those that cannot be, with why.

        Batches depend on the questions alone: a run that goes on makes the same ones, so that its answers, which in
        half precision depend a little on their neighbours, are the same too.
        """
        prompts = {}
        for key, chat in asked.items():
            try:
                prompts[key] = self.engine.prompt(chat, self.enable_thinking)
            except RowError as error:
                logs.warn(f"{what}: {_shortened(chat)}: {error.detail}")
                yield key, f"{error.code} {error.detail}", False
        order = sorted(prompts, key=lambda key: -len(prompts[key].ids))
        batches = [order[start : start + self.batch] for start in range(0, len(order), self.batch)]
        left = [batch for batch in batches if any(key not in self.book for key in batch)]
        for batch in logs.progress(left, len(left), what, "batch"):
            answers = self._complete([prompts[key] for key in batch], batch, sampling)
            self.book.add(zip(batch, answers, strict=True))

    def _complete(self, prompts: list, keys: list[str], sampling: Sampling) -> list[Answer]:
        """The answers to a batch, in halves where the GPU does not hold it."""
        from bedside.generate import TooLittleMemory

        try:
            return self.engine.complete(prompts, self._drawn(sampling, keys))
        except TooLittleMemory:
            if len(prompts) == 1:
                raise
        half = len(prompts) // 2
        logs.warn(f"{len(prompts)} questions at once do not fit into the GPU's memory: {half} are tried "
                  f"(--batch_size {half} says so from the start)")  # fmt: skip
        return self._complete(prompts[:half], keys[:half], sampling) + self._complete(
            prompts[half:], keys[half:], sampling
        )

    def _remote(self, asked: dict[str, list[dict]], sampling: Sampling, what: str) -> Iterator[tuple[str, str, bool]]:
        """Ask a server, several at once; yields the keys of questions that it refused or that failed twice."""
        left = [key for key in asked if key not in self.book]
        refused, broken = self._round(asked, left, sampling, what)
        if broken:
            self._stop_if_down(broken, len(left))
            logs.warn(f"{what}: {len(broken):,} of {len(left):,} questions failed and are asked once more")
            more, broken = self._round(asked, list(broken), sampling, f"{what}, again")
            refused |= more
        found = [(key, why, False) for key, why in refused.items()]
        for key, why, again in found + [(key, str(error), True) for key, error in broken.items()]:
            logs.warn(f"{what}: {_shortened(asked[key])}: no answer, which counts as a wrong one ({why})")
            yield key, why, again

    def _round(
        self, asked: dict[str, list[dict]], keys: list[str], sampling: Sampling, what: str
    ) -> tuple[dict[str, str], dict[str, EngineFailed]]:
        """Ask each once; what the server refused, and what failed, by key. The answers are in the book."""
        from bedside.remote import in_flight

        def start(key: str) -> Callable[[], Any]:
            seeded = self._drawn(sampling, [key])
            alone = replace(seeded, seed=seeded.seed[0]) if seeded.seed else seeded
            return lambda: self.engine.ask(asked[key], alone, self.enable_thinking)

        refused, broken, fresh = {}, {}, []
        try:
            flying = in_flight([start(key) for key in keys], self.engine.at_once)
            for place, future in logs.progress(flying, len(keys), what, "question"):
                try:
                    fresh.append((keys[place], future.result()))
                except RowError as error:
                    refused[keys[place]] = f"{error.code} {error.detail}"
                except EngineFailed as error:
                    broken[keys[place]] = error
                    self._stop_if_hopeless(error, broken, len(fresh) + len(self.book))
                if len(fresh) >= _SAVED:
                    self.book.add(fresh)
                    fresh = []
        finally:
            self.book.add(fresh)
        return refused, broken

    def _stop_if_hopeless(self, error: EngineFailed, broken: dict, answered: int) -> None:
        """A key or a name that is wrong stays wrong, and a server that has answered nothing yet is down."""
        if not error.again or not answered and len(broken) >= 2:
            raise EngineFailed(f"{error}; {self._go_on()}", error.again) from None

    def _stop_if_down(self, broken: dict[str, EngineFailed], asked: int) -> None:
        if len(broken) > _MOST_LOST * asked:
            first = next(iter(broken.values()))
            raise EngineFailed(
                f"{len(broken):,} of {asked:,} questions got no answer, the first: {first}; {self._go_on()}"
            ) from None

    def _go_on(self) -> str:
        kept = f"{self.book.path} holds {len(self.book):,} answers, and the" if self.book.path else "the"
        return f"{kept} same command goes on from there"


class Recalled:
    """A model that was evaluated earlier: only its book is left, and nothing is asked."""

    weights = None

    def __init__(self, name: str, book: Book, enable_thinking: bool | None, system: str | None):
        self.name, self.engine, self._book = name, None, book
        self._asked = Asked(name, None, None, book, enable_thinking=enable_thinking, system=system)

    def answers(self, chats: Sequence[list[dict]], sampling: Sampling, what: str) -> list[Answer]:
        """The answers that are there; ConfigError where one is missing."""
        keys = [books.key(self._asked._with_system(chat), sampling, self._asked.enable_thinking) for chat in chats]
        missing = [key for key in keys if key not in self._book]
        if missing:
            raise ConfigError(
                f"{self._book.path}: {len(missing):,} of {len(keys):,} questions ({what}) were never put to "
                f"{self.name} with these settings; give the --eval_file, --max_new_tokens and so on of its "
                "evaluation, or evaluate it again"
            )
        return [self._book[key] for key in keys]


def _shortened(chat: list[dict]) -> str:
    text = " ".join(str(chat[-1].get("content", "")).split())
    return f"{text[:60]} ..." if len(text) > 60 else text
