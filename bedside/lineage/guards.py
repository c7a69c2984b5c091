"""What must not happen between two stages, each refusal with what to run instead."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bedside.errors import ConfigError, LineageError
from bedside.lineage.record import read
from bedside.lineage.sections import tokenizer_record

_NAMES = {"sha": "tokenizer", "template": "chat template", "eos": "eos id", "pad": "pad id"}
_SHOWN = 5  # of the tokens that one tokenizer has and the other has not, so many are named


def differences(trained: dict, given: dict) -> list[str]:
    """What differs between two tokenizer records, each with both values; what was not recorded is not compared."""
    found = []
    for key, what in _NAMES.items():
        if trained.get(key) is None or trained[key] == given[key]:
            continue
        then, now = set(trained.get("added") or []), set(given.get("added") or [])
        if key == "sha" and trained.get("added") is not None and then != now:
            more = [f"{word} {', '.join(sorted(tokens)[:_SHOWN])}"
                    for word, tokens in (("it now has", now - then), ("it lacks", then - now)) if tokens]  # fmt: skip
            what = f"tokenizer ({' and '.join(more)})"
        found.append(f"{what} differs from the one in training ({trained[key]} then, {given[key]} now)")
    return found


def check_tokenizer(manifest: dict, tokenizer: Any, where: str) -> None:
    """Raise LineageError if `tokenizer` is not the one that the manifest's model was trained with."""
    trained = manifest.get("tokenizer")
    found = differences(trained, tokenizer_record(tokenizer)) if trained else []
    if found:
        raise LineageError(f"{where}: {found[0]}; use the one that lies beside the trained model")


def check_not_inside(adapter: str, own_id: str, manifest: dict | None, base: str) -> None:
    """Raise LineageError if `base` already holds the adapter, or a training that the adapter continues: putting it
    on top would apply that training twice. Every id in the base's history counts."""
    older = (read(base) or {}) if Path(base).is_dir() else {}
    inside = {older.get("id"), *(parent["id"] for parent in older.get("parents", []))}
    if own_id in inside:
        raise LineageError(
            f"{base} already holds {adapter}; merging it again would apply it twice: use {base} as it is"
        )
    for parent in (manifest or {}).get("parents", []):
        if parent["how"] != "continued":
            return
        if parent["id"] in inside:
            raise LineageError(
                f"{base} already holds the {parent['stage']} stage ({parent['id'][:12]}) that {adapter} continues and "
                "so contains; on this base it would be applied twice"
            )


def check_quantisable(base: str, adapter: str | None, remedy: str) -> None:
    """Raise ConfigError if quantising `base` would lose a training or spoil `adapter`: a base that was merged into
    dequantised NF4 weights, itself or an ancestor, or an adapter that took a part of the base's weights. `remedy`
    says which flag to drop."""
    older = (read(base) or {}) if Path(base).is_dir() else {}
    what = None
    if (older.get("merge") or {}).get("mode") == "nf4":
        what = f"{base} was merged with --mode nf4"
    elif any(parent.get("mode") == "nf4" for parent in older.get("parents", [])):
        what = f"{base} goes back to a model that was merged with --mode nf4"
    if what:
        raise ConfigError(
            f"{what}; quantising it again loses the adapter. Merge again with --mode original, or {remedy}"
        )
    start = changes_base(adapter) if adapter else None
    if start:
        raise ConfigError(
            f"{adapter} was started with {start}, which moved a part of the base's weights into it, so it fits the "
            f"unquantised base only; {remedy}, or merge it first: python merge_peft_adapter.py --peft_model_path "
            f"{adapter} --output_dir {adapter.rstrip('/')}-merged"
        )


def changes_base(adapter: str) -> str | None:
    """The start (pissa, olora) that moved a part of the base's weights into the adapter in this directory, or None.

    PEFT moves it again whenever it puts such an adapter on its base: right once, on weights of the same precision.
    On 4-bit weights it is wrong without an error, and a second adapter made from the same config, as a reference
    copy is, takes that part out twice.
    """
    config = json.loads((Path(adapter) / "adapter_config.json").read_text(encoding="utf-8"))
    start = config.get("init_lora_weights")
    return start if isinstance(start, str) and start.lower().startswith(("pissa", "olora", "corda")) else None


def check_copyable(adapter: str) -> None:
    """Raise ConfigError for an adapter of which no second copy can stand on the same base (`changes_base`)."""
    start = changes_base(adapter)
    if start:
        merged = f"{adapter.rstrip('/')}-merged"
        raise ConfigError(
            f"{adapter} was started with {start}, which moved a part of the base's weights into it: a frozen copy of "
            f"it beside it, the reference, would take that part out twice. Merge it first: python "
            f"merge_peft_adapter.py --peft_model_path {adapter} --output_dir {merged}; then start from {merged}"
        )
