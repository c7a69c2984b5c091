"""Perplexity of the answers that rows give: token-weighted, thought and answer apart, training rows apart from unseen.

Of every row the last answer is measured, given all that stands before it, as the template renders it in training. The
perplexity of several answers is exp(sum of nats / sum of tokens) (Jelinek et al. 1977, J. Acoust. Soc. Am. 62): an
answer of a hundred tokens weighs ten times one of ten. The thought is the span up to its closing tag, the tag
included; what follows, the turn's end included, is the answer.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bedside import logs, thoughts
from bedside.data import files, tokens
from bedside.data.conversation import RowError
from bedside.data.rows import Row
from bedside.evaluate import rows
from bedside.evaluate.task import PERPLEXITY, Case, Measure, Settings, Subject, Task, Weights, spread

if TYPE_CHECKING:
    from collections.abc import Callable

_SAMPLE = 200  # training rows that are measured where the unseen rows are fewer
_CLOSING = 16  # tokens in which a closing tag has to end
_NUMBERS = 1 << 26  # of logits in one forward pass
UNSEEN, SEEN = "unseen", "training"
_PARTS = ("perplexity", "thought_perplexity", "answer_perplexity", "training_perplexity")


@dataclass(frozen=True)
class Item:
    """A chat whose last turn is an answer, and whether it is a row that the model was trained on."""

    chat: rows.Chat
    seen: bool = False


def load(path: str, settings: Settings) -> list[Item]:
    """The rows of `path` that hold an answer, and with the option `train_file_dir` a seeded sample of those.

    Raises DataError for a file without any, ConfigError for one that is not there.
    """
    encoding = settings.options.get("encoding")
    unseen = rows.read(path, _answered, "rows with an answer", encoding)
    items = [Item(chat) for chat in spread(unseen, settings.most)]
    if settings.options.get("train_file_dir"):
        size = settings.most or max(_SAMPLE, len(items))
        items += training_sample(settings.options["train_file_dir"], size, settings.seed)
    return items


def _answered(identifier: str, row: Row) -> rows.Chat | None:
    chat = rows.chat(identifier, row)
    said = chat.answer and (chat.answer.get("content") or chat.answer.get("tool_calls"))
    return chat if said and chat.answer["role"] == "assistant" else None


def training_sample(paths: list[str], size: int, seed: int) -> list[Item]:
    """`size` rows of the training files, each as likely as another (reservoir sampling, Vitter 1985, algorithm R), in
    the order of the files. Rows that are no chats are passed over and counted."""
    chosen, seen, passed, source = {}, 0, 0, random.Random(seed)
    for file in files.find(paths, texts=False):
        for row in files.read(file):
            try:
                chat = _answered(f"{file}:{row.origin.line}", row) if isinstance(row, Row) else None
            except RowError:
                chat = None
            if chat is None:
                passed += 1
                continue
            place = seen if seen < size else source.randrange(seen + 1)
            if place < size:
                chosen[place] = (seen, replace(chat, id=f"training:{rows.identity(str(file), row.origin)}"))
            seen += 1
    told = f", {passed:,} rows without an answer to a chat passed over" if passed else ""
    logs.info(f"training rows: {len(chosen):,} of {seen:,} are measured{told}")
    return [Item(chat, True) for _, chat in sorted(chosen.values(), key=lambda pair: pair[0])]


def run(subject: Subject, items: list[Item], settings: Settings) -> list[Case]:
    """A case an item. One that does not fit into the model's context, or into its template, has no values, and says
    so under `shown["failed"]`."""
    weights = subject.weights
    samples, thought, failed = [], [], {}
    for place, item in enumerate(items):
        try:
            sample, size = encoded(item.chat, weights, settings.system)
        except RowError as error:
            failed[place] = f"{error.code} {error.detail}"
            logs.warn(f"{item.chat.where}: {error}")
            continue
        samples.append(sample)
        thought.append(size)
    lost = nats(weights.model, weights.tokenizer.pad_token_id, samples, settings.batch, "perplexity")
    found = iter(zip(lost, thought, strict=True))
    return [_failed(item, failed[place]) if place in failed else _case(item, *next(found))
            for place, item in enumerate(items)]  # fmt: skip


def encoded(chat: rows.Chat, weights: Weights, system: str | None = None) -> tuple[tokens.Sample, int]:
    """The ids of the chat with its answer as the one trained span, and how many of its tokens are the thought's.

    Raises RowError for a chat that the template refuses (E_...), or that is too long (W_OVERLONG).
    """
    messages = chat.messages
    if system and messages[0]["role"] != "system":
        messages = [{"role": "system", "content": system}, *messages]
    encoding = replace(weights.encoding, mask_history=True)  # one span: the last answer
    made = [{"messages": [*messages, chat.answer]}]
    (result,) = tokens.encode(made, weights.tokenizer.backend_tokenizer, encoding)
    if result.error:
        raise RowError(*result.error)
    if not result.samples:
        raise RowError("W_OVERLONG", f"{result.overlong} tokens, of which {encoding.max_length} fit")
    sample = result.samples[-1]._replace(spans=result.samples[-1].spans[-1:])
    begin, end = sample.spans[0]
    if not result.thought:
        return sample, 0
    return sample, closed(sample.ids[begin:end], result.thought, weights.tokenizer.backend_tokenizer.decode)


def closed(ids: Sequence[int], thought: int, decode: Callable[..., str]) -> int:
    """How many of the ids of an answer are its thought, the closing tag included, where its words take `thought`.

    A template that writes no such tag ends the thought with its words.
    """
    for end in range(thought, min(len(ids), thought + _CLOSING) + 1):
        if thoughts.CLOSE in decode(list(ids[max(0, thought - 1) : end]), skip_special_tokens=False):
            return end
    return thought


def nats(model: Any, pad: int, samples: Sequence[tokens.Sample], batch: int = 16, what: str = "") -> list[np.ndarray]:
    """Of each sample the losses (nats) of the tokens of its last span, `(T,)` float64; the model's mode stays."""
    import torch
    from torch.nn.functional import cross_entropy

    found: list[np.ndarray] = [np.zeros(0)] * len(samples)
    batches = list(_batches([len(sample.ids) for sample in samples], batch, model))
    device, was_training = model.get_input_embeddings().weight.device, model.training
    model.eval()
    for chosen in logs.progress(batches, len(batches), what, "batch") if what else batches:
        width = max(len(samples[place].ids) for place in chosen)
        ids = torch.full((len(chosen), width), pad)
        for row, place in enumerate(chosen):
            ids[row, : len(samples[place].ids)] = torch.tensor([int(token) for token in samples[place].ids])
        with torch.inference_mode():
            # Right padding needs no mask: no real token ever looks to its right.
            logits = model(input_ids=ids.to(device)).logits
            for row, place in enumerate(chosen):
                begin, end = samples[place].spans[-1]
                target = ids[row, begin:end].to(logits.device)
                lost = cross_entropy(logits[row, begin - 1 : end - 1].float(), target, reduction="none")
                found[place] = lost.double().cpu().numpy()
    model.train(was_training)
    return found


def _batches(lengths: list[int], most: int, model: Any) -> Iterator[list[int]]:
    """Places of samples, similar lengths together, so few at once that their logits fit into memory."""
    room = max(1, _NUMBERS // model.get_input_embeddings().weight.shape[0])
    order = sorted(range(len(lengths)), key=lambda place: lengths[place])
    begin = 0
    while begin < len(order):
        end = begin + 1
        while end < len(order) and end - begin < most and (end + 1 - begin) * lengths[order[end]] <= room:
            end += 1
        yield order[begin:end]
        begin = end


def _case(item: Item, lost: np.ndarray, thought: int) -> Case:
    """What one answer cost: nats as values, tokens as weights."""
    parts = {"perplexity": lost, "thought_perplexity": lost[:thought], "answer_perplexity": lost[thought:]}
    if item.seen:
        parts = {"training_perplexity": lost}
    values = {name: float(parts[name].sum()) if len(parts.get(name, ())) else None for name in _PARTS}
    sizes = {name: float(len(part)) for name, part in parts.items() if len(part)}
    tokens_of = {"tokens": len(lost), "tokens of the thought": thought}
    return Case(item.chat.id, values, sizes, _groups(item), {**_shown(item), **tokens_of})


def _failed(item: Item, why: str) -> Case:
    return Case(item.chat.id, dict.fromkeys(_PARTS), {}, _groups(item), {**_shown(item), "failed": why})


def _groups(item: Item) -> dict[str, str]:
    return {**item.chat.groups, "rows": SEEN if item.seen else UNSEEN}


def _shown(item: Item) -> dict[str, Any]:
    answer = item.chat.answer or {}
    found = {"question": item.chat.messages[-1]["content"], "where": item.chat.where}
    return {**found, "thought": answer.get("reasoning_content"), "answer": answer.get("content")}


def _measure(name: str, label: str, zh: str) -> Measure:
    return Measure(name, label, zh, PERPLEXITY, "lower")


TASK = Task(
    "perplexity",
    "perplexity of reference answers",
    "参考答案的困惑度",
    (
        _measure("perplexity", "perplexity, whole answer", "困惑度（整段）"),
        _measure("thought_perplexity", "perplexity of the thought", "思考部分的困惑度"),
        _measure("answer_perplexity", "perplexity of the answer", "回答部分的困惑度"),
        Measure("training_perplexity", "of a sample of training rows", "训练样本的困惑度", PERPLEXITY, None),
    ),
    load,
    run,
    file="data/eval/heldout_phrasings.jsonl",
)
