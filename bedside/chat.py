"""A conversation in the terminal: the thought dimmed and apart, the answer as it is written, Ctrl-C for enough."""

from __future__ import annotations

import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from bedside.answers import Answer, Engine, EngineFailed, Sampling
from bedside.data.conversation import RowError, check_conversation
from bedside.thoughts import Delta

_LEAVE = ("exit", "quit", "q", "/exit", "/quit")
_HELP = "/clear forgets the conversation, /system TEXT sets the system turn, /exit leaves; Ctrl-C stops an answer"
# Whatever a model writes, it does not steer the terminal.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass
class Screen:
    """Where the conversation is shown: `write` takes text, `ansi` says whether dimming is understood."""

    write: Callable[[str], Any]
    ansi: bool = False

    def text(self, text: str, dim: bool = False) -> None:
        """Show a model's text, as it is or dimmed."""
        text = _CONTROL.sub("", text)
        self.write(f"\x1b[2m{text}\x1b[0m" if dim and self.ansi else text)

    def note(self, text: str) -> None:
        """One dim line about the conversation."""
        self.text(f"[{text}]", dim=True)
        self.write("\n")


@dataclass
class Talk:
    """The conversation so far, and whether it is remembered from one question to the next."""

    system: str | None = None
    remember: bool = True
    turns: list[dict] = field(default_factory=list)
    tokens: int = 0  # of prompt and answer when last asked

    def messages(self, question: str) -> list[dict]:
        """What the model is to answer, the system turn first."""
        opening = [{"role": "system", "content": self.system}] if self.system else []
        return [*opening, *self.turns, {"role": "user", "content": question}]

    def keep(self, question: str, answer: Answer) -> None:
        """Remember an exchange. The thought goes along: the template decides whether history shows it."""
        if self.remember and answer.answer:
            thought = {"reasoning_content": answer.thought} if answer.thought else {}
            said = {"role": "assistant", "content": answer.answer, **thought}
            self.turns += [{"role": "user", "content": question}, said]
            self.tokens = answer.prompt_tokens + answer.completion_tokens

    def forget(self) -> int:
        """Drop the oldest exchange; returns how many that were."""
        self.tokens -= 2 * self.tokens // max(len(self.turns), 2)
        del self.turns[:2]
        return 1


def chat(
    engine: Engine,
    read: Callable[[], str],
    screen: Screen,
    sampling: Sampling,
    system: str | None = None,
    remember: bool = True,
    stream: bool = True,
    enable_thinking: bool | None = None,
) -> None:
    """Answer what `read` returns until it raises EOFError or says to leave, or Ctrl-C comes twice."""
    talk = Talk(system, remember)
    screen.note(_HELP)
    stopped = False
    while True:
        try:
            line = read().strip()
        except EOFError:
            screen.write("\n")
            return
        except KeyboardInterrupt:
            screen.write("\n")
            if stopped:
                return
            stopped = True
            screen.note("Ctrl-C again, or Ctrl-D, leaves")
            continue
        stopped = False
        if line.lower() in _LEAVE:
            return
        if line.startswith("/"):
            screen.note(command(talk, line))
        elif line:
            try:
                stopped = exchange(engine, talk, line, screen, sampling, stream, enable_thinking)
            except KeyboardInterrupt:
                screen.write("\n")
                return


def command(talk: Talk, line: str) -> str:
    """Carry out a line that begins with a slash; returns what to tell."""
    name, _, rest = line.partition(" ")
    if name == "/clear":
        talk.turns.clear()
        return "the conversation is forgotten"
    if name == "/system":
        refused = _refused([{"role": "system", "content": rest}, {"role": "user", "content": "?"}])
        if refused:
            return refused
        talk.system = rest.strip() or None
        return "the system turn is set" if talk.system else "no system turn any more"
    return _HELP


def _refused(messages: list[dict]) -> str | None:
    """Why these messages are not sent, or None. A control token is sent: the engine neutralises it."""
    try:
        check_conversation({"messages": messages}, answered=False)
    except RowError as error:
        return f"not sent: {error.detail}"
    return None


def exchange(
    engine: Engine,
    talk: Talk,
    question: str,
    screen: Screen,
    sampling: Sampling,
    stream: bool = True,
    enable_thinking: bool | None = None,
) -> bool:
    """One question and its answer, shown and remembered; returns whether Ctrl-C stopped it."""
    refused = _refused([{"role": "user", "content": question}])
    if refused:
        screen.note(refused)
        return False
    started = time.perf_counter()
    try:
        forgotten = make_room(engine, talk, question, sampling.max_new_tokens, enable_thinking)
        while True:
            if forgotten:
                screen.note(
                    f"the oldest {forgotten} question(s) no longer fit into the model's context and are forgotten"
                )
            try:
                with stoppable() as cancel:
                    written = engine.stream(talk.messages(question), sampling, enable_thinking, cancel)
                    answer = show(written, screen, stream)
                break
            except RowError as error:  # before anything is shown; only with a server is it found out so late
                if error.code != "W_OVERLONG" or not talk.turns:
                    raise
            forgotten = talk.forget()
    except RowError as error:
        screen.note(f"not sent: {error.detail}")
        return False
    except EngineFailed as error:
        screen.write("\n")  # away from what was shown so far
        screen.note(f"no answer: {error}")
        return False
    screen.note(summary(answer, time.perf_counter() - started, sampling.max_new_tokens))
    talk.keep(question, answer)
    return answer.finish_reason == "cancelled"


def make_room(
    engine: Engine, talk: Talk, question: str, max_new_tokens: int, enable_thinking: bool | None = None
) -> int:
    """Forget the oldest exchanges until a full answer fits (at least half the context is left to the prompt).

    Returns how many; raises RowError if the question alone is too long. A server counts for itself: there the tokens
    of the last exchange tell.
    """
    forgotten = 0
    context = getattr(engine, "context", None)
    reserve = min(max_new_tokens, (context or 0) // 2)
    while True:
        try:
            counted = hasattr(engine, "prompt")
            used = len(engine.prompt(talk.messages(question), enable_thinking).ids) if counted else talk.tokens
            if not context or not talk.turns or used + reserve <= context:
                return forgotten
        except RowError as error:
            if error.code != "W_OVERLONG" or not talk.turns:
                raise
        forgotten += talk.forget()


def show(written: Iterator[Delta | Answer], screen: Screen, stream: bool = True) -> Answer:
    """Write deltas as they come (or, without `stream`, the whole answer at its end); returns the Answer."""
    kind = None
    for piece in written:
        if isinstance(piece, Answer):
            if not stream:
                parts = (Delta("thought", piece.thought or ""), Delta("answer", piece.answer))
                show(iter([*(part for part in parts if part.text), piece]), screen)
            elif kind:
                screen.write("\n")
            return piece
        if not stream:
            continue
        if piece.kind == "was_thought":
            screen.write("\n")
            screen.note("the above was the thought")
        elif piece.kind != kind:
            if kind == "thought":
                screen.write("\n\n")
            if piece.kind == "thought":
                screen.text("thinking ...\n", dim=True)
        screen.text(piece.text, dim=piece.kind == "thought")
        kind = piece.kind
    raise RuntimeError("the engine's stream ended without an Answer")


def summary(answer: Answer, seconds: float, max_new_tokens: int) -> str:
    """Tokens, tokens per second and why the answer ended."""
    ends = {"stop": "finished", "cancelled": "stopped by Ctrl-C", "length": "cut: the model's context is full"}
    end = ends[answer.finish_reason]
    if answer.finish_reason == "length" and answer.completion_tokens >= max_new_tokens:
        end = f"cut by --max_new_tokens {max_new_tokens}"
    if not answer.answer:
        end += "; there is no answer yet, so the question is not remembered"
    return f"{answer.completion_tokens} tokens, {answer.completion_tokens / max(seconds, 1e-9):.1f} tokens/s, {end}"


@contextmanager
def stoppable() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C sets; the second is a KeyboardInterrupt as ever."""
    cancel = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # only there signals can be handled
        yield cancel
        return

    def stop(*_: Any) -> None:
        if cancel.is_set():
            raise KeyboardInterrupt
        cancel.set()

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield cancel
    finally:
        signal.signal(signal.SIGINT, before)


def mended(line: str, encoding: str = "utf-8") -> str:
    """A line as typed. Bytes that are not the terminal's encoding arrive as lone surrogates: read them as UTF-8 or
    GB18030, and what is neither as a replacement character."""
    if not _SURROGATE.search(line):
        return line
    try:
        raw = line.encode(encoding, "surrogateescape")
    except UnicodeEncodeError:
        return _SURROGATE.sub("\ufffd", line)
    for known in ("utf-8", "gb18030"):
        with suppress(UnicodeDecodeError):
            return raw.decode(known)
    return raw.decode("utf-8", "replace")


def terminal() -> tuple[Callable[[], str], Screen]:
    """Standard input and output as `chat` wants them. What is piped in is shown, so that the output reads alone."""
    for stream, errors in ((sys.stdin, "surrogateescape"), (sys.stdout, "replace")):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=errors)
    typed = sys.stdin.isatty()
    if typed:
        with suppress(ImportError):
            import readline  # noqa: F401 - gives input() its line editing

    def write(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    def read() -> str:
        if typed and sys.stdout.isatty():
            return mended(input("\n> "), sys.stdin.encoding)
        write("\n> ")
        line = sys.stdin.readline()
        if not line:
            raise EOFError
        line = mended(line.rstrip("\r\n"), sys.stdin.encoding)
        write(line + "\n" if not typed else "")
        return line

    return read, Screen(write, sys.stdout.isatty())
