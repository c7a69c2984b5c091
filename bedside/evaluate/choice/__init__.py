"""Multiple choice: public examination files, by likelihood and by what is written, with options in several orders."""

from bedside.evaluate.choice.exam import TASK

__all__ = ["TASK"]
