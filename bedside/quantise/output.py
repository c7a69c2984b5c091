"""The directory of a quantised model: what travels along, its lineage, and its name, which it gets last."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from bedside import card, lineage, manifest
from bedside.quantise.source import Source

# Written by the tokenizer's own library; its weights' files and our reports are not among them.
_TRAVELS = ("tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt", "chat_template.*",
            "additional_chat_templates")  # fmt: skip

_ANSWER = 256  # tokens of a held-out answer that are reckoned with


def size_of(directory: str | Path) -> int:
    """Bytes of the weights in a directory."""
    return sum(path.stat().st_size for path in lineage.weight_files(directory))


def bytes_needed(source: Source, method: str, report_rows: int) -> int:
    """Bytes on disk: the quantised weights, and the log-probabilities that the report compares."""
    embedding = source.tokenizer.backend_tokenizer.get_vocab_size()
    return source.sizes.size(8 if method == "int8" else 4) + 2 * _ANSWER * report_rows * embedding


def text_files(source: Source, place: Path) -> None:
    """Tokenizer and template byte for byte, and the stops."""
    for pattern in _TRAVELS:
        for path in Path(source.directory).glob(pattern):
            copy = shutil.copytree if path.is_dir() else shutil.copyfile
            copy(path, place / path.name, **({"dirs_exist_ok": True} if path.is_dir() else {}))
    if not list(place.glob("chat_template.*")) and source.tokenizer.chat_template:
        (place / "chat_template.jinja").write_text(source.tokenizer.chat_template, encoding="utf-8")
    for path in lineage.weight_files(place):
        path.chmod((place / "config.json").stat().st_mode)  # llm-compressor's are for their owner's eyes only
    manifest.write_generation_config(place, source.stops, source.tokenizer.pad_token_id)


def seal(place: Path, output: str, name: str, source: Source, method: dict, told: dict | None) -> dict:
    """Write lineage.json, give the finished directory its name in place of an older result, and write the card."""
    made = source.resolved.manifest or {}
    load = {"task": "CAUSAL_LM", "num_labels": None, "quant": None, "rows": None, "vllm": "full"}
    metrics = {"same likeliest token": told["agreement"]["share"], "KL": told["agreement"]["kl"]} if told else {}
    # As training recorded it: a server learns from it how thoughts and tool calls are written. Where a lineage has
    # none, no chat was trained and nothing is claimed.
    template = made.get("template") if made else manifest.template_section(source.template, source.stops)
    written = lineage.write(
        place, "quantise", "merged", load,
        parents=lineage.parents_of(source.resolved, name, Path(output), "quantised"),
        tokenizer=source.tokenizer, template=template, data=made.get("data", []), quantised=method, metrics=metrics,
        start=_start(source, name, Path(output)),
    )  # fmt: skip
    _publish(place, Path(output))
    card.write_card(Path(output), written)
    return written


def _start(source: Source, name: str, output: Path) -> dict:
    """The 16-bit model as seen from the output."""
    known = lineage.base_record(output, name, Path(source.directory), source.resolved.revision)
    if known.get("path"):
        known |= {"path": os.path.relpath(source.directory, output)}
    return known


def _publish(place: Path, final: Path) -> None:
    old = final.with_name(final.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if final.is_dir():
        final.rename(old)
    place.rename(final)
    shutil.rmtree(old, ignore_errors=True)


def clear(aside: Path) -> None:
    """Remove the working files of the jobs."""
    shutil.rmtree(aside)
