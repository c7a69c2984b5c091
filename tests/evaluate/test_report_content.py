"""What a report says: which numbers, which verdict, which cases; worked by hand.

sh run_tests.sh tests/evaluate/test_report_content.py
"""

import dataclasses

import pytest

from bedside.clean.contamination import Hit
from bedside.errors import ConfigError, DataError
from bedside.evaluate import leakage, report
from bedside.evaluate.evaluation import Evaluation, Judged
from bedside.evaluate.report import cases, failures, numbers, tables, verdict
from bedside.evaluate.results import Change, Estimate
from bedside.evaluate.task import MEAN, PERPLEXITY, SHARE, Case, Measure
from tests.evaluate.report_cases import EXAM, evaluation, exam

RIGHT = EXAM.measures[0]


def compared(before: int, after: int, of: int = 40, **more) -> report.Content:
    return report.of([evaluation("base", exam(before, of), **more), evaluation("sft", exam(after, of), **more)])


def said(content: report.Content) -> list[str]:
    return [one.en for _, told in verdict.sentences(content) for one in told]


def test_the_numbers_are_those_of_results():
    row = compared(10, 30).rows[0]
    assert (row.estimates["base"].value, row.estimates["sft"].value, row.estimates["sft"].n) == (0.25, 0.75, 40)
    assert (row.changes["sft"].change, row.changes["sft"].gained, row.changes["sft"].lost) == (0.5, 20, 0)
    assert row.changes["sft"].verdict == "better"


def test_a_clear_gain_is_told_with_its_interval():
    told = said(compared(10, 30))
    assert told[0] == (
        "Against base, sft is clearly better in 1 of 2 measures, clearly worse in 0, and 1 show no clear change "
        "(Holm-corrected, 5 %)."
    )
    assert told[1].startswith("Clearest gains: right answer, 25.0 % → 75.0 % (+50.0 points [+")


def test_a_loss_is_told_as_plainly():
    told = said(compared(30, 10))
    assert told[1].startswith("Clearly worse: right answer, 75.0 % → 25.0 % (-50.0 points [-")


def test_no_change_is_no_proof_of_none():
    told = said(compared(20, 22))
    assert "clearly better in 0 of 2" in told[0]
    assert told[-1].startswith("No measure is clearly worse; but a change of less than ")
    assert told[-1].endswith(" items.")


def test_one_model_is_told_without_a_comparison():
    content = report.of([evaluation("sft", exam(30))])
    assert said(content) == ["Nothing is compared: one model was evaluated. right answer 75.0 % [59.8, 85.8]."]
    assert content.rows[0].changes == {}


def test_nothing_measured_is_said():
    assert said(report.of([Evaluation("sft")])) == ["No task has a result."]
    assert said(report.of([Evaluation("a"), Evaluation("b")])) == [
        "b and a share no measured item, so nothing can be compared."
    ]


def test_two_models_of_one_name_are_refused():
    with pytest.raises(ConfigError, match=r"two evaluations are called sft; give each a name of its own"):
        report.of([evaluation("sft", exam(1)), evaluation("sft", exam(2))])


def test_two_items_of_one_id_are_refused():
    twice = [*exam(1), exam(1)[0]]
    with pytest.raises(DataError, match=r"the item 'exam.jsonl:1' is there twice"):
        report.of([evaluation("base", twice), evaluation("sft", twice)])


def test_a_task_that_one_model_did_not_take_is_an_empty_cell():
    content = report.of([evaluation("base", exam(10)), evaluation("sft", exam(10), nats=1.0)])
    row = next(row for row in content.rows if row.task == "texts")
    assert set(row.estimates) == {"sft"} and row.changes == {}
    cells = [cell.text.en for cell in tables.overview(content).rows[-1]]
    assert cells[:2] == ["perplexity", "–"] and cells[2].startswith("2.72 [") and cells[3] == "20"


def test_only_clear_changes_carry_an_arrow():
    small, large = compared(20, 22), compared(10, 30)
    assert [verdict.direction(content.rows[0], "sft") for content in (small, large)] == ["", "better"]
    assert verdict.direction(large.rows[0], "base") == ""


def test_groups_are_split_and_named():
    found = compared(10, 30).rows[0].groups["department"]
    assert found["cardiology"]["base"].n == 20 and found["呼吸科"]["sft"].value == 0.75


def test_leaked_items_are_left_out_beside_the_whole():
    hits = [Hit(f"t.jsonl:{n}", f"data/exam.jsonl:{n}", "verbatim", 1.0) for n in range(1, 11)]
    found = leakage.Leakage({"t.jsonl": 9}, {"data/exam.jsonl": 40}, hits)
    one = dataclasses.replace(evaluation("sft", exam(30)), leakage=leakage.to_json(found))
    content = report.of([evaluation("base", exam(10)), one])
    row = content.rows[0]
    # Of the 30 items that are left the baseline had none right (its ten leaked), the other model 20.
    assert (row.clean["base"].value, row.clean["base"].n) == (0.0, 30)
    assert (round(row.clean["sft"].value, 4), row.clean["sft"].n) == (0.6667, 30)
    assert content.sections[0].left_out == {"base": 10, "sft": 10}
    assert said(content)[-1] == "These changes include leaked items (the exam): see above."


def test_nothing_is_left_out_without_leaks():
    assert all(row.clean == {} for row in compared(10, 30).rows)


def test_cases_of_both_directions_are_chosen():
    before = [Case(str(n), {"right": float(n < 5)}, shown={"answer": "a"}) for n in range(20)]
    after = [Case(str(n), {"right": float(n > 3)}, shown={"answer": "b"}) for n in range(20)]
    found = cases.chosen(EXAM, before, after)
    assert (found.better, found.worse, found.same, found.n) == (15, 4, 1, 20)
    assert [one.why for one in found.shown] == ["better"] * 3 + ["worse"] * 3 + ["random"] * 3
    assert len({one.after.id for one in found.shown}) == 9
    assert [one.after.id for one in found.shown] == [one.after.id for one in cases.chosen(EXAM, before, after).shown]
    assert all(one.gain == 1.0 for one in found.shown[:3]) and all(one.gain == -1.0 for one in found.shown[3:6])


@pytest.mark.parametrize("of", [0, 1])
def test_few_cases_are_shown_as_they_are(of):
    found = cases.chosen(EXAM, exam(0, of), exam(1, of))
    assert found is None if of == 0 else [one.why for one in found.shown] == ["better"]


def test_cases_without_an_answer_are_not_compared():
    silent = [Case("1", {"right": 1.0})]
    assert cases.chosen(EXAM, silent, silent) is None


def test_failures_are_what_was_not_wholly_right():
    made = [Case(name, {"right": value}) for name, value in (("a", 0.0), ("b", 1.0), ("c", 0.25), ("d", None))]
    assert [case.id for case in cases.failures(RIGHT, made)] == ["a", "c"]
    assert [case.id for case in cases.failures(dataclasses.replace(RIGHT, better="lower"), made)] == ["b", "c"]
    assert cases.failures(dataclasses.replace(RIGHT, better=None), made) == []
    assert cases.failures(Measure("right", "x", "x", MEAN), made) == []


def test_a_failure_is_named_by_its_place():
    where = Case("exam.jsonl:3", {"right": 0.25}, shown={"where": "data/exam.jsonl:3"})
    assert failures.place(where, RIGHT) == "data/exam.jsonl:3 (25 %)"
    assert failures.place(Case("q7", {"right": 0.0}, shown={"where": "x.jsonl:2"}), RIGHT) == "q7 x.jsonl:2"
    assert failures.place(Case("q7", {"right": 0.0})) == "q7"


def test_judged_pairs_are_counted():
    values = [1.0] * 6 + [0.5] * 2 + [0.0] * 2 + [None]
    judged = Judged("base", "sft", "rules", [Case(str(n), {"win": value}) for n, value in enumerate(values)])
    one = report.of([evaluation("base", exam(1)), evaluation("sft", exam(2))], [judged]).verdicts[0]
    assert (one.won, one.tied, one.lost, one.net, one.estimate.value, one.estimate.n) == (6, 2, 2, 0.4, 0.7, 10)


@pytest.mark.parametrize(("measure", "value", "text"), [
    (RIGHT, 0.625, "62.5 %"), (RIGHT, 1.0, "100.0 %"), (RIGHT, None, "–"),
    (Measure("p", "p", "p", PERPLEXITY), 4.0, "4.00"), (Measure("p", "p", "p", PERPLEXITY), 12345.678, "12,345.68"),
    (Measure("m", "m", "m", MEAN), 0.01234, "0.012"), (Measure("m", "m", "m", MEAN, None, "s"), 150.26, "150.3 s"),
    (Measure("m", "m", "m", MEAN), 123456.0, "123,456"), (Measure("m", "m", "m", MEAN), float("nan"), "–"),
    (Measure("m", "m", "m", MEAN), float("inf"), "inf"),
])  # fmt: skip
def test_a_value_is_written_in_its_unit(measure, value, text):
    assert numbers.value(measure, value) == text


def test_an_interval_has_the_decimals_of_its_value():
    tokens = Measure("m", "m", "m", MEAN, None, "tokens")
    assert numbers.estimate(Estimate(tokens, 10.2, 9.87, 10.9, 5)) == "10.2 tokens [9.9, 10.9]"
    assert numbers.estimate(Estimate(RIGHT, 1.0, None, None, 1)) == "100.0 %"
    assert numbers.estimate(None) == "–"


@pytest.mark.parametrize(("kind", "text"), [
    (SHARE, "-5.0 points [-10.0, 0.0]"), (PERPLEXITY, "-5.0 % [-10.0, 0.0]"), (MEAN, "-0.050 [-0.100, 0.000]"),
])  # fmt: skip
def test_a_change_is_written_in_its_unit(kind, text):
    found = Change(Measure("m", "m", "m", kind), 9, 0.5, 0.45, -0.05, -0.1, -0.0)
    assert numbers.change(found).en == text
