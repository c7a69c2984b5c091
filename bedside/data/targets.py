"""Every format that rows are written in, and how a record of one kind becomes rows of another.

A `Made` row names what it lost; a record that a format lacks something for (a pair without its rejected answer) is a
RowError E_PLACE.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from bedside.data import admit, choices, formats, kto, prompts, verdict
from bedside.data.conversation import Message, RowError, text_of
from bedside.data.fields import field


class Made(NamedTuple):
    """A row, the record that it is read back as, and the fields that were lost."""

    row: dict[str, Any]
    record: Any
    lost: list[str]


PAIRS = ("preference", "dpo_conversations", "dpo_messages")
# Target format -> the kind of record that it holds.
KIND_OF = {
    **dict.fromkeys(formats.FORMATS, "sft"),
    **dict.fromkeys(PAIRS, "preference"),
    "kto": "kto",
    "choice": "choice",
    "prompt": "prompt",
    "text": "text",
}
ALIASES = {"qa": "question_answer", "openai": "messages", "dpo": "preference", "csv": "question_answer"}
READ: dict[str, Callable[[Any, verdict.Roles], Any]] = {
    "sft": admit.conversation,
    "preference": admit.pair,
    "kto": kto.to_kto,
    "choice": lambda row, _roles: choices.to_choice(row),
    "prompt": lambda row, _roles: prompts.to_prompt(row),
    "text": lambda row, _roles: {"text": text_of(field(row, "text"), "text")},
}


def _lacks(kind: str, what: str) -> RowError:
    return RowError("E_PLACE", f"{kind} needs {what}, which the row does not have")


def _conversation(kind: str, record: Any) -> tuple[dict, list[str]]:
    """A record as a conversation, and what that loses."""
    if kind == "sft":
        return record, []
    if kind == "preference":
        return {"messages": [*record["prompt"], *record["chosen"]]}, ["rejected"]
    if kind == "kto":
        if not record["label"]:
            raise RowError("E_PLACE", "an answer that is labelled bad is not trained on; --to kto keeps it")
        return {"messages": [*record["prompt"], *record["completion"]]}, ["label"]
    if kind == "prompt":
        extra = [name for name in prompts.GOLD if name in record and name not in ("answer", "lang")]
        return {"messages": [*record["prompt"], {"role": "assistant", "content": record["answer"]}]}, extra
    raise _lacks("a conversation", "a question and an answer")


def _converted(kind: str, record: Any, target: str) -> list[tuple[Any, list[str]]]:
    """The record as records of the target's kind, each with what it lost."""
    if kind == target:
        return [(record, [])]
    if target == "sft":
        if kind == "choice":
            question = {"role": "user", "content": choices.question_text(record)}
            return [({"messages": [question, {"role": "assistant", "content": choices.answer_text(record)}]},
                     [name for name in ("department",) if name in record])]  # fmt: skip
        return [_conversation(kind, record)]
    if target == "kto" and kind == "preference":
        sides = (("chosen", True), ("rejected", False))
        return [({"prompt": record["prompt"], "completion": record[side], "label": good}, []) for side, good in sides]
    if target == "prompt" and kind == "choice":
        texts = dict(record["options"])
        made = {"prompt": [{"role": "user", "content": choices.question_text(record)}]}
        made |= {"answer": "".join(record["answers"]), "options": texts}
        if record["kind"] == "single":
            made["aliases"] = [texts[record["answers"][0]]]
        gone = [name for name in ("explanation", "department") if name in record]
        return [({**made, "kind": "choice"}, gone)]
    needs = {"preference": "a rejected answer", "kto": "a label", "choice": "options", "prompt": "a checkable answer",
             "text": "--template_name to write the turns"}  # fmt: skip
    raise _lacks(target, needs[target])


def _system_and(prompt: list[Message]) -> tuple[dict[str, str], list[Message]]:
    if prompt[0]["role"] == "system":
        return {"system": prompt[0]["content"]}, prompt[1:]
    return {}, prompt


def _one_text(messages: list[Message]) -> bool:
    return len(messages) == 1 and not messages[0].get("tool_calls") and messages[0]["role"] in ("user", "assistant")


def _pair_row(pair: dict, format: str) -> Made:
    system, prompt = _system_and(pair["prompt"])
    plain = all(_one_text(pair[side]) for side in ("chosen", "rejected"))
    if format == "dpo_messages":
        sides = {
            side: [formats.openai_message(message) for message in [*pair["prompt"], *pair[side]]]
            for side in ("chosen", "rejected")
        }
        return Made(sides, pair, [])
    if format == "dpo_conversations":
        if not plain:
            raise RowError("E_PLACE", "several turns in chosen or rejected have no place; use --to dpo_messages")
        row = {**system, "conversations": formats.sharegpt_turns(prompt)}
    elif plain and _one_text(prompt):
        row = {**system, "prompt": prompt[0]["content"]}
    else:
        row = {"prompt": [formats.openai_message(message) for message in pair["prompt"]]}
        lists = {side: [formats.openai_message(message) for message in pair[side]] for side in ("chosen", "rejected")}
        return Made({**row, **lists}, pair, [])
    return Made({**row, **{side: formats.answer_text(pair[side][0]) for side in ("chosen", "rejected")}}, pair, [])


def _kto_row(record: dict) -> Made:
    prompt, completion = record["prompt"], record["completion"]
    if _one_text(prompt) and _one_text(completion):
        row: dict[str, Any] = {"prompt": prompt[0]["content"], "completion": formats.answer_text(completion[0])}
    else:
        row = {"messages": [formats.openai_message(message) for message in [*prompt, *completion]]}
    return Made({**row, "label": record["label"]}, record, [])


def _choice_row(record: dict) -> Made:
    row = {"question": record["question"], "options": dict(record["options"]), "answer": "".join(record["answers"])}
    extra = {name: record[name] for name in ("explanation", "department") if name in record}
    return Made({**row, **extra}, record, [])


def _prompt_row(record: dict) -> Made:
    prompt = record["prompt"]
    row: dict[str, Any] = {"prompt": prompt[0]["content"]}
    if not _one_text(prompt):
        row = {"prompt": [formats.openai_message(message) for message in prompt]}
    extra = {name: record[name] for name in prompts.GOLD if name in record and name != "answer"}
    return Made({**row, "ground_truth": record["answer"], **extra}, record, [])


_ROWS: dict[str, Callable[[Any], Made]] = {
    "kto": _kto_row,
    "choice": _choice_row,
    "prompt": _prompt_row,
    "text": lambda record: Made(dict(record), record, []),
}


def made(kind: str, record: Any, format: str) -> list[Made]:
    """The rows of `format` that a record of `kind` becomes; RowError E_PLACE if it lacks what the format needs."""
    rows = []
    for value, gone in _converted(kind, record, KIND_OF[format]):
        if format in formats.FORMATS:
            gone = [*gone, *formats.lost(value, format)]
            rows.append(Made(formats.to_row(value, format), value, gone))
        elif format in PAIRS:
            rows.append(_pair_row(value, format)._replace(lost=gone))
        else:
            rows.append(_ROWS[format](value)._replace(lost=gone))
    return rows


def rendered(conversation: dict, template: Any) -> Made:
    """A conversation as the text that a chat template writes, without the tokenizer's own first and last token."""
    text = template.render(conversation["messages"], conversation.get("tools"), bos_token="", eos_token="").text
    return Made({"text": text}, {"text": text}, [])
