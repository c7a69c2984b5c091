"""Files to conversations to samples: every malformed input gives its code at its line, and no row disappears."""

import json
import random
import time

import pytest

from bedside.data import build
from bedside.data.ledger import Ledger
from bedside.errors import ConfigError, DataError, UserError

from .malformed import CASES, GOOD, PAIR, Case, jsonl


def read(directory, case: Case):
    """`(rows, ledger)` of a case's file, read the way a stage reads it; all bad rows stop, a part of them does not."""
    path = directory / case.file
    path.write_bytes(case.raw)
    ledger = Ledger()
    reader = build.read_preferences if case.kind == "preference" else build.read_conversations
    rows = reader(build.sources([str(path)]), ledger, build.Reading(**case.flags))
    ledger.check_rate(0.99)
    return rows, ledger


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_malformed_input(tmp_path, case):
    policy, *wanted = case.outcome
    if policy == "stop":
        with pytest.raises(DataError) as stopped:
            read(tmp_path, case)
        code, line = wanted
        place = str(tmp_path / case.file) + (f":{line}" if line else "")
        assert str(stopped.value).startswith(f"{place}: {code} " if line else place)
        assert stopped.value.code == code
        assert "\n" not in str(stopped.value)
        return
    rows, ledger = read(tmp_path, case)
    assert [(place["line"], place["code"]) for place in ledger.rejected] == (wanted[0] if policy == "skip" else [])
    assert {place["file"] for place in ledger.rejected} <= {str(tmp_path / case.file)}
    total = ledger.total()
    assert len(rows) == total.rows - sum(total.dropped.values()) > 0
    assert list(total.remarks) == (wanted[0] if policy == "accept" else list(total.remarks))


def test_every_row_of_the_table_is_here():
    numbers = {int(case.name.split()[0]) for case in CASES}
    assert numbers == set(range(1, 67))


DETAILS = {
    "5 GBK": "byte 17 is not UTF-8; it reads as Chinese in GB18030: add --encoding gb18030",
    "6 UTF-16": "byte 0: the file looks like UTF-16; add --encoding utf-16, or run iconv -f UTF-16 -t UTF-8",
    "7 gzip": "byte 0: the file is gzip; call it .gz, as in rows.jsonl.gz",
    "8 HTML": "the file is an HTML page, not data; download the raw file",
    "12 LFS": "is a Git LFS pointer, not the data; run `git lfs pull`",
    "13 array cut off": "at column 49 (item 2)",
    "14 pretty-printed": "an object over several lines; make it one a line: jq -c . FILE",
    "34 keys": "fields Instruction, ouput belong to no known format (see docs/data-formats.md)",
    "35 preference file to SFT": "fields prompt, chosen, rejected: this looks like preference data, not SFT data",
    "35 documents to SFT": "this looks like pretraining text",
    "45 all rows": "all 1 rows are bad (E_ROLE 1); nothing to train on",
    "62 Latin-1 CSV": "byte 19 is not UTF-8 or Chinese GB18030; name the file's --encoding, or use iconv",
    "63 quote left open": "unexpected end of data in the row that starts here; is a quote left open?",
    "65 no header": "a file without a header line needs --columns",
    "15 trailing comma": "Expecting property name enclosed in double quotes at column 36",
    "16 comma after line": "Extra data at column 44",
    "20 nested brackets": "nested too deeply",
    "20 digits": "a number with too many digits",
    "22 duplicate keys": "key 'output' twice in one object",
    "24 5 MB line": "line of 1700039 characters, at most 1000000 are read",
    "25 list": "the row is list, expected object",
    "30 output missing": "no field 'output' (has: instruction, input)",
    "31 number": "output is float, expected string",
    "33 history": "history[0] is 1 items, expected [question, answer]",
    "39 turn without from": "conversations[0] has no 'from' (has: value)",
    "41 two human": "messages[1] is user, expected assistant",
    "44 ends with human": "the conversation ends with user, so there is nothing to train on",
    "45 patient": "conversations[0].from is not a known role (known: human, user, gpt",
    "47 value null": "conversations[1].value is null",
    "49 im_end": ":2: W_SPECIAL messages[0].content holds the control token <|im_end|>, kept as < |im_end|>, which",
    "49 </s>": "messages[1].content holds the control token </s>; no answer may write one",
    "49 tools": "tools holds the control token <|im_start|>, kept as < |im_start|>, which forges no turn",
    "49 undefined function": "messages[1].tool_calls[0] calls f, which tools does not define (g)",
    "49 odd arguments": "W_TOOL messages[1].tool_calls[0] (f) lacks the required a",
    "49 weight 0.5": "messages[1].weight is neither 0 nor 1; fractional weights are not supported",
    "49 marks that contradict": "messages[1]: train and weight contradict each other",
    "49 mark of text": "messages[1].loss is string, expected true or false",
    "49 a question to train": "messages[0].train asks to train a user turn; only answers are trained on",
    "49 nothing to train": "every answer is marked as context, so there is nothing to train on",
    "54 list and string": "chosen is list but rejected is string",
    "57 mirrored": "prefers the answer that line 1 rejects",
    "58 open": "output has <think> x1 and </think> x0, expected one block in front",
    "64 ragged": "3 cells, expected 2",
}


@pytest.mark.parametrize("name", DETAILS)
def test_the_message_says_where_what_and_what_to_do(tmp_path, name):
    case = next(case for case in CASES if case.name == name)
    try:
        _, ledger = read(tmp_path, case)
        told = "\n".join(ledger.details)
    except DataError as error:
        told = str(error)
    assert DETAILS[name] in told


def test_rejected_rows_are_places_without_text(tmp_path):
    """A patient's words stand neither in rejected.jsonl nor in a message, although they were in every wrong place."""
    words = ["SECRET words", "SECRET other"]
    rows = [GOOD, {words[0]: words[1]}, {"conversations": [{words[0]: 1}]}, {"instruction": words[0], "output": 5}]
    rows += ['{"SECRET a b": 1, "SECRET a b": 2}', '"SECRET', {"conversations": [{"from": words[0], "value": "x"}]}]
    rows += [{"instruction": "SECRET<|im_end|>", "output": words[0]}, {"messages": [{words[0]: 0}]}]
    path = tmp_path / "rows.jsonl"
    path.write_bytes(jsonl(*rows))
    ledger = Ledger()
    assert len(build.read_conversations(build.sources([str(path)]), ledger)) == 2
    ledger.account(str(path)).kept += 2
    ledger.write(tmp_path / "out")
    lines = (tmp_path / "out" / "rejected.jsonl").read_text().splitlines()
    assert [set(json.loads(line)) for line in lines] == [{"file", "line", "code"}] * 7
    assert "SECRET" not in "".join(lines) + "".join(ledger.details)


def test_a_csv_without_a_header_does_not_print_the_patient(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("my belly hurts since monday,rest\nand my knee,walk\n")
    with pytest.raises(DataError, match="E_SCHEMA fields <27 characters>, rest belong") as stopped:
        build.read_conversations(build.sources([str(path)]), Ledger())
    assert "belly" not in str(stopped.value)


def test_a_directory_of_good_and_bad_files(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "a.jsonl").write_bytes(jsonl(GOOD, GOOD))
    (tmp_path / "deep" / "b.jsonl").write_bytes(jsonl(PAIR))
    (tmp_path / "notes.txt").write_text("no data")
    with pytest.raises(DataError, match=r"deep/b.jsonl:1: E_SCHEMA fields prompt, chosen, rejected"):
        build.read_conversations(build.sources([str(tmp_path)]), Ledger())


def test_a_file_all_of_whose_rows_are_bad_stops_whatever_the_rate(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(jsonl(*[GOOD] * 50))
    (tmp_path / "b.jsonl").write_bytes(jsonl({"instruction": "a", "output": ""}))
    ledger = Ledger()
    build.read_conversations(build.sources([str(tmp_path)]), ledger)
    with pytest.raises(DataError, match=r"b.jsonl: E_EMPTY all 1 rows are bad"):
        ledger.check_rate(1.0)


def test_roles_and_encodings_are_checked_before_a_file_is_opened():
    with pytest.raises(ConfigError, match="--encoding utf8x: unknown encoding; known ones: utf-8, gb18030, gbk, big5"):
        build.Reading(encoding="utf8x")
    for name in ("base64", "rot13", "idna", "undefined"):
        with pytest.raises(ConfigError, match=f"--encoding {name}"):
            build.Reading(encoding=name)
    with pytest.raises(ConfigError, match="--role_map doctor=medic: medic is not a role \\(known: human, user"):
        build.Reading(roles={"doctor": "medic"})


def test_a_cap_counts_what_it_leaves_out(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(jsonl(GOOD, {"instruction": "a", "output": ""}, GOOD, GOOD, {"no": 1}))
    ledger = Ledger()
    rows = build.read_conversations(build.sources([str(path)]), ledger, cap=2)
    assert [origin.line for origin, _ in rows] == [1, 3]
    assert (ledger.total().rows, ledger.total().capped, dict(ledger.total().dropped)) == (5, 2, {"E_EMPTY": 1})


def test_a_mirrored_pair_in_another_file_names_that_file(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(jsonl(PAIR))
    mirrored = {**PAIR, "chosen": PAIR["rejected"], "rejected": PAIR["chosen"]}
    (tmp_path / "b.jsonl").write_bytes(jsonl({**PAIR, "prompt": "other"}, mirrored))
    ledger = Ledger()
    assert len(build.read_preferences(build.sources([str(tmp_path)]), ledger)) == 2
    assert ledger.details == [
        f"{tmp_path}/b.jsonl:2: W_CONTRADICT prefers the answer that {tmp_path}/a.jsonl:1 rejects"
    ]


_SNIPPETS = [
    b'{"conversations": ',
    b'[{"from": "human", "value": ',
    b'"instruction"',
    b'"output": ',
    b"null",
    b"\xff\xfe",
    b"\0",
]
_SNIPPETS += [
    b"\r",
    b"\n",
    b"\n\n",
    b",",
    b"}",
    b"]",
    b'"',
    b"\\ud800",
    b"1e999",
    b"NaN",
    b"\xe5",
    "发热".encode("gbk"),
    b"[[[",
]
_SNIPPETS += [
    b'"tools": "[',
    b'{"name": 1}',
    b'"from"',
    b'"gpt"',
    b"\xef\xbb\xbf",
    b'"chosen": ',
    b'"rejected": ',
    b"\xe2\x80\xa8",
]


def _nasty_bytes(rng):
    raw = jsonl(*rng.choices([GOOD, PAIR, {"conversations": []}, [1], "{"], k=rng.randint(0, 4)))
    for _ in range(rng.randint(1, 8)):
        at = rng.randint(0, len(raw))
        raw = raw[:at] + rng.choice([*_SNIPPETS, rng.randbytes(rng.randint(1, 6))]) + raw[at + rng.randint(0, 3) :]
    return raw


def _nasty_value(rng, depth=0):
    leaves = [
        "",
        "a",
        " ",
        "<think>x</think>y",
        None,
        0,
        1.5,
        True,
        "human",
        "gpt",
        "user",
        "assistant",
        "tool",
        "[]",
        "{",
    ]
    if depth > 3 or rng.random() < 0.4:
        return rng.choice(leaves)
    keys = [
        "conversations",
        "messages",
        "from",
        "value",
        "role",
        "content",
        "instruction",
        "output",
        "input",
        "history",
    ]
    keys += [
        "system",
        "tools",
        "tool_calls",
        "function",
        "name",
        "arguments",
        "chosen",
        "rejected",
        "prompt",
        "Question",
    ]
    keys += [
        "Complex_CoT",
        "Response",
        "ask",
        "title",
        "answer",
        "reasoning_content",
        "thought",
        "question",
        "function_call",
    ]
    if rng.random() < 0.5:
        return [_nasty_value(rng, depth + 1) for _ in range(rng.randint(0, 3))]
    return {rng.choice(keys): _nasty_value(rng, depth + 1) for _ in range(rng.randint(0, 4))}


def test_no_input_gives_another_exception(tmp_path):
    """Five seconds of random bytes and structures: every one ends in the ledger or in a UserError."""
    rng, until, files = random.Random(7), time.monotonic() + 5, 0
    while time.monotonic() < until:
        files += 1
        path = tmp_path / rng.choice(["f.jsonl", "f.json", "f.csv", "f.tsv"])
        rows = [_nasty_value(rng) for _ in range(3)]
        raw = rng.choice([_nasty_bytes(rng), jsonl(GOOD, *(json.dumps(r) for r in rows)), json.dumps(rows).encode()])
        path.write_bytes(raw)
        encoding = rng.choice([None, None, "gb18030", "utf-16", "latin-1"])
        for reader in (build.read_conversations, build.read_preferences):
            ledger = Ledger()
            try:
                kept = reader(
                    build.sources([str(path)]), ledger, build.Reading(encoding, rng.choice([None, ["ask", "answer"]]))
                )
            except UserError as error:
                assert "\n" not in str(error)
                continue
            total = ledger.total()
            assert total.rows == len(kept) + sum(total.dropped.values())
            assert len(ledger.rejected) == sum(total.dropped.values())
    assert files > 200
