"""Which answers are trained on: marks in rows, and --mask_history; ids and spans by hand."""

import pytest

from bedside import templates
from bedside.data import fit, loss, tokens
from bedside.data.conversation import RowError
from bedside.data.preferences import to_preference
from bedside.data.records import to_conversation

from .test_tokens import END, OWN_PLAIN, OWN_TAGGED, START, chat, encode, encoding, ids_of, make, thinking

U, A = {"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}
CONTEXT = {**A, "train": False}


@pytest.mark.parametrize(
    "mark", [{"train": False}, {"training": False}, {"loss": False}, {"weight": 0}, {"weight": 0.0},
             {"train": False, "weight": 0}],
)  # fmt: skip
def test_an_answer_may_be_context(mark):
    assert to_conversation({"messages": [U, {**A, **mark}, U, A]})["messages"] == [U, CONTEXT, U, A]
    turns = [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}] * 2
    turns[1] = {**turns[1], **mark}
    assert to_conversation({"conversations": turns})["messages"] == [U, CONTEXT, U, A]


@pytest.mark.parametrize("mark", [{"train": True}, {"loss": True}, {"weight": 1}, {"train": None}, {"weight": None}])
def test_a_mark_that_says_what_is_true_anyway_leaves_nothing_behind(mark):
    assert to_conversation({"messages": [U, {**A, **mark}]})["messages"] == [U, A]


@pytest.mark.parametrize("mark", [{"train": False}, {"weight": 0}, {"weight": None}])
def test_questions_may_say_that_they_are_not_trained(mark):
    row = {"messages": [{"role": "system", "content": "s", **mark}, {**U, **mark}, A]}
    assert to_conversation(row)["messages"] == [{"role": "system", "content": "s"}, U, A]


def test_a_function_call_may_be_context():
    call = {"from": "function_call", "value": '{"name": "f"}', "loss": False}
    rest = [{"from": "observation", "value": "r"}, {"from": "gpt", "value": "A"}]
    turns = [{"from": "human", "value": "Q"}, call, *rest]
    messages = to_conversation({"conversations": turns})["messages"]
    assert [message.get("train") for message in messages] == [None, False, None, None]


@pytest.mark.parametrize(
    ("turn", "message"),
    [
        ({**U, "train": True}, r"E_TRAIN messages\[0\].train asks to train a user turn; only answers are trained on"),
        ({"role": "tool", "content": "r", "weight": 1}, r"E_TRAIN messages\[0\].weight asks to train a tool turn"),
        ({**A, "weight": 0.3}, r"E_TRAIN messages\[0\].weight is neither 0 nor 1; fractional weights are not suppor"),
        ({**A, "weight": True}, r"E_TYPE messages\[0\].weight is boolean, expected 0 or 1"),
        ({**A, "weight": "1"}, r"E_TYPE messages\[0\].weight is string, expected 0 or 1"),
        ({**A, "train": 0}, r"E_TYPE messages\[0\].train is int, expected true or false"),
        ({**A, "train": True, "loss": False}, r"E_TRAIN messages\[0\]: train and loss contradict each other"),
    ],
)
def test_marks_that_make_no_sense(turn, message):
    with pytest.raises(RowError, match=message):
        to_conversation({"messages": [turn, U, A]})


@pytest.mark.parametrize(
    ("marks", "last_only", "expected"),
    [("11", False, [True, True]), ("01", False, [False, True]), ("11", True, [False, True]),
     ("10", True, [False, False]), ("00", False, [False, False])],
)  # fmt: skip
def test_which_answers(marks, last_only, expected):
    messages = [message for mark in marks for message in (U, A if mark == "1" else CONTEXT)]
    assert list(loss.trained(messages, last_only).values()) == expected
    if not any(expected):
        with pytest.raises(RowError, match="E_NO_ANSWER .* is marked as context"):
            loss.check_trained(messages, last_only)


def context(row, *indexes):
    """`row` with these messages marked as context."""
    for index in indexes:
        row["messages"][index]["train"] = False
    return row


CHATML = (
    [0, 4, 5, 6, 7, 9, 13, 1, 9, 0, 8, 5, 5, 10, 5, 11, 8, 12, 11, 9, 14, 1, 9]
    + [0, 4, 5, 6, 7, 9, 15, 1, 9, 0, 8, 5, 5, 10, 5, 11, 8, 12, 11, 9, 8, 16, 1, 9]
)  # fmt: skip


def test_chatml_by_hand():
    def samples(row, **extra):
        return encode(row, "chatml", **extra).samples

    whole = chat("Q", "A", "q", "ab")
    assert samples(whole) == [(CHATML, [(20, 22), (43, 46)])]
    assert samples(whole, mask_history=True) == [(CHATML, [(43, 46)])]
    assert samples(context(chat("Q", "A", "q", "ab"), 1)) == [(CHATML, [(43, 46)])]
    assert samples(context(chat("Q", "A", "q", "ab"), 3)) == [(CHATML, [(20, 22)])]
    assert CHATML[43:46] == ids_of("ab", END)


def test_qwen3_by_hand():
    """Only targets that are trained become samples; as history an answer is the same, trained or not."""
    question = ids_of(START, "user\n", "Q", END, "\n", START, "assistant\n")
    second = ids_of("A", END, "\n", START, "user\n", "q", END, "\n", START, "assistant\n")
    block = ids_of("<think>\n\n</think>\n\n")
    one = (question + block + ids_of("A", END, "\n"), [(39, 41)])
    two = (question + second + block + ids_of("ab", END, "\n"), [(62, 65)])

    def samples(row, **extra):
        return encode(row, "qwen3", **extra).samples

    assert samples(chat("Q", "A", "q", "ab")) == [one, two]
    assert samples(chat("Q", "A", "q", "ab"), mask_history=True) == [two]
    assert samples(context(chat("Q", "A", "q", "ab"), 1)) == [two]
    assert samples(context(chat("Q", "A", "q", "ab"), 3)) == [one]
    row = context(thinking("Q", "t", "A"), 1)
    row["messages"] += thinking("q", "k", "a")["messages"]
    ((ids, (span,)),) = samples(row)
    assert ids[slice(*span)] == ids_of("<think>\nk\n</think>\n\na", END)


@pytest.mark.parametrize("own", [OWN_TAGGED, OWN_PLAIN])
def test_a_models_own_template(own):
    ((ids, spans),) = encode(chat("u", "a", "e", "bb"), own, mask_history=True).samples
    assert [ids[slice(*span)] for span in spans] == [ids_of("bb", 2)]


def test_an_own_template_that_does_not_show_every_answer_stops_a_marked_row_only():
    """Its probe has two answers in two blocks; an answer behind a tool's result it writes without one."""
    source = OWN_TAGGED.source.replace("{% elif m.role == 'assistant' %}", "{% elif m.role == 'tool' %}T"
        "{% elif m.role == 'assistant' and loop.index0 > 0 and messages[loop.index0 - 1].role == 'tool' %}A"
        "{{ m.content }}{{ eos_token }}{% elif m.role == 'assistant' %}")  # fmt: skip
    own = templates.own(source)
    row = chat("u", "a", "e", "bb")
    row["messages"][1:1] = [{**A, "tool_calls": [{"function": {"name": "f", "arguments": {}}}]},
                            {"role": "tool", "content": "c"}]  # fmt: skip
    assert len(encode(row, own).samples) == 1
    message = "the model's own template does not show where the answer begins and ends"
    assert encode(row, own, mask_history=True).error == ("E_TEMPLATE", message)


@pytest.mark.parametrize("template", ["chatml", "qwen3"])
def test_nothing_is_left_to_train(template):
    why = "the last answer is marked as context and --mask_history trains no other, so there is nothing to train on"
    encoded = encode(context(chat("Q", "A", "q", "ab"), 3), template, mask_history=True)
    assert (encoded.samples, encoded.error) == ([], ("E_NO_ANSWER", why))
    encoded = encode(context(chat("Q", "A"), 1), template)
    assert encoded.error == ("E_NO_ANSWER", "every answer is marked as context, so there is nothing to train on")


@pytest.mark.parametrize("template", ["chatml", "qwen3"])
def test_an_overlong_chat_does_not_lose_its_only_trained_answer(template):
    row = context(chat("Q" * 30, "A", "q", "ab"), 3)
    encoded = encode(row, template, 50)
    assert (encoded.samples, encoded.error) == ([], None)
    assert encoded.overlong > 50


def test_the_check_of_a_template_looks_at_what_is_trained():
    rows = [context(chat("Q", "A", "q", "ab"), 1), context(chat("Q", "A"), 1)]
    for template in (OWN_TAGGED, OWN_PLAIN, "chatml", "qwen3"):
        fit.check_template(rows, make()[0], encoding(template, mask_history=True))


def test_preferences_know_no_marks():
    row = {"prompt": [U, {**A, "weight": 0.5}, U], "chosen": [{**A, "train": 3}], "rejected": "b"}
    row["rejected"] = [{"role": "assistant", "content": "b", "weight": 0}]
    assert to_preference(row) == {"prompt": [U, A, U], "chosen": [A], "rejected": [{**A, "content": "b"}]}
    asked = {"from": "human", "value": "Q"}
    turns = [asked, {"from": "gpt", "value": "A", "weight": 0.5}, asked]
    assert to_preference({"conversations": turns, "chosen": "A", "rejected": "b"})["prompt"] == [U, A, U]


def test_targets_are_told_by_the_encoding():
    made = encoding("qwen3", mask_history=True)
    row = chat("Q", "A", "q", "ab")
    assert list(tokens.targets(row, made)) == [row["messages"]]
