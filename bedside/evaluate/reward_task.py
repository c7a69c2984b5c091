"""What a reward model thinks of a model's answers: its mean score, on questions that nobody was trained on.

A score has no unit and no zero: only differences between models that the same reward model scored mean anything. And
it is the reward model's opinion, which PPO was trained to please: read it beside what is verified.
"""

from __future__ import annotations

from bedside.errors import ConfigError
from bedside.evaluate.judging import prompt
from bedside.evaluate.judging.questions import FILE, Question, load
from bedside.evaluate.judging.scored import RewardModel
from bedside.evaluate.task import MEAN, SHARE, Case, Measure, Settings, Subject, Task


def questions(path: str, settings: Settings) -> list[Question]:
    """The questions of a file. ConfigError, before any model is loaded, where there is no reward model."""
    model(settings)
    return load(path, settings)


def model(settings: Settings) -> RewardModel:
    """The reward model of the options `reward_model_path`, `reward_template_name` and `loading`; not loaded yet."""
    path = settings.options.get("reward_model_path")
    if not path:
        raise ConfigError("the task reward needs --reward_model_path, as reward_modeling.py trains")
    options = settings.options
    return RewardModel(path, options.get("reward_template_name"), dict(options.get("loading") or {}), settings.batch)


def run(subject: Subject, items: list[Question], settings: Settings) -> list[Case]:
    """A case a question: the score of the answer, thought included, as the reward model's own template writes it."""
    answers = subject.answers([item.messages for item in items], settings.sampling, "questions")
    scores = model(settings).scores(items, answers, "scored by the reward model")
    return [
        Case(
            item.id,
            {"reward": score, "unscored": float(score is None)},
            groups={"language": item.language, **item.groups},
            shown={
                "question": item.text, "expected": prompt.reference(item), "thought": answer.thought,
                "answer": answer.answer, "finish_reason": answer.finish_reason, "where": item.where,
            },
        )
        for item, answer, score in zip(items, answers, scores, strict=True)
    ]  # fmt: skip


TASK = Task(
    "reward",
    "score of a reward model",
    "奖励模型评分",
    (
        Measure("reward", "mean score", "平均得分", MEAN),
        Measure("unscored", "too long for the reward model", "超出奖励模型长度", SHARE, "lower"),
    ),
    questions,
    run,
    file=FILE,
)
