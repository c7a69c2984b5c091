"""What a training stage writes into `lineage.json`, and the model card made from it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bedside import lineage, probe
from bedside.data.ledger import Ledger
from bedside.policy import Origin
from bedside.templates import Template


def data_section(ledger: Ledger) -> list[dict]:
    """Each data file with its hash and its account."""
    files = ledger.to_dict()["files"]
    return [
        {
            "file": Path(name).name,
            "sha": lineage.file_sha256(Path(name)),
            "rows": account["rows"],
            "used": account["kept"],
            "rejected": {**account["dropped"], **({"W_OVERLONG": account["overlong"]} if account["overlong"] else {})},
        }
        for name, account in files.items()
    ]


@dataclass
class Sealer:
    """Writes the manifest of a stage's output and of its checkpoints; what does not change in a run is held here."""

    stage: str
    origin: Origin
    how: str
    quant: dict | None
    tokenizer: Any
    stops: list[int]
    template: Template
    data: list[dict]
    given: dict[str, Any]
    config: Any
    inputs: dict
    vllm: str = "adapter"
    resumed_from: str | None = None

    def __call__(self, directory: Path, metrics: dict, model: Any = None) -> dict:
        """Seal the stage's output: manifest with the probe of `model`, and the model card."""
        kind = "full" if self.how == "full" else "adapter"
        manifest = self._write(directory, kind, metrics, probe.record(model, self.tokenizer) if model else None)
        write_card(directory, manifest)
        return manifest

    def checkpoint(self, directory: Path) -> None:
        """Seal a checkpoint, so that it can be resumed, merged or served as it is."""
        write_generation_config(directory, self.stops, self.tokenizer.pad_token_id)
        self._write(directory, "checkpoint", {}, None)

    def _write(self, directory: Path, kind: str, metrics: dict, probed: dict | None) -> dict:
        resolved = self.origin.resolved
        load: dict[str, Any] = {"task": "CAUSAL_LM", "num_labels": None, "quant": self.quant, "rows": None}
        load["vllm"] = "full" if self.how == "full" else self.vllm
        if self.how != "full":
            base = resolved.base
            local = Path(base) if Path(base).is_dir() else hub_directory(base, resolved.revision)
            load |= {"base": lineage.base_record(directory, base, local, resolved.revision), "lora_dtype": "float32"}
        how = {"continued": "continued", "new adapter": "base", "full": "init"}[self.how]
        config = self.config
        world = {"size": config.world_size, "batch": config.per_device_train_batch_size}
        world["accum"] = config.gradient_accumulation_steps
        return lineage.write(
            directory,
            self.stage,
            kind,
            load,
            parents=lineage.parents_of(resolved, self.origin.path, directory, how),
            tokenizer=self.tokenizer,
            template={"name": self.template.name, "thinking": self.template.thinking,
                      "tool_format": self.template.tool_format,
                      "reasoning_parser": self.template.reasoning_parser, "tool_parser": self.template.tool_parser,
                      "stops": self.stops},
            data=self.data,
            args={key: value for key, value in self.given.items() if "token" not in key or "tokens" in key},
            seed=config.seed,
            world=world,
            inputs=self.inputs,
            metrics=metrics,
            probe=probed,
            resumed_from=[self.resumed_from] if self.resumed_from else [],
        )  # fmt: skip


def write_generation_config(directory: Path, stops: list[int], pad: int) -> None:
    """Stops and pad, nothing else: sampling fields here would silently become a server's defaults."""
    from transformers import GenerationConfig

    GenerationConfig(eos_token_id=stops, pad_token_id=pad).save_pretrained(directory)


def hub_directory(name: str, revision: str) -> Path | None:
    """Where a hub model lies in the local cache, or None."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, revision=revision, local_files_only=True))
    except (LocalEntryNotFoundError, ValueError):
        return None


def inputs_section(ledger: Ledger, config: Any, template_source: str) -> dict:
    """What must be the same when a run is resumed (see `bedside.checkpoints`)."""
    files = {Path(name).name: lineage.file_sha256(Path(name))[:16] for name in ledger.files}
    return {
        "data": files,
        "seed": config.seed,
        "packing": bool(config.packing),
        "max_length": config.max_length,
        "template": hashlib.sha256(template_source.encode()).hexdigest()[:16],
        "world_size": config.world_size,
        "batch": config.per_device_train_batch_size,
        "accumulation": config.gradient_accumulation_steps,
        "learning_rate": config.learning_rate,
    }


def write_card(directory: Path, manifest: dict) -> None:
    """README.md from the manifest, replacing the ones that libraries wrote (they hold local paths)."""
    base = manifest["load"].get("base") or manifest.get("merge", {}).get("base") or {}
    chain = [f"| {parent['stage']} | {parent['how']} | `{parent['id']}` |" for parent in reversed(manifest["parents"])]
    chain.append(f"| **{manifest['stage']}** | this model | `{manifest['id']}` |")
    rows = [f"| {item['file']} | {item['rows']} | {item['used']} |" for item in manifest.get("data") or []]
    numbers = [
        f"| {key} | {value:.4g} |" for key, value in manifest.get("metrics", {}).items() if isinstance(value, float)
    ]
    front = ["---"]
    if base.get("name"):
        front += [f"base_model: {base['name']}"]
    front += [
        f"library_name: {'peft' if manifest['kind'] == 'adapter' else 'transformers'}",
        "tags: [medical, bedside]",
        "---",
    ]
    body = [
        f"# {directory.resolve().name}",
        "",
        "**Not for clinical use.** A research model; its answers are not medical advice.",
        "",
        "| stage | how | id |",
        "| --- | --- | --- |",
        *chain,
    ]
    if rows:
        body += ["", "| data | rows | used |", "| --- | --- | --- |", *rows]
    if numbers:
        body += ["", "| measure | value |", "| --- | --- |", *numbers]
    body += ["", "Written by bedside from `lineage.json`, which is what its tools read.", ""]
    (directory / "README.md").write_text("\n".join([*front, "", *body]), encoding="utf-8")
