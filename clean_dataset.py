"""Clean data files: every row is kept, changed in its texts only, or removed for a reason that is written down.

    python clean_dataset.py data/sft --output_file outputs-clean/sft.jsonl --against data/eval/mcq.jsonl
    python clean_dataset.py answers.csv --output_file clean.jsonl --steps normalise,duplicates --languages zh

Reads every format the stages read. Beside OUTPUT_FILE lies OUTPUT_FILE.ledger/ with cleaning.json, rejected.jsonl and
changed.jsonl: counts and places, no text of any row. See docs/data/cleaning.md.
"""

import dataclasses
import sys
from itertools import chain
from pathlib import Path

from bedside import cli, errors, logs
from bedside.clean import contamination, run, steps
from bedside.clean.account import Account
from bedside.data import compressed, files, writers
from bedside.data.conversation import RowError
from bedside.data_args import CleanArguments
from bedside.errors import ConfigError

STEPS = (
    "mojibake", "normalise", "private", "length", "repeated", "language", "mismatch", "contamination", "duplicates",
    "near_duplicates",
)  # fmt: skip
LANGUAGES = ("zh", "en", "other")


def problems_of(args: CleanArguments) -> list[str]:
    """What is wrong with the flags, all of it."""
    found = [f"--steps {name}: expected {', '.join(STEPS)}" for name in args.steps or () if name not in STEPS]
    found += [f"--languages {x}: expected {', '.join(LANGUAGES)}" for x in args.languages or () if x not in LANGUAGES]
    for name in ("near_duplicate_threshold", "contamination_share"):
        if not 0.5 <= getattr(args, name) <= 1:
            found.append(f"--{name} {getattr(args, name):g}: expected 0.5 to 1")
    if not args.input_file:
        found.append("no files: name files or directories, as clean_dataset.py data/sft --output_file clean.jsonl")
    needs = {"contamination": "against", "language": "languages"}
    found += [
        f"--steps {step}: needs --{flag}" for step, flag in needs.items()
        if step in (args.steps or ()) and not getattr(args, flag)
    ]  # fmt: skip
    return found


def writable(row: dict, target: Path) -> None:
    """ConfigError if a file like `target` cannot hold the row."""
    try:
        writers.check(row, compressed.suffix(target))
    except RowError as error:
        raise ConfigError(f"--output_file {target}: {error.detail}") from None


def main(argv: list[str] | None = None) -> None:
    """Clean every file into one; prints the account."""
    args = cli.parse((CleanArguments,), argv, None, __doc__, positional="input_file")[CleanArguments]
    logs.setup()
    if problems := problems_of(args):
        raise ConfigError(problems)
    inputs = files.find(args.input_file, texts=True)
    target = writers.checked(args.output_file, inputs, args.overwrite_output_file)
    asked = set(args.steps or STEPS)

    # 1. Steps that look at one row, in the order that lets each see what the one before has mended.
    alone = {
        "mojibake": steps.mending(args.drop_mojibake),
        "normalise": steps.normalising,
        "private": steps.hiding(args.private == "refuse") if args.private != "off" else None,
        "length": steps.sizing(args.min_chars, args.max_chars),
        "repeated": steps.without_loops(args.drop_repeated),
        "language": steps.in_languages(args.languages) if args.languages else None,
        "mismatch": steps.matching(args.drop_mismatch),
    }
    chosen = [step for name, step in alone.items() if name in asked and step]

    # 2. Steps that compare rows: with evaluation items, then with each other.
    columns = args.columns.split(",") if args.columns else None
    with Account(Path(args.ledger_dir or f"{target}.ledger")) as account:
        read = chain.from_iterable(files.read(path, args.encoding, columns) for path in inputs)
        rows = run.alone(run.admit(read, account), chosen, account)
        if "contamination" in asked and args.against:
            items = [item for path in files.find(args.against, texts=True) for item in contamination.items_of(path)]
            index = contamination.Index(items, args.contamination_share)
            logs.info(f"{len(index.items)} evaluation items, and {len(index.silent)} too short to be looked for")
            rows = run.without_evaluation(rows, index, account)
        if "duplicates" in asked:
            rows = run.without_duplicates(rows, account)
        if "near_duplicates" in asked:
            rows = run.without_near_duplicates(rows, args.near_duplicate_threshold, account)
        written = run.kept(rows, account)
        with writers.opened(target) as write:
            for row in written:
                writable(row, target)
                write(row)

    # 3. The account.
    account.write(dataclasses.asdict(args))
    sys.stdout.write("\n".join([*account.table(), f"{target} and {account.directory}/"]) + "\n")


if __name__ == "__main__":
    errors.run_command(main)
