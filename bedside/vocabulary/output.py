"""What build_domain_tokenizer.py writes: tokenizer, the model with its new rows, vocabulary.json, lineage.json."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bedside import lineage, logs, manifest, models, probe
from bedside.errors import ConfigError, LineageError
from bedside.vocabulary import report, rows
from bedside.vocabulary.extend import Extended
from bedside.vocabulary.words import Account

REPORT = "vocabulary.json"
_LINES, _TOKENS = 8, 128  # texts whose logits are compared, and how much of each
_MOVED = 1e-3  # logits of old tokens may differ by so much; 0 on the machines where it was measured


@dataclass
class Origin:
    """The tokenizer that learns and, if one was named, the model on this disk that it belongs to."""

    tokenizer: Any
    model: str | None
    name: str
    revision: str

    @property
    def backend(self) -> Any:
        """The `tokenizers.Tokenizer` inside."""
        return self.tokenizer.backend_tokenizer

    @property
    def controls(self) -> list[str]:
        """Tokens that no word may be: special ones and those that mark turns, thoughts and tools."""
        return [*self.tokenizer.all_special_tokens, *self.tokenizer.get_added_vocab()]


def prepare(path: str, overwrite: bool) -> Path:
    """The empty directory to write into; ConfigError if something else is in it."""
    directory = Path(path)
    if directory.exists() and not directory.is_dir():
        raise ConfigError(f"--output_dir {path}: a file; expected a directory")
    if directory.is_dir() and any(directory.iterdir()):
        ours = (directory / REPORT).is_file()
        if not ours or not overwrite:
            remedy = "add --overwrite_output_dir True to replace it" if ours else "choose another directory"
            raise ConfigError(f"--output_dir {path}: not empty; {remedy}")
    return directory


def start(directory: Path) -> None:
    """Make the directory, without what an earlier run left in it."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)


def origin_of(tokenizer: str | None, model: str | None, revision: str, cache_dir: str | None) -> Origin:
    """Load the tokenizer; ConfigError for an adapter, or for a tokenizer that is not the model's."""
    if model and lineage.is_adapter(model):
        raise ConfigError(
            f"--model_name_or_path {model}: an adapter has no rows of its own; merge it first: python "
            f"merge_peft_adapter.py --peft_model_path {model} --output_dir {model.rstrip('/')}-merged"
        )
    name = model or tokenizer or ""
    local = models.local_copy(model, revision, cache_dir) if model else None
    own = models.load_tokenizer(local or tokenizer, revision if not local else "main", cache_dir)
    if model and tokenizer and tokenizer != model:
        given = models.load_tokenizer(tokenizer, revision, cache_dir)
        if lineage.tokenizer_record(given)["sha"] != lineage.tokenizer_record(own)["sha"]:
            raise ConfigError(
                f"--base_tokenizer_path {tokenizer}: is not the tokenizer of --model_name_or_path {model}; drop it"
            )
    return Origin(own, local, name, revision)


def summary(extended: Extended, account: Account, found: int) -> list[str]:
    """What became of every line, and how many tokens are new."""
    lines = report.account_lines(account)
    taken = sum(not word.part for word in extended.words)
    if account.lines:
        lines.insert(0, f"{account.lines:,} lines: {taken:,} became tokens, {account.lines - taken:,} did not")
    parts = len(extended.words) - taken
    if parts:
        lines.append(
            f"{parts:,} more words are parts of phrases" + (f" or among the {found:,} found" if found else "")
        )
    learnt = extended.learnt
    how = f"{learnt.merges:,} merges" if extended.after.merges else "added tokens"
    total = len(learnt.words) + len(learnt.steps)
    lines.append(
        f"{total:,} new tokens by {how}: {len(learnt.words):,} words and {len(learnt.steps):,} steps towards them"
    )
    return lines


def usage(extended: Extended, seen: set[int]) -> str:
    """How many new tokens the texts have, with advice if few."""
    total = len(extended.pieces)
    text = f"{len(seen):,} of {total:,} new tokens occur in these texts"
    if 2 * len(seen) < total:
        text += "; rows that are never seen are never trained: --min_count 2 leaves rare words out"
    return text


def words_section(extended: Extended) -> dict:
    """Each new token with its id and the old ids that it replaces."""
    learnt, text = extended.learnt, extended.after.text
    of = {name: [[text(surface), number, extended.pieces[number]] for surface, number in group.items()]
          for name, group in (("words", learnt.words), ("steps", learnt.steps))}  # fmt: skip
    return {"method": "merges" if extended.after.merges else "added", "merges": learnt.merges, **of}


def _untouched(extended: Extended, texts: dict[str, list[str]]) -> list[list[int]]:
    """Ids of a few texts without new tokens: of those given, else of the probe."""
    new, found = set(extended.pieces), []
    for line in (line for lines in texts.values() for line in lines):
        ids = extended.after.backend.encode(line, add_special_tokens=False).ids[:_TOKENS]
        if len(ids) > 1 and not new.intersection(ids):
            found.append(ids)
        if len(found) == _LINES:
            break
    return found


def model(
    origin: Origin, extended: Extended, tokenizer: Any, directory: Path, multiple: int, texts: dict[str, list[str]]
) -> dict:
    """Write the model with its new rows, read it back and compare; returns the `rows` section.

    Raises LineageError if the logits of old tokens are not what they were.
    """
    from transformers.utils import logging as library

    library.disable_progress_bar()
    dtype = models.file_dtype(origin.model)
    old = models.load_base(origin.model, dtype)
    if len(origin.backend.get_vocab(with_added_tokens=True)) > old.get_input_embeddings().weight.shape[0]:
        raise LineageError(f"{origin.name}: its tokenizer has more tokens than the model has rows; it is not its own")
    lines = _untouched(extended, texts)
    before = rows.logits_of(old, lines)
    change = rows.extend(old, extended.pieces, multiple)
    logs.info(change.line())
    rows.save(old, directory)
    del old
    again = models.load_base(str(directory), dtype)
    section = vars(change) | {"dtype": dtype}
    if lines:
        compared = rows.compare(before, rows.logits_of(again, lines))
        if compared["moved"] > _MOVED:
            raise LineageError(
                f"{directory}: read back, old tokens' logits differ by {compared['moved']:.3g}; do not use it"
            )
        section |= compared
        logs.info(
            f"{sum(map(len, lines)):,} tokens of texts without new tokens: logits moved by {compared['moved']:.2g}; "
            f"new tokens get {compared['share']:.1%} of the probability and are likeliest in "
            f"{compared['likeliest']:.0%}, until they are trained"
        )
    section["probe"] = probe.record(again, tokenizer)
    return section


def finish(directory: Path, origin: Origin, tokenizer: Any, sections: dict, given: dict) -> None:
    """vocabulary.json and, with a model, lineage.json and the card; says what comes next."""
    probed = sections.get("rows", {}).pop("probe", None)
    text = json.dumps({"base": origin.name, "args": given, **sections}, ensure_ascii=False, indent=1)
    (directory / REPORT).write_text(text + "\n", encoding="utf-8")
    if not origin.model:
        logs.info(
            f"wrote {directory} (tokenizer only); a model needs rows for it: run again with --model_name_or_path"
        )
        return
    resolved = lineage.resolve(origin.model)
    parents = lineage.parents_of(resolved, origin.name, directory, "extended") or [
        {"id": lineage.identity(origin.model), "stage": "unknown", "path": origin.name, "how": "extended"}
    ]
    load = {"task": "CAUSAL_LM", "num_labels": None, "quant": None, "rows": sections["rows"]["after"], "vllm": "full"}
    former = resolved.manifest or {}
    counts = {name: len(sections["words"][name]) for name in ("words", "steps")}
    written = lineage.write(
        directory, "vocabulary", "full", load, parents=parents, tokenizer=tokenizer,
        vocabulary={"method": sections["words"]["method"], **counts, **sections["rows"]}, args=given, probe=probed,
        **({"template": former["template"]} if former.get("template") else {}),
    )  # fmt: skip
    manifest.write_card(directory, written)
    logs.info(f"wrote {directory}; train it with --model_name_or_path {directory}, new rows included (see "
              "docs/data/vocabulary.md)")  # fmt: skip
