"""What is to be quantised, and how; or why it cannot be, before anything is loaded."""

from __future__ import annotations

import json
import math
import random
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bedside import lineage, logs, models
from bedside.data import files, records, tokens
from bedside.data.conversation import RowError
from bedside.data.rows import Row
from bedside.errors import ConfigError, DataError
from bedside.memory import sizes
from bedside.quantise.arguments import CALIBRATED, QuantiseArguments
from bedside.templates import Template

GROUPS = (128, 64, 32)
REQUIREMENTS = "requirements-quantise.txt"


@dataclass(frozen=True)
class Source:
    """A full model on this disk, its lineage, the architecture's sizes, and its text side."""

    directory: str
    resolved: lineage.Resolved
    sizes: sizes.Sizes
    tokenizer: Any
    template: Template
    stops: list[int]


def find(args: QuantiseArguments) -> Source:
    """The model of --model_name_or_path. Raises ConfigError for what must not be quantised (an adapter, a reward
    model, what is quantised already or was merged for NF4), LineageError for changed weights."""
    name = args.model_name_or_path
    models.check_model_path(name)
    if lineage.is_adapter(name):
        merged = f"{name.rstrip('/')}-merged"
        raise ConfigError(
            f"{name} is an adapter; merge it first: python merge_peft_adapter.py --peft_model_path "
            f"{shlex.quote(name)} --output_dir {shlex.quote(merged)}; then quantise {merged}"
        )
    if Path(name).is_dir() and Path(args.output_dir).resolve() == Path(name).resolve():
        raise ConfigError(f"--output_dir {args.output_dir}: is the model itself; choose another directory")
    resolved = lineage.resolve(name)
    if resolved.task != "CAUSAL_LM":
        raise ConfigError(f"{name} is a {resolved.task} model (a reward model?); only models that write are quantised")
    lineage.check_quantisable(name, None, "serve it in 16 bits, as it is")
    directory = models.local_copy(name, args.model_revision, args.cache_dir)
    config = models.config_of(directory)
    method = sizes.quantised_by(config)
    if method:
        raise ConfigError(
            f"{name} is quantised already ({method}); quantise the 16-bit model that it was made from instead"
        )
    tokenizer = models.load_tokenizer(directory)
    template = models.install_template(tokenizer, None)
    stops = models.stop_ids(tokenizer, template, _written_stops(directory))
    return Source(directory, resolved, sizes.of_config(config), tokenizer, template, stops)


def _written_stops(directory: str) -> list[int] | int | None:
    path = Path(directory) / "generation_config.json"
    return json.loads(path.read_text(encoding="utf-8")).get("eos_token_id") if path.is_file() else None


def group_size(found: sizes.Sizes, wanted: int) -> int:
    """How many weights of a row share a scale: `wanted`, or the largest usual number (0); ConfigError if a layer's
    width is no multiple of it."""
    widths = sorted({shape[1] for part in found.parts.values() for shape in part.linear})
    common = math.gcd(*widths) if widths else 0
    if not common:
        raise ConfigError("this model has no linear layers that could be quantised")
    fitting = [size for size in GROUPS if common % size == 0]
    if wanted and common % wanted:
        hint = f"give --group_size {fitting[0]}" if fitting else "use --method nf4 or int8"
        raise ConfigError(f"--group_size {wanted}: layers of this model read {_list(widths)} numbers; {hint}")
    if not wanted and not fitting:
        raise ConfigError(
            f"layers of this model read {_list(widths)} numbers, no multiples of 128, 64 or 32; "
            "use --method nf4 or int8"
        )
    return wanted or fitting[0]


def _list(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers[:5])) + (" ..." if len(numbers) > 5 else "")


def python_of(args: QuantiseArguments) -> str | None:
    """The Python that quantises and measures: None is this one; ConfigError with the command that makes the other."""
    if args.method not in CALIBRATED:
        return None
    if Path(args.quant_python).is_file():
        return args.quant_python
    place = ".quant-venv"
    raise ConfigError(
        f"--method {args.method}: llm-compressor pins other versions than training and needs an environment of its "
        f"own, and {args.quant_python} is not there. Make it once: python3 -m venv {place} && {place}/bin/python -m "
        f"pip install -r {REQUIREMENTS}"
    )


def calibration(args: QuantiseArguments, source: Source) -> list[list[int]]:
    """Token ids of --calibration_rows rows, drawn by --seed, as training would read them; tells what was passed over.

    Raises DataError where no row can be used.
    """
    chats, bad = _conversations(args.calibration_file)
    random.Random(args.seed).shuffle(chats)
    encoding = tokens.encoding_for(source.tokenizer, source.template, args.calibration_length)
    found: list[list[int]] = []
    refused = 0
    for result in tokens.encode(chats, source.tokenizer.backend_tokenizer, encoding):
        refused += not result.samples
        found += [[int(i) for i in result.samples[-1].ids]] if result.samples else []
        if len(found) == args.calibration_rows:
            break
    if not found:
        raise DataError(
            "E_EMPTY_FILE",
            args.calibration_file,
            f"no row can be used with --calibration_length {args.calibration_length}",
        )
    passed = f"; passed over: {bad} that cannot be read, {refused} too long or refused by the template"
    used = f"{len(found)} rows of {args.calibration_file}, {sum(map(len, found)):,} tokens"
    logs.info(f"calibrating on {used}{passed if bad or refused else ''}")
    if len(found) < args.calibration_rows:
        logs.warn(f"--calibration_rows {args.calibration_rows}: the file has {len(found)} that can be used")
    return found


def _conversations(path: str) -> tuple[list[dict], int]:
    """The rows of a file as conversations, and how many are none."""
    chats, bad = [], 0
    for row in files.read(path):
        try:
            if isinstance(row, Row):
                chats.append(records.to_conversation(row.value))
            else:
                bad += not row.code.startswith("I_")  # remarks on the file are no rows
        except RowError:
            bad += 1
    return chats, bad
