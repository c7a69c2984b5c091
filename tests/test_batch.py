"""Files of questions to files of answers: every row form, every fault, order, batches, resuming.

sh run_tests.sh tests/test_batch.py
"""

import json
from collections import Counter

import pytest

from bedside import batch, questions
from bedside.data.conversation import RowError
from bedside.errors import ConfigError, DataError
from bedside.generate import ChatEngine, Sampling

USER = {"role": "user", "content": "Fever?"}
CALL = {
    "role": "assistant",
    "content": "",
    "tool_calls": [{"type": "function", "function": {"name": "t", "arguments": {}}}],
}


def write(path, *rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("row", "reference"),
    [
        ({"prompt": "Fever?"}, None),
        ({"prompt": "Fever?", "response": "Rest."}, "Rest."),
        ({"prompt": "Fever?", "completion": "Rest."}, "Rest."),
        ({"prompt": [USER]}, None),
        ({"question": "Fever?"}, None),
        ({"question": "Fever?", "answer": "Rest."}, "Rest."),
        ({"query": "Fever?"}, None),
        ({"instruction": "Fever?"}, None),
        ({"instruction": "Fever?", "input": "", "output": ""}, None),
        ({"instruction": "Fever?", "input": "", "output": "Rest."}, "Rest."),
        ({"input": "Fever?", "output": None}, None),
        ({"ask": "Fever?", "title": "", "answer": "Rest."}, "Rest."),
        ({"Question": "Fever?"}, None),
        ({"Question": "Fever?", "Complex_CoT": "Hm.", "Response": "Rest."}, "Rest."),
        ({"Question": "Fever?", "Complex_CoT": "", "Response": ""}, None),
        ({"messages": [USER]}, None),
        ({"messages": [USER, {"role": "assistant", "content": "<think>\nHm.\n</think>\n\nRest."}]}, "Rest."),
        ({"conversations": [{"from": "human", "value": "Fever?"}]}, None),
        ({"conversations": [{"from": "human", "value": "Fever?"}, {"from": "gpt", "value": "Rest."}]}, "Rest."),
        ({"conversations": [USER]}, None),
        ("Fever?", None),
    ],
)
def test_every_form_of_a_question(row, reference):
    assert questions.unanswered(row) == ([USER], None, reference)


def test_instruction_and_input_are_one_question():
    messages, _, _ = questions.unanswered({"instruction": "What is this?", "input": "Fever."})
    assert messages == [{"role": "user", "content": "What is this?\nFever."}]


def test_a_dialogue_is_asked_up_to_its_last_question():
    turns = [USER, {"role": "assistant", "content": "Rest."}, {"role": "user", "content": "Drink?"}]
    for last in ([], [{"role": "assistant", "content": "Yes."}]):
        messages, _, reference = questions.unanswered({"messages": [*turns, *last]})
        assert messages == turns
        assert reference == ("Yes." if last else None)


def test_the_result_of_a_tool_is_part_of_the_question():
    tools = [{"type": "function", "function": {"name": "t", "description": None, "parameters": None}}]
    turns = [USER, CALL, {"role": "tool", "content": "38.5"}]
    row = {"messages": [*turns, {"role": "assistant", "content": "A fever."}], "tools": tools}
    messages, given, reference = questions.unanswered(row)
    assert [message["role"] for message in messages] == ["user", "assistant", "tool"]
    assert (given, reference) == (tools, "A fever.")


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ({"text": "A document."}, "E_SCHEMA"),
        ({"prompt": "a", "chosen": "b", "rejected": "c"}, "E_SCHEMA"),
        ({"prompt": " "}, "E_EMPTY"),
        ({"prompt": None}, "E_NULL"),
        ({"messages": []}, "E_EMPTY"),
        ({"messages": [{"role": "assistant", "content": "b"}]}, "E_ROLE_ORDER"),
        ({"prompt": "a\ufdd0"}, "W_SPECIAL"),
        (7, "E_TYPE"),
    ],
)
def test_rows_that_cannot_be_asked(row, code):
    with pytest.raises(RowError) as error:
        questions.unanswered(row)
    assert error.value.code == code


def test_lines_of_text_are_questions(tmp_path):
    path = tmp_path / "q.txt"
    path.write_bytes("\ufeff头晕？\r\n\n  \nFever?\n".encode())
    found = questions.read(str(path), system="Be brief.")
    assert [(q.origin.line, q.id, q.messages[1]["content"]) for q in found] == [(1, 0, "头晕？"), (4, 1, "Fever?")]
    assert found[0].messages[0] == {"role": "system", "content": "Be brief."}


def test_a_file_without_suffix_is_read_as_what_it_holds(tmp_path):
    path = tmp_path / "questions"
    path.write_text('[{"prompt": "a"}, {"prompt": "b"}]')
    assert [q.messages[0]["content"] for q in questions.read(str(path))] == ["a", "b"]


def test_a_row_keeps_its_own_system_turn_and_id(tmp_path):
    path = write(tmp_path / "q.jsonl", {"id": "x1", "system": "Own.", "instruction": "a"}, {"instruction": "b"})
    first, second = questions.read(path, system="Given.")
    assert (first.id, first.messages[0]["content"]) == ("x1", "Own.")
    assert (second.id, second.messages[0]["content"]) == (1, "Given.")


def test_bad_rows_are_named_and_keep_their_place(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(questions.logs, "warn", said.append)
    path = tmp_path / "q.jsonl"
    path.write_bytes(b'{"prompt": "a"}\n{"prompt": \n{"prompt": "\xff"}\n{"prompt": ""}\n')
    codes = [question.error and question.error[0] for question in questions.read(str(path))]
    assert codes == [None, "E_JSON", "E_ENCODING", "E_EMPTY"]
    assert said[0].startswith(f"{path}:2: E_JSON Expecting value at column")
    assert len(said) == 3


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("q.jsonl", b"", "E_EMPTY_FILE no data lines"),
        ("q.txt", b"\n \n", "E_EMPTY_FILE no data lines"),
        ("q.jsonl", b"Fever?\nCough?\n", "E_JSON no row of 2 can be asked; one prompt a line belongs in a .txt file"),
        ("q.txt", "头晕怎么办，要不要去医院看看？\n".encode("gb18030") * 3 + b"\xff\n", "E_ENCODING"),
        ("q.txt", b"\x1f\x8b\x08", "the file is gzip"),
        ("q.jsonl", b'{"text": "a"}\n', "E_SCHEMA no row of 1 can be asked"),
    ],
)
def test_files_that_cannot_be_used(tmp_path, name, content, says):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=says):
        questions.read(str(path))


def test_text_in_another_encoding(tmp_path):
    path = tmp_path / "q.txt"
    path.write_bytes("头晕怎么办？\n".encode("gb18030"))
    assert questions.read(str(path), encoding="gb18030")[0].messages[0]["content"] == "头晕怎么办？"
    with pytest.raises(ConfigError, match="--encoding klingon: unknown encoding"):
        questions.read(str(path), encoding="klingon")


def test_batches_are_of_similar_length_and_depend_on_nothing_else():
    lengths = [5, 1, None, 4, 2, 9, 9, 1, 7]
    assert batch.plan(lengths, 2) == [[5, 6], [0, 3], [4, 1], [7], [8]]
    assert batch.plan([3] * 5, 8) == [[0, 1, 2, 3, 4]]
    assert batch.plan([], 8) == []


@pytest.fixture(scope="module")
def engine(tiny_model_dir):
    from bedside import models

    tokenizer = models.load_tokenizer(tiny_model_dir)
    template = models.install_template(tokenizer, "qwen3")
    return ChatEngine(
        models.load_base(tiny_model_dir, "float32").eval(), tokenizer, template, [tokenizer.eos_token_id]
    )


@pytest.fixture
def rows(tmp_path):
    """Twelve questions of many lengths, two of them bad, one longer than the context."""
    made = [
        {"prompt": f"Fever for {number} days? " + "Cough. " * (number % 5), "response": "Rest."}
        for number in range(11)
    ]
    made[3] = {"prompt": ""}
    made[8] = {"prompt": "x " * 700}
    path = write(tmp_path / "in.jsonl", *made)
    with open(path, "a") as stream:
        stream.write("{broken\n")
    return questions.read(path)


def answered(engine, rows, output, sampling, batch_size, done=0):
    tally = batch.run(engine, rows, done, str(output), sampling, batch_size)
    return tally, [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]


def test_one_row_each_in_the_order_of_the_input(engine, rows, tmp_path):
    tally, written = answered(engine, rows, tmp_path / "out.jsonl", Sampling(6, temperature=0), 4)
    assert [row["line"] for row in written] == list(range(1, 13))
    faults = {row["line"]: row["error"] for row in written if "error" in row}
    assert faults == {4: "E_EMPTY", 9: "W_OVERLONG", 12: "E_JSON"}
    assert sum(tally.ends.values()) == 12
    assert tally.ends["length"] + tally.ends["stop"] == 9
    assert tally.tokens == sum(row.get("completion_tokens", 0) for row in written)
    first = written[0]
    assert list(first) == [
        "id", "line", "prompt", "answer", "thought", "text", "finish_reason", "prompt_tokens", "completion_tokens",
        "reference",
    ]  # fmt: skip
    assert (first["prompt"], first["reference"], first["completion_tokens"]) == ("Fever for 0 days? ", "Rest.", 6)


@pytest.mark.parametrize("size", [1, 3, 8])
def test_the_batch_size_changes_nothing_at_temperature_0(engine, rows, tmp_path, size):
    greedy = Sampling(10, temperature=0)
    _, together = answered(engine, rows, tmp_path / "a.jsonl", greedy, 12)
    _, apart = answered(engine, rows, tmp_path / "b.jsonl", greedy, size)
    assert apart == together


@pytest.mark.parametrize("temperature", [0, 1.2])
@pytest.mark.parametrize("calls", [0, 1, 3, 4])
def test_a_killed_run_goes_on_to_the_same_file(engine, rows, tmp_path, monkeypatch, temperature, calls):
    sampling, made_of = Sampling(8, temperature=temperature), {"settings": {"seed": 42}}
    whole, cut = tmp_path / "whole.jsonl", tmp_path / "cut.jsonl"
    answered(engine, rows, whole, sampling, 2)
    complete, left = engine.complete, [None] * calls

    def killed(*given):
        if not left:
            raise KeyboardInterrupt
        left.pop()
        return complete(*given)

    assert batch.begin(str(cut), made_of, rows, False) == 0
    monkeypatch.setattr(engine, "complete", killed)
    with pytest.raises(KeyboardInterrupt):
        batch.run(engine, rows, 0, str(cut), sampling, 2)
    with cut.open("a") as stream:
        stream.write('{"id": 1, "line')  # a line that was being written
    monkeypatch.setattr(engine, "complete", complete)
    done = batch.begin(str(cut), made_of, rows, False)
    assert done == {0: 0, 1: 0, 3: 5, 4: 9}[calls]
    batch.run(engine, rows, done, str(cut), sampling, 2)
    assert cut.read_bytes() == whole.read_bytes()


def test_a_complete_file_needs_no_model(engine, rows, tmp_path):
    output, made_of = tmp_path / "out.jsonl", {"settings": {"seed": 42}}
    batch.begin(str(output), made_of, rows, False)
    answered(engine, rows, output, Sampling(2, temperature=0), 8)
    assert batch.begin(str(output), made_of, rows, False) == 12
    assert batch.begin(str(output), made_of, rows, True) == 0
    assert output.read_text() == ""


def test_another_runs_file_is_not_continued(rows, tmp_path):
    output = tmp_path / "deep" / "out.jsonl"
    made_of = {"schema": 1, "input": {"rows": 12}, "settings": {"seed": 42, "temperature": 0.0}}
    assert batch.begin(str(output), made_of, rows, False) == 0
    output.write_text('{"line": 1}\n')
    assert batch.begin(str(output), made_of, rows, False) == 1
    other = {**made_of, "settings": {"seed": 42, "temperature": 0.7}}
    with pytest.raises(
        ConfigError, match=r"is another run's: settings temperature \(0.0 then, 0.7 now\); add --overwrite"
    ):
        batch.begin(str(output), other, rows, False)
    output.write_text('{"line": 2}\n')
    with pytest.raises(ConfigError, match="its line 1 is not an answer to row 1 of the input"):
        batch.begin(str(output), made_of, rows, False)
    meta = tmp_path / "deep" / "out.jsonl.meta.json"
    meta.write_text("{")
    with pytest.raises(ConfigError, match="out.jsonl.meta.json: damaged; add --overwrite_output_file True"):
        batch.begin(str(output), made_of, rows, False)
    meta.unlink()
    with pytest.raises(ConfigError, match="is there, but not out.jsonl.meta.json, which says how it was made"):
        batch.begin(str(output), made_of, rows, False)


def test_the_summary_holds_every_row():
    assert batch.summary(9, 4, Counter(stop=3, length=1, E_JSON=1)) == (
        "9 rows = 4 from an earlier run + 3 finished + 1 cut by --max_new_tokens or the context + 1 E_JSON"
    )


def test_the_speed_is_of_the_rows_that_were_answered():
    tally = batch.Tally(Counter(stop=3, length=1, E_JSON=5), 100, 8.0)
    assert tally.speed() == "0.50 rows/s, 12.5 tokens/s, 8.0 s"
    assert batch.Tally().speed() == "0.00 rows/s, 0.0 tokens/s, 0.0 s"


def test_what_a_run_was_made_of_reads_the_same_from_its_file(tmp_path):
    path = write(tmp_path / "q.jsonl", {"prompt": "a"})
    made_of = batch.about(path, 1, {"served": "m"}, Sampling(stop=("END",)), 42, None, None)
    assert json.loads(json.dumps(made_of)) == made_of
    assert made_of["settings"]["stop"] == ["END"]
    assert "stop" not in batch.about(path, 1, {"served": "m"}, Sampling(), 42, None, None)["settings"]
