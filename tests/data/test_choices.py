"""Questions with options, KTO rows and prompts with a verifiable answer, as their data sets write them."""

import pytest

from bedside.data.choices import to_choice
from bedside.data.conversation import RowError
from bedside.data.kto import to_kto
from bedside.data.prompts import to_prompt
from bedside.data.records import detect, to_conversation

OPTIONS = {"A": "x", "B": "y", "C": "z"}
PAIRS = [("A", "x"), ("B", "y"), ("C", "z")]
SINGLE = {"question": "q", "options": PAIRS, "answers": ["B"], "kind": "single"}
MULTIPLE = {**SINGLE, "answers": ["A", "C"], "kind": "multiple"}
MEDMCQA = {"question": "q", "opa": "x", "opb": "y", "opc": "z", "opd": "w"}
FOUR = {**SINGLE, "options": [*PAIRS, ("D", "w")]}

CHOICES = {
    "ours": ({"question": "q", "options": OPTIONS, "answer_idx": "B", "answer": "y", "id": "1"}, SINGLE),
    "CMB": ({"exam_type": "t", "exam_subject": "内科", "question": "q", "answer": "B",
             "question_type": "单项选择题", "option": {**OPTIONS, "D": "", "E": " "}},
            {**SINGLE, "department": "内科"}),
    "CMB multiple": ({"question": "q", "answer": "AC", "question_type": "多项选择题", "option": OPTIONS}, MULTIPLE),
    "CMB multiple with one": ({"question": "q", "answer": "B", "question_type": "多项选择题", "option": OPTIONS},
                              {**SINGLE, "kind": "multiple"}),
    "CMExam": ({"Question": "q", "Options": "A x\nB y\nC z", "Answer": "B", "Explanation": "why",
                "Clinical Department": "d"}, {**SINGLE, "explanation": "why", "department": "d"}),
    "CMExam list": ({"Question": "q", "Options": [{"key": k, "value": v} for k, v in PAIRS], "Answer": "C,A"},
                    MULTIPLE),
    "MedQA": ({"question": "q", "answer": "y", "options": OPTIONS, "meta_info": "step1", "answer_idx": "B"}, SINGLE),
    "MedQA list": ({"question": "q", "answer": "y", "options": ["x", "y", "z"]}, SINGLE),
    "columns of a table": ({"question": "q", "options": '{"A": "x", "B": "y", "C": "z"}', "answer": "b"}, SINGLE),
    "columns of Arrow": ({"question": "q", "options": {"key": ["A", "B", "C"], "value": ["x", "y", "z"]},
                          "answer": "B"}, SINGLE),
    "numbers": ({"question": "q", "options": [1, 2.5], "answer": 1},
                {**SINGLE, "options": [("A", "1"), ("B", "2.5")]}),
    "MedMCQA": ({**MEDMCQA, "cop": 1, "exp": "why", "subject_name": "Anatomy", "choice_type": "multi"},
                {**FOUR, "explanation": "why", "department": "Anatomy"}),
    "MedMCQA without exp": ({**MEDMCQA, "cop": "1", "exp": None}, FOUR),
}  # fmt: skip


@pytest.mark.parametrize("name", CHOICES)
def test_choices(name):
    row, choice = CHOICES[name]
    assert to_choice(row) == choice
    assert detect(row) == "choice"


BAD_CHOICES = {
    "no choice": ({"question": "q", "answer": "a"}, "E_SCHEMA fields question, answer: expected a question"),
    "no row": ([], "E_TYPE the row is list, expected object"),
    "no answer": ({"question": "q", "options": OPTIONS}, r"E_FIELD no field 'answer' \(has: question, options\)"),
    "null answer": ({"question": "q", "options": OPTIONS, "answer": None}, "E_NULL answer is null"),
    "one option": ({"question": "q", "options": {"A": "x", "B": ""}, "answer": "A"}, "E_EMPTY options: 1 option"),
    "another letter": ({"question": "q", "options": OPTIONS, "answer": "D"}, "E_CHOICE answer names an option"),
    "another text": ({"question": "q", "options": OPTIONS, "answer": "不"}, "E_CHOICE answer is neither letters"),
    "two answers": ({"question": "q", "options": OPTIONS, "answer_idx": "B", "answer": "x"},
                    "E_CHOICE answer_idx and answer name different options"),
    "letters twice": ({"question": "q", "options": "A x\nA y", "answer": "A"}, "E_CHOICE options: two options have"),
    "names": ({"question": "q", "options": {"first": "x", "second": "y"}, "answer": "A"}, "E_CHOICE options: an opt"),
    "lines": ({"question": "q", "options": "x\ny", "answer": "A"}, "E_CHOICE options: expected one option a line"),
    "no JSON": ({"question": "q", "options": "{x", "answer": "A"}, "E_CHOICE options is text that begins like JSON"),
    "number": ({"question": "q", "options": 3, "answer": "A"}, "E_TYPE options is int, expected object or list"),
    "option": ({"question": "q", "options": [["x"], "y"], "answer": "A"}, "E_TYPE options.A is list, expected string"),
    "counts from 1": ({**MEDMCQA, "cop": 4}, "E_CHOICE cop is 4, expected 0 to 3; in a file that counts from 1, subt"),
    "test split": ({**MEDMCQA, "cop": -1}, "E_NO_ANSWER cop is -1: a question without its answer"),
    "no cop": ({**MEDMCQA, "cop": None}, "E_TYPE cop is null, expected a number from 0 to 3"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_CHOICES)
def test_choices_that_cannot_be_used(name):
    row, message = BAD_CHOICES[name]
    with pytest.raises(RowError, match=f"^{message}"):
        to_choice(row)


def test_a_question_with_options_is_trained_as_a_dialogue():
    row = {"question": "哪个？", "options": {"A": "甲", "B": "乙"}, "answer": "AB", "explanation": "因为。"}
    assert to_conversation(row)["messages"] == [
        {"role": "user", "content": "哪个？\nA. 甲\nB. 乙"},
        {"role": "assistant", "content": "因为。\n\n答案：A. 甲；B. 乙"},
    ]
    answer = to_conversation({"question": "Which?", "options": ["x", "y"], "answer": "y"})["messages"][1]
    assert answer["content"] == "Answer: B. y"


def test_the_thought_of_a_row_that_has_both_is_kept():
    row = {"question": "q", "options": OPTIONS, "answer": "B", "Question": "Q", "Complex_CoT": "t", "Response": "r"}
    assert detect(row) == "medical_o1"
    assert to_choice(row) == SINGLE


U, A = {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}
KTO = {
    "prompt": {"prompt": "q", "completion": "a", "label": True},
    "messages in both": {"prompt": [U], "completion": [A], "label": True},
    "messages and text": {"prompt": [U], "completion": "a", "label": 1},
    "messages": {"messages": [U, A], "label": True},
    "a table's words": {"prompt": "q", "completion": "a", "label": "True"},
    "tag": {"messages": [U, A], "kto_tag": True},
    "conversations": {
        "conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}],
        "kto_tag": True,
    },
    "alpaca": {"instruction": "q", "input": "", "output": "a", "kto_tag": True},
}


@pytest.mark.parametrize("name", KTO)
def test_labelled_answers(name):
    assert to_kto(KTO[name]) == {"prompt": [U], "completion": [A], "label": True}
    tag = "label" if "label" in KTO[name] else "kto_tag"
    assert to_kto({**KTO[name], tag: False})["label"] is False
    assert detect(KTO[name]) == "kto"
    with pytest.raises(RowError, match=r"E_SCHEMA .*looks like KTO data \(answers labelled good or bad\), not SFT"):
        to_conversation(KTO[name])


BAD_KTO = {
    "no label": ({"prompt": "q", "completion": "a"}, "E_SCHEMA fields prompt, completion: expected label or kto_tag"),
    "word": (
        {"prompt": "q", "completion": "a", "label": "good"},
        "E_LABEL label is neither true nor false",
    ),
    "number": ({"prompt": "q", "completion": "a", "label": 2}, "E_LABEL label is neither true nor false"),
    "null": ({"prompt": "q", "completion": "a", "label": None}, "E_NULL label is null"),
    "both": ({"prompt": "q", "completion": "a", "label": True, "kto_tag": False}, "E_LABEL label and kto_tag contra"),
    "no completion": ({"prompt": "q", "label": True}, r"E_FIELD no field 'completion' \(has: prompt\)"),
    "no answer": ({"messages": [U], "label": True}, "E_NO_ANSWER"),
    "no row": ("x", "E_TYPE the row is string, expected object"),
}


@pytest.mark.parametrize("name", BAD_KTO)
def test_labelled_answers_that_cannot_be_used(name):
    row, message = BAD_KTO[name]
    with pytest.raises(RowError, match=message):
        to_kto(row)


PROMPT = {"prompt": [U], "answer": "a"}
PROMPTS = {
    "prompt": ({"prompt": "q", "solution": " a "}, PROMPT),
    "question": ({"question": "q", "answer": "a"}, PROMPT),
    "problem": ({"problem": "q", "solution": "steps", "answer": "a"}, PROMPT),
    "ground truth first": ({"prompt": "q", "answer": "long", "ground_truth": "a"}, PROMPT),
    "messages": ({"prompt": [U], "ground_truth": "a"}, PROMPT),
    "verl": ({"prompt": [U], "reward_model": {"style": "rule", "ground_truth": "a"}}, PROMPT),
    "system": ({"system": "s", "prompt": "q", "answer": "a"},
               {**PROMPT, "prompt": [{"role": "system", "content": "s"}, U]}),
    "number": ({"question": "q", "answer": 37.5}, {**PROMPT, "answer": "37.5"}),
    "ours": ({"question": "q", "answer": "a", "aliases": ["b"], "kind": "diagnosis", "id": "1"},
             {**PROMPT, "aliases": ["b"], "kind": "diagnosis"}),
    "several answers": ({"question": "q", "answer": ["a", "b"]}, {**PROMPT, "aliases": ["b"]}),
    "HuatuoGPT-o1": ({"Open-ended Verifiable Question": "q", "Ground-True Answer": "a"}, PROMPT),
    "options": ({"question": "q", "options": ["x", "y"], "answer": "B"},
                {"prompt": [{**U, "content": "q\nA. x\nB. y"}], "answer": "B", "aliases": ["y"], "kind": "choice",
                 "options": {"A": "x", "B": "y"}}),
    "more options": ({"question": "q", "options": ["x", "y", "z"], "answer": "CA"},
                     {"prompt": [{**U, "content": "q\nA. x\nB. y\nC. z"}], "answer": "AC", "kind": "choice",
                      "options": {"A": "x", "B": "y", "C": "z"}}),
    "dose": ({"question": "q", "answer": "1,500", "unit": " mg ", "kind": "dose", "tolerance": 0.1},
             {**PROMPT, "answer": "1,500", "unit": "mg", "kind": "number", "tolerance": 0.1}),
    "unit of no number": ({"question": "q", "answer": "250-500", "unit": "mg", "kind": "dose"},
                          {**PROMPT, "answer": "250-500", "unit": "mg", "kind": "dose"}),
    "language": ({"question": "q", "answer": "a", "lang": "EN_gb"}, {**PROMPT, "lang": "en"}),
    "another language": ({"question": "q", "answer": "a", "lang": "fr"}, PROMPT),
    "red flags": ({"question": "q", "answer": "a", "red_flags": ["chest pain"]},
                  {**PROMPT, "red_flags": ["chest pain"]}),
}  # fmt: skip


@pytest.mark.parametrize("name", PROMPTS)
def test_prompts(name):
    row, prompt = PROMPTS[name]
    assert to_prompt(row) == prompt


BAD_PROMPTS = {
    "no prompt": ({"answer": "a"}, "E_SCHEMA fields answer: expected prompt or question, and its answer"),
    "no answer": ({"prompt": "q"}, "E_FIELD no field 'answer', 'solution' or 'ground_truth'"),
    "empty": ({"prompt": "q", "answer": " "}, "E_EMPTY answer is empty"),
    "truth value": ({"prompt": "q", "answer": True}, "E_TYPE answer is boolean, expected string"),
    "ends with an answer": ({"prompt": [U, A], "answer": "a"}, "E_ROLE_ORDER the prompt ends with assistant"),
    "aliases": ({"prompt": "q", "answer": "a", "aliases": "b"}, "E_TYPE aliases is string, expected list"),
    "no row": (3, "E_TYPE the row is int, expected object"),
}


@pytest.mark.parametrize("name", BAD_PROMPTS)
def test_prompts_that_cannot_be_used(name):
    row, message = BAD_PROMPTS[name]
    with pytest.raises(RowError, match=message):
        to_prompt(row)


def test_prompts_are_not_trained_as_dialogues():
    with pytest.raises(RowError, match="this looks like prompts with a verifiable answer, not SFT data"):
        to_conversation({"prompt": "q", "solution": "a"})
