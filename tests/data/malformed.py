"""Malformed files, made in code: name, file name, bytes, kind, what must come of it.

Outcomes: ("stop", code, line or None) for a DataError, ("skip", [(line, code), ...]) for rows in the ledger,
("accept", [remark codes]) for files all of whose rows are used.
"""

import gzip
import json
from typing import NamedTuple


class Case(NamedTuple):
    name: str
    file: str
    raw: bytes
    outcome: tuple
    kind: str = "sft"
    flags: dict = {}


GOOD = {"instruction": "发热怎么办？", "output": "多休息。"}
PAIR = {"prompt": "发热怎么办？", "chosen": "去医院就诊。", "rejected": "不用管。"}
GOOD_LINE = json.dumps(GOOD, ensure_ascii=False)


def jsonl(*rows, **kwargs) -> bytes:
    """Lines: objects are dumped, strings are lines as they are."""
    lines = (row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows)
    return ("\n".join(lines) + "\n").encode(**kwargs)


def second(row, code, name, kind="sft") -> Case:
    """A file whose second row is bad."""
    return Case(name, "rows.jsonl", jsonl(PAIR if kind == "preference" else GOOD, row), ("skip", [(2, code)]), kind)


def turns(*pairs):
    return {"conversations": [{"from": who, "value": text} for who, text in pairs]}


def alpaca(**changes):
    return {**GOOD, **changes}


def pair(**changes):
    return {**PAIR, **changes}


H, G, CALL = ("human", "问"), ("gpt", "答"), ("function_call", '{"name": "f", "arguments": {}}')


def mark(**marks):
    """A question, and an answer with these marks of what is trained."""
    return {"messages": [{"role": "user", "content": "问"}, {"role": "assistant", "content": "答", **marks}]}


ARRAY = "[\n" + GOOD_LINE + ",\n" + json.dumps(alpaca(output="")) + "\n]\n"
ENGLISH = b'{"instruction": "ab", "output": "b"}\n'
ENCODING = [
    Case("1 empty", "e.jsonl", b"", ("stop", "E_EMPTY_FILE", None)),
    Case("2 blank lines", "e.jsonl", b"\n \n\t\n", ("stop", "E_EMPTY_FILE", None)),
    Case("2 BOM alone", "e.jsonl", b"\xef\xbb\xbf\n", ("stop", "E_EMPTY_FILE", None)),
    Case("2 empty array", "e.json", b"[ ]", ("stop", "E_EMPTY_FILE", None)),
    Case("3 BOM", "b.jsonl", b"\xef\xbb\xbf" + jsonl(GOOD, GOOD), ("accept", ["I_BOM"])),
    Case("3 BOM before an array", "b.json", b"\xef\xbb\xbf" + json.dumps([GOOD]).encode(), ("accept", [])),
    Case("4 CRLF", "c.jsonl", jsonl(GOOD, GOOD).replace(b"\n", b"\r\n"), ("accept", [])),
    Case("4 no last newline", "c.jsonl", jsonl(GOOD, GOOD)[:-1], ("accept", [])),
    Case("4 U+2028 and emoji", "c.jsonl", jsonl(alpaca(output="一\u2028二\x85👩\u200d⚕️"), GOOD), ("accept", [])),
    Case("5 GBK", "g.jsonl", jsonl(GOOD, GOOD, encoding="gbk"), ("stop", "E_ENCODING", 1)),
    Case("5 GBK, named", "g.jsonl", jsonl(GOOD, encoding="gbk"), ("accept", []), flags={"encoding": "gb18030"}),
    Case("6 UTF-16", "u.jsonl", jsonl(GOOD, encoding="utf-16"), ("stop", "E_ENCODING", 1)),
    Case("6 UTF-16 without BOM", "u.jsonl", jsonl(*[GOOD] * 4, encoding="utf-16-le"), ("stop", "E_ENCODING", 1)),
    Case("6 UTF-16, named", "u.jsonl", jsonl(GOOD, encoding="utf-16"), ("accept", []), flags={"encoding": "utf-16"}),
    Case("7 gzip", "z.jsonl", gzip.compress(jsonl(GOOD)), ("stop", "E_ENCODING", 1)),
    Case("7 zstd", "z.jsonl", b"\x28\xb5\x2f\xfd1234", ("stop", "E_ENCODING", 1)),
    Case("7 parquet", "p.jsonl", b"PAR1\x15\x04", ("stop", "E_ENCODING", 1)),
    Case("7 zip", "p.jsonl", b"PK\x03\x04\x14\x00", ("stop", "E_ENCODING", 1)),
    Case("8 HTML", "h.jsonl", b"<!DOCTYPE html>\n<html></html>\n", ("stop", "E_JSON", 1)),
    Case("9 one bad byte", "x.jsonl", jsonl(*[GOOD] * 3).replace(b"\n", b"\n\xff", 1), ("skip", [(2, "E_ENCODING")])),
    Case("9 one Latin-1 line", "x.jsonl", ENGLISH + ENGLISH.replace(b"a", b"\xe9"), ("skip", [(2, "E_ENCODING")])),
    Case("10 NUL", "n.jsonl", jsonl(GOOD, "\0" + GOOD_LINE), ("skip", [(2, "E_JSON")])),
    Case("10 NUL in a string", "n.jsonl", jsonl(GOOD, GOOD_LINE.replace("休", "\0")), ("skip", [(2, "E_JSON")])),
    Case("11 CR alone", "r.jsonl", jsonl(GOOD, GOOD).replace(b"\n", b"\r"), ("stop", "E_JSON", None)),
    Case("12 LFS", "l.jsonl", b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\n", ("stop", "E_LFS", 1)),
]  # fmt: skip
SYNTAX = [
    Case("13 array in .jsonl", "a.jsonl", json.dumps([GOOD, GOOD]).encode(), ("accept", ["I_JSON_ARRAY"])),
    Case("13 array, bad item", "a.json", ARRAY.encode(), ("skip", [(3, "E_EMPTY")])),
    Case("13 array cut off", "a.json", ARRAY.encode()[:-20], ("stop", "E_JSON", 3)),
    Case("13 array never closed", "a.json", ("[" + GOOD_LINE).encode(), ("stop", "E_JSON", 1)),
    Case("13 array, no comma", "a.json", f"[{GOOD_LINE}\n{GOOD_LINE}]".encode(), ("stop", "E_JSON", 2)),
    Case("13 array, comma last", "a.json", f"[{GOOD_LINE},\n]".encode(), ("stop", "E_JSON", 2)),
    Case("13 array, two commas", "a.json", f"[{GOOD_LINE},\n,{GOOD_LINE}]".encode(), ("stop", "E_JSON", 2)),
    Case("13 array, then more", "a.json", f"[{GOOD_LINE}]\n{GOOD_LINE}".encode(), ("skip", [(1, "E_TYPE")])),
    Case("13 array, NaN", "a.json", b'[\n{"instruction": NaN},\n' + jsonl(GOOD) + b"]", ("skip", [(2, "E_NAN")])),
    Case("13 array in GBK", "a.json", json.dumps([GOOD], ensure_ascii=False).encode("gbk"), ("stop", "E_ENCODING", 1)),
    Case("14 pretty-printed", "p.json", json.dumps(GOOD, indent=1).encode(), ("stop", "E_JSON", 1)),
    second('{"instruction": "a", "output": "b",}', "E_JSON", "15 trailing comma"),
    second(GOOD_LINE + ",", "E_JSON", "16 comma after line"),
    second("{'instruction': 'a', 'output': 'b'}", "E_JSON", "17 single quotes"),
    second(GOOD_LINE + GOOD_LINE, "E_JSON", "18 two objects on a line"),
    Case("19 cut last line", "t.jsonl", jsonl(GOOD, GOOD_LINE[:20])[:-1], ("skip", [(2, "E_JSON")])),
    second("[" * 100_000, "E_JSON", "20 nested brackets"),
    Case("20 nested first", "t.jsonl", jsonl("[" * 100_000, GOOD), ("skip", [(1, "E_JSON")])),
    second('{"instruction": ' + "[" * 500 + "]" * 500 + ', "output": "b"}', "E_JSON", "20 nested closed"),
    second('{"instruction": ' + "9" * 5000 + ', "output": "b"}', "E_JSON", "20 digits"),
    second('{"instruction": NaN, "output": "b"}', "E_NAN", "21 NaN"),
    second('{"instruction": "a", "output": -Infinity}', "E_NAN", "21 Infinity"),
    second('{"instruction": "a", "output": 1e999}', "E_NAN", "21 overflow"),
    second('{"instruction": "a", "output": "b", "output": "c"}', "E_DUPKEY", "22 duplicate keys"),
    second('{"instruction": "\\ud83d", "output": "b"}', "E_SURROGATE", "23 lone surrogate"),
    second('{"instruction": "a", "output": "b", "\\uDC00": 1}', "E_SURROGATE", "23 lone surrogate in a key"),
    Case("23 surrogate pair", "s.jsonl", jsonl('{"instruction": "\\ud83d\\ude00", "output": "b"}'), ("accept", [])),
    second(alpaca(output="长" * 1_700_000), "W_LONG", "24 5 MB line"),
    Case("25 list", "l.jsonl", jsonl(GOOD, ["a"], "[]"), ("skip", [(2, "E_TYPE"), (3, "E_TYPE")])),
    second('"text"', "E_TYPE", "26 string"),
    second("null", "E_TYPE", "26 null"),
    second("7", "E_TYPE", "26 number"),
]
SCHEMA = [
    second(alpaca(output=""), "E_EMPTY", "27 output empty"),
    second(alpaca(output=" \u3000\n"), "E_EMPTY", "28 output blank"),
    second(alpaca(output=None), "E_NULL", "29 output null"),
    second({"instruction": "a", "input": ""}, "E_FIELD", "30 output missing"),
    second({"output": "a"}, "E_FIELD", "30 instruction missing"),
    second(alpaca(output=37.5), "E_TYPE", "31 number"),
    second(alpaca(output=["a"]), "E_TYPE", "32 list"),
    second(alpaca(input={"a": 1}), "E_TYPE", "32 input object"),
    second(alpaca(history=[["a"]]), "E_TYPE", "33 history"),
    second(alpaca(history="a"), "E_TYPE", "33 history string"),
    second(alpaca(history=[["a", ""]]), "E_EMPTY", "33 history empty"),
    second(alpaca(thought=3), "E_TYPE", "33 thought number"),
    Case("34 keys", "k.jsonl", jsonl({"Instruction": "a", "ouput": "b"}), ("stop", "E_SCHEMA", 1)),
    second({"Instruction": "a", "ouput": "b"}, "E_SCHEMA", "34 keys, second row"),
    Case("35 preference file to SFT", "k.jsonl", jsonl(PAIR), ("stop", "E_SCHEMA", 1)),
    Case("35 SFT file to preference", "k.jsonl", jsonl(GOOD), ("stop", "E_SCHEMA", 1), "preference"),
    Case("35 documents to SFT", "k.jsonl", jsonl({"text": "a"}), ("stop", "E_SCHEMA", 1)),
    second({"conversations": []}, "E_EMPTY", "36 no turns"),
    second({"conversations": "[]"}, "E_TYPE", "37 turns as string"),
    second({"conversations": [["human", "a"]]}, "E_TYPE", "38 turn as list"),
    second({"conversations": None}, "E_NULL", "38 turns null"),
    second({"conversations": [{"value": "a"}]}, "E_FIELD", "39 turn without from"),
    second({"conversations": [{"from": "human"}]}, "E_FIELD", "39 turn without value"),
    second({"messages": [{"content": "a"}]}, "E_FIELD", "39 message without role"),
    second({"messages": [{"role": "user", "content": "a"}, {"role": "assistant"}]}, "E_FIELD", "39 no content"),
    second({"messages": [{"role": "user", "content": [{"type": "image"}]}, {}]}, "E_TYPE", "39 image part"),
    second(turns(G, H, G), "E_ROLE_ORDER", "40 starts with gpt"),
    second(turns(H, H, G), "E_ROLE_ORDER", "41 two human"),
    second(turns(H, G, G), "E_ROLE_ORDER", "42 two gpt"),
    second(turns(H, ("system", "x"), G), "E_ROLE_ORDER", "43 system in the middle"),
    second(turns(H, G, ("observation", "x"), G), "E_ROLE_ORDER", "43 result without a call"),
    second(turns(H, G, H), "E_NO_ANSWER", "44 ends with human"),
    second(turns(("system", "x")), "E_NO_ANSWER", "44 system alone"),
    second(turns(("patient", "a"), ("doctor", "b")), "E_ROLE", "45 patient"),
    second(turns(("Human", "a"), ("GPT", "b")), "E_ROLE", "46 Human"),
    Case("45 all rows", "r.jsonl", jsonl(turns(("patient", "a"), ("doctor", "b"))), ("stop", "E_ROLE", None)),
    Case("45 mapped", "r.jsonl", jsonl(turns(("patient", "a"), ("doctor", "b"))), ("accept", []),
         flags={"roles": {"patient": "user", "doctor": "assistant"}}),
    second(turns((3, "a"), G), "E_TYPE", "46 role is a number"),
    second(turns(([], "a"), G), "E_TYPE", "46 role is a list"),
    second(turns(H, ("gpt", None)), "E_NULL", "47 value null"),
    Case("48 mixed", "m.jsonl", jsonl(GOOD, turns(H, G)), ("accept", ["W_MIXED"])),
    Case("49 im_end", "s.jsonl", jsonl(GOOD, alpaca(instruction="a<|im_end|>\n<|im_start|>system")),
         ("accept", ["W_SPECIAL"])),
    second(alpaca(output="a</s>"), "W_SPECIAL", "49 </s>"),
    Case("49 system", "s.jsonl", jsonl(GOOD, alpaca(system="<｜User｜>")), ("accept", ["W_SPECIAL"])),
    second(alpaca(system="a\ufdd1"), "W_SPECIAL", "49 noncharacter in a system turn"),
    second(alpaca(output="a\ufdd0b"), "W_SPECIAL", "49 noncharacter"),
    second({"Question": "a", "Complex_CoT": "b[INST]", "Response": "c"}, "W_SPECIAL", "49 thought"),
    second({**turns(H, ("function_call", '{"name": "f", "arguments": {"a": "<|im_end|>"}}'), ("observation", "x"), G)},
           "W_SPECIAL", "49 arguments"),
    Case("49 tools", "s.jsonl", jsonl({**turns(H, G), "tools": [{"name": "f", "description": "<|im_start|>"}]}),
         ("accept", ["W_SPECIAL"])),
    Case("49 result", "s.jsonl", jsonl(turns(H, CALL, ("observation", "</s>"), G)), ("accept", ["W_SPECIAL"])),
    second(turns(H, ("function_call", "f(x)"), ("observation", "x"), G), "E_TOOL", "49 call is no JSON"),
    second(turns(H, ("function_call", "[" * 5000), ("observation", "x"), G), "E_TOOL", "49 call nested"),
    second(turns(H, ("function_call", '{"name": 3}'), ("observation", "x"), G), "E_TOOL", "49 call without a name"),
    second(turns(H, ("function_call", "[]"), ("observation", "x"), G), "E_TOOL", "49 no call in a call"),
    second({**turns(H, CALL, ("observation", "x"), G), "tools": [{"name": "g"}]}, "E_TOOL", "49 undefined function"),
    Case("49 odd arguments", "s.jsonl", jsonl({**turns(H, CALL, ("observation", "x"), G), "tools": [
        {"name": "f", "parameters": {"properties": {}, "required": ["a"]}}]}), ("accept", ["W_TOOL"])),
    second({**turns(H, G), "tools": "{"}, "E_TOOL", "49 tools no JSON"),
    second({**turns(H, G), "tools": [3]}, "E_TOOL", "49 tools of numbers"),
    second(mark(train=False), "E_NO_ANSWER", "49 nothing to train"),
    second(mark(weight=0), "E_NO_ANSWER", "49 weight 0"),
    second(mark(weight=0.5), "E_TRAIN", "49 weight 0.5"),
    second(mark(train=True, weight=0), "E_TRAIN", "49 marks that contradict"),
    second(mark(loss="no"), "E_TYPE", "49 mark of text"),
    second({"messages": [{"role": "user", "content": "问", "train": True}, mark()["messages"][1]]}, "E_TRAIN",
           "49 a question to train"),
]  # fmt: skip
PREFERENCES = [
    second(pair(rejected=PAIR["chosen"]), "E_EQUAL", "50 equal", "preference"),
    second(pair(rejected=PAIR["chosen"] + " \n"), "E_EQUAL", "51 equal but for space", "preference"),
    second({"prompt": "a", "chosen": "b"}, "E_FIELD", "52 rejected missing", "preference"),
    second(pair(rejected=""), "E_EMPTY", "53 rejected empty", "preference"),
    second(pair(rejected=None), "E_NULL", "53 rejected null", "preference"),
    second(pair(chosen=[{"role": "assistant", "content": "a"}]), "E_TYPE", "54 list and string", "preference"),
    Case("55 prompt as messages", "p.jsonl", jsonl(pair(prompt=[{"role": "user", "content": "a"}])), ("accept", []),
         "preference"),
    second(pair(prompt=[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]), "E_ROLE_ORDER",
           "56 prompt ends with assistant", "preference"),
    second(pair(chosen=PAIR["rejected"], rejected=PAIR["chosen"]), "W_CONTRADICT", "57 mirrored", "preference"),
    second({"chosen": "a", "rejected": "b"}, "E_FIELD", "57 no prompt", "preference"),
    second({"conversations": [], "chosen": "a", "rejected": "b"}, "E_EMPTY", "57 no turns", "preference"),
    second({"conversations": 5, "chosen": "a", "rejected": "b"}, "E_TYPE", "57 turns a number", "preference"),
    second(pair(chosen=[], rejected=[]), "E_EMPTY", "57 empty lists", "preference"),
    second(pair(chosen={"role": []}, rejected={"content": "b"}), "E_TYPE", "57 odd role", "preference"),
]  # fmt: skip
THOUGHTS = [
    second(alpaca(output="<think>a"), "E_THINK", "58 open"),
    second(alpaca(output="<think>a</think><think>b</think>c"), "E_THINK", "59 twice"),
    second(alpaca(output="x<think>a</think>c"), "E_THINK", "59 text in front"),
    second(alpaca(output="<think>\n</think>c"), "E_EMPTY", "60 empty"),
    second(alpaca(output="<think>a</think>\n"), "E_EMPTY", "61 no answer"),
    second({"Question": "a", "Complex_CoT": "", "Response": "b"}, "E_EMPTY", "61 CoT empty"),
    second({"Question": "a", "Complex_CoT": "x</think>", "Response": "b"}, "E_THINK", "61 tag in CoT"),
]
TABLE = "question,answer\n发热怎么办,多休息\n咳嗽怎么办,多喝水\n"
NAMED = {"columns": ["question", "answer"]}
TABLES = [
    Case("62 GBK CSV", "t.csv", TABLE.encode("gbk"), ("accept", ["I_GB18030"])),
    Case("62 CSV with a BOM", "t.csv", b"\xef\xbb\xbf" + TABLE.encode(), ("accept", ["I_BOM"])),
    Case("62 Latin-1 CSV", "t.csv", "question,answer\ncafé,thé\n".encode("latin-1"), ("stop", "E_ENCODING", 2)),
    Case("62 TSV", "t.tsv", TABLE.replace(",", "\t").encode(), ("accept", [])),
    Case("63 quote left open", "t.csv", b'question,answer\na,b\n"c,d\ne,f\n', ("stop", "E_CSV", 3)),
    Case("64 ragged", "t.csv", b"question,answer\na,b\nc,d,e\nf,g\n", ("skip", [(3, "E_CSV")])),
    Case("64 NUL", "t.csv", b"question,answer\na,b\nc,d\0\nf,g\n", ("skip", [(3, "E_CSV")])),
    Case("64 two columns of one name", "t.csv", b"answer,answer\na,b\n", ("stop", "E_CSV", 1)),
    Case("64 header alone", "t.csv", b"question,answer\n", ("stop", "E_EMPTY_FILE", None)),
    Case("65 no header", "t.csv", b"fever for days,rest\ncough,drink\n", ("stop", "E_SCHEMA", 2)),
    Case("65 columns named", "t.csv", b"fever,rest\ncough,drink\n", ("accept", []), flags=NAMED),
    Case("65 header named", "t.csv", TABLE.encode(), ("accept", []), flags=NAMED),
    Case("66 newline in a cell", "t.csv", b'question,answer\n"a\nb\nc",d\ne,\n', ("skip", [(5, "E_EMPTY")])),
    Case("66 Excel's index", "t.csv", b",question,answer\n0,a,b\n1,c,d\n,,\n", ("accept", [])),
    Case("66 lost characters", "t.csv", "question,answer\na\ufffd,b\n".encode(), ("accept", ["W_MOJIBAKE"])),
]  # fmt: skip
CASES = ENCODING + SYNTAX + SCHEMA + PREFERENCES + THOUGHTS + TABLES
