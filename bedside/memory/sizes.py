"""What a model is made of, from its config alone: the shape of every weight and where it belongs. No weights are read.

`Part`, `Sizes`, `sizes_of` and `cache_of` are records and pure functions; `of_config` and `of_files` find the shapes.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bedside import lineage, models
from bedside.errors import ConfigError

Shape = tuple[int, ...]
_BLOCK, _NESTED = 64, 256  # bitsandbytes: weights that share a 4-bit scale, and scales that share a scale of theirs
_CODES = 4 * 16, 4 * 256 + 4  # bytes a matrix: the table of 4-bit values; that of the scales, and their offset
_NUMBER = re.compile(r"^(.*?\.\d+)\.")
_NO_LINEAR = ("embed", "lm_head", "wte", "wpe", "norm", "output_layer")
_FIXED_STATE = ("linear_attention", "mamba")  # kinds of layers that keep no key and value of each token


@dataclass(frozen=True)
class Part:
    """One piece of a model that can be placed on its own. `linear`: shapes (out, in) of what quantisation packs;
    `rest`: how many other numbers (embeddings, head, norms, biases)."""

    linear: tuple[Shape, ...] = ()
    rest: int = 0

    @property
    def numbers(self) -> int:
        """All of them."""
        return self.rest + sum(math.prod(shape) for shape in self.linear)

    def size(self, bits: int, width: int = 2) -> int:
        """Bytes with `linear` in 4 (NF4, double quantisation), 8 or 16 bits (unquantised) and `rest` in `width`
        bytes a number."""
        if bits == 16:
            return self.numbers * width
        packed = _eight if bits == 8 else _four
        return self.rest * width + sum(packed(shape) for shape in self.linear)


def _eight(shape: Shape) -> int:
    """A byte a weight, and a float32 scale a row."""
    return math.prod(shape) + 4 * shape[0]


def _four(shape: Shape) -> int:
    """Half a byte a weight, a byte a block of 64 for its scale, and a float32 for 256 of these."""
    blocks = math.ceil(math.prod(shape) / _BLOCK)
    return math.ceil(math.prod(shape) / 2) + blocks + 4 * math.ceil(blocks / _NESTED) + sum(_CODES)


@dataclass(frozen=True)
class Sizes:
    """A model's parts by the name of their module. `layers` names those that can be moved to host memory, in order."""

    parts: dict[str, Part]
    layers: tuple[str, ...]

    @property
    def numbers(self) -> int:
        """Parameters; a tied head is counted once."""
        return sum(part.numbers for part in self.parts.values())

    @property
    def largest(self) -> int:
        """Numbers in the largest matrix that is quantised."""
        return max((math.prod(shape) for part in self.parts.values() for shape in part.linear), default=0)

    def size(self, bits: int, width: int = 2) -> int:
        """Bytes of the whole model; see `Part.size`."""
        return sum(part.size(bits, width) for part in self.parts.values())


def sizes_of(shapes: dict[str, Shape], linear: Iterable[str]) -> Sizes:
    """Parameters by name to parts: a layer is what its numbered name says, all else is by its module.

    >>> sizes_of({"a.0.up.weight": (4, 2), "a.0.up.bias": (4,), "a.n.weight": (2,)}, {"a.0.up.weight"}).parts
    {'a.0': Part(linear=((4, 2),), rest=4), 'a.n': Part(linear=(), rest=2)}
    """
    quantised, parts, layers = set(linear), {}, []
    for name, shape in shapes.items():
        numbered = _NUMBER.match(name)
        place = numbered[1] if numbered else name.rpartition(".")[0]
        if numbered and place not in layers:
            layers.append(place)
        part = parts.get(place, Part())
        parts[place] = (
            Part((*part.linear, shape), part.rest)
            if name in quantised
            else Part(part.linear, part.rest + math.prod(shape))
        )
    return Sizes(parts, tuple(layers))


def of_config(config: Any) -> Sizes:
    """The sizes of a transformers config: the model is built without memory for its weights."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    head = model.get_output_embeddings()
    linear = {
        f"{name}.weight"
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not head
    }
    return sizes_of({name: tuple(weight.shape) for name, weight in model.named_parameters()}, linear)


def of_files(directory: str) -> Sizes:
    """The sizes that the heads of a directory's safetensors tell, for a model that transformers does not know;
    ConfigError where there are none."""
    from safetensors import safe_open

    shapes: dict[str, Shape] = {}
    for path in lineage.weight_files(directory) if Path(directory).is_dir() else []:
        with safe_open(path, framework="pt") as file:
            shapes |= {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    if not shapes:
        raise ConfigError(
            f"--memory_gb: transformers does not know the architecture of {directory} and there are no safetensors "
            "to measure; choose the precision yourself: --load_in_4bit True, --load_in_8bit True or neither"
        )
    linear = {
        name
        for name, shape in shapes.items()
        if len(shape) == 2 and name.endswith(".weight") and not any(word in name for word in _NO_LINEAR)
    }
    return sizes_of(shapes, linear)


def measure(name: str, revision: str = "main", cache_dir: str | None = None) -> tuple[Sizes, dict]:
    """`(sizes, config)` of a model directory or hub name: by its architecture, else by its files."""
    try:
        config = models.config_of(name, revision=revision, cache_dir=cache_dir)
        return of_config(config), config.get_text_config().to_dict() | {"quantized": quantised_by(config)}
    except (ConfigError, ValueError) as error:
        path = Path(name) / "config.json"
        if not path.is_file():
            if isinstance(error, ConfigError):
                raise
            raise ConfigError(f"--memory_gb: {name} is no causal language model that transformers knows") from None
        plain = json.loads(path.read_text(encoding="utf-8"))
        plain |= {"quantized": (plain.get("quantization_config") or {}).get("quant_method")}
        return of_files(name), plain


def quantised_by(config: Any) -> str | None:
    """The method that a model's weights are quantised with on disk, or None."""
    found = getattr(config, "quantization_config", None)
    found = found if isinstance(found, dict) or found is None else found.to_dict()
    return str(getattr(found.get("quant_method"), "value", found.get("quant_method"))) if found else None


def cache_of(config: dict, context: int, batch: int, width: int = 2) -> int:
    """Bytes of keys and values for `batch` conversations of `context` tokens; layers with a sliding window keep no
    more than that. ConfigError for a config that does not tell its heads."""
    layers, heads = config.get("num_hidden_layers"), config.get("num_attention_heads")
    if not layers or not heads or not config.get("hidden_size"):
        raise ConfigError(
            "--memory_gb: config.json has no num_hidden_layers, num_attention_heads or hidden_size, so the cache of "
            "keys and values cannot be computed; choose the precision yourself: --load_in_4bit True or not"
        )
    size = config.get("head_dim") or config["hidden_size"] // heads
    token = 2 * (config.get("num_key_value_heads") or heads) * size
    if config.get("kv_lora_rank"):  # DeepSeek's: keys and values are kept as they are used
        token = heads * (config["qk_nope_head_dim"] + config["qk_rope_head_dim"] + config["v_head_dim"])
    kinds = config.get("layer_types") or ["full_attention"] * layers
    window = config.get("sliding_window") or context
    kept = sum(
        0 if kind in _FIXED_STATE else min(context, window) if kind == "sliding_attention" else context
        for kind in kinds
    )
    return batch * kept * token * width
