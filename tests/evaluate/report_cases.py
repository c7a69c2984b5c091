"""Small evaluations with numbers that are known by hand, for the tests of the report."""

from bedside.evaluate.evaluation import Evaluation
from bedside.evaluate.task import MEAN, PERPLEXITY, SHARE, Case, Measure, Task

HOSTILE = '<script>window.hacked=1</script><img src=x onerror="window.hacked=1">](javascript:alert(1)) | `x` $a$ {y}'


def _never(*_):
    raise AssertionError("a report runs no task")


EXAM = Task(
    "exam", "the exam", "考试",
    (Measure("right", "right answer", "正确率"), Measure("missed", "emergency missed", "漏判急症", SHARE, "lower"),
     Measure("length", "length", "长度", MEAN, None, "tokens")),
    _never, _never,
)  # fmt: skip
TEXTS = Task("texts", "texts", "文本", (Measure("ppl", "perplexity", "困惑度", PERPLEXITY, "lower"),), _never, _never)


def exam(right: int, of: int = 40, missed: int = 0, said: str = "Rest.") -> list[Case]:
    """`of` cases, the first `right` of them right; of the first ten `missed` are missed emergencies."""
    return [
        Case(
            f"exam.jsonl:{n}",
            {"right": float(n <= right), "missed": float(n <= missed) if n <= 10 else None, "length": 10.0 + n},
            groups={"department": "cardiology" if n % 2 else "呼吸科"},
            shown={"question": f"Question {n}?", "expected": ["rest", "sleep"], "thought": "It hurts.",
                   "answer": said, "where": f"data/exam.jsonl:{n}"},
        )
        for n in range(1, of + 1)
    ]  # fmt: skip


def texts(nats: float, tokens: int = 50, of: int = 20) -> list[Case]:
    """`of` texts of `tokens` tokens that lose `nats` each, a little more or less in turn."""
    return [
        Case(
            f"t{n}", {"ppl": tokens * (nats + 0.01 * (-1) ** n)}, {"ppl": float(tokens)}, shown={"where": f"t.txt:{n}"}
        )
        for n in range(of)
    ]


def evaluation(name: str, cases: list[Case], nats: float | None = None, **about) -> Evaluation:
    """An evaluation of the exam, and of the texts where `nats` is given."""
    tasks = {"exam": (EXAM, cases)} | ({} if nats is None else {"texts": (TEXTS, texts(nats))})
    known = {"command": f"python evaluation.py --model_name_or_path {name}", "lineage": f"s1:{name:0>32}",
             "data": {"data/exam.jsonl": "ab" * 32}}  # fmt: skip
    return Evaluation(name, {**known, **about}, tasks)
