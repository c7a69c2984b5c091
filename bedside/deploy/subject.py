"""What is served: a directory's base, adapter, template and stops, as its lineage.json and its files say."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, field, replace
from pathlib import Path

from bedside import lineage, models, templates
from bedside.deploy import adapter as adapters
from bedside.deploy.weights import Weights, weights_of
from bedside.errors import ConfigError, LineageError
from bedside.lineage.sections import sha_text

_OWN_TEMPLATE = "the model's own"


@dataclass(frozen=True)
class Template:
    """The saved template, and what a server must know to read answers that are written in it."""

    file: str | None  # None: the directory has no template
    name: str = _OWN_TEMPLATE
    thinking: str = "none"
    reasoning_parser: str | None = None
    tool_parser: str | None = None
    thoughts_off: bool = False  # trained with --enable_thinking False


@dataclass(frozen=True)
class Subject:
    """A model as it lies on the disk. Paths are absolute; `text` is where tokenizer and template lie."""

    directory: str
    name: str
    base: str
    text: str
    template: Template
    config: dict
    weights: Weights
    adapter: str | None = None
    rank: int = 0
    adapter_bytes: int = 0
    trained_quant: dict | None = None
    quantisable: str | None = None  # why the base must not be quantised, or None
    stops: tuple[int, ...] = ()
    stops_missing: tuple[int, ...] = ()  # of these, those that generation_config.json does not name
    generation_config: bool = False
    notes: tuple[str, ...] = field(default=())


def read(directory: str, own_template: bool = False) -> Subject:
    """The subject in `directory`; with `own_template` the user brings a template, so none need be there.

    Raises ConfigError for what cannot be served, with the command that makes it servable; LineageError for weights
    or a template that are not those of training.
    """
    _check(directory)
    place = Path(directory).resolve()
    command = f"run: python merge_peft_adapter.py --base_model_name_or_path {{base}} {adapters.merge_flags(directory)}"
    resolved = lineage.resolve(str(place), command=command)
    if resolved.task != "CAUSAL_LM":
        raise ConfigError(
            f"{directory}: a {resolved.task} model (a reward model?) scores answers and cannot write them"
        )
    base = _base_directory(directory, resolved)
    text = place if (place / "tokenizer_config.json").is_file() else base
    template = _template(directory, text, resolved.manifest, own_template)
    stops = tuple((((resolved.manifest or {}).get("template")) or {}).get("stops") or ())
    found = Subject(
        str(place), _name(place), str(base), str(text), template, _config(base), weights_of(base),
        quantisable=_unquantisable(str(base), resolved.adapter), stops=stops, notes=tuple(resolved.notes),
        stops_missing=_missing(text, stops), generation_config=(text / "generation_config.json").is_file(),
    )  # fmt: skip
    if not resolved.adapter:
        return found
    told = adapters.read(directory, resolved)
    return replace(found, adapter=str(place), rank=told.rank, adapter_bytes=told.bytes, trained_quant=resolved.quant)


def _check(directory: str) -> None:
    path = Path(directory)
    if not path.exists() and not directory.startswith((".", "/", "~")) and directory.count("/") == 1:
        name = directory.rpartition("/")[2]
        raise ConfigError(
            f"{directory}: no such directory; a model of the hub is fetched first: python download_model.py "
            f"{shlex.quote(directory)}, then: sh vllm_deployment.sh models/{name}"
        )
    if not path.is_dir():
        raise ConfigError(
            f"{directory}: {'a file' if path.is_file() else 'no such directory'}; expected a model directory"
        )
    models.check_model_path(directory, "vllm_deployment.sh")


def _name(place: Path) -> str:
    """What clients ask for: the directory's name, a checkpoint's with its run's."""
    return f"{place.parent.name}-{place.name}" if place.name.startswith("checkpoint-") else place.name


def _base_directory(directory: str, resolved: lineage.Resolved) -> Path:
    if Path(resolved.base).is_dir():
        return Path(resolved.base).resolve()
    local = lineage.hub_directory(resolved.base, resolved.revision)
    if local is None:
        at = "" if resolved.revision == "main" else f" --revision {resolved.revision}"
        raise ConfigError(
            f"{directory}: its base {resolved.base} is not on this disk; fetch it first: python download_model.py "
            f"{resolved.base}{at}"
        )
    return local


def _config(base: Path) -> dict:
    try:
        return json.loads((base / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{base}/config.json: cannot be read ({error}); copy the directory again") from None


def _unquantisable(base: str, adapter: str | None) -> str | None:
    try:
        lineage.check_quantisable(base, adapter, "serve it in 16 bits")
    except ConfigError as error:
        return str(error)
    return None


def _missing(text: Path, stops: tuple[int, ...]) -> tuple[int, ...]:
    """Stop ids of training that generation_config.json does not name."""
    try:
        named = json.loads((text / "generation_config.json").read_text(encoding="utf-8")).get("eos_token_id")
    except (OSError, ValueError):
        named = None
    named = named if isinstance(named, list) else [named]
    return tuple(stop for stop in stops if stop not in named)


def _template(directory: str, text: Path, manifest: dict | None, own: bool) -> Template:
    source, file = _source(text)
    if source is None:
        if own:
            return Template(None)
        raise ConfigError(
            f"{directory}: has no chat template, so it was never trained to answer; fine-tune it first (sh "
            "run_sft.sh), or name a template with --chat-template FILE"
        )
    section = (manifest or {}).get("template") or {}
    then = section.get("sha") or ((manifest or {}).get("tokenizer") or {}).get("template")
    if then and then != sha_text(source) and not own:
        raise LineageError(
            f"{text}/chat_template.jinja is not the one of training ({then} then, {sha_text(source)} now); put that "
            "one back, or say which one you mean with --chat-template FILE"
        )
    row = templates.own(source)
    known = row if row.name in templates.REGISTRY else None
    off = ((manifest or {}).get("args") or {}).get("enable_thinking") is False
    thinking = section.get("thinking", row.thinking)
    return Template(
        str(file) if file else None,
        section.get("name") or row.name,
        thinking,
        (section.get("reasoning_parser") or (known and known.reasoning_parser)) if thinking != "none" else None,
        section.get("tool_parser") or (known.tool_parser if known else None),
        off and thinking == "hybrid",
    )


def _source(text: Path) -> tuple[str | None, Path | None]:
    """The template's text and its file; it may also stand in tokenizer_config.json, where vLLM finds it by itself."""
    file = text / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8"), file
    try:
        inside = json.loads((text / "tokenizer_config.json").read_text(encoding="utf-8")).get("chat_template")
    except (OSError, ValueError):
        inside = None
    return (inside if isinstance(inside, str) else None), None
