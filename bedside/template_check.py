"""What `python -m bedside.templates check DIR` verifies: a saved model is served with what it was trained with."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from bedside import lineage, models, own_template, templates
from bedside.errors import ConfigError
from bedside.templates import Template
from bedside.templates.nearest import nearest, recognised

FILE, CONFIG, GENERATION = "chat_template.jinja", "tokenizer_config.json", "generation_config.json"
# What a generation_config may hold: anything else becomes a server's default without anybody asking for it.
_HARMLESS = {"eos_token_id", "pad_token_id", "bos_token_id", "transformers_version"}
_PROBE = [{"role": "user", "content": "q?"}, {"role": "assistant", "content": "probe."}]


class Finding(NamedTuple):
    """One check: what is there and, where that is wrong, what was expected and what to do."""

    what: str
    found: str
    expected: str = ""
    remedy: str = ""

    @property
    def ok(self) -> bool:
        """True if nothing else was expected."""
        return not self.expected

    def line(self) -> str:
        """The check as a line for people."""
        if self.ok:
            return f"ok     {self.what}: {self.found}"
        return f"WRONG  {self.what}: found {self.found}; expected {self.expected}. {self.remedy}"


@dataclass(frozen=True)
class Saved:
    """A model or adapter directory as its files have it."""

    directory: Path
    tokenizer: Any
    template: Template
    names: dict[str, str]  # the tokenizer's special tokens: bos_token, eos_token, ...
    ends: tuple[str, ...]  # tokens of the vocabulary that end an answer, the turn end first
    config: dict
    generation: dict | None
    manifest: dict | None

    def ids(self, tokens: Iterable[str]) -> list[int]:
        """Ids of tokens that the vocabulary holds."""
        return [self.tokenizer.convert_tokens_to_ids(token) for token in tokens]


def _object(path: Path) -> dict | None:
    """The object in a JSON file, None if there is no file; ConfigError for anything else."""
    if not path.is_file():
        return None
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{path}: not JSON ({error}); copy the directory again") from None
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: expected a JSON object; copy the directory again")
    return value


def load(directory: str) -> Saved | Finding:
    """Read a directory, or say that it saves no template.

    Raises ConfigError if it is no model's or lacks a tokenizer, LineageError for a damaged lineage.json.
    """
    path = Path(directory)
    if not path.is_dir():
        raise ConfigError(f"{directory}: no such directory; expected one that a stage or merge_peft_adapter.py wrote")
    models.check_model_path(directory, "check")
    tokenizer = models.load_tokenizer(directory)
    source, names = own_template.sources(tokenizer).get("default"), own_template.special_tokens(tokenizer)
    if source is None:
        return Finding("chat template", "none", FILE, "Is it a base model? Train it with --template_name first.")
    template, vocabulary = recognised(source, names), tokenizer.get_vocab()
    ends = tuple(end for end in templates.turn_ends_of(template, names) if end in vocabulary)
    return Saved(
        path, tokenizer, template, names, ends, _object(path / CONFIG) or {}, _object(path / GENERATION),
        lineage.read(path),
    )  # fmt: skip


def checks(directory: str) -> list[Finding]:
    """Every check, in the order in which things are read when a model is served; raises as `load` does."""
    saved = load(directory)
    if isinstance(saved, Finding):
        return [saved]
    found = [
        _template_file(saved),
        _second_template(saved),
        _more_templates(saved),
        _turn_end(saved),
        _pad(saved),
        _required(saved),
        _think_tags(saved),
        _stops(saved),
        _sampling(saved),
        _lineage(saved),
    ]
    return [finding for finding in found if finding is not None]


def _template_file(saved: Saved) -> Finding:
    template = saved.template
    where = FILE if (saved.directory / FILE).is_file() else CONFIG
    if template.name in templates.REGISTRY:
        row = templates.REGISTRY[template.name]
        other = (
            f" with tool format {template.tool_format or 'none'}" if template.tool_format != row.tool_format else ""
        )
        return Finding("chat template", f"{where} is {template.name}{other}")
    near = nearest(template.source, saved.names)
    like = (
        "renders no chat" if near is None else f"{'its prompts are those of' if near[1] else 'it resembles'} {near[0]}"
    )
    if saved.manifest and (name := _section(saved).get("name")) in templates.REGISTRY:
        return Finding(
            "chat template", f"{where} is the model's own ({like})", f"{name}, as lineage.json says",
            f"It was edited, or {name} has changed since; put back the file of the training.",
        )  # fmt: skip
    return Finding("chat template", f"{where} is the model's own ({like})")


def _section(saved: Saved) -> dict:
    return (saved.manifest or {}).get("template") or {}


def _second_template(saved: Saved) -> Finding | None:
    second, what = saved.config.get("chat_template"), f"chat_template in {CONFIG}"
    if second is None or not (saved.directory / FILE).is_file():
        return None
    if second == (saved.directory / FILE).read_text(encoding="utf-8"):
        return Finding(what, f"the same as {FILE}")
    return Finding(
        what, "another text", f"none, or that of {FILE}", "Some servers read this one: remove it from the file."
    )


def _more_templates(saved: Saved) -> Finding:
    folder = saved.directory / "additional_chat_templates"
    more = [f"{folder.name}/{path.name}" for path in sorted(folder.glob("*.jinja"))]
    more += [f"template {name}" for name in own_template.sources(saved.tokenizer) if name != "default" and not more]
    if (saved.directory / "chat_template.json").is_file():
        more.append("chat_template.json")
    if not more:
        return Finding("other chat templates", "none")
    return Finding(
        "other chat templates",
        ", ".join(more),
        "none",
        "A server may take them (for requests with tools): remove them.",
    )


def _turn_end(saved: Saved) -> Finding:
    template, eos = saved.template, saved.names.get("eos_token", "none")
    if template.name in templates.REGISTRY or template.turn_end != "eos_token":
        end = templates.turn_end_of(template, saved.names) or "a token"
    else:  # an own template that no file of ours explains: what does it write behind an answer?
        text = template.render(_PROBE, **saved.names).text
        behind = text.rpartition(_PROBE[-1]["content"])[2]
        end = eos if eos in behind else behind.strip() or "a token"
    if end == eos:
        return Finding("eos token", f"{eos}, which ends a turn")
    remedy = f"Answers would not end: set eos_token to {end} in {CONFIG}."
    return Finding("eos token", eos, f"{end}, which ends a turn of this template", remedy)


def _pad(saved: Saved) -> Finding:
    pad = saved.names.get("pad_token")
    if pad and pad not in (*saved.ends, saved.names.get("eos_token")):
        return Finding("pad token", f"{pad}, which ends nothing")
    remedy = f"A padded end of turn is never learnt: set pad_token in {CONFIG}."
    return Finding("pad token", pad or "none", "a token that ends no turn", remedy)


def _required(saved: Saved) -> Finding:
    wanted = list(dict.fromkeys((*saved.template.required_tokens, *saved.ends)))
    encode = saved.tokenizer.backend_tokenizer.encode
    split = [token for token in wanted if len(encode(token, add_special_tokens=False).ids) != 1]
    if split:
        remedy = "The tokenizer is not the template's: copy the one that the model was trained with."
        return Finding("chat tokens", f"{', '.join(split)} in pieces", "one id each", remedy)
    return Finding("chat tokens", f"{', '.join(wanted)}: one id each" if wanted else "the template needs none")


def _think_tags(saved: Saved) -> Finding | None:
    known = {token.content: token for token in saved.tokenizer.added_tokens_decoder.values()}
    tags = [tag for tag in ("<think>", "</think>") if tag in known]
    special = [tag for tag in tags if known[tag].special]
    if not tags:
        return None
    if special:
        remedy = "A server would delete them from what it returns: set special to false in tokenizer.json."
        return Finding("think tags", f"{', '.join(special)} special", "tokens that are not special", remedy)
    return Finding("think tags", f"{', '.join(tags)}: tokens, not special")


def _end_ids(saved: Saved) -> list[int]:
    found = (saved.generation or {}).get("eos_token_id")
    return found if isinstance(found, list) else [] if found is None else [found]


def _stops(saved: Saved) -> Finding:
    ids = saved.ids(saved.ends)
    wanted = ", ".join(f"{number} {token}" for number, token in zip(ids, saved.ends, strict=True))
    if set(ids) <= set(_end_ids(saved)):
        return Finding("stops", f"{GENERATION} ends answers at {wanted}")
    what = "no file" if saved.generation is None else f"eos_token_id {_end_ids(saved)}"
    return Finding(f"stops in {GENERATION}", what, f"eos_token_id with {wanted}", f"Set it: {ids}.")


def _sampling(saved: Saved) -> Finding | None:
    if saved.generation is None:
        return None
    fields = sorted(name for name in saved.generation if name not in _HARMLESS and not name.startswith("_"))
    what = f"other fields of {GENERATION}"
    if fields:
        remedy = "They become the server's defaults, unasked: remove them."
        return Finding(what, ", ".join(fields), "none", remedy)
    return Finding(what, "none")


def _lineage(saved: Saved) -> Finding:
    said = _section(saved)
    if not said:
        what = "no lineage.json: not made by bedside" if saved.manifest is None else "no template section"
        return Finding("lineage.json", f"{what}, nothing to compare")
    template = saved.template
    pairs = {
        "name": (said.get("name"), template.name),
        "reasoning_parser": (said.get("reasoning_parser"), template.reasoning_parser),
        "tool_parser": (said.get("tool_parser"), template.tool_parser),
        "stops": (sorted(said.get("stops") or []), sorted(_end_ids(saved))),
    }
    wrong = {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}
    if wrong:
        found = ", ".join(f"{key} {said}" for key, (said, _) in wrong.items())
        expected = ", ".join(f"{key} {now}" for key, (_, now) in wrong.items())
        remedy = "The files were changed after they were saved: copy the directory again, or train anew."
        return Finding("lineage.json", found, f"{expected}, as the files have it", remedy)
    parsers = f"reasoning parser {template.reasoning_parser or 'none'}, tool parser {template.tool_parser or 'none'}"
    return Finding("lineage.json", f"agrees: {template.name}, {parsers}, stops {said['stops']}")
