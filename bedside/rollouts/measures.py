"""What a log row says about its rollout, whichever trainer wrote it: one name and one unit for each measure.

Names are those of `bedside.ppo.trainer`; TRL's GRPO and RLOO trainers have others, and count the KL by the token.
"""

import math
from typing import Any

# Each measure (unit in brackets), and its other names.
NAMES: dict[str, tuple[str, ...]] = {
    "reward": (),  # weighted sum of the rewards, without the KL
    "kl": (),  # policy against reference [nats an answer]
    "length": ("completions/mean_length",),  # of answers, the stop included [tokens]
    "clipped": ("completions/clipped_ratio",),  # answers cut at the length limit [share]
    "eos": (),  # answers that ended by themselves [share]
    "format": ("rewards/format/mean", "rewards/format"),  # answers in strict thought format [share]
    "entropy": (),  # of the policy [nats a token]
    "policy_loss": (),
    "value_loss": (),
    "explained_variance": (),  # of the returns, by the critic [1 is all]
    "clip_fraction": ("clip_ratio/region_mean",),  # tokens whose ratio was clipped [share]
    "ratio": ("sampling/importance_sampling_ratio/mean",),  # updated policy over the one before the update
}
_TRL_LENGTH = "completions/mean_length"


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def of(row: dict[str, Any], prefix: str = "") -> dict[str, float]:
    """The measures that a log row holds; those of held-out tasks with the prefix `eval_`.

    >>> of({"step": 8, "kl": 0.25, "completions/mean_length": 100.0, "completions/clipped_ratio": 0.25})
    {'kl': 25.0, 'length': 100.0, 'clipped': 0.25, 'eos': 0.75}
    """
    found = {}
    for name, others in NAMES.items():
        value = next((row[prefix + key] for key in (name, *others) if _number(row.get(prefix + key))), None)
        if value is not None:
            found[name] = float(value)
    if "kl" in found and _number(row.get(prefix + _TRL_LENGTH)):
        found["kl"] *= found["length"]
    for name, other in (("clipped", "eos"), ("eos", "clipped")):
        if name not in found and other in found:
            found[name] = 1.0 - found[other]
    return {name: found[name] for name in NAMES if name in found}


def rewards(row: dict[str, Any], prefix: str = "") -> dict[str, float]:
    """The single rewards of a log row: `rewards/NAME`, or `rewards/NAME/mean` as TRL has it.

    >>> rewards({"rewards/accuracy/mean": 0.5, "rewards/accuracy/std": 0.1, "rewards/length": 1.0})
    {'accuracy': 0.5, 'length': 1.0}
    """
    found, start = {}, f"{prefix}rewards/"
    for key, value in row.items():
        name, _, kind = key.removeprefix(start).partition("/")
        if key.startswith(start) and kind in ("", "mean") and _number(value):
            found[name] = float(value)
    return found


def rows(history: list[dict], prefix: str = "") -> list[dict[str, float]]:
    """`step` and the measures of each log row that has some.

    >>> rows([{"step": 1, "reward": 0.5, "lr": 1e-5}, {"step": 1, "eval_reward": 0.75}], "eval_")
    [{'step': 1, 'reward': 0.75}]
    """
    found = [{"step": row["step"], **of(row, prefix)} for row in history if "step" in row]
    return [row for row in found if len(row) > 1]


def series(measured: list[dict[str, float]], *names: str) -> list[tuple[float, ...]]:
    """`(step, value of each name)` of the `rows` that have them all, in order, as far as they are finite."""
    found = []
    for row in measured:
        values = tuple(row[name] for name in names if name in row)
        if len(values) == len(names) and all(map(math.isfinite, values)):
            found.append((row["step"], *values))
    return found
