"""Tables (CSV, TSV): cells, separators, column names, encodings.

sh run_tests.sh tests/data/test_tables.py
"""

import pytest

from bedside.data import files
from bedside.data.rows import Fault, Origin, Row
from bedside.errors import DataError


def rows(path, **kwargs):
    return list(files.read(path, **kwargs))


def test_cells_of_a_table(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text('question, answer\n"a, b","say ""c""\nd"\n\n e ,f\n')
    assert rows(path) == [
        Row(Origin(str(path), 2), {"question": "a, b", "answer": 'say "c"\nd'}),
        Row(Origin(str(path), 5), {"question": " e ", "answer": "f"}),
    ]


@pytest.mark.parametrize(
    ("name", "mark", "told"),
    [
        ("rows.csv", ";", "cells are separated by semicolons, not by commas"),
        ("rows.csv", "\t", "cells are separated by tabs, not by commas"),
        ("rows.csv", "|", "cells are separated by bars, not by commas"),
        ("rows.tsv", ",", "cells are separated by commas, not by tabs"),
    ],
)
def test_cells_that_are_separated_by_something_else(tmp_path, name, mark, told):
    path = tmp_path / name
    path.write_text(f'question{mark}answer\n"a{mark} b"{mark}c\n')
    assert rows(path) == [
        Fault(Origin(str(path), 1), "I_DELIMITER", told),
        Row(Origin(str(path), 2), {"question": f"a{mark} b", "answer": "c"}),
    ]


def test_chinese_names_of_columns_are_those_that_are_known(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("科室,患者提问,医生回答\n内科,发热三天?,多喝水\n", encoding="gb18030")
    remark, told, row = rows(path)
    assert remark.code == "I_GB18030"
    assert told == Fault(
        Origin(str(path), 1), "I_HEADER",
        "科室 is read as department, 患者提问 is read as ask, 医生回答 is read as answer",
    )  # fmt: skip
    assert row == Row(Origin(str(path), 2), {"department": "内科", "ask": "发热三天?", "answer": "多喝水"})


@pytest.mark.parametrize("header", ["问题,备注", "问题,提问,回答", "问题,ask,回答"])
def test_chinese_names_that_could_mean_two_things_stay_as_they_are(tmp_path, header):
    path = tmp_path / "rows.csv"
    path.write_text(f"{header}\n{','.join('a' for _ in header.split(','))}\n", encoding="utf-8")
    (row,) = rows(path)
    assert list(row.value) == header.split(",")


def test_a_usual_separator_in_the_header_counts_alone(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("question;old,answer\na,b\n")
    assert [row.value for row in rows(path)] == [{"question;old": "a", "answer": "b"}]
    path.write_text("a;b\nc;d\n")
    assert [row.value for row in rows(path, columns=["x"])] == [{"x": "a;b"}, {"x": "c;d"}]


def test_named_columns(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("a,b\nc,d\n")
    assert [row.value for row in rows(path, columns=["x", "y"])] == [{"x": "a", "y": "b"}, {"x": "c", "y": "d"}]
    assert [row[1] for row in rows(path, columns=["x"])] == ["E_CSV", "E_CSV"]


def test_a_table_is_chinese_or_not_to_its_end(tmp_path):
    path = tmp_path / "rows.csv"
    english = b"a question,an answer\n" * 70_000  # more than what is looked at first
    path.write_bytes(b"question,answer\n" + english + "发热怎么办,多休息\n".encode("gbk") * 9)
    found = rows(path)
    assert (found[0].code, found[-1].value) == ("I_GB18030", {"question": "发热怎么办", "answer": "多休息"})
    assert found[0].detail == f"not UTF-8 (byte {16 + len(english)}); read as GB18030"
    assert found[-1].origin.line == 70_010
    path.write_bytes(path.read_bytes() + b"\xff\xff,x\n")
    with pytest.raises(DataError, match=r"rows.csv:70002: E_ENCODING byte 1470016 is not UTF-8 or"):
        rows(path)
