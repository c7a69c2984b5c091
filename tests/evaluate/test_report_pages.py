"""The report's files: nothing of a model's text is more than text, every file says the same, nothing is asked for.

sh run_tests.sh tests/evaluate/test_report_pages.py
"""

import dataclasses
import json
import re
from html.parser import HTMLParser

import pytest

from bedside.clean.contamination import Hit
from bedside.evaluate import leakage, report
from bedside.evaluate.evaluation import Judged
from bedside.evaluate.report import document, html, markdown, words
from bedside.evaluate.task import Case
from tests.evaluate.report_cases import HOSTILE, evaluation, exam


@pytest.fixture(scope="module")
def content() -> report.Content:
    """Three models, of which one leaked and one writes what a page must not run; with judges and a harness."""
    hits = [Hit(f"train.jsonl:{n}", f"data/exam.jsonl:{n}", "verbatim", 1.0) for n in range(1, 11)]
    leaked = leakage.to_json(leakage.Leakage({"train.jsonl": 90}, {"data/exam.jsonl": 40}, hits))
    clean = leakage.to_json(leakage.Leakage({"other.jsonl": 7}, {"data/exam.jsonl": 40}))
    record = {
        "task": "medqa",
        "measure": "acc",
        "value": 0.31,
        "low": 0.28,
        "high": 0.34,
        "n": 1273,
        "source": "lm_eval",
    }
    made = [
        dataclasses.replace(evaluation("base", exam(10, missed=8), 1.4), leakage=clean),
        dataclasses.replace(evaluation("sft", exam(30), 1.0), leakage=leaked, records=[record]),
        evaluation(HOSTILE, exam(5, said=HOSTILE), 1.1, hardware=HOSTILE),
    ]
    judged = Judged("base", "sft", HOSTILE, [Case(str(n), {"win": float(n % 3 > 0)}) for n in range(30)], [HOSTILE])
    return report.of(made, [judged])


@pytest.fixture(scope="module")
def written(content, tmp_path_factory):
    place = tmp_path_factory.mktemp("report")
    report.write(place, content)
    return place


class Seen(HTMLParser):
    """Every tag with its attributes."""

    def __init__(self, text: str):
        super().__init__()
        self.tags, self.attributes = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]


def test_the_page_runs_nothing_and_asks_for_nothing(written):
    page = (written / "report.html").read_text(encoding="utf-8")
    seen = Seen(page)
    assert not {"script", "iframe", "img", "link", "object", "embed", "form", "foreignobject"} & set(seen.tags)
    assert [found for found in seen.attributes if found[1].startswith("on")] == []
    links = [value for _, name, value in seen.attributes if name in ("href", "src", "xlink:href", "action")]
    assert links and all(link.startswith("#") for link in links)
    assert "default-src 'none'" in page and "@import" not in page and "url(http" not in page
    assert HOSTILE not in page and "&lt;script&gt;window.hacked=1&lt;/script&gt;" in page


def test_ids_of_the_page_are_its_own(written):
    ids = [value for _, name, value in Seen((written / "report.html").read_text(encoding="utf-8")).attributes
           if name == "id"]  # fmt: skip
    assert len(ids) == len(set(ids))


def test_links_of_the_page_lead_somewhere(written):
    page = (written / "report.html").read_text(encoding="utf-8")
    wanted = set(re.findall(r'href="#([^"]+)"', page)) | set(re.findall(r"url\(#([^)]+)\)", page))
    assert wanted - set(re.findall(r'id="([^"]+)"', page)) == set()


def test_markdown_holds_model_text_as_text(written):
    text = (written / "report.md").read_text(encoding="utf-8")
    outside = re.sub(r"^(`{3,})text\n.*?^\1$", "", text, flags=re.MULTILINE | re.DOTALL)
    outside = re.sub(r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)", "", outside)
    assert "<script" not in outside and "<img" not in outside
    assert re.search(r"(?<!\\)\]\(javascript", outside) is None


def test_a_table_of_markdown_keeps_its_columns(written):
    for block in re.findall(r"(?:^\|.*\n?)+", (written / "report.md").read_text(encoding="utf-8"), re.MULTILINE):
        lines = block.strip().splitlines()
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1, block


def test_all_three_files_say_the_same(written):
    told = json.loads((written / "report.json").read_text(encoding="utf-8"))
    estimate = told["tasks"]["exam"]["measures"]["right"]["estimates"]["sft"]
    shown = f"{100 * estimate['value']:.1f} % [{100 * estimate['low']:.1f}, {100 * estimate['high']:.1f}]"
    assert shown == "75.0 % [59.8, 85.8]"
    assert shown in (written / "report.md").read_text(encoding="utf-8")
    assert shown.replace(" %", "\u00a0%") in (written / "report.html").read_text(encoding="utf-8")
    assert told["tasks"]["exam"]["measures"]["right"]["changes"]["sft"]["gained"] == 20
    assert told["tasks"]["exam"]["measures"]["missed"]["failures"]["base"][0] == "data/exam.jsonl:1"
    assert told["leakage"]["sft"]["leaked"] == 10 and told["leakage"]["base"]["severity"] == "none"


def test_the_leak_stands_before_the_first_number(written):
    text = (written / "report.md").read_text(encoding="utf-8")
    assert text.index("LEAK: 10 of 40") < text.index("## In short") < text.index("## All measures")
    assert "without leaked items" in text[: text.index("## In short")]


def test_the_report_says_where_its_numbers_come_from(written):
    text = (written / "report.md").read_text(encoding="utf-8")
    for fact in (f"s1:{'base':0>32}", "ab" * 32, "python evaluation.py --model_name_or_path sft"):
        assert fact in text
    assert f"base s1:{'base':0>32}"[:20] in text.replace("\\", "")  # and so does the small print of a picture


def test_the_page_speaks_both_languages(content):
    page = html.page(document.blocks(content), words.TITLE, "zh")
    assert '<span lang="en">right answer</span><span lang="zh">正确率</span>' in page
    assert 'id="to-zh" aria-label="中文" checked' in page and 'aria-label="English" checked' not in page


def test_markdown_in_chinese(content):
    text = markdown.page(document.blocks(content), "zh")
    assert text.startswith("# 评测报告\n") and "明显变差" in text or "明显更好" in text
    assert "## 数据来源" in text and "Where the numbers come from" not in text


def test_another_language_is_refused(content, tmp_path):
    with pytest.raises(ValueError, match=r"language is 'fr', expected one of en, zh"):
        report.write(tmp_path, content, "fr")


def test_the_terminal_keeps_to_its_width(content):
    for width in (100, 120):
        text = report.terminal.text(content, width)
        assert max(map(len, report.terminal.table(content, width).splitlines())) <= width
        assert "LEAK: 10 of 40" in text and "75.0 % [59.8, 85.8]" in text


def test_the_terminal_writes_no_control_character(tmp_path):
    made = report.of([evaluation("base", exam(1)), evaluation("a\x1b[31m\nb", exam(2))])
    text = report.terminal.text(made)
    assert "\x1b" not in text and "\na[31m b  5.0 %" in text


@pytest.mark.parametrize("names", [(), ("only",)])
def test_a_report_of_little_is_a_report(tmp_path, names):
    made = [evaluation(name, exam(0, 1)) for name in names] or [evaluation("none", [])]
    for path in report.write(tmp_path, report.of(made)):
        assert path.stat().st_size
    assert "Nothing is compared" in (tmp_path / "report.md").read_text(encoding="utf-8") or not names


def test_numbers_that_are_none_do_not_stop_the_report(tmp_path):
    broken = [Case(f"exam.jsonl:{n}", {"right": 1.0, "missed": None, "length": float("nan")}) for n in range(1, 41)]
    report.write(tmp_path, report.of([evaluation("base", exam(10), 1.0), evaluation("sft", broken, float("inf"))]))
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "sft, length: 40 of 40 values are not finite numbers" in text
    assert "NaN" not in (tmp_path / "report.json").read_text(encoding="utf-8")


def test_an_old_picture_does_not_outlive_its_report(tmp_path, content):
    report.write(tmp_path, content)
    assert {path.name for path in (tmp_path / "plots").iterdir()} >= {"changes.png", "stages.png", "judged.png"}
    (tmp_path / "plots/mine.png").write_bytes(b"kept")
    report.write(tmp_path, report.of([evaluation("sft", exam(3))]))
    assert {path.name for path in (tmp_path / "plots").iterdir()} == {"mine.png"}


def test_tensorboard_holds_the_same_numbers(tmp_path, content):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for _ in range(2):  # written anew, not added to
        report.write_scalars(tmp_path, content)
    (place,) = tmp_path.glob("01-sft")
    events = EventAccumulator(str(place)).Reload()
    (point,) = events.Scalars("exam/right")
    assert (point.step, point.value) == (1, 0.75)
    assert events.Scalars("exam/right_low")[0].value == pytest.approx(0.598, abs=1e-3)
