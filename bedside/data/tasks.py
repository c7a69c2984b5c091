"""Tasks: prompts that the policy answers by itself, as ids, each with its gold: what a right answer states.

Rows of every kind are read: prompts with a checkable answer, chats (their last answer is a reference to read, nothing
to verify), preference pairs, and questions by themselves. Where a prompt is too long, its oldest turns are left out;
one that still is too long is left out and counted.
"""

import itertools
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NotRequired, TypedDict

import numpy as np
from tokenizers import Tokenizer

from bedside import logs, thoughts
from bedside.data import admit, build, chats, judged, kto, preferences, prompts, records, tokens
from bedside.data.conversation import Message, RowError, check_answers, check_conversation, kind_of, text_of
from bedside.data.fields import Row, blank
from bedside.data.ledger import Ledger
from bedside.data.pieces import Batches
from bedside.data.rows import Origin
from bedside.data.strict_json import shown_names
from bedside.errors import DataError
from bedside.templates import parts

if TYPE_CHECKING:
    from datasets import Dataset

_SHORT = 200  # characters: a longer answer to a plain question is an explanation, which no reward can verify
_REPLIES = ("output", "response", "completion", "Response")
_CHECKABLE = ("ground_truth", "solution", "Ground-True Answer", "reward_model")
REFERENCE = "reference"  # the kind of a gold that is an answer to read


class Task(TypedDict):
    """Messages that end with the user, and what a right answer states (empty where nobody knows)."""

    prompt: list[Message]
    gold: dict[str, Any]
    tools: NotRequired[list[dict]]


class Ready(NamedTuple):
    """A task as ids: `prompt` is what they render, `opened` says that they end in an open thought."""

    origin: Origin
    ids: np.ndarray
    prompt: list[Message]
    gold: dict[str, Any]
    opened: bool
    times: int = 1


@dataclass
class TaskData:
    """A run's tasks as datasets, and the account of the training files."""

    train: "Dataset"
    held_out: "Dataset | None"
    ledger: Ledger


def to_task(row: Any, roles: dict[str, str] | None = None) -> Task:
    """Any supported row as a checked task; RowError says what is wrong with it.

    >>> to_task({"prompt": "Fever?", "chosen": "Rest.", "rejected": "Run."})["gold"]
    {'answer': 'Rest.', 'kind': 'reference'}
    """
    if not isinstance(row, dict):
        raise RowError("E_TYPE", f"the row is {kind_of(row)}, expected object")
    task = _read(row, roles)
    check_answers(task["prompt"], where="prompt")
    return task


def _read(row: Row, roles: dict[str, str] | None) -> Task:
    try:
        name = records.detect(row)
    except RowError:  # of no format that has an answer to learn
        name = None
    if name == "preference":
        pair = preferences.to_preference(row, roles)
        return _task(row, pair["prompt"], pair["chosen"])
    if name == "kto":
        labelled = kto.to_kto(row, roles)
        return _task(row, labelled["prompt"], labelled["completion"] if labelled["label"] else [])
    if _verifiable(row, name, roles):
        made = dict(prompts.to_prompt(row))
        return {"prompt": made.pop("prompt"), "gold": made}
    if _replied(row, roles) or name in ("question_answer", "toyhom"):
        made = records.to_conversation(row, roles)
        last = max(index for index, message in enumerate(made["messages"]) if message["role"] == "user")
        task = _task(row, made["messages"][: last + 1], made["messages"][last + 1 :])
        return {**task, "tools": made["tools"]} if made.get("tools") else task
    return _task(row, _asked(row, roles), [])


def _task(row: Row, prompt: list[Message], answer: list[Message]) -> Task:
    """The prompt with the words of its answer, up to the next question, as a reference."""
    own = itertools.takewhile(lambda message: message["role"] != "user", answer)
    said = [message["content"] for message in own if message["role"] == "assistant" and message["content"].strip()]
    gold = {"answer": said[-1], "kind": REFERENCE} if said else {}
    return {"prompt": prompt, "gold": gold | prompts.of_any_answer(row)}


def _verifiable(row: Row, name: str | None, roles: dict[str, str] | None) -> bool:
    """Whether the row states an answer that can be checked, and not a whole reply."""
    if name == "choice" or any(key in row for key in _CHECKABLE):
        return not any(key in row for key in ("messages", "conversations")) or not _replied(row, roles)
    if "answer" not in row or name == "toyhom" or _replied(row, roles):
        return False
    answer = row["answer"]
    told = any(not blank(row.get(key)) for key in ("kind", "aliases", "unit", "tolerance"))
    explains = isinstance(answer, str) and (len(answer) > _SHORT or "\n" in answer.strip() or thoughts.CLOSE in answer)
    return told or not explains or name != "question_answer"


def _replied(row: Row, roles: dict[str, str] | None) -> bool:
    """Whether the row holds a reply to its question."""
    for key in ("messages", "conversations"):
        if isinstance(turns := row.get(key), list) and turns and isinstance(turns[-1], dict):
            who = turns[-1].get("from", turns[-1].get("role"))
            return not isinstance(who, str) or (roles or {}).get(who, records.SHAREGPT_ROLES.get(who)) != "user"
    return any(key in row for key in _REPLIES)


def _asked(row: Row, roles: dict[str, str] | None) -> list[Message]:
    """The messages of a question without an answer."""
    if "messages" in row:
        asked = records.messages_of(row["messages"], "messages")
    elif name := next((key for key in ("Question", "problem", "query") if key in row), None):
        asked = [{"role": "user", "content": text_of(row[name], name)}]
    else:
        asked = preferences.prompt_of(row, roles)
    if not asked:
        raise RowError("E_SCHEMA", f"fields {shown_names(row, 'none')}: expected prompt, question, instruction, "
                       "messages or conversations (docs/data-formats.md)")  # fmt: skip
    prompt = records.system(row) + asked
    check_conversation({"messages": prompt}, answered=False)
    return prompt


def _rows(sources: list[build.Source], plan: chats.Plan, cap: int | None, ledger: Ledger) -> Iterator[tuple]:
    """Usable rows with their tasks, whose control tokens are neutralised."""
    roles = plan.reading.roles
    for row, task in build.accepted(sources, lambda value: to_task(value, roles), ledger, plan.reading, cap):
        if task.pop("tools", None):
            ledger.remark(row.origin, "W_TOOL", "its tools are left out: nothing calls them while answers are sampled")
        clean, remarks = admit.clean_pair(task)
        for told in remarks:
            ledger.remark(row.origin, *told)
        yield row, clean


class Served(NamedTuple):
    """A prompt as it is served: its messages without control tokens, their ids, and whether a thought is open."""

    messages: list[Message]
    ids: np.ndarray
    opened: bool


def encode(conversations: list[list[Message]], batches: Batches, encoding: tokens.Encoding) -> list[Served | RowError]:
    """Each prompt as the template serves it, or why the row cannot be used."""
    switches: dict[str, Any] = dict(encoding.names)
    if encoding.template.thinking != "none" and encoding.enable_thinking is not None:
        switches["enable_thinking"] = encoding.enable_thinking
    made: list = []
    for messages in conversations:
        try:
            clean, _ = tokens.without_control({"messages": messages}, encoding.forbidden)
            text = parts.render(
                encoding.template, clean["messages"], None, add_generation_prompt=True, **switches
            ).text
            made.append((clean["messages"], text))
        except RowError as error:
            made.append(error)
    encoded = iter(batches.encode_batch([item[1] for item in made if not isinstance(item, RowError)]))
    return [
        item if isinstance(item, RowError)
        else Served(item[0], np.asarray(next(encoded).ids, np.int32), item[1].rstrip().endswith(thoughts.OPEN))
        for item in made
    ]  # fmt: skip


def to_dataset(tasks: list[Ready]) -> "Dataset":
    """Columns `prompt_ids`, `prompt` and `gold` (JSON), `opened`, `source`, `line`, `length` (tokens of the prompt);
    a task that a mixture uses twice stands there twice."""
    import pyarrow
    from datasets import Dataset

    used = [task for task in tasks for _ in range(task.times)]
    text, whole = pyarrow.string(), pyarrow.int32()
    written = {name: [json.dumps(getattr(task, name), ensure_ascii=False) for task in used] for name in
               ("prompt", "gold")}  # fmt: skip
    return Dataset(pyarrow.table({
        "prompt_ids": pyarrow.array([task.ids for task in used], pyarrow.list_(whole)),
        **{name: pyarrow.array(texts, text) for name, texts in written.items()},
        "opened": pyarrow.array([task.opened for task in used], pyarrow.bool_()),
        "source": pyarrow.array([task.origin.file for task in used], text),
        "line": pyarrow.array([task.origin.line for task in used], whole),
        "length": pyarrow.array([len(task.ids) for task in used], whole),
    }))  # fmt: skip


def datasets(
    plan: chats.Plan, tokenizer: Tokenizer, encoding: tokens.Encoding, longest_prompt: int,
    output: Path | None = None, flag: str = "--max_source_length",
) -> TaskData:  # fmt: skip
    """The tasks of a run, read, accounted and tokenized; printed is what became of the rows. No prompt is both trained
    on and held out. `flag` is what sets `longest_prompt` (tokens).

    Raises DataError where a file is unusable, too many rows are, or none is left. Rejected rows are then left in
    `output`.
    """

    def broken(served: Served) -> judged.Broken | None:
        return (len(served.ids), longest_prompt, flag) if len(served.ids) > longest_prompt else None

    def read(sources: list[build.Source], cap: int | None, ledger: Ledger) -> list[Ready]:
        batches = Batches(tokenizer, many=True)

        def fit_all(tasks: list[dict]) -> list[judged.Fitted]:
            return judged.fitted(
                tasks, lambda some: encode([task["prompt"] for task in some], batches, encoding), broken
            )

        found = judged.usable(_rows(sources, plan, cap, ledger), fit_all, ledger)
        return [Ready(row.origin, served.ids, served.messages, task["gold"], served.opened, row.times)
                for row, task, served in found]  # fmt: skip

    tasks, held, ledger, _ = judged.gathered(plan, read, "row", output, _parted)
    if plan.validation:
        tasks = _unseen(tasks, held, plan, ledger)
    _tell(tasks, held, ledger)
    return TaskData(to_dataset(tasks), to_dataset(held) if held else None, ledger)


def _unseen(tasks: list[Ready], held: list[Ready], plan: chats.Plan, ledger: Ledger) -> list[Ready]:
    """The tasks whose prompts are not held out; whoever evaluates on training files is warned and has his way."""
    if {source.path.resolve() for source in plan.validation} & {source.path.resolve() for source in plan.train}:
        return tasks
    asked, kept = {task.ids.tobytes() for task in held}, []
    for task in tasks:
        if task.ids.tobytes() in asked:
            ledger.unkeep(task.origin)
            ledger.drop(task.origin, "W_HELD_OUT", "its prompt stands in the validation files too")
        else:
            kept.append(task)
    chats.show(ledger)
    if not kept:
        raise DataError("E_NOTHING_LEFT", ", ".join(ledger.files), "every prompt stands in the validation files too")
    return kept


def _parted(tasks: list[Ready], plan: chats.Plan, ledger: Ledger) -> tuple[list[Ready], list[Ready]]:
    """The tasks to train on and those that are held out; tasks of one prompt stay together."""
    same: dict[bytes, list[Ready]] = {}
    for task in tasks:
        same.setdefault(task.ids.tobytes(), []).append(task)
    share = plan.holdout if plan.holdout < 1 else plan.holdout / max(1, len(tasks))
    if not share or len(same) < 2:
        return tasks, []
    groups = list(same.values())
    kept, held_out = ([task for number in side for task in groups[number]]
                      for side in chats.split(len(groups), share, plan.seed))  # fmt: skip
    for task in held_out[plan.max_eval :] if plan.max_eval is not None else []:
        ledger.unkeep(task.origin)
        ledger.cap(task.origin)
    return kept, held_out[: plan.max_eval]


def _tell(tasks: list[Ready], held: list[Ready], ledger: Ledger) -> None:
    for what, part in (("training", tasks), ("held out", held)):
        if part:
            kinds = Counter(task.gold.get("kind", "answer" if "answer" in task.gold else "no gold") for task in part)
            told = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
            logs.info(f"{what}: {sum(task.times for task in part)} prompts ({told}), longest "
                      f"{max(len(task.ids) for task in part)} tokens")  # fmt: skip
    judged.tell(ledger)
    ledger.samples |= {"prompts": sum(task.times for task in tasks), "prompts_held_out": len(held)}
