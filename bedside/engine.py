"""From a name on the command line to an engine that answers: base, adapter, precision and template as in training."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bedside import adapters, lineage, logs, memory, models, policy
from bedside.errors import ConfigError, LineageError
from bedside.generate import ChatEngine
from bedside.inference_flags import said_base
from bedside.templates import Template

_GIB = 1 << 30


@dataclass(frozen=True)
class Settled:
    """A model that is found, and all that its loading takes: weights are read by `load`, and not before."""

    origin: policy.Origin
    tokenizer: Any
    template: Template
    quantisation: dict | None
    dtype: str
    attn_implementation: str | None = None
    device_map: str | dict | None = None
    cache_dir: str | None = None
    trust_remote_code: bool = False

    @property
    def identity(self) -> dict:
        """What makes two engines the same; see `identity`."""
        return identity(self.origin, self.template, self.quantisation, self.dtype)

    def load(self) -> ChatEngine:
        """The model on its device, adapter applied; tells what was loaded, and where."""
        loaded = load(
            self.origin, self.tokenizer, self.template, self.quantisation, self.dtype, self.attn_implementation,
            self.device_map, self.cache_dir, self.trust_remote_code,
        )  # fmt: skip
        describe(loaded, self.origin)
        return loaded


def asked_for(args: Any, given: Collection[str]) -> policy.Origin:
    """What to load for --base_model and --lora_model, of which `given` were said by the user: a base that is only the
    default is not held against what the adapter's lineage says. Raises what `find` does."""
    return find(said_base(args, given), args.lora_model)


def settle(
    origin: policy.Origin, args: Any, given: Collection[str], batch: int = 1, otherwise: str | None = None
) -> Settled:
    """Base and precision as in the adapter's training, tokenizer and template as saved, unless flags (those of
    `InferenceArguments`, by name) say otherwise; `batch` chats at once have to fit in --memory_gb.

    `otherwise` is the template of a model that brings none and was given none. Raises ConfigError or LineageError.
    """
    if "model_revision" in given:
        origin.resolved.revision = args.model_revision
    trusted = getattr(args, "trust_remote_code", False)  # a script without this flag runs no model's code
    texts = (args.tokenizer_path, args.cache_dir, trusted)
    bare = otherwise and not args.template_name and not _tokenizer(origin, *texts).chat_template
    tokenizer, template = text_side(origin, otherwise if bare else args.template_name, *texts)
    if args.enable_thinking is not None and template.thinking == "none":
        logs.warn(f"--enable_thinking: the template {template.name} has no thinking mode; the flag changes nothing")
    wish, placed = memory.chosen(args, origin, batch)
    quantisation, dtype = precision(origin, wish, args.dtype)
    return Settled(
        origin, tokenizer, template, quantisation, dtype, args.attn_implementation, placed, args.cache_dir, trusted
    )


def find(base: str | None, adapter: str | None) -> policy.Origin:
    """What to load for --base_model and --lora_model (None: not given; the base of an adapter stands in its lineage).

    Raises ConfigError for names that are no models, LineageError for an adapter on a base it was not trained on.
    """
    if adapter and not lineage.is_adapter(adapter):
        raise ConfigError(f"--lora_model {adapter}: no adapter_config.json there; expected an adapter directory")
    if base:
        models.check_model_path(base, "--base_model")
    if adapter and base and lineage.is_adapter(base):
        raise ConfigError(
            f"--base_model {base} and --lora_model {adapter} are both adapters; one contains what was trained before "
            "it: give that one alone"
        )
    named = adapter or base
    resolved = lineage.resolve(named, base if adapter else None, _command(adapter) if adapter else None)
    for note in resolved.notes:
        logs.warn(note)
    if resolved.task != "CAUSAL_LM":
        raise ConfigError(f"{named}: a {resolved.task} model (a reward model?) scores answers and cannot write them")
    return policy.Origin(resolved, named)


def _command(adapter: str) -> str:
    return f"run: python inference.py --base_model {{base}} --lora_model {shlex.quote(adapter)} --interactive"


def text_side(
    origin: policy.Origin,
    template_name: str | None = None,
    tokenizer_path: str | None = None,
    cache_dir: str | None = None,
    trust_remote_code: bool = False,
) -> tuple[Any, Template]:
    """Tokenizer and template: those saved with the model. A warning tells when the prompts are not the trained ones.

    Raises LineageError for a tokenizer that is not the model's.
    """
    name = tokenizer_path or origin.tokenizer_path
    tokenizer = _tokenizer(origin, tokenizer_path, cache_dir, trust_remote_code)
    trained = (origin.resolved.manifest or {}).get("tokenizer")
    template = models.install_template(tokenizer, template_name, advise=not (trained or {}).get("template"))
    if trained:
        given = lineage.tokenizer_record(tokenizer)
        if given["sha"] != trained["sha"]:
            raise LineageError(
                f"{name}: this tokenizer is not the one that {origin.path} was trained with; use that one"
            )
        if trained["template"] not in (None, given["template"]):
            then = (origin.resolved.manifest.get("template") or {}).get("name", "another one")
            then = f"an earlier text of {then}" if then == template.name else f"the template {then}"
            logs.warn(
                f"{origin.path} was trained with {then}, not this {template.name}: what is served is not what was "
                "trained; drop --template_name"
            )
    return tokenizer, template


def _tokenizer(origin: policy.Origin, path: str | None, cache_dir: str | None, trust_remote_code: bool) -> Any:
    """The one at `path`, else the model's own, as it was saved."""
    name = path or origin.tokenizer_path
    revision = origin.resolved.revision if name == origin.resolved.base else "main"
    return models.load_tokenizer(name, revision, cache_dir, trust_remote_code)


def precision(origin: policy.Origin, wanted: dict | None, dtype: str) -> tuple[dict | None, str]:
    """`(quantisation, dtype)` to load the base in: as asked, else as the adapter was trained.

    Raises ConfigError for a model merged into dequantised NF4 that would be quantised again.
    """
    resolved = origin.resolved
    if wanted:
        lineage.check_quantisable(resolved.base, resolved.adapter, "drop the --load_in flag")
    trained = resolved.quant if resolved.adapter else None
    if trained and dtype == "auto" and _kind(trained) == _kind(wanted or trained):
        if not wanted:
            logs.info(f"the adapter was trained on a {_kind(trained)} base: loading that (another: --dtype bfloat16)")
        return {key: value for key, value in trained.items() if key != "compute"}, trained.get("compute") or "auto"
    if resolved.adapter and resolved.manifest and _kind(trained) != _kind(wanted):
        logs.warn(f"{origin.path} was trained on a {_kind(trained)} base and answers on a {_kind(wanted)} one")
    return wanted, dtype


def _kind(quantisation: dict | None) -> str:
    if not quantisation:
        return "16/32-bit"
    return "8-bit" if quantisation["bits"] == 8 else f"4-bit {quantisation.get('type', 'nf4').upper()}"


def load(
    origin: policy.Origin,
    tokenizer: Any,
    template: Template,
    quantisation: dict | None = None,
    dtype: str = "auto",
    attn_implementation: str | None = None,
    device_map: str | dict | None = None,
    cache_dir: str | None = None,
    trust_remote_code: bool = False,
) -> ChatEngine:
    """The model, adapter applied, on the GPU where there is one."""
    import torch

    resolved = origin.resolved
    model = models.load_base(
        resolved.base, dtype, quantisation, attn_implementation, None, device_map, resolved.revision, cache_dir,
        trust_remote_code,
    )  # fmt: skip
    stops = models.stop_ids(tokenizer, template, model.generation_config.eos_token_id)
    if torch.cuda.is_available() and not quantisation and not device_map and not models.quantisation_of(model):
        model = model.to("cuda")
    if resolved.adapter:
        model = adapters.continue_adapter(model, resolved.adapter, trainable=False)
    return ChatEngine(model.eval(), tokenizer, template, stops, Path(origin.path).name)


def identity(origin: policy.Origin, template: Template, quantisation: dict | None, dtype: str) -> dict:
    """What makes two engines the same: weights, adapter, template and precision. JSON values only."""
    base, adapter = origin.resolved.base, origin.resolved.adapter
    return {
        "base": lineage.fingerprint(base) if Path(base).is_dir() else f"{base}@{origin.resolved.revision}",
        "adapter": lineage.identity(adapter) if adapter else None,
        "template": hashlib.sha256(template.source.encode()).hexdigest()[:16],
        "precision": f"{_kind(quantisation)} {dtype}",
    }


def describe(engine: ChatEngine, origin: policy.Origin) -> None:
    """Model, adapter, template, device and precision, and the memory they take, one line each."""
    import torch

    model, quant = engine.model, models.quantisation_of(engine.model)
    device = engine.model.get_input_embeddings().weight.device
    if device.type == "cuda":
        place = torch.cuda.get_device_name(device)
        memory = f"{torch.cuda.max_memory_allocated() / _GIB:.2f} GiB of GPU memory"
    else:
        import psutil

        place, memory = "CPU", f"{psutil.Process().memory_info().rss / _GIB:.2f} GiB of this process's memory"
    dtype = str(model.dtype).removeprefix("torch.")
    held = f"{_kind(quant)}, computing in {quant.get('compute', dtype)}" if quant else dtype
    facts = {
        "model": origin.resolved.base,
        "adapter": origin.resolved.adapter or "none",
        "template": engine.template.name,
        "device": f"{place}, {held}",
        "memory": memory,
    }
    for name, value in facts.items():
        logs.info(f"{name:>10}  {value}")
