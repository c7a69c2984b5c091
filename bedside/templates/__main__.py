"""The templates command: what is registered, what a chat looks like, whether a saved model is served as trained.

    python -m bedside.templates list [--json | --markdown FILE]   every template, and for which models it is
    python -m bedside.templates show NAME                     a chat as it is trained, in colour
    python -m bedside.templates show NAME --tokenizer DIR --data data/sft/FILE.jsonl --row 3
    python -m bedside.templates show DIR                      the template that is saved with a model
    python -m bedside.templates check DIR                     verify a saved model: template, stops, tokens
    python -m bedside.templates parity --tokenizer DIR        compare with a running server (--help tells more)

Flags of show: --tokenizer DIR (counts tokens, fills in BOS and EOS), --data FILE and --row N (a row of your own, by
the line, or item of a JSON array, that messages name), --tool_format F, --enable_thinking False, --mask_history,
--encoding E, --columns A,B, --role_map A=user, --color auto|always|never.
Exit status: 0 fine, 1 something is wrong with what was checked, 2 a command that cannot be used.
"""

import difflib
import sys
from collections.abc import Callable
from dataclasses import dataclass

from bedside import cli, documents, errors, logs, template_view
from bedside.args import flag
from bedside.data import build
from bedside.data.conversation import RowError
from bedside.errors import ConfigError


@dataclass
class ListArguments:
    """How the registry is printed."""

    json: bool = flag(False, "print one JSON object instead of a table")
    markdown: str | None = flag(None, "write the table into this file, between <!-- list --> and <!-- /list -->")


@dataclass
class ShowArguments:
    """Which template is shown, with which chat."""

    name: list | None = flag(None, "template, or a model's directory; as the word in front of the first flag")
    tokenizer: str | None = flag(None, "model directory whose tokenizer counts", ("tokenizer_name_or_path",))
    tool_format: str = flag("", "another way to write tools than the template's own; none for no tools")
    data: str | None = flag(None, "data file to take the chat from", ("train_file_dir", "train_file"))
    row: int | None = flag(None, "its row, as `file:line` in messages counts it (default: the first)")
    enable_thinking: bool | None = flag(None, "False shows the chat without its thoughts")
    mask_history: bool = flag(False, "train the last answer only")
    encoding: str | None = flag(None, "encoding of --data if not UTF-8, such as gb18030")
    columns: str | None = flag(None, "names of a CSV's columns, joined by commas, if it has no header line")
    role_map: str | None = flag(None, "roles of a sharegpt file, as patient=user,doctor=assistant")
    color: str = flag("auto", "trained text in colour, or between brackets", (), ("auto", "always", "never"))


@dataclass
class CheckArguments:
    """Which saved model is verified."""

    name: list | None = flag(None, "the model's directory; as the word in front of the first flag")


def _one(words: list | None, what: str, usage: str) -> str:
    if not words or len(words) > 1:
        found = f"{len(words)} ({', '.join(words)})" if words else "none"
        raise ConfigError(f"expected one {what}, found {found}: python -m bedside.templates {usage}")
    return words[0]


def _write(text: str) -> None:
    if hasattr(sys.stdout, "reconfigure"):  # a terminal without these letters shows their codes
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.stdout.write(text + "\n")


def list_all(argv: list[str]) -> int:
    """Print the registry."""
    args = cli.parse((ListArguments,), argv)[ListArguments]
    if args.markdown:
        documents.fill(args.markdown, "list", template_view.registry_markdown())
        return 0
    _write(template_view.registry_json() if args.json else template_view.registry_table())
    return 0


def show(argv: list[str]) -> int:
    """Print a chat as it is trained; 1 if the row that was asked for would be dropped."""
    args = cli.parse((ShowArguments,), argv, positional="name")[ShowArguments]
    name = _one(args.name, "template", "show NAME")
    if args.row is not None and not args.data:
        raise ConfigError(f"--row {args.row}: of which file? Add --data FILE")
    shown = template_view.subject(name, args.tokenizer, args.tool_format or None)
    encoding = template_view.encoding_of(shown, args.enable_thinking, args.mask_history)
    chat, source = template_view.example(shown.template), "an example"
    if args.data:
        reading = build.Reading.of_flags(args.encoding, args.columns, args.role_map)
        origin, chat = template_view.row_of(args.data, args.row, reading)
        source = str(origin)
    try:
        if isinstance(chat, RowError):
            raise chat
        made, remark = template_view.samples(chat, shown.tokenizer, encoding)
    except RowError as error:
        _write(f"{source}: dropped: {error.code} {error.detail}")
        return 1
    if remark:
        logs.info(f"{source}: {remark}")
    _write(template_view.page(shown, made, encoding, args.color, source))
    return 0


def check(argv: list[str]) -> int:
    """Print every check of a saved model, one a line; 1 if one failed."""
    from bedside import template_check

    args = cli.parse((CheckArguments,), argv, positional="name")[CheckArguments]
    found = template_check.checks(_one(args.name, "directory", "check DIR"))
    wrong = sum(not finding.ok for finding in found)
    end = f"{wrong} of {len(found)} failed" if wrong else f"all {len(found)} checks passed"
    _write("\n".join([*(finding.line() for finding in found), end]))
    return int(bool(wrong))


def parity(argv: list[str]) -> int:
    """Compare training with a running server."""
    from bedside import parity

    return parity.main(argv)


COMMANDS: dict[str, Callable[[list[str]], int]] = {"list": list_all, "show": show, "check": check, "parity": parity}


def main(argv: list[str] | None = None) -> int:
    """Run one of COMMANDS; without one, tell what they are."""
    argv = sys.argv[1:] if argv is None else argv
    logs.setup()
    command, rest = (argv[0], argv[1:]) if argv else ("--help", [])
    if command in ("-h", "--help") or command != "parity" and {"-h", "--help"} & set(rest):
        _write(__doc__.strip())
        return 0
    if command not in COMMANDS:
        near = difflib.get_close_matches(command, COMMANDS, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise ConfigError(f"{command}: no such command; {hint}known: {', '.join(COMMANDS)}")
    return COMMANDS[command](rest)


if __name__ == "__main__":
    errors.run_command(main)
