"""Documents to ids: every one read, accounted, closed by its end token and cut into pieces that fill rows.

A document of n tokens becomes pieces of `block` tokens and one shorter tail, and no token is lost. Pieces share rows
by best fit and never see each other. The first token of a piece has no context, so it is read and not predicted: the
first of each document, and of each piece that goes on with one.
"""

import dataclasses
import tempfile
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tokenizers import Tokenizer

from bedside import logs
from bedside.data import build, chats, collect, registry, textwork
from bedside.data.conversation import RowError
from bedside.data.ledger import Ledger
from bedside.data.samples import Samples, Spool, to_dataset
from bedside.data.strict_json import shown_names
from bedside.errors import ConfigError, DataError
from bedside.templates import document_end

if TYPE_CHECKING:
    from datasets import Dataset

_IN_MEMORY = 64 << 20  # bytes of files up to which ids wait in memory while the rest is read


class _Named(registry.Entry):
    """A registered dataset whose documents stand in the field that `columns` calls the prompt, or in `text`."""

    def adapt(self, row: Any) -> Any:
        name = self.columns.get("prompt", "text")
        if name == "text" or not isinstance(row, dict):
            return row
        if name not in row:
            raise RowError("E_FIELD", f"no field {name!r} (has: {shown_names(row)})")
        return {"text": row[name]}

    def forgotten_thought(self, row: Any) -> str | None:
        return None


def _documents_of(source: build.Source) -> build.Source:
    entry = source.entry
    if entry is None:
        return source
    if entry.formatting != "alpaca" or {"response", "chosen", "messages"} & entry.columns.keys():
        raise ConfigError(
            f"--dataset {entry.name}: a dataset of questions and answers; pretraining reads documents: give one with "
            '"columns": {"prompt": "NAME OF THE TEXT FIELD"}, or run supervised_finetuning.py'
        )
    own = {field.name: getattr(entry, field.name) for field in dataclasses.fields(entry)}
    return dataclasses.replace(source, entry=_Named(**own))


def plan_of(files: dict) -> chats.Plan:
    """The plan of `settle.files(..., texts=True)`; ConfigError for a registered dataset that holds no documents."""
    of = {name: [_documents_of(source) for source in files[name]] for name in ("train", "validation")}
    return chats.Plan(**{**files, **of})


def cutting_for(tokenizer: Any, block: int) -> textwork.Cutting:
    """How the documents become pieces for a Hugging Face fast tokenizer; ConfigError if it has no end of document."""
    end = document_end.of(tokenizer)
    if end is None:
        raise ConfigError("the tokenizer has no eos_token, so no document could end; set one in its config")
    beginning = document_end.beginning(tokenizer)
    if block < len(beginning) + 2:
        raise ConfigError(f"--block_size {block}: expected at least {len(beginning) + 2} tokens")
    special = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    forbidden = tuple(sorted(token for token in special | set(tokenizer.all_special_tokens) if len(token) > 2))
    return textwork.Cutting(tuple(beginning), tokenizer.convert_tokens_to_ids(end), block, forbidden)


@dataclass
class Held:
    """Held-out documents as pieces: piece i is `samples` i and belongs to document `of[i]`, `(pieces,)`."""

    samples: Samples
    of: np.ndarray

    def __len__(self) -> int:
        return int(self.of[-1]) + 1 if len(self.of) else 0

    def spread(self, most: int) -> "Held":
        """At most so many documents, evenly spread."""
        if len(self) <= most:
            return self
        chosen = np.linspace(0, len(self) - 1, most).round().astype(np.int64)
        pieces = np.flatnonzero(np.isin(self.of, chosen))
        return Held(self.samples.take(pieces), np.searchsorted(chosen, self.of[pieces]))


@dataclass
class Corpus(chats.Data):
    """A run's datasets and accounts, and its held-out documents one by one."""

    documents: Held | None = None


def _collect(wanted, reading, tokenizer, cutting, ledger, spool: Spool, processes, cap) -> collect.Collected:
    """`collect.collect` for documents."""
    return collect.gather(
        wanted, reading, tokenizer, cutting, ledger, spool, processes, cap, begin=textwork.here
    )  # fmt: skip


def datasets(
    plan: chats.Plan,
    tokenizer: Tokenizer,
    cutting: textwork.Cutting,
    packed: bool = True,
    processes: int | None = 1,
    output: Path | None = None,
) -> Corpus:
    """Ids of both sets, packed into rows of `cutting.block` tokens or (`packed` False) a piece a row.

    Labels are all ids. Raises DataError when a file is unusable, too many rows are bad or nothing is left; the list
    of rejected rows is then in `output`.
    """
    accounts = (Ledger(), Ledger())
    sources = [source.path for source in (*plan.train, *plan.validation)]
    size = sum(path.stat().st_size for path in sources if path.is_file())
    waiting = tempfile.TemporaryDirectory(dir=output) if output and size > _IN_MEMORY else nullcontext()
    with chats.rejections(output, accounts), waiting as place:
        parts = chats.read(
            plan, tokenizer, cutting, accounts, processes, Path(place) if place else None, gather=_collect
        )
        _settled(parts, plan)
        length = cutting.block if packed else None
        made = [to_dataset(part.made.samples, length, plan.seed, part.samples()) for part in parts]
        _told(parts, made, cutting, packed)
        held = _held(parts[1]) if parts[1:] else None
        for part in parts:
            part.made.samples = Samples()
    return Corpus(made[0], made[1] if made[1:] else None, parts, held)


def _held(part: chats.Part) -> Held:
    counts = part.facts()["samples"].astype(np.int64)
    return Held(part.made.samples.take(part.made.samples_of(part.chosen)), np.repeat(np.arange(len(counts)), counts))


def _settled(parts: list[chats.Part], plan: chats.Plan) -> None:
    """Close the accounts; DataError if nothing is left of a part or too many rows are bad. Equal documents are kept
    and told: whether a repetition is meant, nobody here can know."""
    for part, purpose in zip(parts, ("train on", "evaluate on"), strict=False):
        collect.settle(part.made, part.chosen, part.ledger, 0)
        if not len(part.chosen):
            files, summary = ", ".join(part.ledger.files), part.ledger.summary()
            raise DataError("E_NOTHING_LEFT", files, f"no document is left to {purpose} ({summary})")
    _tell_repeated(parts[0])
    if parts[1:]:
        seen = np.isin(parts[1].facts()["fingerprint"], parts[0].facts()["fingerprint"])
        if seen.any() and not _same_files(plan):
            logs.warn(f"{int(seen.sum()):,} of {len(seen):,} held-out documents are also trained on, word for word; "
                      "what is measured on them says little about others")  # fmt: skip
    for ledger in chats.ledgers(parts):
        chats.show(ledger)
        ledger.check_rate(plan.max_bad_rate)


def _same_files(plan: chats.Plan) -> bool:
    """Whether validation files are training files, which `chats.read` has told already."""
    of = [{source.path.resolve() for source in sources} for sources in (plan.train, plan.validation)]
    return bool(of[0] & of[1])


def _tell_repeated(part: chats.Part) -> None:
    """A remark for every document that stands in the files before, word for word."""
    prints = part.facts()["fingerprint"]
    _, first, of = np.unique(prints, return_index=True, return_inverse=True)
    again = np.flatnonzero(first[of] != np.arange(len(prints)))
    for number in again.tolist():
        origin = part.made.place(int(part.chosen[number]))
        earlier = part.made.place(int(part.chosen[first[of[number]]]))
        part.ledger.remark(origin, "W_DUPLICATE", f"the same document as {earlier}; kept")
    if len(again):
        logs.warn(f"{len(again):,} of {len(prints):,} documents are repetitions, word for word; they are kept. To "
                  "drop them: python clean_dataset.py --steps duplicates")  # fmt: skip


def _told(parts: list[chats.Part], made: "list[Dataset]", cutting: textwork.Cutting, packed: bool) -> None:
    """Print what the documents became: tokens and pieces, and the rows that they fill."""
    import pyarrow.compute as pc

    for part, dataset, what in zip(parts, made, ("training", "held out"), strict=False):
        described, times = part.facts(), part.times().astype(np.int64)
        tokens, pieces = (int((described[name] * times).sum()) for name in ("tokens", "samples"))
        kept = pc.sum(pc.list_value_length(dataset.data.column("input_ids"))).as_py()
        assert kept == tokens, "a token went missing: a bug in bedside.data.corpus"
        cut = described["samples"] > 1
        tails = described["tokens"][cut] % cutting.block
        ends, cuts = tails * times[cut], times[cut]
        logs.info(
            f"{what}: {int(times.sum()):,} documents, {tokens:,} tokens in {pieces:,} pieces of at most "
            f"{cutting.block}" + (f", packed into {len(dataset):,} rows" if packed else "")
        )
        if cut.any():
            logs.info(
                f"{what}: {int(cuts.sum()):,} documents are longer than --block_size {cutting.block} and cut; tail "
                f"tokens: {int(ends.sum()):,} in {int(cuts[tails > 0].sum()):,} pieces, kept; the first token of each "
                f"of the {int(((described['samples'][cut] - 1) * cuts).sum()):,} later pieces has no context and is "
                "not predicted"
            )
    logs.info(parts[0].ledger.summary())
