"""The command line: our few flags, and vLLM's, which are passed on and always win."""

import difflib
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bedside import cli
from bedside.args import flag
from bedside.errors import ConfigError

DEFAULT = "merged-sft"  # what the commands of README leave behind


@dataclass
class DeployArguments:
    """What is served, and how far to go. Every other flag is vLLM's and is passed on."""

    directory: list | None = flag(
        None, f"a merged model or an adapter; as the word in front of the flags (default: {DEFAULT})", ("model",)
    )
    dry_run: bool = flag(False, "print the command and what was decided, start nothing")
    check: bool = flag(False, "ask two questions once it serves, show what came back, and stop")
    log_file: str | None = flag(None, "where vLLM's own log goes (default: vllm_NAME.log in this directory)")


class Given(NamedTuple):
    """What was asked for: the directory (None: not named), our flags, and vLLM's as `(name, words)` in order."""

    directory: str | None
    own: DeployArguments
    vllm: tuple[tuple[str, tuple[str, ...]], ...]

    def words(self, name: str) -> tuple[str, ...] | None:
        """The words behind one of vLLM's flags (`max-model-len`), or None if it was not given."""
        return dict(self.vllm).get(name)

    def value(self, name: str) -> str | None:
        """The first word behind one of vLLM's flags, or None."""
        return next(iter(self.words(name) or ()), None)

    def without(self, *names: str) -> "Given":
        """The same without some of vLLM's flags."""
        return self._replace(vllm=tuple(pair for pair in self.vllm if pair[0] not in names))

    def number(self, name: str, kind: type = int) -> float | None:
        """That word as a number; ConfigError if it is none."""
        word = self.value(name)
        try:
            return None if word is None else kind(word)
        except ValueError:
            raise ConfigError(f"--{name} {word}: expected a number") from None


_NAMED = ("model", "directory")
_OWN = {"dry_run", "check", "log_file"}
_SHORT = {
    "-tp": "tensor-parallel-size", "-pp": "pipeline-parallel-size", "-dp": "data-parallel-size", "-q": "quantization",
    "-n": "nnodes", "-cc": "compilation-config", "-ep": "enable-expert-parallel", "-asc": "api-server-count",
}  # fmt: skip
_SEVERAL = ("middleware",)  # flags that vLLM takes more than once
# What is not passed on, and what to do instead.
_REFUSED = {
    "api-key": "a key on the command line is seen by every user of this machine; set it in the environment: "
    "export VLLM_API_KEY=...",
    "hf-token": "a token on the command line is seen by every user of this machine; set HF_TOKEN in the environment",
    "config": "a file of flags would not be seen by what is checked here; write its flags on the command line",
    "uds": "the server is waited for and asked over TCP; drop the flag, or start vLLM by hand (--dry_run prints the "
    "command)",
    "headless": "a node without an API of its own cannot be waited for; start vLLM by hand (--dry_run prints the "
    "command)",
    "grpc": "the server is asked over HTTP; drop the flag",
}
_DASHED = re.compile(r"-{1,2}[A-Za-z]")  # a negative number is a value


def parse(argv: Sequence[str]) -> Given:
    """`argv` of vllm_deployment.sh; prints the usage and exits for --help. ConfigError with every problem."""
    loose, found = _split(argv)
    if ("help", ()) in found:
        sys.stdout.write(_USAGE)
        raise SystemExit(0)
    loose += [word for name, words in found if name in _NAMED for word in words]  # a path may hold a comma
    found = [pair for pair in found if pair[0] not in _NAMED]
    own = [(name, words) for name, words in found if name.replace("-", "_") in _OWN]
    theirs = [(name, words) for name, words in found if name.replace("-", "_") not in _OWN]
    problems = [f"--{name}: {_REFUSED[name]}" for name, _ in theirs if name in _REFUSED]
    problems += [_typo(name) for name, _ in theirs if name not in _REFUSED and _typo(name)]
    names = [name for name, _ in theirs if name not in _SEVERAL]
    problems += [
        f"--{name}: given more than once; give it once" for name in sorted(set(names)) if names.count(name) > 1
    ]
    try:
        words = [*loose, *(word for name, values in own for word in (f"--{name}", *values))]
        args = cli.parse((DeployArguments,), words, positional="directory")[DeployArguments]
    except ConfigError as error:
        raise ConfigError([*error.problems, *problems]) from None
    if len(args.directory or []) > 1:
        problems.append(f"{' '.join(args.directory)}: one model is served; give one directory, in quotes if its name "
                        "has spaces")  # fmt: skip
    if problems:
        raise ConfigError(problems)
    return Given(str(args.directory[0]) if args.directory else None, args, tuple(theirs))


_USAGE = f"""Serve a model directory with vLLM, as it was trained: sh vllm_deployment.sh MODEL_DIR [vLLM's flags]

    sh vllm_deployment.sh merged-sft
    sh vllm_deployment.sh outputs-sft --port 8001 --max-model-len 4096
    VLLM_API_KEY=... sh vllm_deployment.sh merged-sft --host 0.0.0.0

MODEL_DIR is a merged model or an adapter, also as --model MODEL_DIR (without it: {DEFAULT}). Template, parsers,
precision, length and number of cards are read off the directory and the machine.

  --dry_run         print the command and what was decided, start nothing
  --check           ask two questions once it serves, show what came back, and stop
  --log_file FILE   where vLLM's own log goes (default: vllm_NAME.log in this directory)

Every other flag is vLLM's: it is passed on, and wins over what would have been chosen. vLLM lists them with
`python -m vllm.entrypoints.openai.api_server --help=all`; docs/stages/serving.md tells the rest.
"""


def _split(argv: Sequence[str]) -> tuple[list[str], list[tuple[str, tuple[str, ...]]]]:
    """Words before the first flag, and flags with their words; short spellings become vLLM's long ones."""
    loose: list[str] = []
    found: list[tuple[str, tuple[str, ...]]] = []
    for word in argv:
        name, equals, value = word.partition("=")
        if word in ("-h", "--help"):
            found.append(("help", ()))
        elif name in _SHORT:
            found.append((_SHORT[name], (value,) if equals else ()))
        elif word.startswith("--") and len(word) > 2:
            found.append((_dashed(name[2:]), (value,) if equals else ()))
        elif _DASHED.match(word):
            raise ConfigError(f"{word}: unknown short flag; write vLLM's flags in full, as --tensor-parallel-size 2")
        elif found:
            found[-1] = (found[-1][0], (*found[-1][1], word))
        else:
            loose.append(word)
    return loose, found


def _dashed(name: str) -> str:
    """A flag's name with dashes; the keys of JSON behind a dot stay as they are."""
    head, dot, key = name.partition(".")
    return head.replace("_", "-") + dot + key


def _typo(name: str) -> str | None:
    near = difflib.get_close_matches(name.replace("-", "_"), _OWN, n=1, cutoff=0.85)
    return f"--{name}: unknown flag; did you mean --{near[0]}?" if near else None
