"""The training and the held-out conversations of a run, read and accounted."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bedside import logs
from bedside.data import build, tokens
from bedside.data.conversation import Conversation
from bedside.data.ledger import SHOWN, Ledger
from bedside.data.rows import Origin

if TYPE_CHECKING:
    from datasets import Dataset

Chats = list[tuple[Origin, Conversation]]


@dataclass
class Sets:
    """Conversations to train on and to hold out, each with the ledger that accounts for its files."""

    train: Chats
    held_out: Chats
    ledger: Ledger
    held_out_ledger: Ledger
    max_bad_rate: float = 1.0


def _show(ledger: Ledger) -> None:
    """Print what was wrong with rows since the last time (places and codes, never their text)."""
    for line in ledger.details[ledger.printed :]:
        logs.info(line)
    ledger.printed = len(ledger.details)


def report(ledger: Ledger, what: str) -> None:
    """Print the faults, and how many rows of how many files were read."""
    _show(ledger)
    hidden = len(ledger.rejected) - SHOWN
    if hidden > 0:
        logs.info(f"... and {hidden} more rows (all of them in rejected.jsonl)")
    logs.info(f"{what}: {ledger.total().rows} rows read from {len(ledger.files)} file(s)")


def read_sets(
    train: list[build.Source],
    validation: list[build.Source],
    reading: build.Reading,
    max_bad_rate: float,
    holdout: float = 0.0,
    max_train: int | None = None,
    max_eval: int | None = None,
    seed: int = 42,
) -> Sets:
    """Read both sets; without validation files, `holdout` (a share, or a number of rows from 1) is split off.

    Raises DataError when a file is unusable or more than `max_bad_rate` of the rows are.
    """
    ledger = Ledger()
    conversations = build.read_conversations(train, ledger, reading, max_train)
    report(ledger, "training data")
    ledger.check_rate(max_bad_rate)
    if not validation:
        share = holdout if holdout < 1 else holdout / max(1, len(conversations))
        if not share or len(conversations) < 2:
            return Sets(conversations, [], ledger, ledger, max_bad_rate)
        conversations, held_out = build.split(conversations, share, seed)
        for origin, _ in held_out[max_eval:] if max_eval is not None else []:
            ledger.cap(origin)
        held_out = held_out[:max_eval]
        ledger.samples["rows_held_out"] = len(held_out)
        return Sets(conversations, held_out, ledger, ledger, max_bad_rate)
    if {source.path.resolve() for source in validation} & {source.path.resolve() for source in train}:
        logs.warn("validation files are training files: their perplexity says how well rows were learnt, not how well "
                  "the model generalises; drop --validation_file_dir to hold rows out instead")  # fmt: skip
    other = Ledger()
    held_out = build.read_conversations(validation, other, reading, max_eval)
    report(other, "validation data")
    other.check_rate(max_bad_rate)
    return Sets(conversations, held_out, ledger, other, max_bad_rate)


def datasets(
    sets: Sets, tokenizer: Any, encoding: tokens.Encoding, packed_length: int | None, num_proc: int, seed: int
) -> tuple["Dataset", "Dataset | None"]:
    """Ids and labels of both sets, packed into rows of `packed_length` where given. `tokenizer` is a backend's."""
    if encoding.template.thinking == "none" and encoding.enable_thinking is not False:
        _warn_of_thoughts(sets.train, encoding.template.name)
    made: list[Dataset | None] = []
    for chats, ledger, what in (
        (sets.train, sets.ledger, "train on"),
        (sets.held_out, sets.held_out_ledger, "evaluate on"),
    ):
        if not chats and made:
            made.append(None)
            continue
        samples = build.make_samples(chats, tokenizer, encoding, ledger, num_proc, what)
        made.append(build.to_dataset(samples, packed_length, seed))
        rows = f" in {len(made[-1])} rows of {packed_length}" if packed_length else ""
        logs.info(
            f"{'held out' if made[1:] else 'training'}: {len(samples)} samples{rows}, {len(samples.ids):,} tokens "
            f"({100 * samples.trained.mean():.0f} % trained), longest {samples.lengths().max()}"
        )
    for ledger in (sets.ledger, sets.held_out_ledger):
        _show(ledger)
        ledger.check_rate(sets.max_bad_rate)
    logs.info(sets.ledger.summary())
    if sets.ledger.samples["turns_dropped"]:
        logs.info(f"{sets.ledger.samples['turns_dropped']} oldest turns left out to fit --max_length")
    return made[0], made[1]


def _warn_of_thoughts(chats: Chats, template: str) -> None:
    thoughts = sum(
        any(message.get("reasoning_content") for message in conversation["messages"]) for _, conversation in chats
    )
    if thoughts:
        logs.warn(
            f"{thoughts} conversations hold thoughts, and template {template} has no place for them: they are trained "
            "as text in front of the answer; --template_name qwen3 keeps thought and answer apart"
        )
