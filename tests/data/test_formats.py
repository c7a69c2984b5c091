"""Conversations written in every format and read back, and rows of every format converted to every other."""

import itertools
import json

import pytest

from bedside.data import admit, build, convert, files, formats, records, repair, targets, writers
from bedside.data.conversation import RowError
from bedside.data.rows import Row
from bedside.errors import ConfigError, DataError

U, A, S = (
    {"role": role, "content": text} for role, text in (("user", "发热？"), ("assistant", "休息。"), ("system", "s"))
)
T = {**A, "reasoning_content": "流感。"}
CALL = {"type": "function", "function": {"name": "f", "arguments": {"a": [1, 2.5, None, "：<"], "b": {}}}}
TOOLS = [{"type": "function", "function": {"name": "f", "description": None, "parameters": {"type": "object"}}}]
CALLS = [U, {"role": "assistant", "content": "", "tool_calls": [CALL, CALL]}, {"role": "tool", "content": "{}"}, A]
WORDY = {**T, "tool_calls": [CALL]}
CHATS = {
    "": {"messages": [U, A]},
    "system": {"messages": [S, U, A]},
    "thoughts": {"messages": [U, T]},
    "turns": {"messages": [U, A, {**U, "content": "咳嗽？"}, A]},
    "turns thoughts": {"messages": [U, T, U, T, U, A]},
    "train turns": {"messages": [U, {**A, "train": False}, U, A]},
    "tools": {"messages": [U, A], "tools": TOOLS},
    "tool_calls": {"messages": CALLS},
    "system tools tool_calls thoughts": {"messages": [S, *CALLS[:3], T], "tools": TOOLS},
    "blanks": {"messages": [{**U, "content": " a\n"}, {**A, "content": "\tb\r\n\n"}]},
    "thoughts with blanks": {"messages": [U, {**A, "content": " b ", "reasoning_content": "\na\n"}]},
    "tool_calls thoughts wordy": {"messages": [U, WORDY, {"role": "tool", "content": "r"}, A]},
}


def test_every_format_of_the_readers_can_be_written():
    assert set(formats.FORMATS) == set(records.FORMATS) - {"choice"}
    assert set(targets.KIND_OF.values()) == set(targets.READ)


@pytest.mark.parametrize("format", formats.FORMATS)
@pytest.mark.parametrize("name", CHATS)
def test_what_loses_nothing_is_read_back_equal(name, format):
    chat = CHATS[name]
    kept = json.loads(json.dumps(chat))
    row = json.loads(json.dumps(formats.to_row(chat, format)))
    assert chat == kept
    if not formats.lost(chat, format):
        assert admit.conversation(row) == chat
        assert records.detect(row) == format


LOST = [
    ("train turns", "alpaca", ["train"]),
    ("train turns", "medical_o1", ["turns", "train"]),
    ("turns thoughts", "question_answer", ["turns"]),
    ("system tools tool_calls thoughts", "alpaca", ["tools", "tool_calls"]),
    ("tool_calls thoughts wordy", "sharegpt", ["words beside tool_calls"]),
    ("tool_calls thoughts wordy", "messages", []),
    ("system tools tool_calls thoughts", "sharegpt", []),
    ("thoughts with blanks", "alpaca", []),
]


@pytest.mark.parametrize(("name", "format", "fields"), LOST)
def test_what_has_no_place_is_named(name, format, fields):
    assert formats.lost(CHATS[name], format) == fields


def test_rows_as_people_know_them():
    chat = CHATS["turns thoughts"]
    block = "<think>\n流感。\n</think>\n\n休息。"
    assert formats.to_row({"messages": [S, *chat["messages"][:2]]}, "sharegpt") == {
        "system": "s", "conversations": [{"from": "human", "value": "发热？"}, {"from": "gpt", "value": block}],
    }  # fmt: skip
    assert formats.to_row(chat, "alpaca") == {
        "instruction": "发热？", "input": "", "output": "休息。", "history": [["发热？", block], ["发热？", block]],
    }  # fmt: skip
    assert formats.to_row({"messages": [U, T]}, "medical_o1") == {
        "Question": "发热？", "Complex_CoT": "流感。", "Response": "休息。",
    }  # fmt: skip
    assert formats.to_row({"messages": [U, A]}, "toyhom") == {
        "department": "", "title": "", "ask": "发热？", "answer": "休息。",
    }  # fmt: skip
    assert formats.sharegpt_turns(CALLS)[1]["value"].startswith('[{"name": "f", "arguments": {"a": [1, 2.5, null')


def run(paths, output, to, **kwargs):
    """Convert without the command; the account."""
    way = convert.Way(to, convert.suffix_of(output), **kwargs)
    with writers.opened(output) as write:
        account = convert.convert(build.sources([str(path) for path in paths]), "auto", build.Reading(), way, write)
    if account.written:
        convert.verify(output, to, account)
    return account


def records_of(path, kind="sft"):
    return [targets.READ[kind](item.value, None) for item in files.read(path) if isinstance(item, Row)]


SFT = ["alpaca.jsonl", "cot.jsonl", "messages.jsonl", "sharegpt.jsonl"]


@pytest.mark.parametrize(("first", "second"), itertools.permutations(formats.FORMATS, 2))
def test_round_trips_over_every_pair_of_formats(repo, tmp_path, first, second):
    source = tmp_path / "source.jsonl"
    lines = [line for name in SFT for line in (repo / "data/sft" / name).read_text(encoding="utf-8").splitlines()[:12]]
    source.write_text("\n".join(lines), encoding="utf-8")
    there, back = tmp_path / "there.jsonl", tmp_path / "back.jsonl"
    account = run([source], there, first)
    total = account.ledger.total()
    assert total.adds_up()
    assert account.written == total.kept > 20
    wanted = [chat for chat in records_of(source) if not formats.lost(chat, first)]
    assert records_of(there) == wanted
    run([there], back, second)
    assert records_of(back) == [chat for chat in wanted if not formats.lost(chat, second)]


@pytest.mark.parametrize("suffix", [".json", ".jsonl.gz", ".jsonl.zst", ".parquet", ".csv", ".tsv", ".csv.gz"])
@pytest.mark.parametrize("to", ["alpaca", "messages", "question_answer", "toyhom", "medical_o1"])
def test_every_kind_of_file(repo, tmp_path, suffix, to):
    output = tmp_path / f"rows{suffix}"
    account = run([repo / "data/sft"], output, to)
    total = account.ledger.total()
    assert (total.rows, total.adds_up()) == (1640, True)
    plain = tmp_path / "plain.jsonl"
    run([repo / "data/sft"], plain, to)
    expected = records_of(plain)
    if account.written == len(expected):
        assert records_of(output) == expected
    elif "csv" in suffix or "tsv" in suffix or to == "medical_o1":
        assert set(total.dropped) == {"E_PLACE"}
    else:
        pytest.fail(str(account.lines()[-1]))
    assert not list(tmp_path.glob("*.unfinished")) + list(tmp_path.glob("*.waiting"))


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
@pytest.mark.parametrize("to", targets.PAIRS)
def test_pairs(repo, tmp_path, to, suffix):
    output = tmp_path / f"pairs{suffix}"
    account = run([repo / "data/reward"], output, to)
    assert (account.written, account.ledger.total().rows) == (280, 280)
    assert records_of(output, "preference") == [
        pair for path in sorted((repo / "data/reward").glob("*.jsonl")) for pair in records_of(path, "preference")
    ]


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_a_pair_becomes_two_labelled_answers(tmp_path, suffix):
    source, output = tmp_path / "pairs.jsonl", tmp_path / f"kto{suffix}"
    source.write_text('{"prompt": "a", "chosen": "b", "rejected": "c", "id": "x"}\n')
    account = run([source], output, "kto")
    assert account.lines() == ["1 rows = 1 written, as 2 rows + 0 refused"]
    label = (True, False) if suffix == ".jsonl" else ("true", "false")
    assert [item.value for item in files.read(output)] == [
        {"prompt": "a", "completion": "b", "label": label[0], "id": "x"},
        {"prompt": "a", "completion": "c", "label": label[1], "id": "x"},
    ]
    back = tmp_path / "sft.jsonl"
    account = run([output], back, "messages")
    assert [line.split(": ", 1)[1] for line in account.lines()[:-1]] == [
        "E_PLACE no place in messages for label; --lossy True leaves it out",
        "E_PLACE an answer that is labelled bad is not trained on; --to kto keeps it",
    ]


def test_questions_with_options(repo, tmp_path):
    output = tmp_path / "mcq.jsonl"
    for to, kind in (("choice", "choice"), ("prompt", "prompt"), ("sharegpt", "sft")):
        assert run([repo / "data/eval/mcq.jsonl"], output, to).written == 160
        assert len(records_of(output, kind)) == 160
    account = run([repo / "data/eval/mcq.jsonl"], output, "choice")
    assert records_of(output, "choice") == records_of(repo / "data/eval/mcq.jsonl", "choice")
    assert account.lines() == ["160 rows = 160 written + 0 refused"]


def test_refused_rows_are_told_and_losses_counted(repo, tmp_path):
    source, output = repo / "data/sft/sharegpt.jsonl", tmp_path / "o1.jsonl"
    strict, lossy = run([source], output, "medical_o1"), run([source], output, "medical_o1", lossy=True)
    refused = strict.ledger.total().dropped["E_PLACE"]
    assert strict.ledger.details[0].startswith(f"{source}:")
    assert "E_PLACE no place in medical_o1 for turns; --lossy True leaves it out" in strict.ledger.details[0]
    assert lossy.lost["turns"] == refused > 100
    assert lossy.written == 320
    assert lossy.lines()[-1] == "320 rows = 320 written + 0 refused"


def test_fields_of_no_format_are_told(tmp_path):
    source = tmp_path / "rows.jsonl"
    source.write_text('{"department": "x", "title": "", "ask": "a", "answer": "b", "id": 3, "score": 0.5}\n')
    account = run([source], tmp_path / "out.jsonl", "messages")
    assert account.lines()[0] == "fields of no format, not written: department 1, score 1"
    run([source], tmp_path / "again.jsonl", "toyhom")
    row = json.loads((tmp_path / "again.jsonl").read_text())
    assert row == {"department": "x", "title": "", "ask": "a", "answer": "b", "id": 3}


@pytest.mark.parametrize(
    ("row", "suffix", "message"),
    [
        ({"a": ["b"]}, ".csv", "a is no text, which is all that a table holds"),
        ({"a": "b\0"}, ".tsv", "a holds a NUL character"),
        ({"a": "b" * 1_000_001}, ".csv", "a has 1000001 characters, at most 1000000"),
        ({"a": "b" * 1_000_000}, ".jsonl", "the row takes 1000009 characters"),
        ({"a": {"b": 1}}, ".parquet", "a is an object"),
        ({"text": "a\nb"}, ".txt", "text holds line ends"),
        ({"question": "a"}, ".txt", "a .txt file holds documents only"),
    ],
)
def test_what_a_file_cannot_hold(row, suffix, message):
    with pytest.raises(RowError, match=f"E_PLACE {message}"):
        writers.check(row, suffix)


def test_documents(tmp_path):
    source = tmp_path / "docs.txt"
    source.write_text("一\n\n二\u2028三\n", encoding="utf-8")
    assert run([source], tmp_path / "docs.jsonl", "text").written == 2
    assert run([tmp_path / "docs.jsonl"], tmp_path / "again.txt", "text").written == 2
    assert (tmp_path / "again.txt").read_text(encoding="utf-8") == "一\n二\u2028三\n"


def test_a_file_that_reads_back_otherwise_is_refused(tmp_path):
    source, output = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    source.write_text('{"instruction": "a", "output": "b"}\n')
    account = run([source], output, "messages")
    output.write_text(output.read_text().replace('"b"', '"c"'))
    with pytest.raises(DataError, match="E_READBACK 1 rows were read back where 1 were written, or they differ"):
        convert.verify(output, "messages", account)


def test_a_broken_run_leaves_nothing(tmp_path):
    output = tmp_path / "rows.csv"
    with pytest.raises(ConfigError, match="x"), writers.opened(output) as write:
        write({"a": "b"})
        raise ConfigError("x")
    assert list(tmp_path.iterdir()) == []


MERGED = [
    ([("human", "a"), ("human", "b"), ("gpt", "c")], ["merge_turns"], [("human", "a\n\nb"), ("gpt", "c")]),
    ([("human", "a"), ("gpt", "b"), ("gpt", "c")], ["merge_turns"], [("human", "a"), ("gpt", "b\n\nc")]),
    ([("human", "a"), ("gpt", "b"), ("human", "c")], ["drop_tail"], [("human", "a"), ("gpt", "b")]),
    ([("system", "s"), ("gpt", "z"), ("human", "a"), ("gpt", "b")], ["drop_tail"],
     [("system", "s"), ("human", "a"), ("gpt", "b")]),
    ([("gpt", "z"), ("human", "a"), ("human", "b"), ("gpt", "c"), ("human", "d")], ["drop_tail", "merge_turns"],
     [("human", "a\n\nb"), ("gpt", "c")]),
]  # fmt: skip
KEPT = [
    [("human", "a"), ("gpt", "b")],
    [("human", "a"), ("observation", "b"), ("observation", "c"), ("gpt", "d")],
    [("human", "a"), ("gpt", "<think>x</think>b"), ("gpt", "<think>x</think>c")],
    [("human", "a"), ("human", ""), ("gpt", "b")],
    [("patient", "a"), ("patient", "b"), ("gpt", "c")],
]


def sharegpt(turns):
    return {"conversations": [{"from": who, "value": text} for who, text in turns], "id": 7}


@pytest.mark.parametrize(("before", "wanted", "after"), MERGED)
def test_repairs(before, wanted, after):
    row, done = repair.repaired(sharegpt(before), wanted)
    assert (row, sorted(done)) == (sharegpt(after), sorted(wanted))


@pytest.mark.parametrize("turns", KEPT)
def test_what_is_not_repaired_stays_itself(turns):
    row = sharegpt(turns)
    made, done = repair.repaired(row, ["merge_turns"])
    assert (made is row, done) == (True, [])
    assert repair.repaired(["a"], list(repair.REPAIRS)) == (["a"], [])


def test_repairs_know_mapped_roles():
    row = sharegpt(KEPT[-1])
    assert repair.repaired(row, ["merge_turns"], {"patient": "user"})[0]["conversations"][0]["value"] == "a\n\nb"
