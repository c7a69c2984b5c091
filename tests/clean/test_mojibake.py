"""Wrong decodings are undone where that is certain, and clean texts are never touched.

sh run_tests.sh tests/clean/test_mojibake.py
"""

import json
from pathlib import Path

import pytest

from bedside.clean import fields
from bedside.clean.mojibake import lost, repair

TEXTS = ["发热", "患者发热咳嗽三天，应该怎么办？", "我头痛，血压140/90mmHg，怎么办", "阿莫西林胶囊0.5g每日三次。"]
CLEAN = [
    "联通",
    "Ménière’s disease",
    "蛔虫和鞭虫",
    "發熱與咳嗽",
    "naïve café – 37 °C",
    "β受体阻滞剂",
    "±2°",
    "····",
    "鍙",
    "Öğretmen",
    "résumé",
    "😀",
    "①②③",
    "¿Qué tal?",
]


@pytest.mark.parametrize("text", TEXTS)
def test_utf8_read_as_latin_1_is_undone(text):
    assert repair(text.encode().decode("latin-1")) == text


@pytest.mark.parametrize("text", TEXTS)
def test_gbk_read_as_latin_1_is_undone(text):
    assert repair(text.encode("gbk").decode("latin-1")) == text


@pytest.mark.parametrize("text", ["发热", "咳嗽", "腹痛腹泻", "恶心呕吐"])
def test_utf8_read_as_gbk_is_undone_where_all_bytes_are_there(text):
    assert repair(text.encode().decode("gb18030")) == text


def test_a_bit_of_it_inside_a_good_text_is_undone():
    assert repair("temperature 38 Â°C, patientâ€™s cough") in (
        "temperature 38 °C, patient’s cough",
        "temperature 38 °C, patient's cough",
    )


@pytest.mark.parametrize("text", CLEAN)
def test_clean_texts_stay(text):
    assert repair(text) == text


def test_no_text_of_the_shipped_data_is_repaired(repo):
    lines = [line for path in sorted(Path(repo, "data/sft").glob("*.jsonl")) for line in path.open(encoding="utf-8")]
    texts = [text.text for line in lines for text in fields.texts_of(json.loads(line))]
    assert len(texts) > 3000
    assert [text for text in texts if repair(text) != text or lost(text)] == []


@pytest.mark.parametrize(
    ("text", "places"),
    [("服用\ufffd片", 1), ("锟斤拷锟斤拷", 2), ("患者发热", 0), ("鎮ｈ呭彂鐑鍜冲椊锛屾槸鐨鏄", 4), ("鐨", 0)],
)
def test_what_lost_its_bytes_is_counted(text, places):
    assert lost(text) == places
