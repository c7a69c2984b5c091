"""A planted evaluation set is found however it was disguised; a clean one is not.

sh run_tests.sh tests/clean/test_contamination.py
"""

import json
import random
from pathlib import Path

import pytest

from bedside.clean.contamination import Index, Item, find, item_of, items_of
from bedside.clean.fields import texts_of
from bedside.data import files

QUESTIONS = [
    "男性，五十六岁，突发胸骨后压榨样疼痛两小时，向左肩放射，伴大汗，心电图示下壁导联抬高，首选哪项处理？",
    "女孩九岁，浮肿少尿一周，尿色如浓茶，两周前患过扁桃体炎，血压偏高，补体下降，诊断首先考虑什么？",
    "A 34-year-old woman has drooping lids that worsen at night and improve with rest. Which antibody is likely?",
    "长期服用华法林的老人，改用下列哪种抗菌药物时，最需要缩短复查凝血指标的间隔时间？",
]
OPTIONS = [
    ["溶栓治疗", "择期造影", "观察待查", "口服止痛药"],
    ["急性肾小球肾炎", "肾病综合征", "泌尿系感染", "紫癜性肾炎"],
    ["acetylcholine receptor", "thyroid peroxidase", "mitochondrial", "smooth muscle"],
    ["复方磺胺甲噁唑", "头孢拉定", "青霉素", "阿莫西林胶囊"],
]
ITEMS = [Item(f"eval:{n}", q, tuple(o), o[0]) for n, (q, o) in enumerate(zip(QUESTIONS, OPTIONS, strict=True), 1)]
CLEAN = [
    "男性，五十六岁，反复上腹部疼痛三年，空腹加重，进食后缓解，近日黑便，首选哪项检查？",
    "女孩九岁，发热皮疹三天，口腔黏膜有白点，伴流涕咳嗽，诊断首先考虑什么？",
    "A 34-year-old woman has a painful red knee after travel. Which test should be done first?",
    "长期服用二甲双胍的老人，做增强扫描以前需要注意什么？",
]


def training(question: str, answer: str = "请遵医嘱。") -> list[tuple[str, list]]:
    return [("train:1", texts_of({"instruction": question, "input": "", "output": answer}))]


def traditional(text: str) -> str:
    from opencc import OpenCC

    return OpenCC("s2t").convert(text)


def with_options(item: Item, order: list[int]) -> str:
    return item.question + "\n" + "\n".join(f"{'ABCD'[n]}. {item.options[o]}" for n, o in enumerate(order))


DISGUISES = {
    "verbatim": (lambda item: item.question, "verbatim"),
    "punctuation": (lambda item: item.question.replace("，", ", ").replace("？", " ??").replace(" ", "  "), None),
    "width": (lambda item: item.question.replace("，", "；").upper(), None),
    "traditional": (lambda item: traditional(item.question), None),
    "shuffled": (lambda item: with_options(item, [2, 0, 3, 1]), "verbatim"),
    "embedded": (
        lambda item: f"以下是一道练习题，请仔细作答：{item.question}请写出推理过程，再给出答案。" * 1,
        "verbatim",
    ),
    "traditional, other marks, shuffled, embedded": (
        lambda item: "請看下題 " + traditional(with_options(item, [3, 2, 1, 0])).replace("，", " ") + " 謝謝",
        None,
    ),
}


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item.place)
@pytest.mark.parametrize("disguise", DISGUISES)
def test_a_planted_question_is_found(item, disguise):
    dress, how = DISGUISES[disguise]
    hits = list(find(training(dress(item)), ITEMS))
    assert [(hit.place, hit.item) for hit in hits] == [("train:1", item.place)]
    assert hits[0].share >= 0.8
    assert how in (None, hits[0].how)


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item.place)
def test_a_question_with_a_word_changed_is_found(item):
    words = item.question.split(" ") if item.question.isascii() else list(item.question)
    words[len(words) // 2] = "perhaps" if item.question.isascii() else "某"
    hits = list(find(training((" " if item.question.isascii() else "").join(words)), ITEMS))
    assert [hit.item for hit in hits] == [item.place]


@pytest.mark.parametrize("text", CLEAN)
def test_another_question_of_the_same_kind_is_not(text):
    assert list(find(training(text), ITEMS)) == []


def test_a_stem_that_many_questions_share_needs_its_options():
    item = Item(
        "eval:1", "下列关于高血压的描述，错误的是", ("盐摄入多是危险因素", "控制体重无益", "应规律服药", "可损害肾脏")
    )
    other = "下列关于高血压的描述，错误的是\nA. 与遗传有关\nB. 老人多见\nC. 常无症状\nD. 不必测血压"
    same = "下列关于高血压的描述，错误的是\nA. 可损害肾脏\nB. 应规律服药\nC. 盐摄入多是危险因素\nD. 控制体重无益"
    assert list(find(training(other), [item])) == []
    assert [hit.item for hit in find(training(same), [item])] == ["eval:1"]


def test_a_short_question_is_found_with_its_answer_only():
    item = Item("eval:1", "感冒吃什么药？", (), "多休息，多喝温水，发热超过三十八度五可以服用对乙酰氨基酚。")
    assert list(find(training("感冒吃什么药？", "不必吃药。"), [item])) == []
    hits = list(find(training("感冒吃什么药？", item.answer), [item]))
    assert [hit.item for hit in hits] == ["eval:1"]
    assert Index([Item("eval:1", "感冒吃什么药？", (), "无")]).silent[0].place == "eval:1"


def test_files_of_every_kind_give_items(tmp_path):
    (tmp_path / "a.jsonl").write_text(
        json.dumps({"question": "问题一", "options": {"A": "甲", "B": "乙"}, "answer": "A"})
    )
    (tmp_path / "b.txt").write_text("第一篇文章\n第二篇文章\n", encoding="utf-8")
    chat = {"messages": [{"role": "user", "content": "长一些的问题"}, {"role": "assistant", "content": "答"}]}
    (tmp_path / "c.jsonl").write_text(json.dumps(chat))
    assert items_of(tmp_path / "a.jsonl") == [Item(f"{tmp_path}/a.jsonl:1", "问题一", ("甲", "乙"), "")]
    assert [item.question for item in items_of(tmp_path / "b.txt")] == ["第一篇文章", "第二篇文章"]
    assert items_of(tmp_path / "c.jsonl")[0][1:] == ("长一些的问题", (), "答")


def test_rows_that_are_not_looked_for_are_told(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr("bedside.logs.warn", said.append)
    (tmp_path / "eval.jsonl").write_text(
        '{"question": "问题一", "answer": "A"}\n{"question":\n{"output": "只有回答"}\n'
    )
    assert len(items_of(tmp_path / "eval.jsonl")) == 1
    path = tmp_path / "eval.jsonl"
    assert said == [
        f"{path}: 2 rows hold no question that can be read, and are not looked for; validate_jsonl.py {path} names "
        "what is wrong"
    ]


def test_a_row_without_a_question_is_no_item():
    assert item_of("x:1", texts_of({"output": "只有回答"})) is None


def test_nothing_is_found_in_nothing():
    assert list(find([], ITEMS)) == []
    assert list(find(training("问题"), [])) == []


def test_planted_among_the_shipped_rows_all_and_nothing_else_is_found(repo):
    """Every choice question of the shipped evaluation set, shuffled among rows that hold none of them."""
    rng = random.Random(11)
    rows = [(str(r.origin), texts_of(r.value)) for r in files.read(Path(repo, "data/sft/alpaca.jsonl"))]
    items = items_of(Path(repo, "data/eval/mcq.jsonl"))
    before = {hit.place for hit in find(rows, items)}
    planted = []
    for item in items:
        order = rng.sample(range(4), 4)
        planted.append((f"planted {item.place}", texts_of({"prompt": with_options(item, order), "completion": "A"})))
    hits = list(find(rng.sample(rows + planted, len(rows) + len(planted)), items))
    assert {hit.place for hit in hits} - before == {place for place, _ in planted}
    assert all(hit.place == f"planted {hit.item}" for hit in hits if hit.place.startswith("planted"))
