"""The reward for a right answer: by options, by value, by yes or no, or by name, as the gold answer has it."""

import bedside.rewards.choice as choice
import bedside.rewards.number as number
import bedside.rewards.yes_no as yes_no
from bedside.rewards.completion import Completion
from bedside.rewards.names import Names
from bedside.rewards.reward import Gold, Messages

REFERENCE = "reference"  # a whole answer, to read and not to verify


def kind_of(gold: Gold, messages: Messages) -> str | None:
    """How an answer is checked: choice, number, yes_no or name; None for what cannot be checked.

    A question whose options are kept from the reader is answered by name.
    """
    if not gold.get("answer") or gold.get("kind") == REFERENCE:
        return None
    if gold.get("options") or gold.get("kind") == "choice":
        exam = choice.exam_of(gold, messages)
        if exam and choice.shown(exam, messages):
            return "choice"
    if yes_no.applies(gold):
        return "yes_no"
    return "number" if number.applies(gold) else "name"


class Accuracy:
    """1 if the answer is right, else 0; None for a reference, and without an answer."""

    def __init__(self, names: Names, partial: float = 0.0):
        self._names, self._partial = names, partial

    def __call__(self, completion: Completion, gold: Gold, messages: Messages) -> float | None:
        """Score one completion."""
        kind = kind_of(gold, messages)
        if kind is None:
            return None
        if kind == "choice":
            return choice.score(completion, gold, messages, self._partial)
        if kind == "yes_no":
            return yes_no.score(completion, gold, messages)
        return (
            number.score(completion, gold, messages) if kind == "number" else self._names(completion, gold, messages)
        )
