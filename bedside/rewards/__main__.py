"""Test rewards on a data file, as a run does before it loads a model: gold answers score 1, others and none score 0.

    python -m bedside.rewards data/grpo/verifiable.jsonl
    python -m bedside.rewards FILE --rewards accuracy red_flags --aliases names.jsonl
    python -m bedside.rewards FILE --rewards my_rewards.py:is_polite

Exit status: 0 every reward passed, 2 one did not (rows are shown), or the file or a flag cannot be used.
"""

import argparse
from typing import Any

from bedside import errors, logs, rewards
from bedside.data import files, prompts
from bedside.data.conversation import RowError
from bedside.data.rows import Row
from bedside.errors import ConfigError
from bedside.rewards import accuracy, selftest


def read(paths: list[str], encoding: str | None = None) -> list[dict[str, Any]]:
    """The prompts of the files as rows of tasks; one that cannot be used is told, and ConfigError if all are."""
    found: list[dict[str, Any]] = []
    bad: list[str] = []
    for path in files.find(paths):
        for item in files.read(path, encoding):
            if not isinstance(item, Row):
                if not item.code.startswith("I_"):
                    bad.append(f"{item.origin}: {item.code} {item.detail}")
                continue
            try:
                prompt = prompts.to_prompt(item.value)
            except RowError as error:
                bad.append(f"{item.origin}: {error.code} {error.detail}")
                continue
            gold = {key: prompt[key] for key in prompts.GOLD if key in prompt}
            line = item.origin.line if item.origin.item is None else f"{item.origin.line} (item {item.origin.item})"
            found.append({"gold": gold, "prompt": prompt["prompt"], "source": item.origin.file, "line": line})
    for line in bad[:5]:
        logs.warn(line)
    if len(bad) > 5:
        logs.warn(f"... and {len(bad) - 5} more rows that are no prompts with an answer")
    if not found:
        raise ConfigError(f"{', '.join(paths)}: no row is a prompt with an answer that can be checked")
    return found


def _fitting(rows: list[dict[str, Any]]) -> list[str]:
    """The rewards of ours that say something about these rows."""
    kinds = {accuracy.kind_of(row["gold"], row["prompt"]) for row in rows}
    names = ["accuracy", "format"]
    names += [
        name for name, kind in (("choice", "choice"), ("diagnosis", "name"), ("number", "number")) if kind in kinds
    ]
    names += ["red_flags"] if any(row["gold"].get("red_flags") for row in rows) else []
    return [*names, "length", "repetition", "language"]


def main(argv: list[str] | None = None) -> int:
    """Test the rewards and print a line each."""
    usage, _, epilog = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser("python -m bedside.rewards", None, usage, epilog, allow_abbrev=False,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("paths", nargs="+", metavar="FILE", help="data files or directories")
    parser.add_argument("--rewards", nargs="+", metavar="NAME", help="default: every reward that fits the rows")
    parser.add_argument("--aliases", metavar="FILE", help='names that mean the same: {"name": ..., "aliases": [...]}')
    parser.add_argument(
        "--rows", type=int, default=selftest.MOST, help="how many rows are tried (default: %(default)s)"
    )
    parser.add_argument("--choice_partial", type=float, default=0.0, help="credit for a part of several right options")
    parser.add_argument("--encoding", help="encoding of the files if not UTF-8, such as gb18030")
    args = parser.parse_args(argv)
    logs.setup()
    if args.rows < 1:
        raise ConfigError(f"--rows {args.rows}: expected at least 1")
    rows = read(args.paths, args.encoding)
    scorer = rewards.resolve(args.rewards or _fitting(rows), aliases=args.aliases, choice_partial=args.choice_partial,
                             golds=[row["gold"] for row in rows])  # fmt: skip
    selftest.check(scorer, rows, args.rows)
    return 0


if __name__ == "__main__":
    errors.run_command(main)
