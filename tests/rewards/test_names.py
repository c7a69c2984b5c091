"""Does an answer name the right thing, and nothing else in its place? Tables of answers in both languages.

sh run_tests.sh tests/rewards/test_names.py
"""

import json

import pytest

from bedside.errors import DataError
from bedside.rewards import Completion
from bedside.rewards.completion import plain
from bedside.rewards.names import Names
from bedside.rewards.words import key

ASKED = [{"role": "user", "content": "What is it?"}]
GOUT = {"answer": "gout", "aliases": ["gouty arthritis"], "kind": "diagnosis"}
APPENDIX = {"answer": "急性阑尾炎", "aliases": ["阑尾炎"], "kind": "diagnosis"}
MS = {"answer": "multiple sclerosis", "aliases": ["MS"], "kind": "diagnosis"}
NAMES = Names()


def score(text: str, gold: dict, names: Names = NAMES) -> float | None:
    return names(Completion(text, True), gold, ASKED)


@pytest.mark.parametrize("text, wanted", [
    ("gout", 1), ("Gout.", 1), ("**Gout**", 1), ("GOUT", 1), ("Yes, gout.", 1), ("gouty arthritis", 1),
    ("This is most likely gout, which is looked after by rheumatology. Joint fluid excludes septic arthritis.", 1),
    ("A painful joint with high uric acid: gout (gouty arthritis).", 1),
    ("Gout rather than septic arthritis.", 1), ("Gout is the most likely diagnosis.", 1),
    ("This is most likely gout. Septic arthritis is possible.", 1),
    ("Septic arthritis is unlikely. The diagnosis is gout.", 1),
    ("It is not septic arthritis but gout.", 1), ("Gout cannot be excluded; most likely gout.", 1),
    ("The answer is septic arthritis. The answer is gout.", 1),
    ("<think>\nSeptic arthritis?\n</think>\n\ngout", 1),
    ("", 0), ("I do not know.", 0), ("<think>\ngout\n</think>\n\nI do not know.", 0), ("<think>\ngout", 0),
    ("gout or septic arthritis", 0), ("Gout, septic arthritis, cellulitis", 0), ("septic arthritis, gout", 0),
    ("Most likely gout or septic arthritis.", 0), ("Either gout or pseudogout.", 0), ("gout/foo", 0),
    ("foo or gout", 0),
    ("It is not gout.", 0), ("It isn't gout.", 0), ("Septic arthritis rather than gout.", 0), ("Gout is unlikely.", 0),
    ("Rule out gout.", 0), ("Gout has been ruled out.", 0), ("No evidence of gout.", 0), ("Is it gout?", 0),
    ("This is most likely septic arthritis. Gout is possible.", 0), ("pseudogout", 0), ("pseudo-gout", 0),
    ("The answer is gout. The answer is septic arthritis.", 0),
    ("foo disease, bar syndrome, gout", 0), ("1. foo disease\n2. bar syndrome\n3. gout", 0),
    ("Foo disease. Bar syndrome. Gout.", 0), ("It may be foo. It may be gout. It may be bar.", 0),
    ("Most likely gout. Most likely foo.", 0), ("<answer>foo</answer><answer>bar</answer><answer>gout</answer>", 0),
])  # fmt: skip
def test_a_diagnosis_in_english(text, wanted):
    assert score(text, GOUT) == wanted


@pytest.mark.parametrize("text, wanted", [
    ("急性阑尾炎", 1), ("急性阑尾炎。", 1), ("阑尾炎", 1), ("最可能是急性阑尾炎。普外科会做超声。", 1),
    ("答案：急性阑尾炎", 1),
    ("**诊断：急性阑尾炎**\n需与异位妊娠鉴别。", 1), ("是急性阑尾炎，而不是异位妊娠。", 1),
    ("急性阑尾炎，排除异位妊娠。", 1),
    ("不能排除异位妊娠，最可能是急性阑尾炎", 1), ("考虑急性阑尾炎，异位妊娠可能性较小。", 1),
    ("不是异位妊娠，而是急性阑尾炎。", 1),
    ("您好，急性阑尾炎。", 1), ("首先考虑急性阑尾炎，鉴别诊断包括异位妊娠、急性胆囊炎。", 1),
    ("最可能是慢性阑尾炎。", 0), ("不是急性阑尾炎", 0), ("而不是急性阑尾炎，是异位妊娠", 0),
    ("急性阑尾炎、异位妊娠、急性胆囊炎", 0),
    ("急性阑尾炎或异位妊娠", 0), ("最可能是急性阑尾炎或异位妊娠。", 0), ("排除急性阑尾炎", 0),
    ("急性阑尾炎可能性小，考虑异位妊娠。", 0),
    ("可能是急性阑尾炎，可能是异位妊娠", 0), ("甲病、乙病、急性阑尾炎", 0), ("最可能是异位妊娠，不像急性阑尾炎。", 0),
    ("急性阑尾炎不太可能。", 0), ("已排除急性阑尾炎和异位妊娠。", 0), ("<think>\n急性阑尾炎\n</think>\n\n不知道", 0),
])  # fmt: skip
def test_a_diagnosis_in_chinese(text, wanted):
    assert score(text, APPENDIX) == wanted


@pytest.mark.parametrize("text, answer, kind, wanted", [
    ("heart attack", "acute myocardial infarction", "diagnosis", 1),
    ("myocardial infarction, acute", "acute myocardial infarction", "diagnosis", 1),
    ("Iron deficiency anemia", "iron-deficiency anaemia", None, 1),
    ("GERD (gastroesophageal reflux disease)", "gastro-oesophageal reflux disease", "diagnosis", 1),
    ("haemorrhoid", "hemorrhoids", None, 1), ("Ménière’s disease", "Meniere's disease", None, 1),
    ("type II diabetes", "type 2 diabetes", None, 1), ("二型糖尿病", "2型糖尿病", None, 1),
    ("chronic obstructive pulmonary disease", "chronic obstructive pulmonary disease (COPD)", None, 1),
    ("COPD", "chronic obstructive pulmonary disease (COPD)", None, 1), ("腰椎间盘突出", "腰椎间盘突出症", None, 1),
    ("chronic pancreatitis", "acute pancreatitis", "diagnosis", 0), ("chronic leukaemia", "acute leukemia", None, 0),
    ("non-small cell lung cancer", "small cell lung cancer", None, 0),
    ("left kidney stone", "right kidney stone", None, 0),
    ("type 1 diabetes", "type 2 diabetes", None, 0),
    ("Pulmonology", "respiratory medicine", "department", 1),
    ("Please see cardiology.", "cardiology", "department", 1),
    ("The most likely diagnosis is gout. It is treated by rheumatology.", "rheumatology", "department", 1),
    ("稳定型心绞痛由心内科诊治，时间上，不属于急症，可择期就诊。", "心内科", "department", 1),
    ("心血管内科", "心内科", "department", 1),
    ("心内科、呼吸内科、骨科", "骨科", "department", 0), ("神经外科", "神经内科", "department", 0),
    ("acetaminophen", "paracetamol", "drug", 1), ("治疗肺结核常用异烟肼，禁忌是阿司匹林过敏。", "异烟肼", "drug", 1),
    ("Cephalexin 500 mg", "cefalexin", "drug", 1), ("ibuprofen and paracetamol", "paracetamol", "drug", 0),
    ("Go to the emergency department now", "emergency", "urgency", 1),
    ("This is an emergency.", "emergency", "urgency", 1),
    ("It is not an emergency; a routine visit is enough.", "routine", "urgency", 1),
    ("emergency, urgent or routine", "urgent", "urgency", 0), ("不紧急，常规就诊即可。", "常规", "urgency", 1),
    ("常规", "紧急", "urgency", 0), ("急救、紧急还是常规？", "急救", "urgency", 0),
    ("查血常规，紧急就诊。", "紧急", "urgency", 1), ("最可能是痛风，查血常规。", "常规", "urgency", 0),
    ("Urgent: see a doctor today; in an emergency call 112.", "urgent", "urgency", 1),
    ("This is not an emergency. It is migraine.", "migraine", None, 1),
    ("It has action. It is a compound.", "It has action. It is a compound.", None, 1),
    ("hypotension", "hypertension", None, 0), ("The hypertensive patient", "hypertension", None, 0),
])  # fmt: skip
def test_spellings_synonyms_and_other_kinds(text, answer, kind, wanted):
    assert score(text, {"answer": answer, "kind": kind} if kind else {"answer": answer}) == wanted


@pytest.mark.parametrize("text, wanted", [
    ("MS", 1), ("ms", 1), ("This is most likely MS.", 1), ("multiple sclerosis (MS)", 1),
    ("Ms Smith has a cold.", 0), ("After 5 ms the muscle relaxes.", 0), ("programs", 0),
])  # fmt: skip
def test_an_abbreviation_is_compared_as_written(text, wanted):
    assert score(text, MS) == wanted


def test_an_abbreviation_in_brackets_belongs_to_the_name_before_it():
    # MS is also what multiple sclerosis is called; here it is no second guess.
    assert score("mitral stenosis (MS)", {"answer": "mitral stenosis", "kind": "diagnosis"}) == 1


def test_the_question_repeated_states_nothing():
    asked = [{"role": "user", "content": "Is this the gout of a man who drinks, or something else?"}]
    assert NAMES(Completion("Is this the gout of a man who drinks, or something else?", True), GOUT, asked) == 0
    assert NAMES(Completion("Gout of a man who drinks, or something else", True), GOUT, asked) == 0


def test_options_that_the_question_does_not_show_are_known_as_other_names():
    gold = {"answer": "foo fever", "options": {"A": "foo fever", "B": "bar fever"}, "kind": "choice"}
    assert score("This is foo fever.", gold) == 1
    assert score("Foo fever and bar fever", gold) == 0


def test_names_of_the_data_are_known_so_that_a_list_of_them_is_one():
    golds = [{"answer": name, "kind": "sign"} for name in ("foo's sign", "bar's sign", "baz's sign")]
    names = Names(golds=golds)
    text = "Foo's sign is positive, with Bar's sign present as well and finally Baz's sign seen."
    assert [score(text, gold, names) for gold in golds] == [0, 0, 0]
    assert score("Bar's sign", golds[1], names) == 1


def test_two_conditions_that_share_an_alias_stay_two():
    golds = [{"answer": "foo fever", "aliases": ["bad fever"]}, {"answer": "bar fever", "aliases": ["bad fever"]}]
    names = Names(golds=golds)
    assert (score("bar fever", golds[0], names), score("bad fever", golds[0], names)) == (0, 1)


def test_a_users_alias_file_in_both_forms(tmp_path):
    rows = [{"name": "gout", "aliases": ["podagra"]}]
    lines, whole = tmp_path / "a.jsonl", tmp_path / "a.json"
    lines.write_text("\n".join(map(json.dumps, rows)) + "\n\n", encoding="utf-8")
    whole.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    assert score("podagra", GOUT) == 0
    assert [score("podagra", GOUT, Names(str(path))) for path in (lines, whole)] == [1, 1]


@pytest.mark.parametrize("text, told", [
    ('{"name": "gout", "aliases": ["a"]}\n{"name": 3}', r"a\.jsonl:2: E_FIELD expected"),
    ('{"name": "gout", "aliases": ["a"]}\n{"name"', r"a\.jsonl:2: E_JSON"),
    ('{"name": "gout", "aliases": "podagra"}', r"a\.jsonl:1: E_FIELD"),
])  # fmt: skip
def test_a_bad_alias_file_names_its_line(tmp_path, text, told):
    path = tmp_path / "a.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=told):
        Names(str(path))


def test_a_missing_alias_file_is_told():
    with pytest.raises(DataError, match="none.json: E_FILE no such file"):
        Names("none.json")


@pytest.mark.parametrize("one, other", [
    ("gastro-oesophageal", "gastroesophageal"), ("leukaemia", "leucemia"), ("diarrhoea", "diarrhea"),
    ("tumours", "tumor"), ("angio-oedema", "angioedema"), ("pre-eclampsia", "preeclampsia"), ("behaviour", "behavior"),
    ("ischaemic", "ischemic"), ("orthopaedics", "orthopedic"), ("paediatric", "pediatric"), ("fibre", "fiber"),
    ("Alzheimer’s disease", "Alzheimer disease"), ("heat stroke", "heatstroke"), ("sulphate", "sulfate"),
])  # fmt: skip
def test_spellings_that_are_one(one, other):
    assert key(plain(one)) == key(plain(other))


@pytest.mark.parametrize("one, other", [
    ("hypertension", "hypotension"), ("ileum", "ilium"), ("AIDS", "AID S2"), ("hepatitis A", "hepatitis B"),
    ("prednisone", "prednisolone"), ("2型糖尿病", "1型糖尿病"),
])  # fmt: skip
def test_spellings_that_are_two(one, other):
    assert key(one) != key(other)
