"""One model on the held-out rows: likelihoods of the answers' tokens, and its own answers to the questions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from bedside import engine, logs
from bedside.data import tokens
from bedside.errors import DataError
from bedside.evaluate import quick
from bedside.quantise import compare

_BATCH, _LONGEST = 8, 2048


def measure(job: dict) -> dict:
    """`{"rows", "scores", "cases", "passed_over"}` of the model `job["model"]` on `job["eval_file"]`.

    With `job["compare"]` the log-probabilities in the file `job["logprobs"]` are the other model's, else they are
    written there.
    """
    origin = engine.find(job["model"], None)
    tokenizer, template = engine.text_side(origin)
    model = engine.load(origin, tokenizer, template)
    rows = quick.load(job["eval_file"], job["report_rows"] or None)
    encoding = tokens.encoding_for(tokenizer, template, min(_LONGEST, model.context or _LONGEST))
    samples = [result.samples[-1] for row in rows for result in _encoded(row, tokenizer, encoding) if result.samples]
    if not samples:
        raise DataError("E_EMPTY_FILE", job["eval_file"], "no answer fits into the model's context")
    compared = _compared(model.model, tokenizer, samples, Path(job["logprobs"]), job["compare"])
    asked = quick.load(job["eval_file"], job["report_questions"] or None)
    scores, cases = quick.measure(model, encoding, asked, job["max_new_tokens"], batch=32, what=job["what"])
    return {
        "rows": [asdict(row) for row in compared],
        "scores": asdict(scores),
        "cases": cases,
        "passed_over": len(rows) - len(samples),
    }


def _encoded(row: dict, tokenizer: Any, encoding: tokens.Encoding) -> Iterator[tokens.Encoded]:
    yield from tokens.encode([{"messages": row["messages"]}], tokenizer.backend_tokenizer, encoding)


def _compared(model: Any, tokenizer: Any, samples: list, kept: Path, against: bool) -> list[compare.Row]:
    """A Row for each sample; the log-probabilities go to the file `kept`, or are held against what is in it."""
    found = []
    with kept.open("rb" if against else "wb") as file:
        for logprobs, labels in _answers(model, tokenizer, samples):
            other = None
            if against:
                other = np.fromfile(file, np.float16, logprobs.size).reshape(logprobs.shape)
            else:
                logprobs.tofile(file)
            found.append(compare.row_of(logprobs, labels, other))
    return found


def _answers(model: Any, tokenizer: Any, samples: list) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Log-probabilities `(T, V)`, float16, and ids `(T,)` of the tokens of each sample's last answer, in order."""
    import torch

    device = model.get_input_embeddings().weight.device
    starts = range(0, len(samples), _BATCH)
    for start in logs.progress(starts, len(starts), "held-out answers", "batch"):
        chunk = samples[start : start + _BATCH]
        width = max(len(sample.ids) for sample in chunk)
        ids = torch.full((len(chunk), width), tokenizer.pad_token_id)
        for row, sample in enumerate(chunk):
            ids[row, : len(sample.ids)] = torch.tensor([int(i) for i in sample.ids])
        with torch.inference_mode():
            # Right padding needs no mask: no real token ever looks to its right.
            logits = model(input_ids=ids.to(device)).logits
        for row, sample in enumerate(chunk):
            begin, end = sample.spans[-1]
            # float16 reaches -65504; a token that is impossible is as impossible there.
            chosen = logits[row, begin - 1 : end - 1].float().log_softmax(-1).clamp(min=-6e4)
            yield chosen.to(torch.float16).cpu().numpy(), ids[row, begin:end].numpy()
