"""Whom an evaluation is about, found and not loaded yet: what it can be asked, and what its numbers are to carry."""

from __future__ import annotations

import copy
import os
import platform
import shlex
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bedside import lineage, logs
from bedside.errors import ConfigError
from bedside.evaluate import registry
from bedside.evaluate.flags import EvaluationArguments, is_url
from bedside.evaluate.subject import Asked

if TYPE_CHECKING:
    from bedside.engine import Settled
    from bedside.evaluate.book import Book
    from bedside.evaluate.task import Settings

_LONGEST = 32768  # tokens of a chat where a model names no limit
# What --model_name_or_path is told with, and a model that it is compared with is not.
_OWN = {"template_name": None, "tokenizer_path": None, "model_revision": "main", "lora_model": None}


@dataclass(frozen=True)
class Candidate:
    """`asks` are what tasks may ask of it (registry), `chats` whether it has a chat template; `identity` tells it from
    others, `about` says where it comes from, `make` loads it."""

    name: str
    identity: dict[str, Any]
    about: dict[str, Any]
    make: Callable[[Book, Settings], Asked]
    asks: frozenset[str] = frozenset((registry.ANSWERS, registry.PROBABILITIES))
    chats: bool = True
    path: str | None = None
    template: Any = field(default=None, repr=False)


def of_flags(args: EvaluationArguments, given: Collection[str]) -> Candidate:
    """The model or server that the flags name; ConfigError, LineageError or EngineFailed where there is none."""
    if args.server:
        return _server(args, args.server, args.served_model, args.name)
    named = args.model_name_or_path if "model_name_or_path" in given or not args.lora_model else None
    return _model(args, given, named, args.lora_model, args.name)


def of_comparison(args: EvaluationArguments, given: Collection[str], like: Candidate) -> Candidate:
    """The model or server of --compare_with; a model without a template is asked with that of `like`."""
    if is_url(args.compare_with):
        return _server(args, args.compare_with, None if args.server else args.served_model, None)
    other = copy.copy(args)
    template = like.template.name if like.template is not None else args.template_name
    for name, value in _OWN.items():
        setattr(other, name, value)
    kept = set(given) - set(_OWN)
    found = _model(other, kept, args.compare_with, None, None, otherwise=template)
    return renamed(found, like.name)


def renamed(candidate: Candidate, taken: str) -> Candidate:
    """The candidate under a name that is not `taken`."""
    if candidate.name != taken:
        return candidate
    return Candidate(**{**vars(candidate), "name": f"{candidate.name} (before)"})


def _server(args: EvaluationArguments, url: str, served: str | None, name: str | None) -> Candidate:
    from bedside.remote import RemoteEngine

    engine = RemoteEngine(url, served, timeout=args.server_timeout, at_once=args.concurrency)
    logs.info(f"    server  {engine.url}\n     model  {engine.name}")

    def make(book: Book, settings: Settings) -> Asked:
        return _asked(name or engine.name, engine, None, book, settings, None)

    about = {"model": f"{engine.name} at {engine.url}", "hardware": "a server"}
    return Candidate(
        name or engine.name.rstrip("/").rpartition("/")[2], {"served": engine.name}, about, make,
        frozenset((registry.ANSWERS,)),
    )  # fmt: skip


def _model(
    args: EvaluationArguments,
    given: Collection[str],
    base: str | None,
    adapter: str | None,
    name: str | None,
    otherwise: str | None = None,
) -> Candidate:
    """A model directory, adapter or hub name, to be loaded in this process."""
    from bedside import engine, models

    named = adapter or base
    name = name or Path(named).resolve().name
    local = Path(named) if Path(named).is_dir() else lineage.hub_directory(named, args.model_revision)
    if local and lineage.resolve(str(local)).task == "SEQ_CLS":
        return _reward_model(args, str(local), name)
    origin = engine.find(base, adapter)
    resolved = origin.resolved
    bare = False
    if not args.template_name and not otherwise:
        tokenizer = models.load_tokenizer(
            args.tokenizer_path or origin.tokenizer_path, resolved.revision, args.cache_dir, args.trust_remote_code
        )
        bare = not tokenizer.chat_template
    # A base reads documents without a template; loading asks for one all the same, and this one adds no tokens.
    settled = engine.settle(origin, args, given, args.batch_size, "vicuna" if bare else otherwise)
    identity = {**settled.identity, "template": None} if bare else settled.identity
    about = {"model": named, **_history(resolved), "precision": settled.identity["precision"],
             "template": None if bare else settled.template.name}  # fmt: skip
    if bare:
        logs.warn(f"{named} has no chat template, so it is asked for documents only; with --template_name NAME "
                  "(python -m bedside.templates list) it answers questions too")  # fmt: skip

    def make(book: Book, settings: Settings) -> Asked:
        loaded = settled.load()
        return _asked(name, loaded, _weights(settled, loaded, settings), book, settings, named)

    sides = (registry.PROBABILITIES,) if bare else (registry.ANSWERS, registry.PROBABILITIES)
    return Candidate(
        name, identity, about, make, frozenset(sides), not bare, named, None if bare else settled.template
    )


def _reward_model(args: EvaluationArguments, path: str, name: str) -> Candidate:
    """A reward model: it scores pairs, and writes nothing. Precision and template are those of its training."""
    from bedside import engine, policy
    from bedside.inference_flags import quantisation_wish

    resolved = lineage.resolve(path)
    origin = policy.Origin(resolved, path)
    text = engine.text_side(origin, args.template_name, args.tokenizer_path, args.cache_dir, args.trust_remote_code)
    quantisation, dtype = engine.precision(origin, quantisation_wish(args), args.dtype)

    def make(book: Book, settings: Settings) -> Asked:
        from bedside import models, reward_model
        from bedside.data import tokens
        from bedside.evaluate.task import Weights

        base = models.load_base(
            resolved.base, dtype, quantisation, args.attn_implementation, None, args.device_map, resolved.revision,
            args.cache_dir, args.trust_remote_code, num_labels=1,
        )  # fmt: skip
        model, _ = reward_model.start(base, resolved.adapter, resolved.task, None)
        model.requires_grad_(False).eval()
        if cuda() and not quantisation and not args.device_map:
            model.to("cuda")
        limit = getattr(model.config.get_text_config(), "max_position_embeddings", None) or _LONGEST
        encoding = tokens.encoding_for(*text, min(limit, _LONGEST), settings.enable_thinking)
        return _asked(name, None, Weights(model, text[0], encoding), book, settings, path)

    identity = engine.identity(origin, text[1], quantisation, dtype)
    about = {"model": path, **_history(resolved), "template": text[1].name, "precision": identity["precision"]}
    return Candidate(name, identity, about, make, frozenset((registry.SCORES,)), True, path, text[1])


def cuda() -> bool:
    """Whether there is a GPU."""
    import torch

    return torch.cuda.is_available()


def _asked(name: str, engine: Any, weights: Any, book: Book, settings: Settings, path: str | None) -> Asked:
    return Asked(
        name, engine, weights, book, settings.seed, settings.batch, settings.enable_thinking, settings.system, path
    )


def _weights(settled: Settled, loaded: Any, settings: Settings) -> Any:
    from bedside.data import tokens
    from bedside.evaluate.task import Weights

    longest = min(loaded.context or _LONGEST, _LONGEST)
    encoding = tokens.encoding_for(loaded.tokenizer, settled.template, longest, settings.enable_thinking)
    return Weights(loaded.model, loaded.tokenizer, encoding)


def _history(resolved: lineage.Resolved) -> dict[str, Any]:
    """What the model's lineage says of it, for `Evaluation.about`."""
    manifest = resolved.manifest or {}
    known = ("id", "stage", "path", "how")
    return {
        "base": resolved.base,
        "lineage": manifest.get("id"),
        "stage": manifest.get("stage"),
        "parents": [{name: parent.get(name) for name in known} for parent in manifest.get("parents", [])],
    }


def circumstances(argv: list[str], script: str = "evaluation.py") -> dict[str, Any]:
    """What the numbers were made with: command, versions, commit, date, machine."""
    versions = dict(lineage.versions())
    return {
        "command": shlex.join(["python", script, *argv]),
        "commit": versions.pop("self", None),
        "versions": versions,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "hardware": hardware(),
    }


def hardware() -> str:
    """The device that computes, in words."""
    import torch

    if torch.cuda.is_available():
        return ", ".join(torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count()))
    return (
        f"CPU ({platform.processor() or platform.machine()}), {os.cpu_count()} cores, {torch.get_num_threads()} used"
    )


def refuse(candidate: Candidate, task: str) -> str | None:
    """Why this candidate cannot be asked a task, or None."""
    row = registry.TASKS.get(task)
    if row is None:
        return None
    head = f"--tasks {task}: "
    if row.asks == registry.SCORES and row.asks not in candidate.asks:
        return f"{head}examines a reward model, and {candidate.name} writes answers; leave it out"
    if registry.SCORES in candidate.asks and row.asks != registry.SCORES:
        return f"{head}{candidate.name} is a reward model, which scores answers and writes none: its task is pairs"
    if row.asks not in candidate.asks and row.asks == registry.PROBABILITIES:
        return f"{head}needs probabilities, which a server does not give; load the model here, or leave it out"
    if row.chats and not candidate.chats:
        return f"{head}{candidate.name} has no chat template; add --template_name NAME (docs/templates.md)"
    return None


def check(candidates: list[Candidate], tasks: list[str]) -> None:
    """ConfigError for every task that one of the candidates cannot be asked."""
    problems = [told for task in tasks for candidate in candidates if (told := refuse(candidate, task))]
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))
