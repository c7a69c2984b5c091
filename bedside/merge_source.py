"""What is to be merged: an adapter, the base it was trained on, and how; or why it cannot be."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bedside import lineage, logs, models, templates
from bedside.errors import ConfigError, LineageError
from bedside.policy import Origin
from bedside.templates import Template

TASKS = ("CAUSAL_LM", "SEQ_CLS")


@dataclass(frozen=True)
class Source:
    """An adapter, the base it was trained on (a directory on this disk), and how."""

    adapter: str
    base: str
    resolved: lineage.Resolved
    task: str
    num_labels: int | None  # None for a causal LM
    quant: dict | None  # what the base was quantised to in training; None also if nobody knows
    shapes: dict[str, tuple[int, ...]] = field(repr=False)  # the adapter's tensors


def check_adapter(path: str) -> dict:
    """PEFT's config of an adapter directory; ConfigError if it is not one that can be folded."""
    directory = Path(path)
    if not directory.is_dir():
        raise ConfigError(f"--peft_model_path {path}: no such directory (a hub adapter: `hf download` it first)")
    if not lineage.is_adapter(path):
        seen = ", ".join(sorted(p.name for p in directory.iterdir())[:5]) or "nothing"
        what = "a full model, nothing to merge" if (directory / "config.json").is_file() else "not an adapter"
        raise ConfigError(f"--peft_model_path {path}: {what}: no adapter_config.json (it holds {seen})")
    try:
        config = json.loads((directory / "adapter_config.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{path}/adapter_config.json: damaged ({error}); copy the directory again") from None
    if config.get("peft_type") != "LORA":
        raise ConfigError(f"--peft_model_path {path}: {config.get('peft_type')} is not LoRA and cannot be folded in")
    if not lineage.weight_files(path):
        raise ConfigError(f"--peft_model_path {path}: no adapter_model.safetensors there; the copy is incomplete")
    return config


def source_of(
    adapter: str, base_model: str | None, trained_quant: str | None, cache_dir: str | None, output: str = "merged"
) -> Source:
    """Adapter and base by lineage.json, or for a foreign adapter by its own config and the user's word.

    Raises ConfigError for what is not an adapter, LineageError for another base or changed weights, with the command
    that merges into `output` what can be merged.
    """
    config = check_adapter(adapter)
    if base_model:
        models.check_model_path(base_model, "--base_model_name_or_path")
    resolved = lineage.resolve(adapter, base_model, command_for(adapter, output))
    if resolved.task not in TASKS:
        raise ConfigError(f"{adapter}: task {resolved.task}; expected one of {', '.join(TASKS)}")
    base = models.local_copy(resolved.base, resolved.revision, cache_dir)
    _check_base(adapter, base, resolved.manifest, command_for(adapter, output))
    for note in resolved.notes:
        logs.warn(note)
    shapes = _tensor_shapes(adapter)
    quant = _trained_quant(resolved, trained_quant)
    return Source(
        adapter, base, resolved, resolved.task, _labels(adapter, config, base, resolved, shapes), quant, shapes
    )


def command_for(adapter: str, output: str) -> str:
    """The command that merges `adapter` into the base that is to be written for `{base}`."""
    flags = f"--peft_model_path {shlex.quote(adapter)} --output_dir {shlex.quote(output)}"
    return f"run: python merge_peft_adapter.py --base_model_name_or_path {{base}} {flags}"


def _check_base(adapter: str, base: str, manifest_: dict | None, command: str) -> None:
    """What could not be seen before a hub model was downloaded: its weights, and the fingerprint of training."""
    if not lineage.weight_files(base):
        raise LineageError(f"{adapter}: its base {base} has no safetensors weights; the copy is incomplete")
    wanted = manifest_ and manifest_["load"]["base"].get("fp")
    if wanted and wanted != lineage.fingerprint(base):
        known = manifest_["load"]["base"]["name"] or manifest_["load"]["base"]["path"]
        raise LineageError(
            f"{adapter}: {base} is not the model it was trained on, {known} (its weights differ); "
            f"{command.replace('{base}', known)}"
        )


def _trained_quant(resolved: lineage.Resolved, said: str | None) -> dict | None:
    known = resolved.quant
    if resolved.manifest is None:
        return {"bits": 4, "type": "nf4", "double": True} if said == "nf4" else None
    name = known["type"] if known else "none"
    if said and said != name:
        raise ConfigError(f"--trained_quant {said}: lineage.json says {name}; drop the flag")
    return known


def check_mode(mode: str, quant: dict | None, foreign: bool) -> str:
    """`original` or `nf4`; ConfigError for nf4 without NF4 in training."""
    if mode != "nf4":
        if mode == "auto" and quant:
            closer = "; --mode nf4 is closer for bf16 serving, but cannot be quantised again"
            logs.info(
                f"trained on {quant['type']}, merging into the original weights{closer * (quant['type'] == 'nf4')}"
            )
        return "original"
    if quant and quant["type"] == "nf4":
        return "nf4"
    if foreign and quant is None:
        raise ConfigError("--mode nf4: no lineage.json says what the base was in training; add --trained_quant nf4 if "
                          "it was NF4 with double quantisation, or use --mode original")  # fmt: skip
    name = quant["type"] if quant else "an unquantised base"
    raise ConfigError(f"--mode nf4: the adapter was trained on {name}, not on NF4; use --mode original")


def _tensor_shapes(adapter: str) -> dict[str, tuple[int, ...]]:
    from safetensors import SafetensorError, safe_open

    shapes = {}
    for path in lineage.weight_files(adapter):
        try:
            with safe_open(path, framework="pt") as file:
                shapes |= {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise LineageError(f"{path}: damaged ({error}); copy the directory again") from None
    return shapes


def _labels(adapter: str, config: dict, base: str, resolved: lineage.Resolved, shapes: dict) -> int | None:
    """Outputs of a reward model's head, which must be in the adapter: a fresh one would be random."""
    if resolved.task != "SEQ_CLS":
        return None
    heads = [shape[0] for name, shape in shapes.items() if name.endswith(("score.weight", "classifier.weight"))]
    trained_head = "SequenceClassification" in (Path(base) / "config.json").read_text(encoding="utf-8")
    if not heads and not trained_head:
        saved = config.get("modules_to_save")
        raise LineageError(
            f"{adapter}: a reward model without its head (its modules_to_save: {saved}); train it again"
        )
    known = (resolved.manifest or {}).get("load", {}).get("num_labels")
    return known or (heads[0] if heads else 1)


def vocabulary_rows(shapes: dict[str, tuple[int, ...]]) -> list[int]:
    """Rows of each embedding and head that the adapter holds in full."""
    layers = ("embed_tokens", "wte", "lm_head", "embed_out")
    ends = tuple(f"{layer}{inner}.weight" for layer in layers for inner in ("", ".base_layer"))
    return [shape[0] for name, shape in shapes.items() if name.endswith(ends)]


def _check_tokens(source: Source, tokenizer: Any) -> None:
    """Every token has a row, in the adapter or in the base: PEFT can lose the rows of added tokens silently."""
    config = json.loads((Path(source.base) / "config.json").read_text(encoding="utf-8"))
    rows = config.get("vocab_size") or config.get("text_config", {}).get("vocab_size") or 0
    rows = max(rows, source.resolved.rows or 0, *vocabulary_rows(source.shapes))
    last = max(tokenizer.get_vocab().values())
    if last >= rows:
        raise LineageError(
            f"{source.adapter}: its tokenizer reaches id {last}, but base and adapter hold {rows} rows; those of the "
            "added tokens were not saved: train again with --lora_modules_to_save embed_tokens"
        )


def tokenizer_of(source: Source, given: str | None = None) -> tuple[Any, str]:
    """The adapter's tokenizer and the directory it lies in (the base's where a foreign adapter has none).

    Raises LineageError if it is not the one of training or has tokens without weights, ConfigError if `given` is
    another one.
    """
    place = Origin(source.resolved, source.adapter).tokenizer_path
    place = source.base if place == source.resolved.base else place
    tokenizer = models.load_tokenizer(place)
    if source.resolved.manifest:
        try:
            lineage.check_tokenizer(source.resolved.manifest, tokenizer, place)
        except LineageError as error:
            text = str(error).partition(";")[0]
            raise LineageError(f"{text}; restore the tokenizer files that training wrote there") from None
    if given and lineage.tokenizer_record(models.load_tokenizer(given)) != lineage.tokenizer_record(tokenizer):
        raise ConfigError(
            f"--tokenizer_path {given}: differs from the one the adapter was trained with, in {place}; drop the flag"
        )
    if tokenizer.pad_token_id is None:
        models.choose_pad(tokenizer)
    _check_tokens(source, tokenizer)
    return tokenizer, place


def template_of(source: Source, tokenizer: Any) -> dict:
    """The `template` section of lineage.json: carried over, or read off a foreign adapter's tokenizer."""
    if source.resolved.manifest and source.resolved.manifest.get("template"):
        return source.resolved.manifest["template"]
    known = templates.own(tokenizer.chat_template) if tokenizer.chat_template else Template("none", "")
    base = json.loads((Path(source.base) / "config.json").read_text(encoding="utf-8"))
    if source.task == "CAUSAL_LM" and not tokenizer.chat_template:
        logs.warn(f"{source.adapter}: no chat template with it or its base; the merged model has none")
    return {
        "name": known.name,
        "thinking": known.thinking,
        "reasoning_parser": known.reasoning_parser,
        "tool_parser": known.tool_parser,
        "stops": models.stop_ids(tokenizer, known, base.get("eos_token_id")),
    }
