"""Perplexity of held-out documents, as `documents` measures them before and after a pretraining."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bedside.data import facts, textwork
from bedside.data.rows import Row
from bedside.data.samples import Samples
from bedside.evaluate import rows
from bedside.evaluate.task import PERPLEXITY, Case, Measure, Settings, Subject, Task, spread

_BLOCK = 1024  # tokens that are read together; a longer document is cut, as in training
_LONGEST_SHOWN = 2000  # characters


@dataclass(frozen=True)
class Document:
    """A text and where it stands."""

    id: str
    where: str
    text: str
    groups: dict[str, str]


def load(path: str, settings: Settings) -> list[Document]:
    """The documents of a .txt file (one a line) or of rows `{"text": ...}`; DataError if there is none."""
    return spread(rows.read(path, _document, "documents", settings.options.get("encoding")), settings.most)


def _document(identifier: str, row: Row) -> Document:
    text = textwork.document(row.value)
    return Document(identifier, str(row.origin), text, rows.groups_of(row.value, text))


def run(subject: Subject, items: list[Document], settings: Settings) -> list[Case]:
    """A case a document: its nats, weighted by its tokens. The first token of each piece is not predicted."""
    from bedside.data.corpus import Held, cutting_for
    from bedside.evaluate import documents

    model, tokenizer = subject.weights.model, subject.weights.tokenizer
    context = getattr(model.config.get_text_config(), "max_position_embeddings", None) or _BLOCK
    cutting = cutting_for(tokenizer, min(_BLOCK, context))
    samples, of = pieces([item.text for item in items], tokenizer, cutting)
    lost = documents.losses(model, Held(samples, of), tokenizer.pad_token_id or 0)
    return [_case(item, *found) for item, *found in zip(items, lost.nats.tolist(), lost.tokens.tolist(), strict=True)]


def pieces(texts: list[str], tokenizer: Any, cutting: textwork.Cutting) -> tuple[Samples, np.ndarray]:
    """The texts as ids, as pretraining makes them, and the number of the text that each piece is of, `(pieces,)`."""
    done = textwork.here(tokenizer.backend_tokenizer, cutting, None)([{"text": text} for text in texts], None)
    ids = np.frombuffer(done.ids, np.int32)
    ends = np.cumsum(np.frombuffer(done.lengths, np.int32), dtype=np.int64)
    of = np.repeat(np.arange(len(texts)), np.frombuffer(done.facts, facts.FACTS)["samples"])
    return Samples(ids, np.ones(len(ids), bool), np.concatenate([[0], ends])), of


def _case(item: Document, nats: float, tokens: int) -> Case:
    shown = {"question": item.text[:_LONGEST_SHOWN], "where": item.where, "tokens": tokens}
    values = {"document_perplexity": nats if tokens else None}
    return Case(item.id, values, {"document_perplexity": float(tokens)}, item.groups, shown)


TASK = Task(
    "documents",
    "held-out documents",
    "未见文档",
    (Measure("document_perplexity", "perplexity of documents", "文档困惑度", PERPLEXITY, "lower"),),
    load,
    run,
    file="data/eval/documents.txt",
)
