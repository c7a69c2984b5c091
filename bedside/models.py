"""One way to load: tokenizer, base in any precision, adapter new or continued. Heavy libraries load on first use."""

from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bedside import logs, own_template, precision, reward_model, templates
from bedside import nf4_cache as copies
from bedside.errors import ConfigError
from bedside.templates import Template

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

# Tokens that families keep for padding, then tokens that no text produces: never one that ends a turn.
_PAD_CANDIDATES = ("<|pad|>", "<pad>", "[PAD]", "<|finetune_right_pad_id|>", "<|endoftext|>", "<|end_of_text|>",
                   "<unk>")  # fmt: skip


def check_model_path(name: str, what: str = "--model_name_or_path") -> None:
    """Raise ConfigError for a directory that cannot be a model, before anything heavy is imported."""
    path = Path(name)
    if path.is_dir():
        # With a lineage.json, `lineage.resolve` says better what is missing.
        if not any((path / file).exists() for file in ("config.json", "adapter_config.json", "lineage.json")):
            seen = ", ".join(sorted(p.name for p in path.iterdir())[:5]) or "nothing"
            raise ConfigError(f"{what} {name}: no config.json in this directory (it holds {seen})")
    elif path.is_file():
        raise ConfigError(f"{what} {name}: a file, expected a model directory")
    elif name.startswith((".", "/", "~")) or name.count("/") > 1 or name.split("/")[0] == "models":
        raise ConfigError(f"{what} {name}: no such directory; check the path, or give a hub name: Qwen/Qwen3-4B")


def _from_hub(load: Any, name: str, what: str) -> Any:
    """Run a `from_pretrained`, with its many ways to say "not there" as one sentence."""
    try:
        return load()
    except ImportError as error:  # of a library that only some models, or only quantised ones, need
        raise ConfigError(f"{what} {name}: {' '.join(str(error).split())}") from None
    except (OSError, ValueError) as error:
        text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        if "trust_remote_code" in str(error) or "custom code" in str(error):
            raise ConfigError(
                f"{what} {name}: needs Python code from its authors; read that code, then add --trust_remote_code True"
            ) from None
        offline = os.environ.get("HF_HUB_OFFLINE") == "1"
        hint = "HF_HUB_OFFLINE=1 is set and it is not in the cache" if offline else "check the name and the network"
        if Path(name).is_dir():
            hint = "the directory is there, but something in it is missing or damaged"
        raise ConfigError(f"{what} {name}: cannot be loaded ({text}); {hint}") from None


def config_of(name: str, what: str = "model", **shared: Any) -> Any:
    """The configuration of a model directory or hub name; `shared` may hold `revision`, `cache_dir` and
    `trust_remote_code`. ConfigError, which names `what`, if it cannot be had."""
    from transformers import AutoConfig

    return _from_hub(lambda: AutoConfig.from_pretrained(name, **shared), name, what)


def load_tokenizer(name: str, revision: str = "main", cache_dir: str | None = None, trust_remote_code: bool = False):
    """The fast tokenizer of a model directory or hub name; ConfigError if it has none."""
    from transformers import AutoTokenizer

    def load() -> PreTrainedTokenizerFast:
        return AutoTokenizer.from_pretrained(
            name, revision=revision, cache_dir=cache_dir, trust_remote_code=trust_remote_code
        )

    tokenizer = _from_hub(load, name, "tokenizer of")
    if not tokenizer.is_fast:
        raise ConfigError(f"tokenizer of {name}: is a slow one, which cannot tell where a turn begins; convert it")
    return tokenizer


def install_template(
    tokenizer: PreTrainedTokenizerFast, name: str | None, tool_format: str | None = None, advise: bool = True
) -> Template:
    """Put the template called `name` on the tokenizer (or take the one it has), with its turn end and a safe pad.

    With `advise`, a line tells when the model's own template is another one. Raises ConfigError if there is none, or
    if the tokenizer lacks a token that the template needs.
    """
    if name is None:
        template = own_template.take(tokenizer, tool_format)
    else:
        template = templates.get(name, tool_format)
        if advise:
            own_template.advise(tokenizer, template)
    tokenizer.chat_template = template.source
    vocabulary = tokenizer.get_vocab()
    missing = [token for token in template.required_tokens if token not in vocabulary]
    if missing:
        raise ConfigError(
            f"template {template.name} needs the tokens {', '.join(missing)}, which this tokenizer lacks; "
            "use the template of its family, or alpaca or vicuna, which need none"
        )
    if template.turn_end != "eos_token":
        tokenizer.eos_token = template.turn_end
    if tokenizer.eos_token is None:
        raise ConfigError("the tokenizer has no eos_token, so an answer could never end; set one in its config")
    choose_pad(tokenizer)
    return template


def choose_pad(tokenizer: PreTrainedTokenizerFast) -> None:
    """Give the tokenizer a pad token that does not end a turn (a padded end of turn would never be learnt)."""
    if tokenizer.pad_token is not None and tokenizer.pad_token != tokenizer.eos_token:
        return
    vocabulary = tokenizer.get_vocab()
    special = [token for token in tokenizer.all_special_tokens if token != tokenizer.bos_token]
    for token in (*_PAD_CANDIDATES, *special):
        if token in vocabulary and token != tokenizer.eos_token:
            tokenizer.pad_token = token
            return
    raise ConfigError(
        f"the tokenizer's pad token is its end of turn ({tokenizer.eos_token}) and it has no other special token; "
        "add one to its special_tokens_map.json"
    )


def stop_ids(tokenizer: PreTrainedTokenizerFast, template: Template, base_eos: int | list[int] | None) -> list[int]:
    """Every id that ends an answer: the turn end first, then the base's own, then the template's extra stops."""
    vocabulary = tokenizer.get_vocab()
    base = base_eos if isinstance(base_eos, list) else [base_eos]
    extra = [vocabulary.get(token) for token in template.extra_stops]
    return list(dict.fromkeys(i for i in (tokenizer.eos_token_id, *base, *extra) if i is not None))


def attention(implementation: str | None, flash: str | None) -> str:
    """The attention implementation to ask for; a wish for flash attention falls back to sdpa and says so."""
    why_not = precision.without_flash()
    if implementation in ("flash_attention_2", "flash_attention_3") and why_not:
        why = "flash attention needs a CUDA GPU" if why_not == precision.NO_GPU else why_not
        raise ConfigError(f"--attn_implementation {implementation}: {why}; use --attn_implementation sdpa")
    if implementation:
        return implementation
    if flash == "fa2" and why_not:
        logs.info(f"--flash_attn: {why_not}; using torch's own attention (sdpa)")
    return "flash_attention_2" if flash == "fa2" and not why_not else "sdpa"


def placement(device_map: str | dict | None, quantised: bool) -> Any:
    """`device_map` for from_pretrained: None under a launcher or on the CPU, where the trainer places the model."""
    import torch

    if isinstance(device_map, dict):
        return device_map  # bedside.memory has placed every part
    local_rank = os.environ.get("LOCAL_RANK")
    if not torch.cuda.is_available():
        return {"": "cpu"} if quantised else None
    if local_rank is not None:
        return {"": int(local_rank)} if quantised else None
    if device_map == "auto":
        return "auto"
    return {"": torch.cuda.current_device()} if quantised else None


def _fetcher(name: str, keywords: dict[str, Any]) -> copies.Fetch:
    """`from_pretrained` for base `name` with these keywords, or others in their place; one of None is left out."""
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    loader = AutoModelForSequenceClassification if keywords["num_labels"] else AutoModelForCausalLM

    def fetch(source: str, **more: Any) -> tuple[PreTrainedModel, dict]:
        given = {key: value for key, value in {**keywords, **more}.items() if value is not None}
        return _from_hub(lambda: loader.from_pretrained(source, output_loading_info=True, **given), name, "model")

    return fetch


def load_base(
    name: str,
    dtype: str = "auto",
    quantisation: dict | None = None,
    attn_implementation: str | None = None,
    flash_attn: str | None = None,
    device_map: str | dict | None = None,
    revision: str = "main",
    cache_dir: str | None = None,
    trust_remote_code: bool = False,
    num_labels: int | None = None,
    nf4_cache: str = "read",
    nf4_cache_dir: str | None = None,
) -> PreTrainedModel:
    """A causal LM from safetensors, never upcast; `quantisation` is `{"bits": 4, "type": "nf4", "double": True}`.
    With `num_labels` it is a sequence classifier; a reward model has 1, and its head is float32. A 4-bit base may come
    from its copy on disk: `nf4_cache` is "off" or a mode of `nf4_cache.load`. ConfigError when it cannot be loaded.
    """
    shared = {"revision": revision, "cache_dir": cache_dir, "trust_remote_code": trust_remote_code}
    config = config_of(name, **shared)
    held = precision.resolve_dtype(dtype, config, quantisation is not None)
    quantised = precision.quantisation_config(quantisation, held)
    if quantised and isinstance(device_map, dict):
        quantised.llm_int8_enable_fp32_cpu_offload = True  # layers in host memory stay unquantised
    keywords = {
        **shared,
        "dtype": held,
        "attn_implementation": attention(attn_implementation, flash_attn),
        "use_safetensors": True,
        "device_map": placement(device_map, bool(quantised or getattr(config, "quantization_config", None))),
        "quantization_config": quantised,
        "num_labels": num_labels,
    }
    fetch = _fetcher(name, keywords)
    if num_labels:
        reward_model.check_labels(config, name, num_labels)
    with reward_model.quiet_head() if num_labels else nullcontext():
        if nf4_cache == "off" or copies.obstacle(config, quantised, keywords["device_map"]):
            model, _ = fetch(name)
        else:
            kept = copies.place(
                name, config, quantised, keywords["device_map"], held, num_labels, nf4_cache_dir, revision, cache_dir
            )
            model = copies.load(kept, fetch, nf4_cache)
    if num_labels:
        reward_model.exact_head(model, name)
    keep_nf4_as_loaded(model)
    return model


def check_rows(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    """Raise ConfigError if the tokenizer has ids that the model has no row for; their look-up would crash."""
    weight = model.get_input_embeddings().weight
    rows = getattr(weight, "ds_shape", weight.shape)[0]  # ZeRO-3 leaves an empty tensor where it cut a weight
    last = max(tokenizer.get_vocab().values())
    if last >= rows:
        raise ConfigError(
            f"the tokenizer reaches id {last}, the model has {rows} rows; give the model rows for the new tokens with "
            "build_domain_tokenizer.py --model_name_or_path, and train what that writes"
        )


def file_dtype(directory: str) -> str:
    """The precision a model's weights are stored in, such as `bfloat16`, whatever this machine can compute in."""
    return str(config_of(directory).dtype or "float32").removeprefix("torch.")


def local_copy(name: str, revision: str = "main", cache_dir: str | None = None) -> str:
    """The directory of a model: `name` itself, or the hub model's place in the cache, downloaded if need be."""
    if Path(name).is_dir():
        return name
    from huggingface_hub import snapshot_download

    wanted = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja"]
    return _from_hub(
        lambda: snapshot_download(name, revision=revision, cache_dir=cache_dir, allow_patterns=wanted), name, "model"
    )


def keep_nf4_as_loaded(model: torch.nn.Module) -> None:
    """Stop bitsandbytes from repacking 4-bit weights in place at the first evaluation on a CPU with AVX512-BF16.

    The repacked form serves inference only: training or merging afterwards computes garbage, without an error.
    """
    for module in model.modules():
        if getattr(module, "support_avx512bf16_for_cpu", False):
            module.support_avx512bf16_for_cpu = False


def quantisation_of(model: torch.nn.Module) -> dict | None:
    """`{"bits", "type", "double", "compute"}` of a quantised model, or None."""
    config = getattr(getattr(model, "config", None), "quantization_config", None)
    if config is None:
        return None
    config = config if isinstance(config, dict) else config.to_dict()
    if config.get("quant_method") not in (None, "bitsandbytes"):
        return {"bits": 4, "type": str(config["quant_method"])}
    if config.get("load_in_8bit"):
        return {"bits": 8, "type": "int8"}
    return {
        "bits": 4,
        "type": config["bnb_4bit_quant_type"],
        "double": config["bnb_4bit_use_double_quant"],
        "compute": str(config["bnb_4bit_compute_dtype"]).removeprefix("torch."),
    }
