"""Two models' answers to the same questions, compared in pairs: by rules, a reward model, another model, or people."""

from bedside.evaluate.judging.choose import judge_of, judges_of
from bedside.evaluate.judging.compare import MEASURES, check, instructions, judged, told
from bedside.evaluate.judging.questions import Question, load
from bedside.evaluate.judging.verdicts import Judge, Verdict

__all__ = [
    "MEASURES",
    "Judge",
    "Question",
    "Verdict",
    "check",
    "instructions",
    "judge_of",
    "judged",
    "judges_of",
    "load",
    "told",
]
