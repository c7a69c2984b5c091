"""What a training stage writes into `lineage.json`, and the model card made from it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bedside import lineage, probe
from bedside.card import languages_of, write_card
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
            **({"languages": spoken} if (spoken := languages_of(Path(name))) else {}),
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
    template: Template | None  # None where no chat is trained
    data: list[dict]
    given: dict[str, Any]
    config: Any
    inputs: dict
    vllm: str = "adapter"
    resumed_from: str | None = None
    task: str = "CAUSAL_LM"
    reference: dict | None = None  # what a preference stage compared with: kind, id, path
    rows: int | None = None  # of the vocabulary, where the adapter holds more than the base

    def __call__(self, directory: Path, metrics: dict, model: Any = None) -> dict:
        """Seal the stage's output: manifest with the probe of `model`, and the model card."""
        kind = "full" if self.how == "full" else "adapter"
        manifest = self._write(directory, kind, metrics, probe.record(model, self.tokenizer) if model else None)
        write_card(directory, manifest)
        return manifest

    def checkpoint(self, directory: Path) -> None:
        """Seal a checkpoint, so that it can be resumed, merged or served as it is."""
        self.settings(directory)
        write_card(directory, self._write(directory, "checkpoint", {}, None))

    def settings(self, directory: Path) -> None:
        """Stops and pad of a model that writes; a reward model does not."""
        if self.task == "CAUSAL_LM":
            write_generation_config(directory, self.stops, self.tokenizer.pad_token_id)

    def _write(self, directory: Path, kind: str, metrics: dict, probed: dict | None) -> dict:
        resolved = self.origin.resolved
        labels = 1 if self.task == "SEQ_CLS" else None
        load: dict[str, Any] = {"task": self.task, "num_labels": labels, "quant": self.quant}
        # An adapter that goes on with another holds the rows that the other added.
        load["rows"] = self.rows or (resolved.rows if self.how == "continued" else None)
        load["vllm"] = "full" if self.how == "full" else self.vllm
        if self.how == "continued" and (resolved.manifest or {}).get("load", {}).get("vllm") == "merge_only":
            load["vllm"] = "merge_only"
        local = Path(resolved.base)
        local = local if local.is_dir() else lineage.hub_directory(resolved.base, resolved.revision)
        base = lineage.base_record(directory, resolved.base, local, resolved.revision)
        load |= {} if self.how == "full" else {"base": base, "lora_dtype": "float32"}
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
            template=template_section(self.template, self.stops) if self.template else None,
            reference=self.reference or {"kind": "none"},
            data=self.data,
            args={key: value for key, value in self.given.items() if "token" not in key or "tokens" in key},
            seed=config.seed,
            world=world,
            inputs=self.inputs,
            metrics=metrics,
            **({"start": base} if self.how == "full" else {}),
            probe=probed,
            resumed_from=[self.resumed_from] if self.resumed_from else [],
        )  # fmt: skip


def template_section(template: Template, stops: list[int]) -> dict:
    """What a server must know of the template that a model was trained with."""
    return {
        "name": template.name,
        "thinking": template.thinking,
        "tool_format": template.tool_format,
        "reasoning_parser": template.reasoning_parser,
        "tool_parser": template.tool_parser,
        "stops": stops,
    }


def write_generation_config(directory: Path, stops: list[int], pad: int) -> None:
    """Stops and pad, nothing else: sampling fields here would silently become a server's defaults."""
    from transformers import GenerationConfig

    GenerationConfig(eos_token_id=stops, pad_token_id=pad).save_pretrained(directory)


def inputs_section(ledger: Ledger, config: Any, template: Template | None, **more: Any) -> dict:
    """What must be the same when a run is resumed (see `bedside.checkpoints`); `more` is what only this stage has."""
    files: dict[str, str] = {}
    for name in ledger.files:  # two directories may hold files of one name
        files[Path(name).name] = files.get(Path(name).name, "") + lineage.file_sha256(Path(name))[:16]
    total = ledger.total()
    return {
        "data": files,
        "rows": {"kept": total.kept, "over the cap": total.capped, **ledger.samples},
        "seed": config.seed,
        "packing": bool(getattr(config, "packing", False)),
        "max_length": getattr(config, "max_length", None),
        "template": hashlib.sha256(template.source.encode()).hexdigest()[:16] if template else None,
        "world_size": config.world_size,
        "batch": config.per_device_train_batch_size,
        "accumulation": config.gradient_accumulation_steps,
        "learning_rate": config.learning_rate,
        **more,
    }
