"""The fast parser: what it says of a line is what the strict one says, value, code, detail and column."""

import random

import pytest

from bedside.data import lines, strict_json
from bedside.data.rows import Fault, Origin, Row
from bedside.data.strict_json import JsonFault

HERE = Origin("f", 1)
ODD = [
    b'{"a": 1, "a": 2}', b'{"a" :1,"a":2}', b'{"a":"\\":","a":1}', b'{"a":1,"b":{"c":1,"c":2}}', b'{"a"\t:1,"a":2}',
    b'{"a"\r:1,"a":2}', b'[{"a":1,"a":1}]', b'{"a":1,"\\u0061":2}', b'{"a": "x :", "b": ":"}', b'{"a":{"a":1}}',
    b'NaN', b'[Infinity]', b'{"a": -Infinity}', b'1e999', b'-1e999', b'[1e308, 1e309]', b'"\\ud83d"', b'"\\udc00"',
    b'{"\\ud83d": 1}', b'"\\ud83d\\ude00"', b'"\xed\xa0\x80"', b'"\xff"', b'\xef\xbb\xbf{}', b'{} {}', b'{}x', b'{},',
    b'[1,]', b'{"a":1,}', b"{'a': 1}", b'"\x00"', b'\x00', b'"a"\x00', b'"\x7f"', b'"\t"', b'', b' ', b'{', b'"', b'[',
    b'-0', b'-0.0', b'0.1', b'1.0', b'1E5', b'01', b'1.', b'.5', b'+1', b'9007199254740993',
    b'18446744073709551615', b'18446744073709551616', b'-9223372036854775809', b'123456789012345678901234567890',
    b'9' * 4000, b'9' * 5000,
    b'[' * 100 + b']' * 100, b'[' * 101 + b']' * 101, b'[' * 5000, b'{"a":' * 101 + b'1' + b'}' * 101,
    b'"' + b'[' * 300 + b'"', b'true', b'True',
    b'null', b'\x0c{}', b'{}\r', b'{}\r\n', b'{}\n', b'{}\x0b', b' \t{}', b'\xc2\xa0{}',
    b'{"a": 1.5, "b": 1e15, "c": 1e16, "d": 12345678901234567890.0}', '{"a": "，：", "：": 1}'.encode(),
]  # fmt: skip


def outcome(parse, raw):
    """The value, also by type (1 is not 1.0 here), or the fault."""
    try:
        return repr(parse(raw))
    except JsonFault as fault:
        return (fault.code, fault.detail)
    except UnicodeDecodeError as error:
        return ("E_ENCODING", error.start)


def strictly(raw):
    return strict_json.parse(raw.decode("utf-8"))


@pytest.mark.parametrize("raw", ODD, ids=lambda raw: repr(raw[:24]))
def test_odd_texts(raw):
    assert outcome(strict_json.loads, raw) == outcome(strictly, raw)


def known_lines(repo):
    files = [*sorted((repo / "data/sft").glob("*.jsonl")), repo / "data/reward/preferences.jsonl"]
    return [line.rstrip(b"\n") for path in files for line in path.read_bytes().splitlines(True)[:60]]


_INSERTED = (b'"', b'":', b" :", b"\\", b"{", b"}", b"[", b"]", b",", b":", b"\t", b"\r", b"\x00", b"\\u0022", b"-",
             b"\\ud83d", b"NaN", b"1e999", b"\xff", b'"a":1,', b'"a" :1,', "：".encode(), b"0", b"9" * 30)  # fmt: skip


def mutated(raw: bytes, draw: random.Random) -> bytes:
    place = draw.randrange(len(raw) + 1)
    end = min(len(raw), place + draw.choice((0, 0, 1, 1, 3, 40)))
    return raw[:place] + draw.choice((b"", *_INSERTED)) + raw[end:]


def test_four_thousand_mutated_lines(repo):
    draw, known, different = random.Random(4), known_lines(repo), []
    for _ in range(4000):
        raw = mutated(draw.choice(known), draw)
        for _ in range(draw.choice((0, 0, 1, 2))):
            raw = mutated(raw, draw)
        if outcome(strict_json.loads, raw) != outcome(strictly, raw):
            different.append(raw)
    assert different == []


def test_known_lines_need_no_second_look(repo, monkeypatch):
    monkeypatch.setattr(strict_json, "parse", None)
    assert len([strict_json.loads(raw) for raw in known_lines(repo)]) == 300


def test_without_orjson_nothing_changes(monkeypatch):
    monkeypatch.setattr(strict_json, "_fast_loads", lambda: None)
    assert strict_json.loads(b'{"a": 1}') == {"a": 1}
    with pytest.raises(JsonFault, match="E_DUPKEY key 'a' twice"):
        strict_json.loads(b'{"a": 1, "a": 2}')


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        (b'{"a": 1}\r\n', Row(HERE, {"a": 1})),
        (b'{"a" 1}\n', Fault(HERE, "E_JSON", "Expecting ':' delimiter at column 6")),
        (b'{"a": "\xff"}', Fault(HERE, "E_ENCODING", "byte 7 is not UTF-8")),
        (
            b'"' + b"a" * 1_000_000 + b'"',
            Fault(HERE, "W_LONG", "line of 1000002 characters, at most 1000000 are read"),
        ),
    ],
)
def test_a_line(raw, found):
    assert lines.parse(HERE, raw) == found


def test_a_line_in_another_encoding():
    raw = '{"a": "发热"}'.encode("gbk")
    assert lines.parse(HERE, raw, "gb18030") == Row(HERE, {"a": "发热"})


@pytest.mark.parametrize(("own", "files"), [("gb18030", "utf-8"), ("utf-8", "gb18030")])
def test_a_line_in_another_encoding_than_its_file(own, files):
    found = lines.parse(HERE, '{"instruction": "发热三天?", "output": "多喝水"}'.encode(own), files)
    assert found.code == "E_ENCODING"
    assert found.detail.endswith(
        f"; this line is {own.upper()}, so the file mixes encodings: write it anew, as "
        f"sed -n LINEp FILE | iconv -f {own} -t {files} does"
    )
