"""New rows in training: which they are, what they start as, and how an adapter holds them.

LoRA changes no embedding row. Rows of new tokens are trained beside it (PEFT's `trainable_token_indices`): only these
rows are trained and saved, in the input and, where it is a matrix of its own, the output.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bedside import lineage, logs, models
from bedside.errors import ConfigError, LineageError
from bedside.vocabulary import rows

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from bedside.policy import Origin

_REPORT = "vocabulary.json"  # what build_domain_tokenizer.py writes beside a tokenizer


@dataclass
class NewRows:
    """Ids of tokens whose rows are new; `pieces` are the old ids of the same text, for those that have no row yet."""

    ids: list[int]
    pieces: dict[int, list[int]]
    grown: int | None = None  # rows of the model once it has been prepared, if they became more

    def prepare(self, model: PreTrainedModel, lora: dict[str, Any] | None) -> dict[str, Any] | None:
        """Give `model` (in place) the rows that it lacks; returns the adapter's keywords, new rows trained with it.

        Each new row is the mean of the rows of its pieces. An adapter that holds whole embeddings
        (--lora_modules_to_save) trains them anyway.
        """
        before = model.get_input_embeddings().weight.shape[0]
        if self.pieces:
            # An adapter saves the rows of tokens and no others: none may be there to fill up.
            change = rows.extend(model, self.pieces, multiple=1 if lora else 8)
            self.grown = change.after if change.after > before else None
            logs.info(f"new tokens: {change.line()}; each starts as the mean of the rows of its pieces")
        if lora is None:
            return None
        places = _names(model)
        whole = {name.strip() for name in (lora.get("modules_to_save") or "").split(",")}
        if whole & set(places):
            return lora
        after = model.get_input_embeddings().weight.shape[0]
        trained = sorted({*self.ids, *range(before, after)})
        logs.info(
            f"new tokens: {len(trained):,} rows of {' and '.join(places)} are trained and saved beside the adapter"
        )
        return {**lora, "trainable_token_indices": dict.fromkeys(places, trained)}


def _names(model: PreTrainedModel) -> list[str]:
    """The last names of the modules that hold rows: the input, and the output unless it is the same matrix."""
    modules = dict(model.named_modules())
    output = model.get_output_embeddings()
    found = [next(name for name, module in modules.items() if module is model.get_input_embeddings())]
    if output is not None and not model.config.get_text_config().tie_word_embeddings:
        if getattr(output, "bias", None) is not None:
            raise ConfigError("this model's output has a bias, so single rows of it cannot be trained; add "
                              "--lora_modules_to_save with the names of its embedding and output")  # fmt: skip
        found.append(next(name for name, module in modules.items() if module is output))
    return [name.rsplit(".", 1)[-1] for name in found]


def find(origin: Origin, tokenizer: Any, given: str | None, loading: dict[str, Any]) -> NewRows | None:
    """The new rows of a run on `origin` with `tokenizer`; `given` is the name by --tokenizer_name_or_path, if any.

    New are tokens that the model's own tokenizer has not, and tokens that build_domain_tokenizer.py gave to model and
    tokenizer. Raises ConfigError for a tokenizer that is not an extension of the model's own.
    """
    base = origin.resolved.base
    if given and given != base:
        shared = {name: loading[name] for name in ("cache_dir", "trust_remote_code")}
        own = models.load_tokenizer(origin.tokenizer_path, origin.resolved.revision, **shared)
        pieces = pieces_of(own, tokenizer, given, origin.path)
        if pieces and origin.resolved.adapter:
            raise ConfigError(
                f"--tokenizer_name_or_path {given}: has {len(pieces):,} tokens that the adapter {origin.path} was "
                f"trained without; merge it first: python merge_peft_adapter.py --peft_model_path {origin.path} "
                f"--output_dir {origin.path.rstrip('/')}-merged"
            )
        if pieces:
            return NewRows(sorted(pieces), pieces)
    report = Path(base) / _REPORT
    if origin.resolved.adapter or not report.is_file() or (lineage.read(base) or {}).get("stage") != "vocabulary":
        return None
    words = json.loads(report.read_text(encoding="utf-8"))["words"]
    ids = sorted(number for name in ("words", "steps") for _, number, _ in words[name])
    return NewRows(ids, {}) if ids else None


def pieces_of(own: Any, tokenizer: Any, given: str, model: str) -> dict[int, list[int]]:
    """Ids that `tokenizer` has and `own` has not, with the old ids of the same text (all where it has none)."""
    before, now = own.get_vocab(), tokenizer.get_vocab()
    moved = [token for token, number in before.items() if now.get(token) != number]
    if moved:
        raise ConfigError(
            f"--tokenizer_name_or_path {given}: {len(moved):,} of the {len(before):,} tokens of {model} have another "
            "id in it, or none; expected the model's own tokenizer, or one that build_domain_tokenizer.py made of it"
        )
    added = tokenizer.added_tokens_decoder
    inside, found = own.backend_tokenizer, {}
    for token, number in now.items():
        if token not in before:
            ids = (
                inside.encode(added[number].content, add_special_tokens=False).ids
                if number in added
                else [piece.id for piece in inside.model.tokenize(token)]
            )
            found[number] = ids or list(range(len(before)))
    return found


def check_saved(directory: Path) -> None:
    """Raise LineageError if the adapter in `directory` was saved without the rows of new tokens."""
    from safetensors import safe_open

    names = []
    for path in lineage.weight_files(directory):
        with safe_open(path, framework="pt") as file:
            names += list(file.keys())
    if not any("trainable_tokens" in name or "embed" in name for name in names):
        raise LineageError(f"{directory}: the rows of new tokens are not in the adapter's file; train it again with "
                           "--lora_modules_to_save and the names of the embedding and the output")  # fmt: skip
