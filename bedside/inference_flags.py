"""The flags of scripts that load a model and ask it: what they share, and those of inference.py against each other.

What is shared gives problems as sentences, so that a script tells all of its own at once.
"""

import dataclasses
from collections.abc import Collection
from pathlib import Path
from typing import Any

from bedside.args import InferenceArguments, flag
from bedside.cli import Parsed
from bedside.data import files
from bedside.data.conversation import RowError, check_conversation
from bedside.errors import ConfigError
from bedside.settle import quantisation, roles_and_template

# By the name of a flag: whether its value is within its limits, and what these are.
Limits = dict[str, tuple[bool, str]]
# What is settled where a model is loaded, which a server did for itself.
LOADING = (
    "base_model", "lora_model", "tokenizer_path", "cache_dir", "model_revision", "trust_remote_code",
    "template_name", "dtype", "device_map", "attn_implementation", "load_in_4bit", "load_in_8bit",
    "quantization_bit", "memory_gb", "only_cpu",
)  # fmt: skip
_FIELDS = {field.name: field for field in dataclasses.fields(InferenceArguments)}


def same(name: str, text: str | None = None) -> Any:
    """The flag `name` as inference.py has it, for the dataclass of another script; `text` describes it there."""
    field = _FIELDS[name]
    meta = field.metadata
    return flag(field.default, text or meta["help"], meta["aliases"], meta["choices"], meta["only"])


def said_base(args: Any, given: Collection[str]) -> str | None:
    """--base_model where the user said it or nothing else names a model; the default is no base of an adapter."""
    return args.base_model if "base_model" in given or not args.lora_model else None


def answer_limits(args: Any) -> Limits:
    """Limits of the flags that say how an answer is drawn, each by its name."""
    return {
        "max_new_tokens": (args.max_new_tokens >= 1, "at least 1"),
        "temperature": (args.temperature >= 0, "0 or more"),
        "top_p": (0 < args.top_p <= 1, "more than 0 and at most 1"),
        "top_k": (args.top_k >= 0, "0 (all) or more"),
        "repetition_penalty": (args.repetition_penalty > 0, "more than 0; 1 changes nothing"),
    }


def outside(args: Any, limits: Limits) -> list[str]:
    """A problem for every flag that is outside its limits."""
    return [f"--{name} {getattr(args, name)}: expected {text}" for name, (good, text) in limits.items() if not good]


def gpus_problems(args: Any) -> list[str]:
    """Which GPUs are seen is settled before Python starts."""
    if args.gpus is None:
        return []
    return [f"--gpus {args.gpus}: set CUDA_VISIBLE_DEVICES={args.gpus} in front of the command instead"]


def memory_problems(args: Any) -> list[str]:
    """What speaks against --memory_gb, by itself and beside the other flags."""
    problems = outside(
        args, {"memory_gb": (args.memory_gb is None or args.memory_gb > 0, "more than 0, as 8 or 11.5")}
    )
    if args.memory_gb and args.device_map:
        problems.append("--memory_gb and --device_map: choose one; --memory_gb places the layers itself")
    return problems


def system_problems(args: Any) -> list[str]:
    """A problem for a --system_prompt that could not stand in a conversation."""
    return [f"--system_prompt: {told}" for told in refused(args.system_prompt)]


def refused(system: str | None) -> list[str]:
    """Why this cannot be a system prompt, as no sentence or one; none for an empty one."""
    if not (system or "").strip():
        return []
    try:
        turns = [{"role": "system", "content": system}, {"role": "user", "content": "?"}]
        check_conversation({"messages": turns}, answered=False)
    except RowError as error:
        return [error.detail]
    return []


def check(parsed: Parsed) -> None:
    """Settle the flags in place; ConfigError lists every problem."""
    given, args = parsed.given, parsed[InferenceArguments]
    problems = quantisation(args) + _server(args, given)
    if not args.interactive and not args.data_file:
        problems.append("nothing to do: add --interactive to chat, or --data_file FILE to answer a file of questions")
    if args.interactive and args.data_file:
        problems.append("--interactive and --data_file: choose one")
    elif args.interactive and {"output_file", "overwrite_output_file"} & given:
        problems.append("--output_file belongs to --data_file; a chat is not written down")
    elif args.data_file:
        problems += _files(args.data_file, args.output_file)
    problems += gpus_problems(args) + outside(args, _limits(args))
    problems += roles_and_template(args) + system_problems(args) + memory_problems(args)
    if problems:
        raise ConfigError(problems)


_ASKING = ("served_model", "concurrency", "server_timeout")


def _server(args: InferenceArguments, given: set[str]) -> list[str]:
    """Problems of flags that belong to a server, or to a model in this process."""
    if args.server is None:
        return [f"--{name}: belongs to --server" for name in _ASKING if name in given]
    loading = [f"--{name}" for name in LOADING if name in given]
    problems = []
    if loading:
        problems.append(
            f"{', '.join(loading)}: the server has loaded its model already; say so where it is started, or drop "
            "--server"
        )
    if "batch_size" in given:
        problems.append("--batch_size: a server makes its own batches; --concurrency says how many rows it is asked")
    if args.interactive and "concurrency" in given:
        problems.append("--concurrency belongs to --data_file; a chat asks one question at a time")
    return problems


def _limits(args: InferenceArguments) -> Limits:
    return {
        "batch_size": (args.batch_size >= 1, "at least 1"),
        **answer_limits(args),
        "seed": (0 <= args.seed < 1 << 32, "0 to 4294967295"),
        "concurrency": (1 <= args.concurrency <= 1024, "1 to 1024"),
        "server_timeout": (args.server_timeout > 0, "more than 0 seconds"),
    }


def _files(data_file: str, output_file: str) -> list[str]:
    problems = []
    if Path(data_file).is_dir():
        problems.append(f"--data_file {data_file}: a directory, expected one file")
    else:
        try:
            files.find(data_file)
        except ConfigError as error:
            problems += [f"--data_file {problem}" for problem in error.problems]
    output = Path(output_file)
    if output.exists() and Path(data_file).exists() and output.samefile(data_file):
        problems.append(f"--output_file {output_file}: is the --data_file; choose another name")
    elif output.is_dir():
        problems.append(f"--output_file {output_file}: a directory, expected a file name")
    return problems


def quantisation_wish(args: Any) -> dict | None:
    """`{"bits", "type", "double"}` from the flags, or None."""
    if args.load_in_4bit:
        return {"bits": 4, "type": "nf4", "double": True}
    return {"bits": 8} if args.load_in_8bit else None
