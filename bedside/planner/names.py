"""Which known shape a model's name means: however it is spelled, and why another is not counted."""

from __future__ import annotations

import difflib
import re

from bedside.errors import ConfigError
from bedside.planner.families import CONFIGS, MIXTURES, REFUSED, SAME_SHAPE

# Words that name a training, not a shape.
_TRAINED = {
    "instruct", "chat", "base", "it", "pt", "hf", "meta", "2507", "thinking", "1m", "coder", "math", "reasoning",
    "plus", "unsloth", "sft", "latest",
}  # fmt: skip
_QUANTISED = re.compile(r"[-_]?\b(gptq|awq|int[48]|fp8|nvfp4|mxfp4|bnb|[48]bit|gguf|exl2|mlx|w[48]a(8|16))\b")
_ACTIVE = re.compile(r"(\d+(?:\.\d+)?)b-a(\d+(?:\.\d+)?)b")  # how mixtures of experts are named
_EXPERTS = re.compile(r"\d+x\d+(\.\d+)?b|\bmoe\b|mixtral")


def words(name: str) -> list[str]:
    """The words of a name without its owner that tell a shape: "Qwen/Qwen2.5-7B-Instruct" to qwen2.5, 7b."""
    parts = re.split(r"[-_:\s]+", name.strip("/ ").rpartition("/")[2].lower())
    return [part for part in parts if part and part not in _TRAINED]


def plain(name: str) -> str:
    """The same as one word, so that "llama3-8b" is "Meta-Llama-3-8B"."""
    return "".join(words(name))


def known(text: str) -> tuple[str, str] | None:
    """`(shape's name, what to call the model)` for a known name; None for one that is not known. ConfigError for a
    name that tells what is not counted: quantised weights, a mixture of experts, a vision model, a foreign decoder."""
    low = text.strip("/ ").rpartition("/")[2].lower()
    names = {plain(name): name for name in (*CONFIGS, *MIXTURES)} | SAME_SHAPE
    if _QUANTISED.search(low):
        of = names.get(plain(_QUANTISED.sub("", low)))
        raise ConfigError(
            f"{text}: its weights are quantised on disk; name the model it was made from"
            + (f", of the shape of {of}; --precision qlora loads that in 4 bits" if of else "")
        )
    name = names.get(plain(text))
    if name in MIXTURES:
        raise ConfigError(mixture(name, *MIXTURES[name]))
    if found := _ACTIVE.search(low):
        raise ConfigError(mixture(text, float(found[1]), float(found[2])))
    if _EXPERTS.search(low):
        raise ConfigError(f"{text}: a mixture of experts, by its name; {_DENSE}")
    for pattern, why in REFUSED.items():
        if re.search(pattern, low):
            raise ConfigError(f"{text}: {why}; take a model that is known (docs/planning.md), such as Qwen/Qwen3-8B")
    if name is None:
        return None
    if "/" in text.strip("/"):
        return name, text.strip("/ ")
    owner, _, short = name.rpartition("/")
    if set(words(short)) <= set(words(text)) and re.fullmatch(r"[A-Za-z0-9.-]+", text):
        return name, f"{owner}/{text}"  # the user's own spelling tells whether it is an -Instruct
    return name, text if plain(text) in SAME_SHAPE else name


def nearest(text: str) -> str:
    """A sentence with the names that are like `text`, or nothing."""
    short = {key.rpartition("/")[2].lower(): key for key in CONFIGS}
    near = difflib.get_close_matches(text.lower().rpartition("/")[2], short, n=2, cutoff=0.5)
    return f"Did you mean {' or '.join(short[key] for key in near)}? " if near else ""


_DENSE = (
    "4-bit loading, LoRA and kernels here are made for linear layers, which its experts are not, and none was "
    "measured, so it is not planned; take a dense model, such as Qwen/Qwen3-8B"
)


def mixture(name: str, total: float, active: float) -> str:
    """Why a mixture of experts is not planned, with its parameters in billions."""
    return (
        f"{name}: a mixture of experts, {total:.1f} billion parameters of which about {active:.1f} work on one "
        f"token. All of them lie in memory ({2 * total:.0f} GB in 16 bits). {_DENSE}"
    )
