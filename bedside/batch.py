"""A file of questions to a file of answers: in order, one row each, and continued where an earlier run was stopped.

Beside OUT lies OUT.meta.json, which says what it was made of; only the same questions, model and settings continue it.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bedside import lineage, logs, wholefile
from bedside.answers import Answer, EngineFailed, Sampling
from bedside.data.conversation import RowError
from bedside.errors import ConfigError
from bedside.generate import ChatEngine, Prompt
from bedside.questions import Question

if TYPE_CHECKING:
    from bedside.remote import RemoteEngine

_WINDOW = 4  # batches whose rows are sorted by length: more pads less, and loses more when a run is killed
_AHEAD = 8  # times the rows asked at once: how far an answer may be in front of one that is not there yet


@dataclass
class Tally:
    """What a run did: how its rows ended (finish reasons and error codes), tokens written, seconds."""

    ends: Counter = field(default_factory=Counter)
    tokens: int = 0
    seconds: float = 0.0

    def add(self, answer: Answer) -> None:
        """Count one answer."""
        self.ends[answer.finish_reason] += 1
        self.tokens += answer.completion_tokens

    def speed(self) -> str:
        """Rows and tokens a second, of the rows that were answered."""
        rows = sum(count for end, count in self.ends.items() if end in ("stop", "length"))
        seconds = max(self.seconds, 1e-9)
        return f"{rows / seconds:.2f} rows/s, {self.tokens / seconds:.1f} tokens/s, {self.seconds:.1f} s"


def about(
    data_file: str,
    rows: int,
    model: dict,
    sampling: Sampling,
    seed: int,
    system: str | None,
    enable_thinking: bool | None,
) -> dict:
    """What the answers are made of. Where one of these differs, an output file is another run's."""
    drawn = {**asdict(sampling), "stop": list(sampling.stop)}
    if not sampling.stop:
        del drawn["stop"]
    settings = {**drawn, "seed": seed, "system_prompt": system, "enable_thinking": enable_thinking}
    return {
        "schema": 1,
        "input": {"sha256": lineage.file_sha256(Path(data_file)), "rows": rows},
        "model": model,
        "settings": settings,
    }


def begin(output_file: str, made_of: dict, questions: Sequence[Question], overwrite: bool) -> int:
    """Make the output file ready to be appended to; returns how many rows are in it already.

    A last line that was cut off is removed. Raises ConfigError for a file that another run wrote.
    """
    output = Path(output_file)
    meta = output.with_name(output.name + ".meta.json")
    output.parent.mkdir(parents=True, exist_ok=True)
    if not overwrite and output.exists() and output.stat().st_size:
        _same_run(output, meta, made_of)
        return _complete_rows(output, questions)
    output.unlink(missing_ok=True)
    wholefile.write_json(meta, made_of)
    output.touch()
    return 0


def _same_run(output: Path, meta: Path, made_of: dict) -> None:
    remedy = "add --overwrite_output_file True to start anew, or choose another --output_file"
    if not meta.is_file():
        raise ConfigError(
            f"--output_file {output}: is there, but not {meta.name}, which says how it was made; {remedy}"
        )
    try:
        then = json.loads(meta.read_text(encoding="utf-8"))
    except ValueError:
        raise ConfigError(f"{meta}: damaged; {remedy}") from None
    old, new = _flat(then), _flat(made_of)
    changed = [f"{key} ({old.get(key)} then, {new.get(key)} now)" for key in new if old.get(key) != new.get(key)]
    if changed:
        raise ConfigError(f"--output_file {output}: is another run's: {', '.join(changed)}; {remedy}")


def _flat(nested: dict) -> dict[str, Any]:
    return {
        f"{part} {key}": value
        for part, values in nested.items()
        if isinstance(values, dict)
        for key, value in values.items()
    }


def _complete_rows(output: Path, questions: Sequence[Question]) -> int:
    """How many whole rows the file holds, each checked against its question; what follows them is cut off."""
    done, size = 0, 0
    with output.open("rb") as stream:
        for raw in stream:
            if not raw.endswith(b"\n"):
                break
            try:
                line = json.loads(raw)["line"]
            except (ValueError, KeyError, TypeError):
                line = None
            if done >= len(questions) or line != questions[done].origin.line:
                raise ConfigError(
                    f"--output_file {output}: its line {done + 1} is not an answer to row {done + 1} of the input; "
                    "add --overwrite_output_file True to start anew"
                )
            done, size = done + 1, size + len(raw)
    os.truncate(output, size)
    return done


def plan(lengths: Sequence[int | None], batch_size: int) -> list[list[int]]:
    """Rows (by index; None is a row that is not asked) to batches of similar length.

    Depends on lengths and batch size alone, so that a continued run makes the same batches.

    >>> plan([5, 1, None, 4, 2], 2)
    [[0, 3], [4, 1]]
    """
    batches = []
    for start in range(0, len(lengths), _WINDOW * batch_size):
        window = range(start, min(start + _WINDOW * batch_size, len(lengths)))
        asked = sorted((i for i in window if lengths[i] is not None), key=lambda i: -lengths[i])
        batches += [asked[i : i + batch_size] for i in range(0, len(asked), batch_size)]
    return batches


def run(
    engine: ChatEngine,
    questions: Sequence[Question],
    done: int,
    output_file: str,
    sampling: Sampling,
    batch_size: int = 8,
    seed: int = 42,
    enable_thinking: bool | None = None,
) -> Tally:
    """Append the answers from row `done` on.

    With temperature 0 the batch size changes nothing but speed (float32; in half precision a near tie may fall either
    way). With sampling, the same seed and batch size give the same file, interrupted or not.
    """
    import torch

    begun = time.perf_counter()
    prompts = _prompts(engine, questions, enable_thinking)
    asked = [len(prompt.ids) if isinstance(prompt, Prompt) else None for prompt in prompts]
    rows = {i: _error_row(questions[i], error) for i, error in enumerate(prompts) if not isinstance(error, Prompt)}
    tally = Tally(Counter(rows[i]["error"] for i in rows if i >= done))
    left = [batch for batch in plan(asked, batch_size) if max(batch) >= done]
    with open(output_file, "a", encoding="utf-8", newline="\n") as stream:
        done = _write_ready(stream, rows, done)
        for batch in logs.progress(left, len(left), "answers", "batch"):
            torch.manual_seed(seed + min(batch))
            for i, answer in zip(batch, engine.complete([prompts[i] for i in batch], sampling), strict=True):
                rows[i] = _answer_row(questions[i], answer)
                if i >= done:
                    tally.add(answer)
            done = _write_ready(stream, rows, done)
    tally.seconds = time.perf_counter() - begun
    return tally


def run_on_server(
    engine: RemoteEngine,
    questions: Sequence[Question],
    done: int,
    output_file: str,
    sampling: Sampling,
    seed: int = 42,
    enable_thinking: bool | None = None,
) -> Tally:
    """Append a server's answers from row `done` on, `engine.at_once` under way together, in the order of the rows.

    Each row has a seed of its own, so that one that is asked again is drawn as before, as far as the server keeps to
    it. A row that the server refuses is written with its error; EngineFailed, with what is written so far, if the
    server fails.
    """
    from bedside.remote import in_flight

    begun, tally, rows = time.perf_counter(), Tally(), {}
    asked = []
    for i, question in enumerate(questions):
        if question.error and i >= done:
            rows[i] = _error_row(question, question.error)
            tally.ends[question.error[0]] += 1
        elif i >= done:
            asked.append(i)
    starts = [lambda i=i: _start(engine, questions[i], replace(sampling, seed=(seed + i) % (1 << 32)), enable_thinking)
              for i in asked]  # fmt: skip
    with open(output_file, "a", encoding="utf-8", newline="\n") as stream:
        done = _write_ready(stream, rows, done)
        flying = in_flight(starts, engine.at_once, _AHEAD * engine.at_once)
        for place, future in logs.progress(flying, len(asked), "answers", "row"):
            i = asked[place]
            try:
                answer = future.result()
            except RowError as error:
                logs.warn(f"{questions[i].origin}: {error}")
                rows[i] = _error_row(questions[i], (error.code, error.detail))
                tally.ends[error.code] += 1
            except EngineFailed as error:
                there = f"{output_file} holds the first {done} rows, and the same command goes on from there"
                raise EngineFailed(f"{error}; {there}", error.again) from None
            else:
                rows[i] = _answer_row(questions[i], answer)
                tally.add(answer)
            done = _write_ready(stream, rows, done)
    tally.seconds = time.perf_counter() - begun
    return tally


def _start(engine: RemoteEngine, question: Question, sampling: Sampling, enable_thinking: bool | None) -> Any:
    return engine.ask(question.messages, sampling, enable_thinking, question.tools)


def _prompts(
    engine: ChatEngine, questions: Sequence[Question], enable_thinking: bool | None
) -> list[Prompt | tuple[str, str]]:
    """Each question's prompt, or the code and detail of what is wrong with it."""
    prompts: list[Prompt | tuple[str, str]] = []
    for question in questions:
        try:
            prompts.append(question.error or engine.prompt(question.messages, enable_thinking, question.tools))
        except RowError as error:
            logs.warn(f"{question.origin}: {error}")
            prompts.append((error.code, error.detail))
    return prompts


def _write_ready(stream: Any, rows: dict[int, dict], done: int) -> int:
    """Write the rows that follow on what is written; returns how many there are now."""
    while done in rows:
        stream.write(json.dumps(rows.pop(done), ensure_ascii=False) + "\n")
        done += 1
    stream.flush()
    return done


def _error_row(question: Question, error: tuple[str, str]) -> dict:
    return {"id": question.id, "line": question.origin.line, "error": error[0], "detail": error[1]}


def _answer_row(question: Question, answer: Answer) -> dict:
    single = len(question.messages) == 1
    asked = {"prompt": question.messages[0]["content"]} if single else {"messages": question.messages}
    kept = {"reference": question.reference} if question.reference is not None else {}
    return {
        "id": question.id,
        "line": question.origin.line,
        **asked,
        "answer": answer.answer,
        "thought": answer.thought,
        "text": answer.text,
        "finish_reason": answer.finish_reason,
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        **kept,
    }


def summary(rows: int, done: int, ends: Counter) -> str:
    """One line: every row of the input is in it."""
    words = {"stop": "finished", "length": "cut by --max_new_tokens or the context"}
    parts = [f"{count} {words.get(end, end)}" for end, count in ends.most_common()]
    earlier = [f"{done} from an earlier run"] if done else []
    return f"{rows} rows = " + " + ".join(earlier + parts)
