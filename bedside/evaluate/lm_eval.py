"""Tasks of EleutherAI's lm-evaluation-harness on the model that is evaluated, through the harness's own interface.

The harness stays what it is: its prompts, its data, its metrics. Ours are the loaded model, the chat template and the
form of the results. It is no requirement: without it a sentence says how to get it.
"""

from __future__ import annotations

import difflib
import logging
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bedside import logs, thoughts
from bedside.errors import ConfigError
from bedside.evaluate.statistics import wilson
from bedside.evaluate.task import Settings, Subject
from bedside.fingerprints import file_sha256

SOURCE = "lm-evaluation-harness"
INSTALL = "pip install 'lm_eval>=0.4.9'"
# Metrics that are shares of right items, by the harness's names.
SHARES = ("acc", "acc_norm", "acc_mutual_info", "acc_bytes", "exact_match", "em", "mc1", "mc2", "pass@1")
_NEAR = 1.959964  # standard errors on both sides of a 95 % interval
_DRAWS = 1000  # of the harness's bootstrap, for metrics without a formula of their error


def check(names: Sequence[str]) -> None:
    """ConfigError where the harness is missing, a task is unknown, or its data cannot be had. Loads no model.

    A name is a task, a group or a tag of the harness, or the path of a task's YAML file.
    """
    if find_spec("lm_eval") is None:
        raise ConfigError(f"--lm_eval: {SOURCE} is not installed here; run: {INSTALL}")
    if not names:
        raise ConfigError("--lm_eval: names no task; expected names of the harness, as medqa_4options")
    manager = _manager()
    problems = []
    for name in names:
        if name in manager.task_index or Path(name).is_file():
            continue
        if name.endswith((".yaml", ".yml")):
            problems.append(f"--lm_eval {name}: no such file; expected a task's YAML file, or the name of a task")
            continue
        near = difflib.get_close_matches(name, list(manager.task_index), n=3)
        hint = f"did you mean {', '.join(near)}?" if near else "`lm_eval ls tasks` lists them"
        problems.append(f"--lm_eval {name}: {SOURCE} has no such task; {hint}")
    if problems:
        raise ConfigError(problems)
    _loaded(manager, names)


def records(subject: Subject, names: Sequence[str], settings: Settings) -> list[dict[str, Any]]:
    """The tasks' results as records of a report (`records_of`).

    A model in this process is scored as it was loaded, adapter and precision included; a server through its chat
    interface, which serves tasks that write an answer only. Raises ConfigError as `check` does.
    """
    check(names)
    import lm_eval

    manager = _manager()
    if subject.weights is None:
        _refuse_likelihood(_loaded(manager, names))
    model, chat = _model(subject, settings)
    logs.info(f"{SOURCE} {_version()}: {', '.join(names)}, {'with' if chat else 'without'} the chat template")
    results = lm_eval.simple_evaluate(
        model=model,
        tasks=list(names),
        task_manager=manager,
        batch_size=settings.batch,
        limit=settings.most,
        bootstrap_iters=_DRAWS,
        log_samples=False,
        system_instruction=settings.system,
        apply_chat_template=chat,
        random_seed=settings.seed,
        numpy_random_seed=settings.seed,
        torch_random_seed=settings.seed,
        fewshot_random_seed=settings.seed,
    )
    return records_of(results or {}, _version())


def made_of(names: Sequence[str], settings: Settings) -> dict[str, Any]:
    """What the results depend on beside the model, as JSON: task files by their content, the harness's version."""
    tasks = {name: file_sha256(Path(name)) if Path(name).is_file() else None for name in names}
    return {
        "tasks": tasks, "most": settings.most, "seed": settings.seed, "system": settings.system,
        "enable_thinking": settings.enable_thinking, "version": _version(),
    }  # fmt: skip


def records_of(results: Mapping[str, Any], version: str = "") -> list[dict[str, Any]]:
    """What `simple_evaluate` returned, as dicts with `task`, `measure`, `value`, `low`, `high`, `n`, `source`.

    The interval is the value and 1.96 of the harness's own standard errors on both sides, a share's within 0 and 1.
    Where that error is 0 (all right, or all wrong) it is Wilson's of n items, because such an error claims certainty;
    where there is none, `low` and `high` are None.

    >>> found = records_of({"results": {"t": {"alias": "t", "acc,none": 0.5, "acc_stderr,none": 0.1}}})[0]
    >>> found["measure"], found["value"], round(found["low"], 3), round(found["high"], 3)
    ('acc', 0.5, 0.304, 0.696)
    """
    source = f"{SOURCE} {version}".strip()
    found = []
    for task, metrics in results.get("results", {}).items():
        counted = results.get("n-samples", {}).get(task, {})
        n = counted.get("effective") if isinstance(counted, Mapping) else None
        for name, value in metrics.items():
            metric, _, used = name.partition(",")
            if metric.endswith("_stderr") or isinstance(value, bool) or not isinstance(value, int | float):
                continue
            if not used or not math.isfinite(value):  # alias, sample_len, a metric without items
                continue
            low, high = _interval(metric, float(value), metrics.get(f"{metric}_stderr,{used}"), n)
            measure = metric if used == "none" else f"{metric} ({used})"
            better = results.get("higher_is_better", {}).get(task, {}).get(metric)
            found.append({
                "task": task, "measure": measure, "value": float(value), "low": low, "high": high, "n": n,
                "source": source, "better": {True: "higher", False: "lower"}.get(better),
            })  # fmt: skip
    return found


def _interval(metric: str, value: float, error: Any, n: int | None) -> tuple[float | None, float | None]:
    share = metric in SHARES and 0 <= value <= 1
    known = isinstance(error, int | float) and not isinstance(error, bool) and math.isfinite(error)
    if share and n and (not known or error == 0):
        low, high = wilson(value * n, n)
        return max(0.0, float(low)), min(1.0, float(high))
    if not known:
        return None, None
    low, high = value - _NEAR * error, value + _NEAR * error
    return (max(0.0, low), min(1.0, high)) if share else (low, high)


@lru_cache(maxsize=1)
def _manager() -> Any:
    """The harness's table of tasks; its chatter is kept to warnings."""
    from lm_eval.tasks import TaskManager

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    return TaskManager()


def _version() -> str:
    from importlib.metadata import version

    return version("lm_eval")


def _loaded(manager: Any, names: Sequence[str]) -> dict[str, Any]:
    """The tasks by name, their data read; ConfigError where it cannot be."""
    found: dict[str, Any] = {}
    for name in names:
        try:
            found |= manager.load([name])["tasks"]
        except (ImportError, ModuleNotFoundError) as error:
            raise ConfigError(f"--lm_eval {name}: the task needs another package: {_line(error)}") from None
        except Exception as error:  # noqa: BLE001 - the hub, a script of the task, its YAML: all come through here
            raise ConfigError(
                f"--lm_eval {name}: {SOURCE} cannot load the task or its data: {_line(error)}; its data comes from "
                "the hub: fetch it once on a machine with a network (HF_HUB_OFFLINE unset), or check the YAML file"
            ) from None
    return found


def _line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _refuse_likelihood(tasks: Mapping[str, Any]) -> None:
    """ConfigError for tasks that need probabilities, which a chat server does not give."""
    bad = [name for name, task in tasks.items() if getattr(task, "OUTPUT_TYPE", None) != "generate_until"]
    if bad:
        raise ConfigError(
            f"--lm_eval {', '.join(bad[:5])}: scored by probabilities, which a chat server does not give; evaluate "
            "the model itself (--model_name_or_path), or take a task that writes its answer"
        )


def _model(subject: Subject, settings: Settings) -> tuple[Any, bool]:
    """The subject as the harness's model, and whether its chat template is used."""
    if subject.weights is None:
        return _server(subject.engine, settings), True
    from lm_eval.models.huggingface import HFLM

    tokenizer = subject.weights.tokenizer
    chat = bool(getattr(tokenizer, "chat_template", None))
    thinks = subject.weights.encoding.template.thinking != "none"
    # An option's letter follows a closed thought, as in our own task; answers that think are cut behind it.
    thinking = {"enable_thinking": bool(settings.enable_thinking)} if thinks and chat else {}
    if settings.enable_thinking and thinks:
        thinking["think_end_token"] = thoughts.CLOSE
    model = HFLM(
        pretrained=subject.weights.model,
        backend="causal",
        tokenizer=tokenizer,
        batch_size=settings.batch,
        **thinking,
    )
    return model, chat


def _server(engine: Any, settings: Settings) -> Any:
    from lm_eval.models.openai_completions import LocalChatCompletion

    from bedside.remote import address

    place = address.read(engine.url)
    return LocalChatCompletion(
        base_url=f"{place.base}/chat/completions",
        model=engine.name,
        tokenizer_backend=None,
        tokenized_requests=False,
        num_concurrent=engine.at_once,
        auth_token=address.key(place),
        max_gen_toks=settings.sampling.max_new_tokens,
        think_end_token=thoughts.CLOSE,
    )
