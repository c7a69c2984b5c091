"""The model card: README.md, made from `lineage.json` alone and never read back.

It replaces the cards that libraries write, which hold local paths. Nothing of the machine enters it: names of files
without their directories, no arguments, and what looks like an access token is taken out.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import yaml

from bedside.data.facts import LANGUAGES, language_of
from bedside.lineage.record import start_of

_STAGES = {
    "pt": "continued pretraining", "sft": "supervised fine-tuning", "rm": "reward model", "dpo": "DPO", "orpo": "ORPO",
    "kto": "KTO", "merge": "merged adapter", "vocabulary": "extended vocabulary", "quantise": "quantised model",
}  # fmt: skip
_HOW = {"continued": "continued", "merged": "merged", "base": "new adapter on it", "init": "all parameters trained",
        "extended": "rows added", "quantised": "in fewer bits"}  # fmt: skip
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_SECRET = re.compile(r"\b(?:hf_|sk-|ghp_|glpat-)[A-Za-z0-9_-]{12,}")
_SECRET_NAMES = ("TOKEN", "SECRET", "PASSWORD", "API_KEY")
_TAGS = {"Chinese": "zh", "Japanese": "ja", "Korean": "ko"}
_ENGLISH = re.compile(r"\b(?:the|and|of|is|to|with|for|what)\b", re.IGNORECASE)
_CLOCK = {"train_runtime", "train_samples_per_second", "train_steps_per_second", "eval_runtime", "total_flos", "epoch",
          "eval_samples_per_second", "eval_steps_per_second", "wall_seconds"}  # fmt: skip
_LOOKED_AT, _SHARE = 200, 0.05  # lines of a data file; a language of fewer of them is not named


def languages_of(path: Path) -> list[str]:
    """Codes of the languages that a text or JSON-lines file begins with: told by script, English by its words.

    >>> languages_of(Path("data/sft/dialogues.jsonl"))  # doctest: +SKIP
    ['en', 'zh']
    """
    counts: Counter[str] = Counter()
    try:
        with open(path, encoding="utf-8") as stream:
            for _, line in zip(range(_LOOKED_AT), stream, strict=False):
                counts[_language(_longest_text(line))] += 1
    except (OSError, UnicodeDecodeError):
        return []
    known = sum(counts.values())
    return sorted(code for code, count in counts.items() if code and count >= _SHARE * known)


def _language(text: str) -> str:
    script = LANGUAGES[language_of(text)]
    return _TAGS.get(script) or ("en" if script == "Latin script" and _ENGLISH.search(text) else "")


def _longest_text(line: str) -> str:
    """The longest text of a JSON line, or the line itself."""
    try:
        waiting, texts = [json.loads(line)], [""]
    except ValueError:
        return line
    while waiting:
        value = waiting.pop()
        waiting += value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
        texts += [value] if isinstance(value, str) else []
    return max(texts, key=len)


def without_secrets(text: str, environment: Mapping[str, str] = os.environ) -> str:
    """`text` without access tokens: by their look, and those that the environment holds."""
    held = [value for name, value in environment.items() if name.upper().endswith(_SECRET_NAMES) and len(value) >= 6]
    for value in held:
        text = text.replace(value, "[removed]")
    return _SECRET.sub("[removed]", text)


def _root(manifest: dict) -> dict:
    base = start_of(manifest)
    return base if base.get("name") else base.get("root") or base


def base_name(manifest: dict) -> str | None:
    """The hub model that this one goes back to, or None where no lineage names one."""
    name = _root(manifest).get("name")
    return name if name and _HUB_NAME.fullmatch(name) else None


def front_matter(manifest: dict) -> dict:
    """The card's metadata, as the hub reads it."""
    causal = manifest["load"].get("task", "CAUSAL_LM") == "CAUSAL_LM"
    adapter = bool(manifest["load"].get("base"))
    base = base_name(manifest)
    quant = manifest["load"].get("quant") or {}
    data = manifest.get("data") or []
    sets = str((manifest.get("args") or {}).get("dataset") or "").split(",")
    names = sorted({name for item in sets if _HUB_NAME.fullmatch(name := item.split(":")[0].strip())})
    spoken = sorted({code for item in data for code in item.get("languages", [])})
    tags = ["medical", "bedside", manifest["stage"], *(["lora"] if adapter else []), *([] if causal else ["reward"])]
    # An adapter folded into its base is to the hub a fine-tune of it; its "merge" is of several models.
    return {
        **({"base_model": base, "base_model_relation": "adapter" if adapter else "finetune"} if base else {}),
        **({"datasets": names} if names else {}),
        **({"language": spoken} if spoken else {}),
        "library_name": "peft" if adapter else "transformers",
        "pipeline_tag": "text-generation" if causal else "text-classification",
        "tags": [*tags, *([quant["type"]] if quant.get("type") else [])],
    }


def _title(manifest: dict) -> str:
    parents = manifest["parents"]
    told = manifest["stage"] if manifest["stage"] != "merge" or not parents else parents[0]["stage"]
    return f"{(base_name(manifest) or 'A medical language model').rpartition('/')[2]}: {_STAGES.get(told, told)}"


def _table(head: tuple[str, ...], rows: list[tuple]) -> list[str]:
    if not rows:
        return []
    lines = [head, tuple("---" for _ in head), *rows]
    return ["", *("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)]


def _chain(manifest: dict) -> list[tuple]:
    """Oldest first: a stage, what the next one did with it, its weights."""
    name, base = base_name(manifest), _root(manifest)
    named = bool(base) and (name or not manifest["parents"])
    rows = [("base", name or "a model without a name on the hub", f"`{base.get('fp')}`")] if named else []
    for parent in reversed(manifest["parents"]):
        mode = f" ({parent['mode']})" if parent.get("mode") else ""
        rows.append((parent["stage"] + mode, _HOW.get(parent["how"], parent["how"]), f"`{parent['id']}`"))
    return [*rows, (f"**{manifest['stage']}**", "this model", f"`{manifest['id']}`")]


def _merge_lines(merge: dict) -> list[str]:
    if not merge:
        return []
    text = f"Merged in mode {merge['mode']}, stored in {merge['dtype']}"
    if merge.get("kl") is not None:
        text += f"; merge error {merge['kl']:.1e}, {merge['ratio']:.1%} of what the adapter does"
    if merge.get("shift_kl") is not None:
        text += f"; moving from {merge['trained_quant']} to {merge['dtype']} shifts {merge['shift_kl']:.1e}"
    warned = " Do not quantise it to 4 bits again: that loses the adapter." if merge["mode"] == "nf4" else ""
    return ["", f"{text}.{warned}"]


def text(manifest: dict) -> str:
    """The whole card."""
    front = yaml.safe_dump(front_matter(manifest), sort_keys=False, allow_unicode=True).strip()
    data = [
        (Path(item["file"]).name, item["rows"], item.get("used", ""),
         ", ".join(f"{why} {count}" for why, count in (item.get("rejected") or {}).items()) or "none")
        for item in manifest.get("data") or []
    ]  # fmt: skip
    metrics = (manifest.get("metrics") or {}).items()
    numbers = [(name, f"{value:.4g}") for name, value in metrics if isinstance(value, float) and name not in _CLOCK]
    versions = ", ".join(f"{name} {version}" for name, version in manifest.get("versions", {}).items())
    body = [
        f"# {_title(manifest)}",
        "",
        "**Not for clinical use.** A research model: its answers can be wrong and are not medical advice.",
        *_table(("stage", "how the next one used it", "weights"), _chain(manifest)),
        *_merge_lines(manifest.get("merge") or {}),
        *_table(("data", "rows", "used", "not used"), data),
        *_table(("measure", "value"), numbers),
        "",
        f"Made by bedside from `lineage.json`, which is what its tools read ({versions}).",
    ]
    return without_secrets("\n".join(["---", front, "---", "", *body, ""]))


def write_card(directory: Path, manifest: dict) -> None:
    """Write README.md, and remove the one that PEFT writes beside a reference adapter (it holds a local path)."""
    (Path(directory) / "ref" / "README.md").unlink(missing_ok=True)
    (Path(directory) / "README.md").write_text(text(manifest), encoding="utf-8")
