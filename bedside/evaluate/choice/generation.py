"""Multiple choice by what a model writes: asked in words, its answer read strictly; what cannot be read is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import bedside.evaluate.choice.asking as asking
from bedside.answers import Answer
from bedside.evaluate.choice.question import Order, Question, agreement, expected, named, orders, shown
from bedside.evaluate.task import Settings, Subject
from bedside.rewards.choice import Exam, read
from bedside.rewards.completion import plain


class Reply(NamedTuple):
    """The answer to one order: `letters` as it says them, `options` what they stand for, as letters of the file."""

    order: Order
    letters: frozenset[str]
    options: frozenset[str]
    answer: Answer


def run(subject: Subject, questions: Sequence[Question], settings: Settings) -> list[list[Reply]]:
    """The replies to each question, one an order (`choice_permutations`; the file's own order alone by default)."""
    most = settings.options.get("choice_permutations") or 1
    asked = [(question, order) for question in questions for order in orders(question, most, settings.seed)]
    chats = [asking.chat(asking.text(*one), settings.system) for one in asked]
    answers = subject.answers(chats, settings.sampling, "multiple choice")
    replies: dict[int, list[Reply]] = {id(question): [] for question in questions}
    for (question, order), answer in zip(asked, answers, strict=True):
        letters = chosen(answer, question, order)
        replies[id(question)].append(Reply(order, letters, named(question, order, letters), answer))
    return [replies[id(question)] for question in questions]


def chosen(answer: Answer, question: Question, order: Order) -> frozenset[str]:
    """The letters that an answer chooses; none where it cannot be read.

    An answer that was cut off counts by what it says behind its thought; inside a thought that never ended, nothing
    is an answer. One right option is asked for: two letters are no answer to that.
    """
    options = dict(shown(question, order))
    right = frozenset(
        letter for letter in options if named(question, order, [letter]) <= question.right
    )  # how many are right tells the reader whether one text may be meant or several
    letters = read(plain(answer.answer), Exam({letter: plain(told) for letter, told in options.items()}, right))
    return letters if question.several or len(letters) == 1 else frozenset()


def values(question: Question, replies: Sequence[Reply]) -> dict[str, float | None]:
    """The measures of one question, each the mean over its orders."""
    number = len(replies)
    right = sum(reply.options == question.right for reply in replies) / number
    part = sum(
        len(reply.options) / len(question.right) if reply.options <= question.right else 0.0 for reply in replies
    )
    moved = agreement([reply.letters for reply in replies], [reply.options for reply in replies])
    return {
        "accuracy": right,
        "partial": part / number if question.several else None,
        "parsed": sum(bool(reply.letters) for reply in replies) / number,
        "consistent": moved[0] if moved else None,
        "position_bias": moved[1] if moved else None,
    }


def told(question: Question, replies: Sequence[Reply]) -> dict[str, Any]:
    """What a reader wants to see of one question: its first wrong answer whole (else its first), and what each order
    chose."""
    first = next((reply for reply in replies if reply.options != question.right), replies[0])
    answer, order = first.answer, first.order
    return {
        "question": asking.text(question, order),
        "expected": expected(question, order),
        "thought": answer.thought,
        "answer": answer.answer,
        "finish_reason": answer.finish_reason,
        "letters": ["".join(sorted(reply.letters)) for reply in replies],
        "chosen": ["".join(sorted(reply.options)) for reply in replies],
    }
