"""Folding an adapter into its base and writing the result. `merge_source` says what, `merge_check` proves it.

The object that is folded has never computed anything: a 4-bit weight that has been evaluated may have been repacked
in place, and folding or dequantising it afterwards gives garbage without an error.
"""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bedside import adapters, card, lineage, logs, manifest, models, reward_model
from bedside.errors import ConfigError, LineageError
from bedside.merge_source import Source, vocabulary_rows

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

    from bedside.merge_check import Report

_TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json",
    "vocab.txt", "merges.txt", "tokenizer.model", "chat_template.jinja", "chat_template.json",
    "additional_chat_templates",
)  # fmt: skip


def plain_base(source: Source, dtype: str) -> PreTrainedModel:
    """The base's own weights in `dtype`, on the CPU, with the vocabulary rows that the adapter has."""
    return _ready(models.load_base(source.base, dtype, num_labels=source.num_labels), source)


def quantised_base(source: Source) -> PreTrainedModel:
    """The base as it was in training."""
    compute = source.quant.get("compute") or "auto"
    return _ready(models.load_base(source.base, compute, source.quant, num_labels=source.num_labels), source)


def dequantised_base(source: Source, dtype: str) -> PreTrainedModel:
    """The base with every 4-bit weight replaced by the number that it stands for, on the CPU."""
    from bitsandbytes.functional import dequantize_4bit

    base, quantised = plain_base(source, dtype), quantised_base(source)
    for name, module in quantised.named_modules():
        if type(module).__name__ == "Linear4bit":
            target = base.get_submodule(name).weight
            target.data = dequantize_4bit(module.weight.data, module.weight.quant_state).to("cpu", target.dtype)
    return base


def base_for(source: Source, mode: str, dtype: str) -> PreTrainedModel:
    """What the adapter is folded into."""
    return dequantised_base(source, dtype) if mode == "nf4" else plain_base(source, dtype)


def _ready(base: PreTrainedModel, source: Source) -> PreTrainedModel:
    if source.num_labels:
        reward_model.exact_head(base, source.base)
    return _with_rows(base, source)


def _with_rows(base: PreTrainedModel, source: Source) -> PreTrainedModel:
    """Add the vocabulary rows that the adapter saved; never remove any (a base often has more than its tokenizer)."""
    rows, saved = base.get_input_embeddings().weight.shape[0], vocabulary_rows(source.shapes)
    if saved and min(saved) < rows:
        raise LineageError(
            f"{source.adapter}: its vocabulary has {min(saved)} rows, the base {rows}; rows were removed in training, "
            "which bedside never does: resize the base the same way and pass it with --base_model_name_or_path"
        )
    wanted = max(rows, source.resolved.rows or 0, *saved)
    if wanted > rows:
        base.resize_token_embeddings(wanted, mean_resizing=False)
    return base


def attach(source: Source, base: PreTrainedModel) -> PeftModel:
    """The adapter on `base`, frozen; LineageError unless every tensor of the one has its place in the other."""
    from peft.utils import get_peft_model_state_dict

    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="Found missing adapter keys")
            model = adapters.continue_adapter(base, source.adapter, trainable=False)
    except (ValueError, RuntimeError, KeyError, UserWarning) as error:
        reason = " ".join(str(error).split())[:300]
        raise LineageError(f"{source.adapter} does not fit the base {source.base}: {reason}") from None
    placed = get_peft_model_state_dict(model, save_embedding_layers=True)
    lost = sorted(set(source.shapes) - set(placed))
    if lost:
        raise LineageError(
            f"{source.adapter} does not fit the base {source.base}: no place for {len(lost)} of its tensors, "
            f"such as {lost[0]}"
        )
    return model.eval()


def fold(model: PeftModel, dtype_name: str) -> PreTrainedModel:
    """The base with the adapter added in float32, a layer at a time, as `dtype_name` (a reward model's head stays
    float32, to the bit); `model` must not have been run.

    Raises LineageError if the adapter holds numbers that are not finite.
    """
    import torch
    from peft.tuners.lora import LoraLayer

    dtype = getattr(torch, dtype_name)
    users: dict[int, int] = {}
    for module in model.modules():
        weight = None if isinstance(module, LoraLayer) else getattr(module, "weight", None)
        users[id(weight)] = users.get(id(weight), 0) + 1
    layers = [module for module in model.modules() if isinstance(module, LoraLayer)]
    for layer in logs.progress(layers, len(layers), "merging", "layer"):
        base = layer.get_base_layer()
        if users.get(id(base.weight), 0) > 1:  # tied to another layer, which this update is not meant for
            base.weight = torch.nn.Parameter(base.weight.detach().clone(), requires_grad=False)
        base.to(torch.float32)
        try:
            layer.merge(safe_merge=True)
        except ValueError as error:
            raise LineageError(f"the adapter cannot be merged: {error}") from None
        base.to(dtype)
    # What is left to do: unwrap, take over modules saved in full, write trained rows of the vocabulary.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        merged = model.merge_and_unload(safe_merge=True)
    return reward_model.narrowed(merged, dtype)


def save(
    model: PreTrainedModel,
    source: Source,
    directory: Path,
    tokenizer: Any,
    tokenizer_dir: str,
    stops: list[int],
    shards: str,
) -> None:
    """Weights, config, stops and the tokenizer's own files, byte for byte."""
    model.config.eos_token_id, model.config.pad_token_id = tokenizer.eos_token_id, tokenizer.pad_token_id
    if source.task == "CAUSAL_LM":
        from transformers import GenerationConfig

        model.generation_config = GenerationConfig()  # the base's sampling habits are not ours to hand on
    model.save_pretrained(directory, max_shard_size=shards)
    if source.task == "CAUSAL_LM":
        manifest.write_generation_config(directory, stops, tokenizer.pad_token_id)
    for name in _TOKENIZER_FILES:
        path = Path(tokenizer_dir) / name
        if path.is_dir():
            shutil.copytree(path, directory / name)
        elif path.is_file():
            shutil.copyfile(path, directory / name)


@contextmanager
def staged(output: str, overwrite: bool, need: int) -> Iterator[Path]:
    """OUTPUT.tmp to write `need` bytes into, gone afterwards unless `seal` renamed it.

    Raises ConfigError if OUTPUT may not be replaced or the disk is too full.
    """
    final = Path(output)
    if final.exists() and not final.is_dir():
        raise ConfigError(f"--output_dir {output}: a file; expected a directory")
    if final.is_dir() and any(final.iterdir()):
        ours = (lineage.read(final) or {}).get("kind") == "merged"
        if not overwrite or not ours:
            remedy = "add --overwrite_output_dir True to replace it" if ours else "choose another directory"
            raise ConfigError(f"--output_dir {output}: {'holds a merged model' if ours else 'not empty'}; {remedy}")
    temporary = Path(f"{output.rstrip('/')}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
    except OSError as error:
        raise ConfigError(
            f"--output_dir {output}: cannot be written ({error.strerror}); choose another directory"
        ) from None
    try:
        free = shutil.disk_usage(temporary).free
        if free < need:
            raise ConfigError(
                f"--output_dir {output}: the merged model needs {need / 1e9:.1f} GB, {free / 1e9:.1f} GB are free "
                "there; free space or choose another directory"
            )
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def bytes_needed(base: str, stored: str, dtype: str) -> int:
    """Size of the merged weights: the base's, scaled by the width of a number."""
    width = {"float32": 4, "float64": 8}
    size = sum(path.stat().st_size for path in lineage.weight_files(base))
    return size * width.get(dtype, 2) // width.get(stored, 2)


def seal(
    directory: Path, output: str, source: Source, mode: str, dtype: str, tokenizer: Any, template: dict | None,
    report: Report | None, probed: dict | None,
) -> dict:  # fmt: skip
    """Write lineage.json, give the finished directory its name, and write the card; returns the manifest."""
    trained = source.resolved.manifest or {}
    parents = lineage.parents_of(source.resolved, source.adapter, Path(output), "merged") or _foreign(source, output)
    quant = source.quant["type"] if source.quant else "none" if trained else None
    base = trained.get("load", {}).get("base")
    if base and base.get("path"):
        base = base | {"path": os.path.relpath(source.base, output)}
    section = {"mode": mode, "dtype": dtype, "trained_quant": quant, "base": base}
    metrics = {}
    if report:
        measured = {"kl": report.error, "ratio": report.ratio, "effect_kl": report.effect}
        measured |= {"shift_kl": report.shift[1] if report.shift else None}
        section |= measured
        metrics = {"merge error": report.error, "merge error / adapter effect": report.ratio}
    load = {"task": source.task, "num_labels": source.num_labels, "quant": None, "rows": None, "vllm": "full"}
    if template["name"] == "none" or trained and not trained.get("template"):
        template = None  # no chat was trained, so the next stage is free to choose one
    written = lineage.write(
        directory, "merge", "merged", load, parents=parents, tokenizer=tokenizer, template=template,
        data=trained.get("data", []), args=_datasets(trained), merge=section, metrics=metrics,
        **({"probe": probed} if probed else {}),
    )  # fmt: skip
    _publish(directory, output)
    card.write_card(Path(output), written)
    return written


def _foreign(source: Source, output: str) -> list[dict]:
    """The parents of what is made from an adapter without lineage: its weights are all that is known of it."""
    place = os.path.relpath(source.adapter, output)
    first = {"id": lineage.identity(source.adapter), "stage": "unknown", "path": place, "how": "merged"}
    older = lineage.Resolved(source.base, manifest=lineage.read(source.base))
    return [first, *lineage.parents_of(older, source.base, Path(output), "base")]


def _datasets(trained: dict) -> dict:
    """Of the arguments of training what the card tells: names of datasets."""
    name = (trained.get("args") or {}).get("dataset")
    return {"dataset": name} if name else {}


def _publish(temporary: Path, output: str) -> None:
    """Rename what is finished to its final name, in place of an older result."""
    final, old = Path(output), Path(f"{output.rstrip('/')}.old")
    shutil.rmtree(old, ignore_errors=True)
    if final.is_dir():
        final.rename(old)
    temporary.rename(final)
    shutil.rmtree(old, ignore_errors=True)


def ending(output: str, task: str, dtype: str, verified: bool) -> str:
    """What was written, and how to try it."""
    files = lineage.weight_files(output)
    size = sum(path.stat().st_size for path in files) / 1e6
    proof = "verified" if verified else "not verified"
    text = f"wrote {output} ({size:,.0f} MB in {len(files)} file(s), {dtype}, {proof})"
    return f"{text}; try it: python inference.py --base_model {output} --interactive" if task == "CAUSAL_LM" else text
