"""What a model is made of, from its name, config.json, directory or size: numbers, no weights and no torch."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from bedside.errors import ConfigError
from bedside.kernels import budget
from bedside.memory.sizes import Part
from bedside.planner import names
from bedside.planner.families import CONFIGS, FAMILIES, PLACES, SAME_SHAPE

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([bm]?)", re.IGNORECASE)
_BY_SIZE = "Qwen/Qwen2.5-"  # whose shapes stand for a size, unless another model is known by it
_BEYOND = {0.6: "Qwen/Qwen3-0.6B", 1.0: "meta-llama/Llama-3.2-1B", 1.7: "Qwen/Qwen3-1.7B", 4.0: "Qwen/Qwen3-4B",
           6.0: "01-ai/Yi-6B", 8.0: "meta-llama/Meta-Llama-3-8B", 9.0: "01-ai/Yi-1.5-9B",
           12.0: "mistralai/Mistral-Nemo-Base-2407", 13.0: "meta-llama/Llama-2-13b-hf",
           24.0: "mistralai/Mistral-Small-24B-Base-2501", 27.0: "google/gemma-2-27b", 34.0: "01-ai/Yi-34B",
           70.0: "meta-llama/Meta-Llama-3-70B"}  # fmt: skip


@dataclass(frozen=True)
class Model:
    """A decoder. `layer` is one of its layers, `ends` the numbers of embedding and head: `(V * H, V * H)`, a tied head
    counted as 0. `kernels`: whether bedside's fused kernels know the family. `told` says where this is from."""

    name: str
    shape: budget.Shape
    layer: Part
    ends: tuple[int, int]
    norm: int
    kernels: bool
    longest: int | None = None
    told: str = ""

    @property
    def linear(self) -> int:
        """Numbers of the linear layers, the head apart."""
        return self.shape.layers * sum(out * into for out, into in self.layer.linear)

    @property
    def parameters(self) -> int:
        """All numbers; a tied head counts once."""
        return self.shape.layers * self.layer.numbers + sum(self.ends) + self.norm

    @property
    def head(self) -> int:
        """Numbers of the product at the end, tied or not."""
        return self.shape.vocabulary * self.shape.hidden

    def lora(self, r: int) -> int:
        """Numbers of an adapter of rank `r` on every linear layer."""
        return self.shape.layers * r * sum(out + into for out, into in self.layer.linear)


def _refuse(name: str, config: dict) -> None:
    """ConfigError for what is not counted here, with what is known of it."""
    kind, experts = config.get("model_type"), _experts(config)
    if experts:
        total, active = experts
        raise ConfigError(names.mixture(name, total / 1e9, active / 1e9))
    if set(config.get("layer_types") or ()) & {"linear_attention", "mamba"} or config.get("kv_lora_rank"):
        raise ConfigError(
            f"{name}: its attention (model_type {kind}) is not that of Llama-shaped decoders, and its memory is not "
            "counted here; measure a few steps instead: --max_steps 3"
        )
    if config.get("quantization_config"):
        raise ConfigError(f"{name}: its weights are quantised on disk; name the model it was made from")
    if kind not in FAMILIES:
        raise ConfigError(
            f"{name}: model_type {kind} is not counted here (known: {', '.join(FAMILIES)}); give a size, such as 7B, "
            "or measure a few steps: --max_steps 3"
        )


def _experts(config: dict) -> tuple[float, float] | None:
    """`(all numbers, those that work on one token)` of a mixture of experts, roughly; None for a dense model."""
    names = ("num_experts", "num_local_experts", "n_routed_experts")
    count = next((config[name] for name in names if config.get(name)), None)
    if not count or count == 1:
        return None
    hidden, layers = config.get("hidden_size", 0), config.get("num_hidden_layers", 0)
    each = 3 * hidden * (config.get("moe_intermediate_size") or config.get("intermediate_size") or 0)
    used = config.get("num_experts_per_tok") or 1
    size = config.get("head_dim") or hidden // max(1, config.get("num_attention_heads", 1))
    keys = config.get("num_key_value_heads") or config.get("num_attention_heads", 0)
    rest = 2 * config.get("vocab_size", 0) * hidden
    rest += layers * 2 * hidden * size * (config.get("num_attention_heads", 0) + keys)
    return rest + layers * count * each, rest + layers * used * each


def from_config(config: dict, name: str, told: str) -> Model:
    """The model that a config.json describes; ConfigError for one that is not counted here."""
    beside = sorted(key for key in ("vision_config", "audio_config") if config.get(key))
    if beside:
        raise ConfigError(
            f"{name}: has parts for images or sound beside its decoder ({', '.join(beside)}), which are not counted "
            "here; take a text model, or measure a few steps: --max_steps 3"
        )
    config = config | (config.get("text_config") or {})
    _refuse(name, config)
    heads, hidden = config.get("num_attention_heads"), config.get("hidden_size")
    try:
        shape = budget.shape_of(SimpleNamespace(**config))
    except ConfigError as error:
        raise ConfigError(f"{name}: {str(error).removeprefix('--memory_budget_gb: ')}") from None
    norms, head_norms, bias, kernels = FAMILIES[config["model_type"]]
    h, q, k, i = shape.hidden, shape.queries, shape.keys, shape.intermediate
    fused = config["model_type"] in ("phi3", "glm", "glm4")  # gate and up are one matrix there
    inner = ((2 * i, h),) if fused else ((i, h), (i, h))
    attention = ((q + 2 * k, h),) if config["model_type"] == "phi3" else ((q, h), (k, h), (k, h))
    bias = bias or bool(config.get("attention_bias"))
    rest = norms * h + head_norms * (config.get("head_dim") or hidden // heads) + (q + 2 * k if bias else 0)
    if bias and config["model_type"] == "llama":
        rest += h
    tied = bool(config.get("tie_word_embeddings", config["model_type"].startswith("gemma")))
    word = shape.vocabulary * h
    layer = Part((*attention, (h, q), *inner, (h, i)), rest)
    return Model(
        name, shape, layer, (word, 0 if tied else word), h, kernels, config.get("max_position_embeddings"), told
    )


def _cached(name: str, cache_dir: str | None) -> Path | None:
    """config.json of a hub name in the cache, whichever revision; nothing is downloaded."""
    home = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface"))
    root = Path(cache_dir or os.environ.get("HF_HUB_CACHE") or home / "hub")
    found = sorted(root.glob(f"models--{name.replace('/', '--')}/snapshots/*/config.json"))
    return found[-1] if found else None


def _read(path: Path, name: str) -> Model:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not JSON ({error}); expected a model's config.json") from None
    if not isinstance(config, dict):
        raise ConfigError(f"{path}: expected a model's config.json, an object of settings")
    return from_config(config, name, f"read from {path}")


def _of_size(billions: float) -> Model:
    """The known shape that is nearest to a size, its name told."""
    name = _BEYOND.get(billions)
    if name is None:
        sizes = {key: from_config(config, key, "").parameters / 1e9 for key, config in CONFIGS.items()}
        usual = {key: size for key, size in sizes.items() if key.startswith(_BY_SIZE)}
        for among in (usual, sizes):
            name = min(among, key=lambda key: abs(among[key] - billions))
            if 0.8 * billions < sizes[name] < 1.25 * billions:
                break
        else:
            raise ConfigError(
                f"--model_name_or_path {billions:g}B: no known shape is near that size (nearest: {name}, "
                f"{sizes[name]:.1f} billion); give a config.json"
            )
    return from_config(CONFIGS[name], name, f"{billions:g}B is taken to have the shape of {name}")


def _under_adapter(path: Path, cache_dir: str | None) -> Model:
    """The base of an adapter's directory; ConfigError for a directory that is neither adapter nor model."""
    try:
        base = json.loads((path / "adapter_config.json").read_text(encoding="utf-8"))["base_model_name_or_path"]
    except (OSError, ValueError, KeyError, TypeError):
        base = None
    if not isinstance(base, str) or not base or Path(base) == path:
        raise ConfigError(
            f"--model_name_or_path {path}: neither config.json nor an adapter's adapter_config.json here"
        )
    return model_of(base, cache_dir)


def model_of(text: str, cache_dir: str | None = None) -> Model:
    """The model that `text` names: a directory or config.json, a size ("7B"), a well-known name, a hub name whose
    config is in the cache. ConfigError with the nearest name for any other."""
    path = Path(text)
    if not text.strip():
        raise ConfigError(
            "--model_name_or_path: expected a model directory, config.json, hub name, or a size such as 7B"
        )
    if path.is_file() or (path / "config.json").is_file():
        named = str(path.parent) if path.name == "config.json" else text  # what a stage can load
        return _read(path if path.is_file() else path / "config.json", named)
    if path.is_dir():
        return _under_adapter(path, cache_dir)
    if size := _SIZE.fullmatch(text.strip()):
        return _of_size(float(size[1]) / (1000 if size[2].lower() == "m" else 1))
    cached = _cached(text, cache_dir)
    if cached is not None:
        return _read(cached, text)
    if found := names.known(text):
        shape, called = found
        places = None if names.plain(text) in SAME_SHAPE else PLACES.get(shape)  # Phi-3's 4k and 128k have one shape
        told = f"shape of {shape}, known without its files"
        return from_config(CONFIGS[shape] | {"max_position_embeddings": places}, called, told)
    raise ConfigError(
        f"--model_name_or_path {text}: no such directory, not in the cache, and no shape that is known here. "
        f"{names.nearest(text)}Give a config.json, a size such as 7B, or fetch the config: python download_model.py "
        "NAME --include config.json"
    )
