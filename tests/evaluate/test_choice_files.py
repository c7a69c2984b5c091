"""Files of multiple-choice questions: public formats told apart by their columns, every row kept or told.

sh run_tests.sh tests/evaluate/test_choice_files.py
"""

import json
import logging

import pytest

from bedside.answers import Sampling
from bedside.errors import ConfigError, DataError
from bedside.evaluate.choice import TASK
from bedside.evaluate.task import Settings

CMB = {
    "exam_type": "医师考试", "exam_class": "执业医师", "exam_subject": "内科", "question": "发热首先考虑？",
    "answer": "D", "question_type": "单项选择题",
    "option": {"A": "甲", "B": "乙", "C": "丙", "D": "丁", "E": "", "F": ""},
}  # fmt: skip
MEDMCQA = {"question": "q", "opa": "w", "opb": "x", "opc": "y", "opd": "z", "subject_name": "Anatomy"}


@pytest.fixture
def load(tmp_path, caplog):
    """Writes a file and reads it as the task does; `load.told()` is what was logged."""
    caplog.set_level(logging.INFO, "bedside")

    def read(name, content, encoding="utf-8", **options):
        if not isinstance(content, str):
            lines = [json.dumps(row, ensure_ascii=False) for row in content]
            content = "[" + ",\n".join(lines) + "]" if name.endswith(".json") else "\n".join(lines)
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode(encoding))
        most = options.pop("most", None)
        return TASK.load(str(path), Settings(Sampling(), most=most, options=options))

    read.told = lambda: caplog.text
    return read


def brief(questions):
    return [("".join(dict(one.options)), "".join(sorted(one.right)), one.several) for one in questions]


def test_cmb(load):
    several = {**CMB, "question_type": "多项选择题", "answer": "ABD", "exam_subject": "外科"}
    found = load("cmb.json", [CMB, several])
    assert brief(found) == [("ABCD", "D", False), ("ABCD", "ABD", True)]
    assert found[0].language == "zh"
    assert found[0].groups["department"] == "内科" and found[1].groups["department"] == "外科"
    assert found[0].groups["exam"] == "执业医师"
    assert found[0].groups["options"] == "4 options (chance 25 %)"
    assert found[1].chance == 1 / 15  # of the sets of four options that are not empty
    assert "2 question(s), 1 of them with several answers" in load.told()


def test_a_question_of_several_answers_stays_one_where_it_has_a_single_one(load):
    assert brief(load("x.jsonl", [{**CMB, "question_type": "多项选择题"}])) == [("ABCD", "D", True)]


@pytest.mark.parametrize("name", ["cmb.json", "cmb.jsonl"])
def test_chinese_files_in_gbk_are_recognised(load, name):
    assert brief(load(name, [CMB, CMB], "gbk")) == [("ABCD", "D", False)] * 2
    assert "not UTF-8; read as GB18030" in load.told()


def test_cmb_test_split_finds_its_answers_beside_it(load, tmp_path):
    question = {key: value for key, value in CMB.items() if key != "answer"}
    (tmp_path / "CMB-test-choice-answer.json").write_text('[{"id": 7, "answer": "C"}]', encoding="utf-8")
    found = load("CMB-test-choice-question-merge.json", [{**question, "id": 7}, {**question, "id": 8}])
    assert brief(found) == [("ABCD", "C", False)]
    assert "E_NO_ANSWER" in load.told() and "1 of 2 rows are left out" in load.told()
    assert TASK.load(str(tmp_path / "CMB-test-choice-answer.json"), Settings(Sampling())) == []


def test_cmexam_table_in_gbk(load):
    text = 'Question,Options,Answer,Clinical Department\n问一,"A 甲\nB 乙\nC 丙",B,内科\n问二,"A 甲\nB 乙",,眼科\n'
    found = load("test_with_annotations.csv", text, "gbk")
    assert brief(found) == [("ABC", "B", False)]
    assert found[0].groups["department"] == "内科"
    assert "test_with_annotations.csv:5: E_NO_ANSWER" in load.told()


def test_cmexam_json(load):
    options = [{"key": "A", "value": "甲"}, {"key": "B", "value": "乙"}]
    assert brief(load("x.json", [{"Question": "问", "Options": options, "Answer": "AB"}])) == [("AB", "AB", True)]


def test_medqa(load):
    row = {"question": "q", "options": {"A": "gout", "B": "flu"}, "answer": "gout", "answer_idx": "A",
           "meta_info": "step1"}  # fmt: skip
    found = load("medqa.jsonl", [row, {**row, "answer": "flu"}, {**row, "meta_info": "卫生法规"}])
    assert [one.groups["exam"] for one in found] == ["step1", "卫生法规"]
    assert "medqa.jsonl:2: E_CHOICE answer_idx and answer name different options" in load.told()


@pytest.mark.parametrize(
    ("cops", "letters", "told"),
    [
        ([0, 1, 3], "ABD", "cop counts from 0 (it is 0 at"),
        ([1, 4, 2], "ADB", "cop counts from 1 (it is 4 at"),
        ([1, 2, 3], "BCD", "an assumption, as on the hub"),
        (["1", "4", "2"], "ADB", "cop counts from 1"),
    ],
)
def test_medmcqa_counts_from_what_the_whole_file_says(load, cops, letters, told):
    found = load("medmcqa.json", "\n".join(json.dumps({**MEDMCQA, "cop": cop}) for cop in cops))
    assert ["".join(one.right) for one in found] == list(letters)
    assert told in load.told()


def test_medmcqa_asks_the_explanations_where_cop_does_not_tell(load):
    rows = [{**MEDMCQA, "cop": 2, "exp": "Ans. is 'b' i.e., x"}, {**MEDMCQA, "cop": 3, "exp": "Ans. (c)"}]
    assert brief(load("m.jsonl", rows)) == [("ABCD", "B", False), ("ABCD", "C", False)]
    assert "taken to count from 1 (explanations that agree: 2, that do not: 0)" in load.told()


def test_medmcqa_that_counts_both_ways_is_refused(load):
    with pytest.raises(DataError, match=r"m.jsonl:2: E_CHOICE cop is 4 here and 0 at .*m.jsonl:1"):
        load("m.jsonl", [{**MEDMCQA, "cop": 0}, {**MEDMCQA, "cop": 4}])


def test_medmcqa_test_split_without_answers(load):
    with pytest.raises(DataError, match="E_NO_ANSWER none of 1 row"):
        load("m.jsonl", [{**MEDMCQA, "cop": -1}])


def test_mmlu_without_a_header(load):
    found = load("anatomy_test.csv", '"Which, then?",1,2,3,4,B\nWhat?,a,b,c,d,D\nshort,1\n')
    assert brief(found) == [("ABCD", "B", False), ("ABCD", "D", False)]
    assert found[0].text == "Which, then?" and found[0].groups["department"] == "anatomy"
    assert "anatomy_test.csv:3: E_CSV 2 cells, expected 6" in load.told()


def test_mmlu_with_a_header(load):
    assert brief(load("x.csv", ",Question,A,B,C,D,Answer\n0,q,w,x,y,z,C\n")) == [("ABCD", "C", False)]


def test_an_option_called_correct_is_no_header(load):
    assert brief(load("ethics_test.csv", "Which?,Correct,Wrong,A\nWhat?,x,y,B\n")) == [
        ("AB", "A", False),
        ("AB", "B", False),
    ]


def test_a_header_without_a_question_is_no_row(load):
    with pytest.raises(DataError, match="E_SCHEMA none of 1 row"):
        load("x.csv", "text,A,B,C,D\nq,w,x,y,A\n")


def test_mmlu_of_the_hub(load):
    row = {"question": "q", "subject": "anatomy", "choices": ["3", "2", "1", "0"], "answer": 1}
    found = load("x.jsonl", [row, {**row, "answer": 4}])
    assert brief(found) == [("ABCD", "B", False)]  # 1 is the second choice, although one of them reads "1"
    assert "x.jsonl:2: E_CHOICE answer is 4, expected 0 to 3" in load.told()
    table = "question,choices,answer\nq,\"['3', '2', '1', '0']\",1\n"
    assert brief(load("x.csv", table)) == [("ABCD", "B", False)]


@pytest.mark.parametrize(
    "row",
    [
        {"data": {"Question": "q", "Options": {"A": "1", "B": "2"}, "Correct Option": "B"}, "id": "x"},
        {"sent1": "q", "sent2": "", "ending0": "a", "ending1": "b", "label": 1},
        {"question": "q", "choices": {"text": ["a", "b"], "label": ["A", "B"]}, "answerKey": "B"},
        {"question": {"stem": "q", "choices": [{"label": "A", "text": "a"}, {"label": "B", "text": "b"}]},
         "answerKey": "B"},
        {"question": "q", "options": ["A. gout", "B. flu"], "answer": "B. flu"},
        {"question": "q", "options": "A.gout B.flu C.cold", "answer": "(b)"},
        {"question": "with options", "Question": "open", "options": {"A": "x", "B": "y"}, "answer": "y"},
    ],
)  # fmt: skip
def test_other_shapes_of_the_same_exams(load, row):
    found = load("x.jsonl", [row])
    assert [sorted(one.right) for one in found] == [["B"]]
    assert found[0].text in ("q", "with options")


def test_ours(repo):
    found = TASK.load("data/eval/mcq.jsonl", Settings(Sampling()))
    assert len(found) == 160 == len({one.id for one in found})
    assert {one.groups["language"] for one in found} == {"en", "zh"}
    assert {one.groups["exam"] for one in found} == {"held_out", "seen"}


def test_rows_that_share_an_id_get_one_each(load):
    row = {"question": "q", "options": {"A": "x", "B": "y"}, "answer": "A", "id": "gout"}
    found = load("eval/mcq.jsonl", [row, row, {**row, "id": ""}])
    assert [one.id for one in found] == ["eval/mcq.jsonl:gout", "eval/mcq.jsonl:gout#2", "eval/mcq.jsonl:3"]
    assert "2 stand in it twice" in load.told()


def test_most_are_spread_evenly(load):
    rows = [{"question": f"q{n}", "options": {"A": "x", "B": "y"}, "answer": "A"} for n in range(6)]
    assert [one.text for one in load("x.jsonl", rows, most=2)] == ["q0", "q3"]


def test_a_right_option_that_stands_twice_is_told(load):
    good = {"question": "q", "options": {"A": "x", "B": "y"}, "answer": "A"}
    load("x.jsonl", [good, {"question": "q", "options": {"A": "x", "B": "x "}, "answer": "A"}])
    assert "x.jsonl:2: E_CHOICE two options say the same, and one of them is right" in load.told()


def test_more_than_five_bad_rows_are_counted(load):
    good = {"question": "q", "options": {"A": "x", "B": "y"}, "answer": "A"}
    load("x.jsonl", [good, *[{"question": "q", "options": {"A": "x"}, "answer": "A"}] * 7])
    assert load.told().count("1 option(s) with text") == 5
    assert "7 of 8 rows are left out (E_EMPTY 7)" in load.told()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no data lines"),
        ('{"messages": []}', "E_SCHEMA none of 1 row"),
        ('{"question": "q", "options": {"A": "x", "B": "y"}}', "E_NO_ANSWER none of 1 row.*CMB-test-choice-answer"),
        ("[1, 2]", "E_TYPE none of 2 row"),
    ],
)
def test_a_file_without_a_question_is_an_error(load, content, message):
    with pytest.raises(DataError, match=message):
        load("x.json", content)


def test_a_missing_file(load):
    with pytest.raises(ConfigError, match="no such file or directory"):
        TASK.load("nowhere/x.json", Settings(Sampling()))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"choice_by": ["guess"]}, "--choice_by guess: expected likelihood, generation, or both"),
        ({"choice_score": "word"}, "--choice_score word: expected letter or text"),
        ({"choice_permutations": 0}, "--choice_permutations 0: expected at least 1"),
        (
            {"choice_score": "text", "choice_by": ["generation"]},
            "--choice_score text: belongs to --choice_by likelihood",
        ),
        ({"choice_score": "text", "choice_by": ["likelihood"], "choice_permutations": 2}, "none are moved; drop one"),
    ],
)
def test_wrong_options_are_refused_before_a_model_is_loaded(options, message):
    with pytest.raises(ConfigError, match=message):
        TASK.load("data/eval/mcq.jsonl", Settings(Sampling(), options=options))
