"""A reward model examined on preference pairs: does it score the better answer higher, by how much, and why?

The subject is the reward model itself. Numbers of one model, with calibration, are `card`'s, those of bedside.reward;
two reward models are compared pair by pair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bedside import logs
from bedside.data import build, judged
from bedside.data.conversation import RowError
from bedside.data.ledger import Ledger
from bedside.data.pieces import Batches
from bedside.errors import ConfigError, LineageError
from bedside.evaluate import rows
from bedside.evaluate.task import MEAN, SHARE, Case, Measure, Settings, Subject, Task, Weights, spread
from bedside.reward import report

SIDES = ("chosen", "rejected")
_FILE = "data/eval/preferences.jsonl"
_CHUNK = 64  # pairs between two looks at the progress


@dataclass(frozen=True)
class Pair:
    """A checked preference pair; `groups` are its file, its language and what its row says of its fault."""

    id: str
    record: dict[str, Any]
    where: str
    groups: dict[str, str] = field(default_factory=dict)


def load(path: str, settings: Settings) -> list[Pair]:
    """The pairs of a file or directory, `settings.most` of them evenly spread. A row that is no pair is told with its
    line and counted, as in the training; DataError if none is left, ConfigError if there is no such file."""
    sources = build.sources([rows.path_of(path, _FILE, "pairs_file")], ranking=True)
    ledger = Ledger()
    names = [source.path.name for source in sources]
    reading = build.Reading(encoding=settings.options.get("encoding"))
    found = []
    for row, record in build.read_pairs(sources, ledger, reading):
        ledger.keep(row.origin)
        found.append(_pair(row, record, names))
    for detail in ledger.details:
        logs.warn(detail)
    total = ledger.total()
    bad = [f"{code} {count}" for code, count in total.dropped.items()]
    rows.tell(path, "pairs", len(found), bad, total.rows - len(found) - sum(total.dropped.values()))
    return spread(found, settings.most)


def _pair(row: Any, record: dict[str, Any], names: list[str]) -> Pair:
    file = row.origin.file.replace("\\", "/")
    name = file.rpartition("/")[2]
    name = file if names.count(name) > 1 else name
    told = row.value if isinstance(row.value, dict) else {}
    groups = {"source": name, **rows.groups_of(told, record["prompt"][-1]["content"])}
    fault = told.get("fault")
    if isinstance(fault, str) and fault.strip():
        groups["fault"] = fault.strip()
    return Pair(rows.identity(name, row.origin), record, str(row.origin), groups)


def run(subject: Subject, items: list[Pair], settings: Settings) -> list[Case]:
    """A case a pair. `accuracy` is 1 where the chosen answer scores higher, 0.5 for a tie; a pair that the model's
    template or context has no place for has no values, and says why. ConfigError for a model that gives no scores."""
    weights = _scorer(subject)
    batches = Batches(weights.tokenizer.backend_tokenizer, many=True)
    cases: list[Case] = []
    starts = range(0, len(items), _CHUNK)
    for start in logs.progress(starts, len(starts), "pairs scored", "batch"):
        some = items[start : start + _CHUNK]
        encoded = judged.encode([item.record for item in some], lambda _: SIDES, batches, weights.encoding)
        encoded = [_fitting(made, weights) for made in encoded]
        ids = [list(side.ids) for made in encoded if not isinstance(made, RowError) for side in made]
        scores = iter(_scores(weights, ids, settings.batch))
        for item, made in zip(some, encoded, strict=True):
            if isinstance(made, RowError):
                logs.warn(f"{item.where}: {made}; the pair is not scored")
                cases.append(Case(item.id, _nothing(), groups=item.groups, shown=_shown(item) | {"error": str(made)}))
                continue
            cases.append(_case(item, made, next(scores), next(scores)))
    return cases


def _scorer(subject: Subject) -> Weights:
    weights = subject.weights
    config = getattr(getattr(weights, "model", None), "config", None)
    if weights is None or getattr(config, "num_labels", None) != 1:
        raise ConfigError(
            f"the task pairs asks a reward model for scores, and {subject.name} gives none; give the directory that "
            "reward_modeling.py wrote, or drop the task"
        )
    return weights


def _fitting(made: Any, weights: Weights) -> Any:
    """The sides of a pair, or why they cannot be read: answers are never cut."""
    if isinstance(made, RowError):
        return made
    config = weights.model.config.get_text_config()
    limit = min(weights.encoding.max_length, getattr(config, "max_position_embeddings", None) or 1 << 40)
    longest = max(len(side.ids) for side in made)
    return RowError("W_OVERLONG", f"{longest} tokens, the model reads {limit}") if longest > limit else made


def _scores(weights: Weights, ids: list[list[int]], batch: int) -> list[float]:
    """Scores of rows of ids, in their order; the model's mode stays."""
    import torch

    from bedside.ppo import scores

    model, pad = weights.model, weights.tokenizer.pad_token_id

    def forward(batched: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return model(input_ids=batched, attention_mask=mask).logits[:, 0].float()

    if pad is None:
        raise LineageError("the reward model's tokenizer has no padding token; give the tokenizer it was trained with")
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    # The last id of a row is its turn end, which this scorer writes by itself.
    found = []
    for end in sorted({row[-1] for row in ids}):
        scorer = scores.SharedReward(forward, end, pad, device, batch)
        mine = [number for number, row in enumerate(ids) if row[-1] == end]
        made = scorer([scores.Case({}, ids[number][:-1], [], None) for number in mine])
        found += zip(mine, made, strict=True)
    model.train(was_training)
    return [score for _, score in sorted(found)]


def _nothing() -> dict[str, float | None]:
    return dict.fromkeys(("accuracy", "margin", "nll", "brier", "longer"))


def _case(item: Pair, sides: Sequence[Any], chosen: float, rejected: float) -> Case:
    """Values of one pair; sigmoid(margin) is the model's probability that the chosen answer is the better one (Bradley
    and Terry 1952), and `brier` its squared distance from 1 (Brier 1950)."""
    margin = np.array([chosen - rejected])
    tokens = [sum(end - start for start, end in side.spans) for side in sides]
    longer = tokens[0] - tokens[1]
    values = {
        "accuracy": float((margin > 0).sum() + 0.5 * (margin == 0).sum()),
        "margin": float(margin[0]),
        "nll": float(np.logaddexp(0, -margin[0])),
        "brier": float((1 - report.probability(margin)[0]) ** 2),
        "longer": 0.5 + 0.5 * float(np.sign(longer)),
    }
    place = int(np.digitize(longer, report.LENGTH_EDGES))
    groups = {**item.groups, "length": report.LENGTH_NAMES[place]}
    shown = {"chosen_score": chosen, "rejected_score": rejected, "tokens": tokens}
    return Case(item.id, values, groups=groups, shown=_shown(item) | shown)


def _shown(item: Pair) -> dict[str, Any]:
    record = item.record
    said = {side: "\n\n".join(turn["content"] for turn in record[side] if turn["role"] == "assistant")
            for side in SIDES}  # fmt: skip
    return {"question": record["prompt"][-1]["content"], **said, "where": item.where}


def card(cases: Sequence[Case]) -> dict[str, Any] | None:
    """The report card of bedside.reward.report (accuracy, margin, calibration, by file, by length) over the cases that
    were scored; None where fewer than two were."""
    seen = [case for case in cases if case.values["margin"] is not None]
    if len(seen) < 2:
        return None
    columns = [np.array([case.shown[name] for case in seen], float) for name in ("chosen_score", "rejected_score")]
    tokens = np.array([case.shown["tokens"] for case in seen])
    scored = report.Scored(*columns, tokens[:, 0], tokens[:, 1], [case.groups["source"] for case in seen])
    return report.report(scored)


def told(cases: Sequence[Case]) -> list[str]:
    """The card as lines for a terminal, accuracy by fault below it."""
    made = card(cases)
    if made is None:
        return ["fewer than two pairs were scored: there is no report card"]
    seen = [case for case in cases if case.values["margin"] is not None and "fault" in case.groups]
    margins = np.array([case.values["margin"] for case in seen])
    faults = report.by_group(margins, [case.groups["fault"] for case in seen])
    lines = [
        f"  {name:<34}{found['pairs']:>7}{found['accuracy']:>9.1%}   [{found['low']:.1%}, {found['high']:.1%}]"
        for name, found in faults.items()
    ]
    table = report.table(made)
    table[0] = table[0].replace("held-out pairs", "pairs         ")  # whether they are, the report's head says
    return table + (["by fault:", *lines] if lines else [])


TASK = Task(
    "pairs",
    "preference pairs, ranked by the reward model",
    "偏好对排序",
    (
        Measure("accuracy", "better answer scores higher", "优选得分更高", SHARE),
        Measure("margin", "score of better less other", "得分差", MEAN),
        Measure("nll", "loss of a pair", "每对损失", MEAN, "lower", "nats"),
        Measure("brier", "squared error of probability", "概率平方误差", MEAN, "lower"),
        Measure("longer", "always the longer answer", "总选较长的回答", SHARE, None),
    ),
    load,
    run,
    file=_FILE,
    told=told,
)
