"""The lineage command: where a model came from, and whether it is still what was trained.

    python -m bedside.lineage show DIR [--json]       the chain of stages, base at the root
    python -m bedside.lineage verify DIR              files, weights, base, tokenizer, template and the probe anew
    python -m bedside.lineage verify DIR --base_model BASE --no_probe

show reads manifests only. verify reads every byte; the probe loads the model and computes 64 tokens (--no_probe
leaves that out, and then nothing heavy is loaded). Exit status: 0 fine, 1 a check failed, 2 a mistake in the command.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass

from bedside import cli, errors, logs
from bedside.args import flag
from bedside.errors import ConfigError


@dataclass
class ShowArguments:
    """Which chain is shown."""

    directory: list | None = flag(None, "a model directory; as the word in front of the first flag")
    json: bool = flag(False, "print one JSON object instead of a tree")


@dataclass
class VerifyArguments:
    """What is verified."""

    directory: list | None = flag(None, "a model directory; as the word in front of the first flag")
    base_model: str | None = flag(None, "where the base lies, if it was moved", ("base_model_name_or_path",))
    no_probe: bool = flag(False, "compare hashes only; loads no model")


def _one(names: list | None, command: str) -> str:
    if not names or len(names) != 1:
        raise ConfigError(f"expected one directory: python -m bedside.lineage {command} DIR")
    return str(names[0])


def show(argv: list[str]) -> int:
    """Print the chain."""
    from bedside.lineage import view

    args = cli.parse((ShowArguments,), argv, positional="directory")[ShowArguments]
    links = view.chain(_one(args.directory, "show"))
    text = json.dumps(view.record(links), ensure_ascii=False, indent=1) if args.json else view.tree(links)
    sys.stdout.write(text + "\n")
    return 0


def verify(argv: list[str]) -> int:
    """Print every check, one a line; 1 if one failed."""
    from bedside.lineage import verify

    args = cli.parse((VerifyArguments,), argv, positional="directory")[VerifyArguments]
    directory, failed = _one(args.directory, "verify"), 0
    for check in verify.checks(directory, args.base_model, not args.no_probe):
        sys.stdout.write(check.line() + "\n")
        sys.stdout.flush()
        failed += check.ok is False
    sys.stdout.write(f"{directory}: {f'{failed} check(s) FAILED' if failed else 'verified'}\n")
    return int(bool(failed))


COMMANDS: dict[str, Callable[[list[str]], int]] = {"show": show, "verify": verify}


def main(argv: list[str] | None = None) -> int:
    """Run one of COMMANDS; without one, tell what they are."""
    argv = sys.argv[1:] if argv is None else argv
    logs.setup()
    command, rest = (argv[0], argv[1:]) if argv else ("--help", [])
    if command in ("-h", "--help") or {"-h", "--help"} & set(rest):
        sys.stdout.write(__doc__.strip() + "\n")
        return 0
    if command not in COMMANDS:
        raise ConfigError(f"{command}: no such command; known: {', '.join(COMMANDS)}")
    return COMMANDS[command](rest)


if __name__ == "__main__":
    errors.run_command(main)
