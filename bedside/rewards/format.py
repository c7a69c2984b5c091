"""Is the completion exactly a thought and an answer, ended by itself? 1 or 0."""

from typing import Any

from bedside import thoughts
from bedside.rewards.completion import Completion


def score(completion: Completion, gold: dict[str, Any], messages: list[dict[str, Any]]) -> float:
    """1 for `THOUGHT\\n</think>\\n\\nANSWER`, opened once (by the prompt or here), finished; else 0."""
    if completion.opened and completion.text.lstrip().startswith(thoughts.OPEN):
        return 0.0  # a second opening tag
    return float(thoughts.strict(completion.text, completion.finished))
