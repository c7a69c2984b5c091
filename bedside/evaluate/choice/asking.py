"""How a question is put to a model: in its own language, options below it, and what is wanted as an answer."""

from __future__ import annotations

from bedside.evaluate.choice.question import Order, Question, shown

WANTED = {
    ("en", False): "Answer with the letter of the one right option.",
    ("en", True): "Several options may be right. Answer with the letters of all right options.",
    ("zh", False): "请给出唯一正确选项的字母。",
    ("zh", True): "本题可能有多个正确选项，请给出所有正确选项的字母。",
}


def text(question: Question, order: Order) -> str:
    """The question, its options in this order one a line, and what is wanted.

    >>> text(Question("1", "Which?", (("A", "gout"), ("B", "flu")), frozenset("A")), (0, 1)).splitlines()[:3]
    ['Which?', 'A. gout', 'B. flu']
    """
    lines = [question.text, *(f"{letter}. {told}" for letter, told in shown(question, order))]
    return "\n".join([*lines, WANTED[question.language, question.several]])


def chat(asked: str, system: str | None = None) -> list[dict]:
    """The messages of one question."""
    before = [{"role": "system", "content": system}] if system else []
    return [*before, {"role": "user", "content": asked}]
