"""Questions and answers to compare, and judges that say what they are told to say."""

from bedside.answers import Answer
from bedside.evaluate.judging.questions import Question
from bedside.evaluate.judging.verdicts import TIE, A, B, settled


def question(name: str = "q", text: str = "I have a fever. What is it?", **more) -> Question:
    return Question(name, [{"role": "user", "content": text}], where=f"toy.jsonl:{len(name)}", **more)


def answer(text: str, thought: str | None = "hm", finish: str = "stop") -> Answer:
    whole = f"<think>\n{thought}\n</think>\n\n{text}" if thought else text
    return Answer(whole, thought, text, finish, 10, 20)


def many(count: int) -> tuple[list[Question], list[Answer], list[Answer]]:
    """Questions with answers that differ."""
    made = [question(f"q{number}") for number in range(count)]
    return (
        made,
        [answer(f"one {number}") for number in range(count)],
        [answer(f"two {number}") for number in range(count)],
    )


class Scripted:
    """Sees both orders; `prefers(question number)` is what the judge would say with the first model's answer in place
    A, and with the second model's there."""

    name = "scripted"

    def __init__(self, prefers):
        self.prefers = prefers

    def verdicts(self, questions, first, second):
        return [settled(*self.prefers(number)) for number in range(len(questions))]

    def told(self):
        return []


FIRST_MODEL, SECOND_MODEL, ALWAYS_A, ALWAYS_B, EVEN = (A, B), (B, A), (A, A), (B, B), (TIE, TIE)
