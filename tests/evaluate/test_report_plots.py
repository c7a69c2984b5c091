"""The report's pictures: what is drawn, where, and that an SVG is a harmless part of a page.

sh run_tests.sh tests/evaluate/test_report_plots.py
"""

import dataclasses
import xml.etree.ElementTree as ElementTree

import pytest

from bedside.evaluate import report
from bedside.evaluate.evaluation import Judged
from bedside.evaluate.report import cases, plots
from bedside.evaluate.said import Said
from bedside.evaluate.task import MEAN, PERPLEXITY, SHARE, Case
from tests.evaluate.report_cases import evaluation, exam

NAME = "$\\frac{1}{2}$ & <b>"


@pytest.fixture(scope="module")
def content() -> report.Content:
    judged = Judged("base", NAME, "rules", [Case(str(n), {"win": float(n % 3 > 0)}) for n in range(30)])
    made = [evaluation("base", exam(10, missed=5), 1.4), evaluation(NAME, exam(30), 1.0)]
    return report.of(made, [judged])


def test_a_point_lies_where_its_change_is(content):
    (right, missed) = plots.points(content, SHARE)
    assert (right.label, right.value, right.verdict) == (Said("right answer", "正确率"), 50.0, "better")
    assert (missed.label, missed.value) == (Said("emergency missed ↓", "漏判急症 ↓"), -50.0)
    (ppl,) = plots.points(content, PERPLEXITY)
    assert ppl.value == pytest.approx(100 * (2.718281828**-0.4 - 1), abs=1e-3)
    assert plots.points(content, MEAN) == []  # a length has no better


def test_every_picture_is_drawn_twice(content):
    found = plots.pictures(content, "s1:abc | exam.jsonl abababab")
    assert [one.name for one in found] == ["changes", "stages", "judged"]
    for one in found:
        assert one.png.startswith(b"\x89PNG") and one.svg.startswith("<svg")
        assert b"s1:abc | exam.jsonl abababab" in one.png  # its source, also when it is copied away


def test_an_svg_is_a_harmless_part_of_a_page(content):
    for one in plots.pictures(content):
        tree = ElementTree.fromstring(one.svg)
        tags = {element.tag.rpartition("}")[2] for element in tree.iter()}
        assert not {"script", "style", "metadata", "image", "foreignObject", "a"} & tags
        assert "currentColor" in one.svg
        ids = [element.get("id") for element in tree.iter() if element.get("id")]
        assert ids and all(name.startswith(f"{one.name}-") for name in ids)


def test_labels_of_an_svg_are_in_both_languages_and_names_as_they_are(content):
    (changes, _, judged) = plots.pictures(content)
    assert '<tspan lang="en">right answer</tspan><tspan lang="zh">正确率</tspan>' in changes.svg
    assert "$\\frac{1}{2}$ &amp; &lt;b&gt; &gt; base, rules" in judged.svg


def test_the_same_numbers_make_the_same_picture(content):
    assert [one.svg for one in plots.pictures(content)] == [one.svg for one in plots.pictures(content)]


def test_one_model_has_no_change_to_draw():
    assert plots.pictures(report.of([evaluation("base", exam(10))])) == []


def test_nothing_that_is_no_number_is_drawn():
    broken = [Case(f"exam.jsonl:{n}", {"right": None, "length": float("nan")}) for n in range(1, 41)]
    content = report.of([evaluation("base", exam(10), 1.0), evaluation("sft", broken, float("nan"))])
    assert plots.points(content, SHARE) == plots.points(content, PERPLEXITY) == []
    assert all(one.svg for one in plots.pictures(content))


def test_letters_are_counted_over_all_orders():
    found = cases.letters([Case("1", {}, shown={"letters": ["A", "BD", ""]}), Case("2", {}, shown={"letters": None})])
    assert found == {"A": 1, "B": 1, "D": 1}


def test_letters_chosen_are_drawn():
    made = [dataclasses.replace(case, shown={**case.shown, "letters": ["A", "B"]}) for case in exam(3)]
    assert [one.name for one in plots.pictures(report.of([evaluation("base", made)]))] == ["letters"]
