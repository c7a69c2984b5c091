"""Results of another harness in the report: beside ours, or alone.

sh run_tests.sh tests/evaluate/test_report_others.py
"""

import dataclasses

from bedside.evaluate import report
from bedside.evaluate.evaluation import Evaluation
from bedside.evaluate.report import record
from tests.evaluate.report_cases import evaluation, exam

SOURCE = "lm-evaluation-harness 0.4.13"
ACC = {"task": "medqa", "measure": "acc", "value": 0.25, "low": 0.2, "high": 0.31, "n": 1273, "source": SOURCE}


def test_results_of_another_harness_alone_are_shown_and_nothing_else_is_claimed(tmp_path):
    content = report.of([Evaluation("sft", {}, {}, [ACC, {**ACC, "measure": "em", "low": None, "high": None}])])
    lines = report.terminal.text(content).splitlines()
    assert "medqa  acc      sft    0.25 [0.2, 0.31]  1,273  lm-evaluation-harness 0.4.13" in lines
    assert "medqa  em       sft    0.25              1,273  lm-evaluation-harness 0.4.13" in lines
    assert "Nothing is compared: one model was evaluated, by another harness." in lines
    assert not any("no task has a result" in line.lower() for line in lines)
    report.write(tmp_path, content)
    page = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "Results of other harnesses" in page and "What the measures are" not in page


def test_two_models_of_another_harness_are_not_tested_against_each_other():
    content = report.of([Evaluation(name, {}, {}, [ACC]) for name in ("base", "sft")])
    told = " ".join(report.terminal.text(content).split())
    assert "sft and base were measured by another harness: its results stand side by side, without a paired" in told


def test_they_stand_below_our_own():
    ours = dataclasses.replace(evaluation("sft", exam(30)), records=[ACC])
    text = report.terminal.text(report.of([ours]))
    assert 0 < text.index("75.0 % [59.8, 85.8]") < text.index("medqa") < text.index("Nothing is compared")
    assert report.terminal.text(report.of([evaluation("sft", exam(30))])).count("-----\n") == 1


def test_a_long_list_is_cut_and_says_so():
    many = [{**ACC, "task": f"mmlu_{number}"} for number in range(45)]
    text = report.terminal.text(report.of([Evaluation("sft", {}, {}, many)]))
    assert "mmlu_39" in text and "mmlu_40" not in text and "and 5 more, in report.md" in text


def test_tensorboard_has_them():
    content = report.of([Evaluation("sft", {}, {}, [{**ACC, "low": None}])])
    assert dict(record.scalars(content, "sft")) == {f"{SOURCE}/medqa/acc": 0.25, f"{SOURCE}/medqa/acc_high": 0.31}


def test_where_the_curves_are_is_among_the_paths(tmp_path):
    content = report.of([evaluation("sft", exam(30))])
    assert [path.name for path in report.write(tmp_path, content, tensorboard=True)] == [
        "report.html", "report.md", "report.json", "runs",
    ]  # fmt: skip
    assert [path.name for path in report.write(tmp_path, content)] == ["report.html", "report.md", "report.json"]
