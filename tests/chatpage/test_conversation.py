"""The record of a chat, and its export.

sh run_tests.sh tests/chatpage/test_conversation.py
"""

import json
from datetime import datetime

import pytest

from bedside.answers import Sampling
from bedside.chatpage import export
from bedside.chatpage.conversation import Conversation, Turn

TALK = Conversation("Be brief.").asked("Fever?").answered("Rest.", "38 is mild").asked(" And cough? ")


def test_messages_hold_the_history_without_thoughts():
    assert TALK.messages() == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Fever?"},
        {"role": "assistant", "content": "Rest."},
        {"role": "user", "content": "And cough?"},
    ]


def test_a_question_without_an_answer_is_left_out_of_the_history():
    talk = Conversation().asked("a").answered("", None, "failed", "broke").asked("b")
    assert talk.messages() == [{"role": "user", "content": "b"}]


def test_retry_drops_the_last_answer_only():
    talk = TALK.answered("Drink.", "dry", "cancelled")
    assert talk.retried() == TALK
    assert Conversation().retried() == Conversation()


def test_edit_replaces_a_question_and_drops_what_follows():
    assert TALK.edited(0, "Rash?") == Conversation("Be brief.", (Turn("Rash?"),))
    assert TALK.turns[0].answer == "Rest."  # the record itself did not change
    with pytest.raises(IndexError, match="turn 2 of 2"):
        TALK.edited(2, "x")


def test_an_answer_needs_a_question():
    with pytest.raises(ValueError, match="no question to answer"):
        Conversation().answered("x")


MOMENT = datetime(2026, 1, 31, 23, 59, 59)
SHOWN = [
    ("tuned", TALK.answered("<b>Tea</b>", "dry\n\ncough", "length")),
    ("base", TALK.answered("", None, "failed", "gone")),
]


def test_markdown_has_model_time_settings_disclaimer_and_both_answers():
    text = export.to_markdown(SHOWN, Sampling(64, 0.5), "en", MOMENT)
    assert text.splitlines()[2].startswith("> For study and research: not medical advice")
    for line in (
        "- Model: tuned, base", "- Exported: 2026-01-31T23:59:59",
        "- Temperature 0.5 · Most tokens, thought included 64",
        "- System prompt: Be brief.", "## User", "And cough?", "## tuned", "> **Thought**", "> dry", "> cough",
        "&lt;b&gt;Tea&lt;/b&gt;", "*(The limit of tokens was reached: the answer is not complete)*", "## base",
        "(no answer)", "*(The answer could not be finished: gone)*",
    ):  # fmt: skip
        assert line in text.splitlines(), line


def test_one_model_is_the_assistant():
    text = export.to_markdown(SHOWN[:1], Sampling(), "zh", MOMENT)
    assert "## 助手" in text and "- 模型: tuned" in text and "不是医疗建议" in text


def test_json_holds_everything():
    found = json.loads(export.to_json(SHOWN, Sampling(64, 0.5), "zh", MOMENT))
    assert found["settings"]["temperature"] == 0.5 and found["exported"] == "2026-01-31T23:59:59"
    assert [one["model"] for one in found["conversations"]] == ["tuned", "base"]
    assert found["conversations"][0]["turns"][1]["thought"] == "dry\n\ncough"
    assert "不是医疗建议" in found["disclaimer"]


def test_a_file_name_says_nothing_of_the_talk():
    assert export.file_name(MOMENT, "md") == "bedside-20260131-235959.md"
