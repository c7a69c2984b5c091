"""The training and the held-out conversations of a run: read, accounted and tokenized, as datasets."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tokenizers import Tokenizer

from bedside import logs
from bedside.data import build, tokens
from bedside.data.collect import Collected, collect, settle
from bedside.data.ledger import SHOWN, Ledger
from bedside.data.samples import Samples, Spool, to_dataset
from bedside.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class Plan:
    """Which rows are trained on, which are held out, and how they are read; all of it comes from flags.

    Without validation files, `holdout` (a share, or a number of rows from 1) is split off.
    """

    train: list[build.Source]
    validation: list[build.Source]
    reading: build.Reading
    max_bad_rate: float
    holdout: float = 0.0
    max_train: int | None = None
    max_eval: int | None = None
    seed: int = 42


@dataclass
class Part:
    """A part of what was read: the indices of its conversations, and the ledger that accounts for their files.

    A mixture may use a conversation several times to train on, and never more than once to evaluate on.
    """

    made: Collected
    chosen: np.ndarray
    ledger: Ledger
    repeats: bool = True

    def times(self) -> np.ndarray:
        """How often each of its conversations is used."""
        return self.made.places[self.chosen, 3] if self.repeats else np.ones(len(self.chosen), np.int32)

    def samples(self) -> np.ndarray | None:
        """Indices of its samples; None if they are all that were made, once."""
        times = self.times()
        if len(self.chosen) == len(self.made) and (times == 1).all():
            return None
        return self.made.samples_of(np.repeat(self.chosen, times))

    def facts(self) -> np.ndarray:
        """Of its conversations."""
        return self.made.facts[self.chosen]


@dataclass
class Data:
    """A run's datasets and accounts; `parts` tell what they are made of (training first)."""

    train: "Dataset"
    held_out: "Dataset | None"
    parts: list[Part]

    @property
    def ledger(self) -> Ledger:
        """The account of the training files."""
        return self.parts[0].ledger


def show(ledger: Ledger) -> None:
    """Print what was wrong with rows since the last time (places and codes, never their text)."""
    for line in ledger.details[ledger.printed :]:
        logs.info(line)
    ledger.printed = len(ledger.details)


def report(ledger: Ledger, what: str) -> None:
    """Print the faults, and how many rows of how many files were read."""
    show(ledger)
    hidden = len(ledger.rejected) - SHOWN
    if hidden > 0:
        logs.info(f"... and {hidden} more rows (all of them in rejected.jsonl)")
    logs.info(f"{what}: {ledger.total().rows} rows read from {len(ledger.files)} file(s)")


def split(count: int, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices 0..count to keep, and of `share` (0..1, at least one) to hold out, chosen by `seed`."""
    wanted = min(count - 1, max(1, round(share * count)))
    held_out = np.zeros(count, bool)
    held_out[random.Random(seed).sample(range(count), max(0, wanted))] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def read(
    plan: Plan,
    tokenizer: Tokenizer,
    encoding: tokens.Encoding,
    accounts: tuple[Ledger, Ledger],
    processes: int | None = 1,
    directory: Path | None = None,
    gather: Callable[..., Collected] = collect,
) -> list[Part]:
    """The parts of the plan: what is trained on and, if anything is, what is held out; no account is closed yet.

    `accounts` are for the training and the validation files. With a `directory`, ids wait there instead of in memory.
    `gather` makes ids of files, as `collect` does of chats.
    Raises DataError when a file is unusable or too many of the rows are.
    """

    def collected(files: list[build.Source], ledger: Ledger, cap: int | None, what: str) -> Collected:
        spool = Spool(directory / what.split()[0] if directory else None)
        made = gather(files, plan.reading, tokenizer, encoding, ledger, spool, processes, cap)
        report(ledger, what)
        ledger.check_rate(plan.max_bad_rate)
        return made

    ledger, other = accounts
    made = collected(plan.train, ledger, plan.max_train, "training data")
    if not plan.validation:
        return _parted(plan, made, ledger)
    warn_of_same_files(plan)
    held = collected(plan.validation, other, plan.max_eval, "validation data")
    return [
        Part(made, np.arange(len(made)), ledger),
        Part(held, np.arange(len(held)), other, repeats=False),
    ]


def warn_of_same_files(plan: Plan) -> None:
    """Tell when what is evaluated on is what is trained on."""
    if {source.path.resolve() for source in plan.validation} & {source.path.resolve() for source in plan.train}:
        logs.warn("validation files are training files: what is measured on them says how well rows were learnt, not "
                  "how well the model generalises; drop --validation_file_dir to hold rows out instead")  # fmt: skip


def _parted(plan: Plan, made: Collected, ledger: Ledger) -> list[Part]:
    """One set of files as a part to train on and, where the plan says so, one that is held out."""
    share = plan.holdout if plan.holdout < 1 else plan.holdout / max(1, len(made))
    if not share or len(made) < 2:
        return [Part(made, np.arange(len(made)), ledger)]
    kept, held_out = split(len(made), share, plan.seed)
    for number in held_out[plan.max_eval :].tolist() if plan.max_eval is not None else []:
        ledger.cap(made.place(number))
    held_out = held_out[: plan.max_eval]
    ledger.samples["rows_held_out"] = len(held_out)
    return [Part(made, kept, ledger), Part(made, held_out, ledger, repeats=False)]


def settled(parts: list[Part], encoding: tokens.Encoding, max_bad_rate: float) -> None:
    """Close the accounts of the parts; DataError if nothing is left of one, or too many rows are bad."""
    if encoding.template.thinking == "none" and encoding.enable_thinking is not False:
        _warn_of_thoughts(parts[0], encoding.template.name)
    for part, purpose in zip(parts, ("train on", "evaluate on"), strict=False):
        settle(part.made, part.chosen, part.ledger, encoding.max_length)
        if not part.facts()["samples"].any():
            files, summary = ", ".join(part.ledger.files), part.ledger.summary()
            raise DataError("E_NOTHING_LEFT", files, f"no row is left to {purpose} ({summary})")
    for ledger in ledgers(parts):
        show(ledger)
        ledger.check_rate(max_bad_rate)


def ledgers(parts: list[Part]) -> list[Ledger]:
    """Of each part, once."""
    return list({id(part.ledger): part.ledger for part in parts}.values())


def told(parts: list[Part], made: "list[Dataset]", packed_length: int | None) -> None:
    """Print what became of the rows."""
    for part, dataset, what in zip(parts, made, ("training", "held out"), strict=False):
        described, times = part.facts(), part.times()
        count, size, trained = (int((described[name] * times.astype(np.int64)).sum())
                                for name in ("samples", "tokens", "trained"))  # fmt: skip
        rows = f" in {len(dataset)} rows of {packed_length}" if packed_length else ""
        logs.info(
            f"{what}: {count} samples{rows}, {size:,} tokens ({100 * trained / size:.0f} % trained), "
            f"longest {described['longest_kept'].max()}"
        )
    ledger = parts[0].ledger
    logs.info(ledger.summary())
    if ledger.samples["turns_dropped"]:
        logs.info(f"{ledger.samples['turns_dropped']} oldest turns left out to fit --max_length")


@contextmanager
def rejections(output: Path | None, accounts: tuple[Ledger, Ledger]) -> Iterator[None]:
    """Where a DataError stops the run: the rejected rows of what was read so far go to `output`."""
    try:
        yield
    except DataError:
        rejected = [place for ledger in accounts for place in ledger.rejected]
        if output and rejected and logs.rank() == 0:
            earlier = (output / "ledger.json").exists()  # the list of a finished run stays as it is
            path = output / ("rejected_of_stopped_run.jsonl" if earlier else "rejected.jsonl")
            Ledger(rejected=rejected).write_rejected(path)
            logs.info(f"every rejected row: {path}")
        raise


def _warn_of_thoughts(part: Part, template: str) -> None:
    thoughts = int(part.facts()["thought"].sum())
    if thoughts:
        logs.warn(
            f"{thoughts} conversations hold thoughts, and template {template} has no place for them: they are trained "
            "as text in front of the answer; --template_name qwen3 keeps thought and answer apart"
        )


def datasets(
    plan: Plan,
    tokenizer: Tokenizer,
    encoding: tokens.Encoding,
    packed_length: int | None,
    processes: int | None = 1,
    output: Path | None = None,
) -> Data:
    """Ids and labels of both sets in memory, packed into rows of `packed_length` where given.

    The list of rejected rows is left in `output` if too many of them stop the run.
    """
    accounts = (Ledger(), Ledger())
    with rejections(output, accounts):
        parts = read(plan, tokenizer, encoding, accounts, processes)
        settled(parts, encoding, plan.max_bad_rate)
    made = []
    for part in parts:
        made.append(to_dataset(part.made.samples, packed_length, plan.seed, part.samples()))
    told(parts, made, packed_length)
    for part in parts:
        part.made.samples = Samples()
    return Data(made[0], made[1] if made[1:] else None, parts)
