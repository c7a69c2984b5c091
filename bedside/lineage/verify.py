"""`python -m bedside.lineage verify DIR`: every hash of a model directory anew, and the probe.

torch and transformers are imported for the probe only, or to look twice at a tokenizer that seems to differ.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from bedside import lineage
from bedside.errors import LineageError, UserError
from bedside.fingerprints import file_sha256
from bedside.lineage.record import identity_in
from bedside.lineage.resolve import find_base, is_adapter
from bedside.lineage.sections import core_record, sha_text
from bedside.lineage.view import chain

_RECOMPUTED = 0.1  # of what the whole adapter does
_COPY = "copy the directory again from where it was trained"


class Check(NamedTuple):
    """One check; `ok` is None where something could not be checked, which is no failure."""

    name: str
    ok: bool | None
    text: str
    remedy: str = ""

    def line(self) -> str:
        """The check as a line for people."""
        word = {True: "OK", False: "FAILED", None: "not checked"}[self.ok]
        return f"{self.name:<10} {word:<11} {self.text}" + (f"; {self.remedy}" if self.remedy else "")


def checks(directory: str, base_model: str | None = None, with_probe: bool = True) -> Iterator[Check]:
    """Every check, in the order in which a loader meets them."""
    try:
        manifest = lineage.read(directory)
    except LineageError as error:
        yield Check("manifest", False, str(error))
        return
    if manifest is None:
        why = "no such directory" if not Path(directory).is_dir() else "no lineage.json"
        yield Check("manifest", False, f"{directory}: {why}", "give a directory that a stage wrote")
        return
    yield Check("manifest", True, f"schema {manifest['schema']}, {manifest['stage']} {manifest['kind']}")
    whole = True
    for check in (*_files(Path(directory), manifest), *_base(directory, manifest, base_model)):
        whole &= check.ok is not False
        yield check
    yield from _text_side(directory, manifest)
    yield _parents(directory)
    if not with_probe or not manifest.get("probe"):
        why = "--no_probe" if not with_probe else f"none was kept with this {manifest['kind']}"
        yield Check("probe", None, why)
    elif not whole:
        yield Check("probe", None, "what it needs failed above")
    else:
        yield _probe(directory, manifest, base_model)


def _files(directory: Path, manifest: dict) -> Iterator[Check]:
    """Size and hash of every sealed file, and the identity of the weights, from one reading."""
    found, wrong = {}, []
    for name, (size, sha) in manifest["files"].items():
        path = directory / name
        if not path.is_file():
            wrong.append(f"{name} is missing")
            continue
        found[name] = [path.stat().st_size, file_sha256(path)]
        if found[name][0] != size:
            wrong.append(f"{name} has {found[name][0]} bytes, was saved with {size}")
        elif found[name][1] != sha:
            wrong.append(f"{name} changed since it was saved")
    for text in wrong:
        yield Check("file", False, text, _COPY)
    if not wrong:
        yield Check("files", True, f"{len(found)} files, {sum(size for size, _ in found.values()) / 1e6:,.1f} MB")
    same = identity_in(directory, found) == manifest["id"]
    text = manifest["id"] if same else "the weights are not those of lineage.json"
    yield Check("id", same, text, "" if same else _COPY)
    if manifest["load"].get("base") and not is_adapter(str(directory)):
        yield Check("adapter", False, "adapter_config.json is missing, so the adapter is lost", _COPY)


def _base(directory: str, manifest: dict, base_model: str | None) -> Iterator[Check]:
    base = manifest["load"].get("base")
    if not base:
        if base_model:
            yield Check("base", False, f"--base_model {base_model}: this is a whole model", "drop the flag")
        return
    try:
        place, revision = find_base(Path(directory), manifest, base_model)
    except LineageError as error:
        yield Check("base", False, str(error))
        return
    if Path(place).is_dir() or lineage.hub_directory(place, revision):
        known = base.get("fp")
        yield Check("base", True if known else None, f"{place}, {known or 'no fingerprint was kept'}")
    else:
        yield Check("base", None, f"{place}@{revision} is not in the cache", f"python download_model.py {place}")


def saved_text_side(directory: Path) -> dict:
    """The tokenizer record of a directory from its files, without transformers; LineageError if there are none."""
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
        config = json.loads((directory / "tokenizer_config.json").read_text(encoding="utf-8"))
    except Exception as error:  # noqa: BLE001 (nothing narrower is raised for a damaged file)
        raise LineageError(f"tokenizer.json or tokenizer_config.json: {' '.join(str(error).split())[:120]}") from None
    file = directory / "chat_template.jinja"
    template = file.read_text(encoding="utf-8") if file.is_file() else config.get("chat_template")

    def token_id(name: str) -> int | None:
        token = config.get(name)
        token = token.get("content") if isinstance(token, dict) else token
        return tokenizer.token_to_id(token) if token else None

    core = core_record(json.loads(tokenizer.to_str()))
    return {
        "sha": core["sha"],
        "len": tokenizer.get_vocab_size(with_added_tokens=True),
        "eos": token_id("eos_token"),
        "pad": token_id("pad_token"),
        "template": sha_text(template) if isinstance(template, str) else None,
        "added": core["added"],
    }


def _text_side(directory: str, manifest: dict) -> Iterator[Check]:
    trained, section = manifest.get("tokenizer"), manifest.get("template") or {}
    if trained is None:
        yield Check("tokenizer", None, "none was recorded")
        return
    try:
        found = saved_text_side(Path(directory))
        if lineage.differences(trained, found):  # the library may read the files in another way: it has the last word
            from bedside import models

            found = lineage.tokenizer_record(models.load_tokenizer(directory))
    except UserError as error:
        yield Check("tokenizer", False, str(error), _COPY)
        return
    wrong = lineage.differences(trained, found)
    tokens = [text for text in wrong if not text.startswith("chat template")]
    yield Check("tokenizer", not tokens, "; ".join(tokens) or f"{trained['sha']}, {found['len']} tokens",
                _COPY if tokens else "")  # fmt: skip
    sha = section.get("sha") or trained.get("template")
    if sha is None:
        yield Check("template", None, "none was recorded")
    elif sha == found["template"]:
        yield Check("template", True, f"{section.get('name', 'unnamed')} {sha}")
    else:
        text = f"chat template differs from the one in training ({sha} then, {found['template']} now)"
        yield Check("template", False, text, "put back the chat_template.jinja of the training")


def _parents(directory: str) -> Check:
    """History is never applied, so a parent that is gone is no failure."""
    older = chain(directory)[1:]
    lost = [f"{link.stage} ({link.status})" for link in older if link.status in ("missing", "changed")]
    return Check(
        "parents", True, f"{len(older)} in its history" + (f"; no longer there: {', '.join(lost)}" if lost else "")
    )


def _probe(directory: str, manifest: dict, base_model: str | None) -> Check:
    from bedside import probe

    kept = manifest["probe"]
    try:
        model = load(directory, manifest, base_model)
    except UserError as error:
        return Check("probe", False, str(error))
    distance, limit, unit = probe.distance(model, kept), probe.limit(kept), "points" if "scores" in kept else "nats"
    text = f"{distance:.5f} {unit} off over {len(kept['ids'])} tokens (limit {limit})"
    if distance <= limit:
        return Check("probe", True, text)
    start = lineage.changes_base(directory) if is_adapter(directory) else None
    if start and distance <= _RECOMPUTED * (
        without := probe.distance(load(directory, manifest, base_model, False), kept)
    ):
        # Each load decomposes the base anew, in another order of additions on another number of threads.
        return Check("probe", True, f"{text}, rounding of {start}, which is computed anew ({without:.3f} without it)")
    return Check("probe", False, text, "this is not the model that training left, or another kind of processor "
                 "computes it; verify on the machine of the training")  # fmt: skip


def load(directory: str, manifest: dict, base_model: str | None, whole: bool = True) -> Any:
    """The model as `manifest` says, in the precision of its training, ready to be asked; not `whole`: without its
    adapter."""
    import torch

    from bedside import adapters, models, settle

    resolved = lineage.resolve(directory, base_model)
    labels = (manifest["load"].get("num_labels") or 1) if resolved.task == "SEQ_CLS" else None
    quant = resolved.quant if resolved.adapter else None
    dtype = (quant or {}).get("compute") or settle.full_dtype((manifest.get("args") or {}).get("dtype") or "auto")
    model = models.load_base(
        resolved.base, dtype if resolved.adapter else "auto", quant, revision=resolved.revision, num_labels=labels
    )
    if labels:
        from bedside import reward_model

        reward_model.exact_head(model, resolved.base)
    if torch.cuda.is_available() and not quant:
        model = model.to("cuda")
    if whole and resolved.adapter:
        model = adapters.continue_adapter(model, directory, trainable=False)
    return model.eval()
