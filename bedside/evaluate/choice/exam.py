"""The task: questions with options, by likelihood (all rotations of the options) and by what the model writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import bedside.evaluate.choice.bias as bias
import bedside.evaluate.choice.files as files
import bedside.evaluate.choice.generation as generation
import bedside.evaluate.choice.likelihood as likelihood
from bedside import logs
from bedside.errors import ConfigError
from bedside.evaluate.choice.generation import Reply
from bedside.evaluate.choice.likelihood import Scored
from bedside.evaluate.choice.question import Question, expected, named
from bedside.evaluate.task import MEAN, Case, Measure, Settings, Subject, Task

LIKELIHOOD, GENERATION = "likelihood", "generation"
_SLIGHT = 0.5  # of the probability: below, the letters are not what the model would say

MEASURES = (
    Measure("accuracy", "multiple choice, right", "选择题正确率"),
    Measure("accuracy_likelihood", "choice by likelihood, right", "选择题正确率（似然）"),
    Measure("accuracy_normalised", "choice by likelihood per byte", "选择题正确率（似然/字节）"),
    Measure("parsed", "choice answer readable", "选择题答案可识别"),
    Measure("partial", "several answers, part right", "多选题部分得分"),
    Measure("consistent", "same option in every order", "选项换序后答案一致"),
    Measure("position_bias", "letter stays as options move", "选项位置偏好", better="lower"),
    Measure("probability", "probability of right option", "正确选项的概率", MEAN),
    Measure("letter_mass", "probability a letter is first", "首个词元为选项字母的概率", MEAN, None),
    Measure("consistent_likelihood", "by likelihood, same option", "选项换序后答案一致（似然）"),
    Measure("position_bias_likelihood", "by likelihood, letter stays", "选项位置偏好（似然）", better="lower"),
)


def ways(settings: Settings, has_weights: bool) -> tuple[str, ...]:
    """How questions are scored: what `choice_by` names, or all that the model allows.

    Raises ConfigError for another word, and for likelihood alone where only answers can be had.
    """
    told = settings.options.get("choice_by") or (LIKELIHOOD, GENERATION)
    told = [told] if isinstance(told, str) else list(told)
    told = [LIKELIHOOD, GENERATION] if told == ["both"] else told
    for name in told:
        if name not in (LIKELIHOOD, GENERATION):
            raise ConfigError(f"--choice_by {name}: expected likelihood, generation, or both")
    if has_weights or LIKELIHOOD not in told:
        return tuple(told)
    if told == [LIKELIHOOD]:
        raise ConfigError(
            "--choice_by likelihood: a server gives answers and no probabilities; take --choice_by generation, or "
            "give the model itself"
        )
    logs.info("multiple choice: by what the server writes; likelihood needs the model itself")
    return (GENERATION,)


def load(path: str, settings: Settings) -> list[Question]:
    """The questions of the files; ConfigError for options of the task that cannot be."""
    by = ways(settings, True)
    score = settings.options.get("choice_score") or likelihood.LETTER
    if score not in (likelihood.LETTER, likelihood.TEXT):
        raise ConfigError(f"--choice_score {score}: expected letter or text")
    most = settings.options.get("choice_permutations")
    if most is not None and (isinstance(most, bool) or not isinstance(most, int) or most < 1):
        raise ConfigError(f"--choice_permutations {most}: expected at least 1")
    if score == likelihood.TEXT and LIKELIHOOD not in by:
        raise ConfigError("--choice_score text: belongs to --choice_by likelihood")
    if score == likelihood.TEXT and most is not None and GENERATION not in by:
        raise ConfigError("--choice_permutations: --choice_score text shows no options, so none are moved; drop one")
    return files.load(path, settings)


def run(subject: Subject, items: list[Question], settings: Settings) -> list[Case]:
    """One case a question; measures of a way that was not asked for are None. What the letters show is logged."""
    by = ways(settings, subject.weights is not None)
    empty: list[Any] = [None] * len(items)
    scored: Sequence[Scored | None] = empty
    replies: Sequence[list[Reply] | None] = empty
    if LIKELIHOOD in by and subject.weights is not None:
        scored = likelihood.run(subject.weights, items, settings)
        _about_likelihood(items, scored)
    if GENERATION in by:
        replies = generation.run(subject, items, settings)
        _about_generation(items, replies)
    return [_case(*one, LIKELIHOOD in by) for one in zip(items, scored, replies, strict=True)]


def _case(question: Question, scored: Scored | None, replies: list[Reply] | None, weighed: bool) -> Case:
    values: dict[str, float | None] = dict.fromkeys(measure.name for measure in MEASURES)
    shown = {"where": question.where, "chance": round(question.chance, 4)}
    if weighed:
        values |= likelihood.values(question, scored)
        shown |= likelihood.told(question, scored)
    if replies is not None:
        values |= generation.values(question, replies)
        shown |= generation.told(question, replies)
    else:
        listed = "\n".join([question.text, *(f"{letter}. {text}" for letter, text in question.options)])
        shown |= {"question": listed, "expected": expected(question, tuple(range(len(question.options))))}
    return Case(question.id, values, {}, dict(question.groups), shown)


def _about_likelihood(items: Sequence[Question], scored: Sequence[Scored | None]) -> None:
    """What a reader has to know of the numbers by likelihood."""
    several = sum(one.several for one in items)
    if several:
        logs.info(f"multiple choice: {several:,} questions with several answers are scored by what is written only")
    problems = [(question, one.problem) for question, one in zip(items, scored, strict=True) if one and one.problem]
    for question, problem in problems[:5]:
        logs.warn(f"{question.where}: {problem}; counted as wrong")
    if len(problems) > 5:
        logs.warn(f"... and {len(problems) - 5:,} more questions that count as wrong")
    fitting = [
        (question, one) for question, one in zip(items, scored, strict=True) if one and one.weighed and not one.problem
    ]
    if not fitting or fitting[0][1].bytes:
        return
    found = bias.places(
        (letter, _right_letter(question, weighed.order), "".join(question.letters))
        for question, one in fitting
        for weighed, letters in zip(one.weighed, likelihood.letters_of(question, one), strict=True)
        for letter in letters
    )
    _tell(found, "by likelihood")
    masses = [likelihood.values(question, one)["letter_mass"] or 0.0 for question, one in fitting]
    mean = sum(masses) / len(masses)
    if mean < _SLIGHT:
        logs.warn(
            f"the letters of the options hold {100 * mean:.2g} % of the probability of the first token: this model "
            "would answer otherwise, so its choice by letter says little; compare --choice_by generation or "
            "--choice_score text"
        )


def _about_generation(items: Sequence[Question], replies: Sequence[list[Reply]]) -> None:
    """What a reader has to know of the numbers by generation."""
    one = [(question, reply) for question, all_of in zip(items, replies, strict=True) if not question.several
           for reply in all_of]  # fmt: skip
    unread = sum(not reply.letters for all_of in replies for reply in all_of)
    asked = sum(map(len, replies))
    if unread:
        logs.info(f"multiple choice: {unread:,} of {asked:,} answers could not be read; they count as wrong")
    found = bias.places(
        (letter, _right_letter(question, reply.order), "".join(question.letters))
        for question, reply in one
        for letter in reply.letters
    )
    _tell(found, "by what is written")


def _tell(found: bias.Places, what: str) -> None:
    (logs.warn if found.p is not None and found.p < 0.01 else logs.info)(
        f"multiple choice {bias.sentence(found, what)}"
    )


def _right_letter(question: Question, order: tuple[int, ...]) -> str:
    """The letter at which the right option stands in this order."""
    return next(letter for letter in question.letters if named(question, order, [letter]) <= question.right)


TASK = Task(
    "choice",
    "multiple choice",
    "选择题",
    MEASURES,
    load,
    run,
    files.DEFAULT,
)
