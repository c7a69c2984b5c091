"""Danger signs: found in either language, left out where denied; the banner names whom to call.

sh run_tests.sh tests/chatpage/test_alarms.py
"""

import json
import re

import pytest

from bedside.chatpage import alarms, texts

_CALL = re.compile(r"急救|120|急诊(?!冠)|救护车|ambulance|emergency department|911|112")

FOUND = [
    ("我胸口疼，出了一身冷汗", "chest pain with sweating, spreading pain or breathlessness"),
    ("crushing chest pain that goes into my left arm", "chest pain with sweating, spreading pain or breathlessness"),
    ("活动后胸闷，伴大汗", "chest pain with sweating, spreading pain or breathlessness"),
    ("I can't breathe properly", "trouble breathing"),
    ("He has difficulty breathing since this morning.", "trouble breathing"),
    ("孩子喘不上气，嘴唇发紫", "trouble breathing"),
    ("无明显诱因出现呼吸困难", "trouble breathing"),
    ("没有发烧，但是呼吸困难", "trouble breathing"),
    ("No fever but she is not breathing", "trouble breathing"),
    ("妈妈突然嘴角歪斜，说话不清", "signs of a stroke"),
    ("My dad's face is drooping on one side", "signs of a stroke"),
    ("weakness in the left arm and leg since an hour", "signs of a stroke"),
    ("鼻子出血不止怎么办", "heavy bleeding"),
    ("I am bleeding heavily from a cut", "heavy bleeding"),
    ("he vomited bright red blood twice", "heavy bleeding"),
    ("我不想活了", "thoughts of suicide or self-harm"),
    ("I have been thinking about killing myself", "thoughts of suicide or self-harm"),
    ("I don't want to live any more", "thoughts of suicide or self-harm"),
    ("我两个月大的宝宝发烧38.5度", "fever in an infant under three months"),
    ("My 6-week-old has a fever of 38.4", "fever in an infant under three months"),
    ("吃了花生以后嘴唇肿起来，全身痒", "a severe allergic reaction"),
    ("after a bee sting her tongue is swelling", "a severe allergic reaction"),
    ("爷爷叫不醒了", "loss of consciousness"),
    ("She passed out and will not wake up", "loss of consciousness"),
    ("孩子高烧抽搐了两分钟", "a seizure"),
    ("It is the worst headache of my life", "a sudden severe headache"),
    ("发烧三天，脖子发硬", "a stiff neck with fever or headache"),
    ("孩子误服了老鼠药", "poisoning or an overdose"),
    ("She took too many paracetamol", "poisoning or an overdose"),
    ("胸口正中像压了大石头半个多钟头，出了一身冷汗", "chest pain with sweating, spreading pain or breathlessness"),
    ("喉咙一下子肿起来发紧，浑身冒出大片痒疙瘩", "a severe allergic reaction"),
    ("关着窗烧炭盆以后头疼想吐", "poisoning or an overdose"),
    ("He worked in the sun and began talking nonsense", "confusion or drowsiness"),
    ("purple spots that do not fade when pressed", "a rash that does not fade when pressed"),
    ("胃那里突然像挨了一刀一样疼", "sudden or unbearable belly pain"),
    ("一只眼突然胀疼看不清", "sudden pain in the eye or loss of sight"),
    ("one of my testicles suddenly hurts terribly", "pain in a testicle"),
    ("怀孕八周，今天出血了", "bleeding or severe pain in pregnancy"),
]  # fmt: skip
QUIET = [
    "没有胸痛，也没有出汗", "No chest pain, no sweating.", "I have no chest pain or shortness of breath",
    "否认胸痛、大汗、呼吸困难", "She denies suicidal thoughts.", "没有呼吸困难", "无意识障碍，无抽搐",
    "without any trouble breathing", "he has never passed out", "trouble breathing: no", "呼吸困难：无", "我不想死",
    "想死我了，好久没吃火锅", "胸口长了一颗痣", "按压时胸壁有点疼，两年了", "感冒流鼻涕三天，吃什么药？",
    "What is the dose of ibuprofen for adults?", "My 4-year-old has a fever", "我 12 个月大的宝宝发烧",
    "my throat is swollen and sore", "高血压病人能吃柚子吗", "How is a stroke prevented?",
    "When should insulin be started?", "I want to live healthily", "",
    "I cut myself while shaving", "the eczema did not respond to treatment", "my stomach hurts after meals",
    "眼睛干涩好几个月", "I am confused by this leaflet", "肚子有点疼，拉了一次肚子",
]  # fmt: skip


@pytest.mark.parametrize(("text", "sign"), FOUND)
def test_a_danger_sign_is_found(text, sign):
    assert sign in alarms.found(text, "en")


@pytest.mark.parametrize("text", QUIET)
def test_what_is_denied_or_harmless_is_not(text):
    assert alarms.found(text, "en") == []


def test_names_come_in_the_language_of_the_page():
    assert alarms.found("I can't breathe", "zh") == ["呼吸困难"]
    assert alarms.found("喘不过气", "en") == ["trouble breathing"]


def test_only_what_is_said_is_found():
    assert alarms.found("胸口压榨样疼痛，出冷汗，但没有呼吸困难", "zh") == ["胸痛伴出汗、放射痛或气短"]


@pytest.mark.parametrize(("language", "numbers"), [("zh", ("120",)), ("en", ("911", "112", "120"))])
def test_the_banner_says_whom_to_call(language, numbers):
    text = alarms.banner(alarms.found("大出血", language), language)
    assert all(number in text for number in numbers)
    assert alarms.banner([], language) == ""


def test_despair_is_answered_with_a_line_to_talk_to():
    assert "12356" in alarms.banner(alarms.found("我想自杀", "zh"), "zh")
    english = alarms.banner(alarms.found("I want to kill myself", "en"), "en")
    assert "988" in english and "You wrote of" not in english
    both = alarms.banner(alarms.found("I took too many pills, I want to die", "en"), "en")
    assert "poisoning" in both and "988" in both


def test_exactly_one_example_of_each_language_rings():
    for language in texts.LANGUAGES:
        assert [bool(alarms.found(case, language)) for case in texts.EXAMPLES[language]].count(True) == 1


def first_exchanges(directory):
    """Question and answer that begin each conversation of the SFT data, in all its formats, each question once."""
    found = {}
    for path in sorted(directory.glob("*.jsonl")):
        for row in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
            turns = {}
            for turn in row.get("messages") or row.get("conversations") or ():
                role = {"human": "user", "gpt": "assistant"}.get(turn.get("from"), turn.get("role"))
                turns.setdefault(role, turn.get("content") or turn.get("value"))
            question = turns.get("user") or row.get("Question") or row.get("instruction", "") + row.get("input", "")
            found.setdefault(question, turns.get("assistant") or row.get("Response") or row.get("output") or "")
    return found


def test_half_of_the_emergencies_of_our_data_ring_and_little_else(repo):
    """The figures of docs/pages.md; bounds, because data/ is rendered anew now and then."""
    rings = {True: [], False: []}
    for question, answer in first_exchanges(repo / "data/sft").items():
        rings[bool(_CALL.search(answer[:60]))].append(bool(alarms.found(question, "en")))
    print({urgent: (sum(rung), len(rung)) for urgent, rung in rings.items()})  # pytest -s
    assert sum(rings[True]) / len(rings[True]) > 0.45 and sum(rings[False]) / len(rings[False]) < 0.07
