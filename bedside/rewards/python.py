"""A reward function of the user's: `path/to/file.py:function` or `package.module:function`.

It has our signature `f(completion, gold, messages)`, or TRL's `f(prompts, completions, **columns)`; its parameters say
which. The file is imported because the user named it, and for no other reason.
"""

import importlib
import importlib.util
import inspect
import math
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from bedside.errors import ConfigError
from bedside.rewards.completion import Completion
from bedside.rewards.reward import FOREIGN, Gold, Messages, Reward

_OURS = ("completion", "gold", "messages")
_TRLS = ("prompts", "completions")


class WrongScore(ConfigError):
    """What a function of the user's did wrong; `row` is the completion's number in its batch, where it is known."""

    def __init__(self, text: str, row: int | None = None):
        super().__init__(text)
        self.row = row


def is_one(name: str) -> bool:
    """True for a name that points at a function and not at a reward of ours."""
    place, colon, function = name.rpartition(":")
    return bool(colon and place and function.isidentifier())


def load(name: str) -> Reward:
    """The function as a reward; ConfigError says what is missing or does not fit."""
    place, _, called = name.rpartition(":")
    module = _file(name, Path(place)) if place.endswith(".py") else _module(name, place)
    function = getattr(module, called, None)
    if not callable(function):
        known = [key for key, value in vars(module).items() if inspect.isfunction(value) and not key.startswith("_")]
        raise ConfigError(f"reward {name}: {place} has no function {called}; it has {', '.join(known) or 'none'}")
    if inspect.iscoroutinefunction(function):
        raise ConfigError(f"reward {name}: an async function; expected a plain one")
    return Reward(called, _called(name, function), FOREIGN, "what it reads itself")


def _file(name: str, path: Path) -> ModuleType:
    if not path.is_file():
        raise ConfigError(f"reward {name}: no file {path}; expected path/to/file.py:function")
    spec = importlib.util.spec_from_file_location(f"bedside_reward_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and pickling look their module up
    return _imported(name, lambda: spec.loader.exec_module(module) or module)


def _module(name: str, place: str) -> ModuleType:
    return _imported(name, lambda: importlib.import_module(place))


def _imported(name: str, work: Callable[[], ModuleType]) -> ModuleType:
    try:
        return work()
    except Exception as error:  # noqa: BLE001  the user's own code may raise anything
        where = f" (line {error.lineno})" if isinstance(error, SyntaxError) else ""
        raise ConfigError(f"reward {name}: cannot be imported: {_shown(error)}{where}") from error


def _called(name: str, function: Callable[..., Any]) -> Callable:
    try:
        parameters = inspect.signature(function).parameters
    except ValueError:
        raise ConfigError(f"reward {name}: its parameters cannot be read; wrap it in a def") from None
    if set(_TRLS) & set(parameters):
        return lambda *batch: _checked(
            name, len(batch[0]), _guarded(name, lambda: function(**columns(*batch, parameters)))
        )
    if len([one for one in parameters.values() if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]) < 3:
        wanted = f"f({', '.join(_OURS)}) or f({', '.join(_TRLS)}, **columns)"
        raise ConfigError(f"reward {name}: takes ({', '.join(parameters)}); expected {wanted}")

    def score(completions: list[Completion], golds: list[Gold], messages: list[Messages]) -> list[float | None]:
        rows = zip(completions, golds, messages, strict=True)
        found = [_guarded(name, partial(function, *row), number) for number, row in enumerate(rows)]
        return _checked(name, len(completions), found)

    return score


def columns(
    completions: list[Completion], golds: list[Gold], messages: list[Messages], parameters: Any
) -> dict[str, Any]:
    """The batch as TRL hands it over: chats as messages, fields of gold as columns; only what the function takes."""
    given: dict[str, Any] = {
        "prompts": messages,
        "completions": [[{"role": "assistant", "content": completion.text}] for completion in completions],
        "gold": golds,
        "finished": [completion.finished for completion in completions],
    }
    for field in sorted({field for gold in golds for field in gold}):
        given.setdefault(field, [gold.get(field) for gold in golds])
    takes_all = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    for field, one in parameters.items():
        named = one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)
        if named and one.default is one.empty and field not in given:
            given[field] = [None] * len(completions)
    return given if takes_all else {field: value for field, value in given.items() if field in parameters}


def _guarded(name: str, work: Callable[[], Any], row: int | None = None) -> Any:
    try:
        return work()
    except Exception as error:  # noqa: BLE001  the user's own code may raise anything
        frames = inspect.getinnerframes(error.__traceback__) if error.__traceback__ else []
        where = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
        raise WrongScore(f"reward {name}: raised {_shown(error)}{where}; mend the function", row) from error


def _shown(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".rstrip(": ")


def _checked(name: str, count: int, scores: Any) -> list[float | None]:
    """The scores as numbers; ConfigError for anything else, and for NaN, which would poison every gradient."""
    try:
        scores = list(scores)
    except TypeError:
        raise ConfigError(
            f"reward {name}: returned {type(scores).__name__}, expected one number a completion"
        ) from None
    if len(scores) != count:
        raise ConfigError(f"reward {name}: returned {len(scores)} scores for {count} completions")
    made: list[float | None] = []
    for row, score in enumerate(scores):
        try:
            number = None if score is None else float(score)
        except (TypeError, ValueError):
            told = f"reward {name}: returned {type(score).__name__}, expected a number or None"
            raise WrongScore(told, row) from None
        if number is not None and not math.isfinite(number):
            raise WrongScore(f"reward {name}: returned {number}; expected a finite number or None", row)
        made.append(number)
    return made
