"""Before and after a training: perplexity of held-out answers, thought format, and whether the condition is named.

Rows are `{"messages": [user, ..., assistant], "expect": [names]}` (data/eval/heldout_*.jsonl).
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bedside import logs, thoughts
from bedside.data import tokens
from bedside.data.conversation import RowError
from bedside.errors import ConfigError, DataError
from bedside.evaluate.perplexity import nats
from bedside.evaluate.statistics import wilson
from bedside.generate import Answer, ChatEngine, Sampling


@dataclass
class Scores:
    """`n` questions; counts of strict formats and named conditions; token-weighted perplexity of the reference."""

    n: int
    strict: int
    named: int
    finished: int
    perplexity: float
    tokens: int


def load(path: str, samples: int | None = None) -> list[dict]:
    """The questions, or `samples` of them evenly spread; DataError names the line that is not one."""
    if not Path(path).is_file():
        raise ConfigError(f"--eval_file {path}: no such file")
    rows = []
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            if row["messages"][-1]["role"] != "assistant" or not row["expect"]:
                raise KeyError("expect")
        except (ValueError, KeyError, TypeError, IndexError):
            wanted = "expected messages (ending in assistant) and expect"
            raise DataError("E_FIELD", f"{path}:{number}", wanted) from None
        rows.append(row)
    if not samples or samples >= len(rows):
        return rows
    # Pairs (a condition in both languages) stay together.
    pairs, wanted = len(rows) // 2, max(1, samples // 2)
    return [rows[2 * (number * pairs // wanted) + side] for number in range(wanted) for side in (0, 1)]


def names(text: str, expected: list[str]) -> bool:
    """True if the first of the expected names stands in `text`, case and width apart."""
    folded = " ".join(text.lower().split())
    return any(" ".join(name.lower().split()) in folded for name in expected)


def perplexity(
    model: Any, tokenizer: Any, encoding: tokens.Encoding, rows: list[dict], batch: int = 16
) -> tuple[float, int]:
    """Token-weighted perplexity of the rows' last answers (thought included) and how many tokens that are."""
    samples: list[tokens.Sample] = []
    chats = [{"messages": row["messages"]} for row in rows]
    for result in tokens.encode(chats, tokenizer.backend_tokenizer, encoding):
        if result.error:
            raise RowError(*result.error)
        samples += result.samples[-1:]
    if len(samples) < len(rows):
        logs.warn(f"perplexity: {len(rows) - len(samples)} of {len(rows)} answers are left out, they do not fit into "
                  f"{encoding.max_length} tokens")  # fmt: skip
    lost = nats(model, tokenizer.pad_token_id, samples, batch)
    total, count = sum(float(one.sum()) for one in lost), sum(map(len, lost))
    return math.exp(min(total / max(1, count), 700.0)), count


def measure(
    engine: ChatEngine,
    encoding: tokens.Encoding,
    rows: list[dict],
    max_new_tokens: int,
    batch: int = 64,
    what: str = "",
) -> tuple[Scores, list[dict]]:
    """Scores and the answers behind them (greedy decoding)."""
    ppl, count = perplexity(engine.model, engine.tokenizer, encoding, rows)
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]["messages"][0]["content"]))
    answers: dict[int, Answer] = {}
    starts = range(0, len(order), batch)
    for start in logs.progress(starts, len(starts), f"questions {what}".strip(), "batch"):
        chosen = order[start : start + batch]
        chats = [rows[i]["messages"][:-1] for i in chosen]
        for i, answer in zip(chosen, engine.answer(chats, Sampling(max_new_tokens, temperature=0)), strict=True):
            answers[i] = answer
    cases = []
    for i, row in enumerate(rows):
        answer = answers[i]
        finished = answer.finish_reason == "stop"
        cases.append(
            {
                "question": row["messages"][-2]["content"],
                "expect": row["expect"],
                "text": answer.text,
                "strict": thoughts.strict(answer.text, finished),
                "finished": finished,
                # A name inside an unfinished thought is no answer.
                "named": names(answer.answer, row["expect"]),
            }
        )
    counted = {key: sum(case[key] for case in cases) for key in ("strict", "named", "finished")}
    return Scores(n=len(rows), perplexity=ppl, tokens=count, **counted), cases


def table(before: Scores, after: Scores) -> str:
    """The before/after table as text, proportions with 95 % Wilson intervals."""

    def share(scores: Scores, key: str) -> str:
        low, high = wilson(getattr(scores, key), scores.n)
        return f"{100 * getattr(scores, key) / scores.n:5.1f} %  [{100 * low:.0f}, {100 * high:.0f}]"

    rows = [("perplexity of held-out answers", f"{before.perplexity:.2f}", f"{after.perplexity:.2f}")]
    for key, label in (
        ("strict", "thought format, strict"),
        ("finished", "finished by itself"),
        ("named", "condition named in the answer"),
    ):
        rows.append((label, share(before, key), share(after, key)))
    lines = [f"{'held-out questions: ' + str(before.n):34}{'before':>22}{'after':>22}", "-" * 78]
    lines += [f"{name:34}{old:>22}{new:>22}" for name, old, new in rows]
    return "\n".join(lines)


def write(path: Path, scores: Scores, cases: list[dict]) -> None:
    """Scores and every case, for reading."""
    content = {"scores": asdict(scores), "cases": cases}
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


class Comparison:
    """The same questions before and after a training, on rank 0; does nothing without `eval_file`."""

    late = True

    def __init__(
        self,
        trainer: Any,
        engine: ChatEngine,
        encoding: tokens.Encoding,
        directory: Path,
        eval_file: str | None,
        samples: int | None = None,
        max_new_tokens: int = 256,
    ):
        self._longest = max_new_tokens
        self.engine, self.encoding, self.directory = engine, encoding, directory
        self.rows = load(eval_file, samples) if eval_file and trainer.is_world_process_zero() else []
        self._before: Scores | None = None

    def before(self) -> None:
        """Measure the model as it is now."""
        if self.rows:
            self._before = self._measure("before")

    def after(self) -> None:
        """Measure again and print the table; scores and cases lie in eval_before.json and eval_after.json."""
        if self.rows and self._before:
            logs.info("\n" + table(self._before, self._measure("after")))

    def _measure(self, when: str) -> Scores:
        scores, cases = measure(self.engine, self.encoding, self.rows, self._longest, what=when)
        write(self.directory / f"eval_{when}.json", scores, cases)
        return scores
