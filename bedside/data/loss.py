"""Which answers of a conversation are trained on: all, unless a mark in the row or --mask_history says less."""

from typing import Any

from bedside.data.conversation import Message, RowError, kind_of

# How toolkits mark a turn: axolotl's `train` and `training`, ms-swift's `loss`, OpenAI's `weight` (0 or 1).
MARKS = ("train", "training", "loss", "weight")


def _wish(mark: str, value: Any, where: str) -> bool:
    if mark == "weight":
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise RowError("E_TYPE", f"{where}.weight is {kind_of(value)}, expected 0 or 1")
        if value not in (0, 1):
            raise RowError("E_TRAIN", f"{where}.weight is neither 0 nor 1; fractional weights are not supported")
    elif not isinstance(value, bool):
        raise RowError("E_TYPE", f"{where}.{mark} is {kind_of(value)}, expected true or false")
    return bool(value)


def marked(message: Message, turn: dict, where: str) -> Message:
    """`message` as made from the row's `turn`, with `train: False` if one of the turn's marks says so.

    Raises RowError E_TRAIN for marks that contradict one another, and for one that asks to train what is no answer.
    """
    wishes = {mark: _wish(mark, turn[mark], where) for mark in MARKS if turn.get(mark) is not None}
    if not wishes:
        return message
    if len(set(wishes.values())) > 1:
        raise RowError("E_TRAIN", f"{where}: {' and '.join(wishes)} contradict each other")
    mark, wish = next(iter(wishes.items()))
    if wish and message["role"] != "assistant":
        raise RowError(
            "E_TRAIN", f"{where}.{mark} asks to train a {message['role']} turn; only answers are trained on"
        )
    return message if wish or message["role"] != "assistant" else {**message, "train": False}


def unmarked(turn: Any) -> Any:
    """A turn without its marks: a preference says which answer is better, not which is trained on."""
    return {key: value for key, value in turn.items() if key not in MARKS} if isinstance(turn, dict) else turn


def trained(messages: list[Message], last_only: bool = False) -> dict[int, bool]:
    """Index of each answer -> whether it is trained on: those not marked as context, or of them `last_only`.

    >>> trained([{"role": "user"}, {"role": "assistant", "train": False}, {"role": "user"}, {"role": "assistant"}])
    {1: False, 3: True}
    """
    answers = [index for index, message in enumerate(messages) if message["role"] == "assistant"]
    return {
        index: messages[index].get("train", True) and not (last_only and index != answers[-1]) for index in answers
    }


def check_trained(messages: list[Message], last_only: bool = False) -> None:
    """Raise RowError E_NO_ANSWER if no answer is trained on."""
    if messages and messages[-1]["role"] == "assistant" and messages[-1].get("train", True):
        return  # nearly every row
    if any(trained(messages, last_only).values()):
        return
    if any(trained(messages).values()):
        which = "the last answer is marked as context and --mask_history trains no other"
    else:
        which = "every answer is marked as context"
    raise RowError("E_NO_ANSWER", f"{which}, so there is nothing to train on")
