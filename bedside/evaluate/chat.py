"""What can be said of a model's answers without knowing the right ones, and whether they name what a row expects.

Rows are chats of any format; `expect` (a name or several) is optional. Format is that of training: a thought, its
closing tag, an answer, ended by itself.
"""

from __future__ import annotations

from typing import Any

from bedside import thoughts
from bedside.answers import Answer
from bedside.evaluate import rows
from bedside.evaluate.quick import names
from bedside.evaluate.task import MEAN, Case, Measure, Settings, Subject, Task, spread
from bedside.rewards import style
from bedside.rewards.completion import Completion
from bedside.rewards.names import Names


def load(path: str, settings: Settings) -> list[rows.Chat]:
    """The questions of a file of chats, or of one question a line; DataError if there is none."""
    return spread(rows.read(path, rows.chat, "questions", settings.options.get("encoding")), settings.most)


def run(subject: Subject, items: list[rows.Chat], settings: Settings) -> list[Case]:
    """A case a question."""
    answers = subject.answers([item.messages for item in items], settings.sampling, "questions")
    thinks = subject.engine.thinks and settings.enable_thinking is not False
    tokenizer = subject.weights.tokenizer if subject.weights else None
    # The names of all rows are known, so that a list of guesses is seen as one.
    golds = [_gold(item) for item in items if item.expect]
    names_of = Names(None, golds) if golds else None
    return [
        Case(item.id, values(item, answer, thinks, tokenizer, names_of), groups=item.groups, shown=shown(item, answer))
        for item, answer in zip(items, answers, strict=True)
    ]


def values(item: rows.Chat, answer: Answer, thinks: bool, tokenizer: Any, names_of: Names | None) -> dict:
    """The measures of one answer; None where one does not apply: format where no thought is asked for, lengths of the
    parts without a tokenizer."""
    finished = answer.finish_reason == "stop"
    said = Completion(answer.answer, finished)
    spoken = style.same_language(said, {}, item.messages) if answer.answer.strip() else None
    found: dict[str, float | None] = {
        "strict": float(thoughts.strict(answer.text, finished)) if thinks else None,
        "lenient": float(thoughts.lenient(answer.text)) if thinks else None,
        "finished": float(finished),
        "named": float(names(answer.answer, item.expect)) if item.expect else None,
        "diagnosis": names_of(said, _gold(item), item.messages) if item.expect and names_of else None,
        "repetition": style.repeated(answer.text) if answer.text.strip() else None,
        "language": None if spoken is None else float(spoken == 1.0),
        "tokens": float(answer.completion_tokens),
        "thought_tokens": None,
        "answer_tokens": None,
    }
    if tokenizer is not None:
        found["answer_tokens"] = float(_size(tokenizer, answer.answer))
        found["thought_tokens"] = float(_size(tokenizer, answer.thought)) if answer.thought is not None else None
    return found


def _gold(item: rows.Chat) -> dict[str, Any]:
    return {"answer": item.expect[0], "aliases": item.expect[1:], "kind": "diagnosis"}


def _size(tokenizer: Any, text: str) -> int:
    return len(tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids)


def shown(item: rows.Chat, answer: Answer) -> dict[str, Any]:
    """What a reader of the case wants to see."""
    told = {
        "question": item.messages[-1]["content"],
        "expected": item.expect or None,
        "reference": (item.answer or {}).get("content"),
        "thought": answer.thought,
        "answer": answer.answer,
        "finish_reason": answer.finish_reason,
        "where": item.where,
    }
    return {name: value for name, value in told.items() if value is not None}


TASK = Task(
    "chat",
    "answers to held-out questions",
    "未见问题的回答",
    (
        Measure("strict", "thought format, strict", "思考格式（严格）"),
        Measure("named", "condition named in the answer", "回答中提到该病名"),
        Measure("diagnosis", "condition stated as the answer", "诊断正确"),
        Measure("finished", "ended by itself", "自行结束"),
        Measure("lenient", "thought apart from the answer", "思考与回答可区分"),
        Measure("repetition", "repeated runs of four words", "四词重复比例", MEAN, "lower"),
        Measure("language", "in the question's language", "语言与提问一致"),
        Measure("tokens", "length", "总长度", MEAN, None, "tokens"),
        Measure("thought_tokens", "length of the thought", "思考长度", MEAN, None, "tokens"),
        Measure("answer_tokens", "length of the answer", "回答长度", MEAN, None, "tokens"),
    ),
    load,
    run,
    file="data/eval/heldout_phrasings.jsonl",
)
