"""Tokenizer and template as `lineage.json` keeps them: what the next stage must find unchanged."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from bedside import own_template, templates
from bedside.data.conversation import RowError
from bedside.templates.render import render

_SYSTEM, _QUESTION = "system-probe", "question-probe"


def sha_text(text: str) -> str:
    """The first 32 hex digits of the SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def core_record(state: dict) -> dict:
    """`sha` and `added` of a tokenizer's own state, the object of its tokenizer.json."""
    core = {key: state.get(key) for key in ("model", "added_tokens", "normalizer", "pre_tokenizer", "post_processor")}
    added = [token["content"] for token in state.get("added_tokens") or []]
    return {"sha": sha_text(json.dumps(core, sort_keys=True)), "added": added}


def tokenizer_record(tokenizer: Any) -> dict:
    """What two tokenizers must share to be the same for a model: merges, special tokens, template."""
    core = core_record(json.loads(tokenizer.backend_tokenizer.to_str()))
    return {
        "sha": core["sha"],
        "len": len(tokenizer),
        "eos": tokenizer.eos_token_id,
        "pad": tokenizer.pad_token_id,
        "template": sha_text(tokenizer.chat_template) if tokenizer.chat_template else None,
        "added": core["added"],
    }


def template_record(section: dict, tokenizer: Any) -> dict:
    """The `template` section completed by `sha`, `source` (name: one of ours; tokenizer: the model's own) and
    `default_system`, the hash of the system prompt that the template writes unasked (None: it writes none)."""
    text = tokenizer.chat_template if tokenizer is not None else None
    if not isinstance(text, str):
        return section
    found = {
        "sha": sha_text(text),
        "source": "name" if section.get("name") in templates.REGISTRY else "tokenizer",
        "default_system": _default_system(text, own_template.special_tokens(tokenizer)),
    }
    return {**found, **section}


def _default_system(source: str, special: dict[str, str]) -> str | None:
    """Hash of what stands in the system turn of a chat that has none."""
    question = {"role": "user", "content": _QUESTION}
    try:
        asked = render(source, [{"role": "system", "content": _SYSTEM}, question], **special).text
        plain = render(source, [question], **special).text
    except RowError:
        return None  # it takes no system turn, so there is none to fill
    head, found, tail = asked.partition(_SYSTEM)
    if not found or not plain.startswith(head) or not plain.endswith(tail):
        return None
    unasked = plain[len(head) : len(plain) - len(tail)]
    return sha_text(unasked) if unasked and len(head) + len(tail) < len(plain) else None
