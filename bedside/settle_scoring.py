"""Which flags of rewards and of sampling are read in a run, and what of them makes another run of it."""

import dataclasses
import importlib.util
from pathlib import Path
from typing import Any

from bedside import lineage
from bedside.cli import Parsed
from bedside.rewards import python
from bedside.stage_args import RewardArguments

# A flag, and the rewards of which one must be wished for it to be read.
_OF_REWARDS = {
    "length_min": ("length",),
    "length_max": ("length",),
    "choice_partial": ("accuracy", "choice"),
    "alias_file": ("accuracy", "diagnosis"),
    **{field.name: ("judge",) for field in dataclasses.fields(RewardArguments) if field.name.startswith("judge_")},
}
# Those that change what an answer earns. Where a judge listens and how often it is asked again do not.
_SCORING = ("length_min", "length_max", "choice_partial", "judge_model")
_FILES = ("alias_file", "judge_rubric")
_HARMLESS = (None, "auto")


def wished(own: RewardArguments) -> list[str]:
    """The names in --reward_funcs."""
    return [name.strip() for name in (own.reward_funcs or "").split(",") if name.strip()]


def idle(args: Parsed, more: dict[str, tuple[str, bool]] | None = None) -> list[str]:
    """A sentence for each flag that was given and that nothing reads in this run.

    `more` is what only one stage has: a flag, what it goes with, and whether that is there.
    """
    names = wished(args[RewardArguments])
    needs = {
        flag: (f"--reward_funcs {' or '.join(of)}", bool(set(of) & set(names))) for flag, of in _OF_REWARDS.items()
    }
    needs["reward_weights"] = ("--reward_funcs", bool(names))
    vllm = ("--use_vllm True", bool(args.trainer.get("use_vllm")))
    needs |= {flag: vllm for flag in args.trainer if flag.startswith("vllm_")} | (more or {})
    values = args.as_dict()
    return [
        f"--{flag}: has a meaning with {with_} only; add it, or drop the flag"
        for flag, (with_, there) in needs.items()
        if flag in args.given and not there and values.get(flag) not in _HARMLESS
    ]


def options(own: RewardArguments) -> dict[str, Any]:
    """What of the rewards must be the same when a run is resumed: options that are read, hashes of files."""
    names = wished(own)
    read = {flag for flag, of in _OF_REWARDS.items() if set(of) & set(names)}
    found: dict[str, Any] = {flag: getattr(own, flag) for flag in _SCORING if flag in read}
    paths = {flag: getattr(own, flag) for flag in _FILES if flag in read}
    paths |= {name.rpartition(":")[2]: _file_of(name) for name in names if python.is_one(name)}
    return found | {key: lineage.file_sha256(Path(path))[:16] if path else None for key, path in paths.items()}


def _file_of(name: str) -> str | None:
    """Where a function of the user's is written, if that is a file."""
    place = name.rpartition(":")[0]
    if place.endswith(".py"):
        return place
    spec = importlib.util.find_spec(place)
    return spec.origin if spec and spec.has_location else None
