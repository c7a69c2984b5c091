"""Documents to ids: accounted, closed, cut without a loss, packed apart.

sh run_tests.sh tests/data/test_corpus.py
"""

import gzip
import json
import logging

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from bedside.collate import PackedCollator
from bedside.data import build, chats, corpus, files, textwork, workers
from bedside.data.ledger import Ledger
from bedside.errors import ConfigError, DataError
from bedside.evaluate import documents as heldout
from bedside.templates import document_end

END = 9


@pytest.fixture
def letters():
    """A tokenizer whose tokens are the letters a to i, ids 0 to 8; 9 ends a document."""
    core = Tokenizer(models.WordLevel({letter: number for number, letter in enumerate("abcdefghi")} | {"?": END}, "?"))
    core.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    core.decoder = decoders.Fuse()
    return core


def cutting(block: int = 4, **more) -> textwork.Cutting:
    return textwork.Cutting((), END, block, **more)


def plan(*paths, validation=(), **more) -> chats.Plan:
    found = [build.sources([str(p) for p in some], texts=True) if some else [] for some in (paths, validation)]
    return chats.Plan(*found, build.Reading(documents=more.pop("documents", "line")), more.pop("rate", 0.01), **more)


def text(path, *lines: str):
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def made(letters, a_plan, block=4, **more):
    return corpus.datasets(a_plan, letters, cutting(block), **more)


def test_every_document_ends_and_is_cut_without_losing_a_token(letters, tmp_path):
    data = made(letters, plan(text(tmp_path / "a.txt", "abcdef", "g", "abc")), packed=False)
    assert data.train["input_ids"] == [[0, 1, 2, 3], [4, 5, END], [6, END], [0, 1, 2, END]]
    assert data.train["labels"] == data.train["input_ids"]


def test_pieces_share_rows_by_best_fit(letters, tmp_path):
    data = made(letters, plan(text(tmp_path / "a.txt", "abcdef", "g", "abc", "h")))
    rows = sorted(zip(data.train["input_ids"], data.train["seq_lengths"], strict=True))
    assert rows == [([0, 1, 2, 3], [4]), ([0, 1, 2, END], [4]), ([4, 5, END], [3]), ([6, END, 7, END], [2, 2])]


def test_the_first_token_of_a_piece_is_read_and_not_predicted(letters, tmp_path):
    data = made(letters, plan(text(tmp_path / "a.txt", "g", "h")))
    batch = PackedCollator(3)(list(data.train))
    assert batch["input_ids"].tolist() == [[6, END, 7, END]]
    assert batch["labels"].tolist() == [[-100, END, -100, END]]
    assert batch["position_ids"].tolist() == [[0, 1, 0, 1]]


def test_tails_are_counted(letters, tmp_path, caplog):
    # 6 + 1 tokens: a piece of 4 and a tail of 3; 7 + 1: two full pieces and no tail; 1 + 1: not cut.
    with caplog.at_level(logging.INFO, "bedside"):
        made(letters, plan(text(tmp_path / "a.txt", "abcdef", "abcdefg", "h")))
    assert "training: 3 documents, 17 tokens in 5 pieces of at most 4, packed into 5 rows" in caplog.text
    told = "2 documents are longer than --block_size 4 and cut; tail tokens: 3 in 1 pieces, kept; the first token of "
    assert told + "each of the 2 later pieces has no context" in caplog.text


def test_tokens_that_a_tokenizer_puts_in_front_stand_before_every_document(letters, tmp_path):
    how = textwork.Cutting((8,), END, 8)
    data = corpus.datasets(plan(text(tmp_path / "a.txt", "ab", "c")), letters, how, packed=False)
    assert data.train["input_ids"] == [[8, 0, 1, END], [8, 2, END]]


def test_every_row_is_accounted(letters, tmp_path):
    rows = ['{"text": "ab"}', '{"text": ""}', '{"text": 5}', "no json", '{"text": "c"}', '{"text": "d"}']
    data = made(letters, plan(text(tmp_path / "a.jsonl", *rows), rate=0.9, max_train=2))
    assert (
        data.ledger.summary()
        == "6 rows = 2 kept + 3 dropped (E_EMPTY 1, E_TYPE 1, E_JSON 1) + 0 over-long + 1 over the cap"
    )
    assert [(place["line"], place["code"]) for place in data.ledger.rejected] == [
        (2, "E_EMPTY"), (3, "E_TYPE"), (4, "E_JSON"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", b"ab\nc\n"),
        ("a.txt.gz", gzip.compress(b"ab\nc\n", mtime=0)),
        ("a.jsonl", b'{"text": "ab", "source": "x"}\n{"text": "c"}\n'),
        ("a.json", b'[{"text": "ab"}, {"text": "c"}]'),
        ("a.csv", b"id,text\n1,ab\n2,c\n"),
    ],
)
def test_every_format_gives_the_same_documents(letters, tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    data = made(letters, plan(tmp_path), packed=False)
    assert data.train["input_ids"] == [[0, 1, END], [2, END]]


def test_documents_may_have_blank_lines_between_them(letters, tmp_path):
    path = text(tmp_path / "a.txt", "ab", "c", "", "d")
    data = made(letters, plan(path, documents="blank_line"), block=8, packed=False)
    assert data.train["input_ids"] == [[0, 1, END, 2, END], [3, END]]  # the line break is no letter: the unknown one


def test_gbk_is_recognised(tiny_tokenizer, tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("患者发热咳嗽三天。\n建议多喝水，注意休息。\n".encode("gb18030"))
    how = corpus.cutting_for(tiny_tokenizer, 128)
    data = corpus.datasets(plan(path), tiny_tokenizer.backend_tokenizer, how, packed=False)
    assert [tiny_tokenizer.decode(ids) for ids in data.train["input_ids"]] == [
        "患者发热咳嗽三天。<|endoftext|>", "建议多喝水，注意休息。<|endoftext|>",
    ]  # fmt: skip
    assert data.ledger.total().remarks["I_GB18030"] == 1


def test_a_share_of_a_dataset_is_used_as_often_as_it_says(letters, tmp_path):
    text(tmp_path / "a.txt", "a", "b")
    text(tmp_path / "b.jsonl", '{"body": "c"}')
    info = {"one": {"file_name": "a.txt"}, "two": {"file_name": "b.jsonl", "columns": {"prompt": "body"}}}
    (tmp_path / "dataset_info.json").write_text(json.dumps(info))
    found = build.sources([], "one,two:3", str(tmp_path), texts=True)
    a_plan = corpus.plan_of({"train": found, "validation": [], "reading": build.Reading(), "max_bad_rate": 0.0})
    data = made(letters, a_plan, packed=False)
    assert sorted(data.train["input_ids"]) == [[0, END], [1, END], [2, END], [2, END], [2, END]]


def test_a_dataset_of_answers_is_refused(tmp_path):
    info = {"chat": {"file_name": "c.jsonl", "columns": {"prompt": "q", "response": "a"}}}
    text(tmp_path / "c.jsonl", '{"q": "x", "a": "y"}')
    (tmp_path / "dataset_info.json").write_text(json.dumps(info))
    found = build.sources([], "chat", str(tmp_path), texts=True)
    with pytest.raises(ConfigError, match="--dataset chat: a dataset of questions and answers; pretraining reads"):
        corpus.plan_of({"train": found, "validation": [], "reading": build.Reading(), "max_bad_rate": 0.0})


def test_repetitions_are_kept_and_told_with_both_places(letters, tmp_path, caplog):
    with caplog.at_level(logging.INFO, "bedside"):
        data = made(letters, plan(text(tmp_path / "a.txt", "ab", "c"), text(tmp_path / "b.txt", "ab")), packed=False)
    assert len(data.train) == 3 and data.ledger.total().remarks["W_DUPLICATE"] == 1
    assert f"{tmp_path}/b.txt:1: W_DUPLICATE the same document as {tmp_path}/a.txt:1; kept" in caplog.text
    assert "1 of 3 documents are repetitions" in caplog.text


def test_held_out_documents_that_are_trained_on_are_told(letters, tmp_path, caplog):
    train, held = text(tmp_path / "a.txt", "ab", "c"), text(tmp_path / "b.txt", "ab", "d")
    with caplog.at_level(logging.INFO, "bedside"):
        data = made(letters, plan(train, validation=[held]), packed=False)
    assert data.held_out["input_ids"] == [[0, 1, END], [3, END]]
    assert "1 of 2 held-out documents are also trained on, word for word" in caplog.text


def test_a_share_is_held_out_and_both_parts_are_kept(letters, tmp_path):
    data = made(letters, plan(text(tmp_path / "a.txt", *"abcdefgh"), holdout=0.25), packed=False)
    both = [*data.train["input_ids"], *data.held_out["input_ids"]]
    assert len(data.held_out) == 2 and sorted(both) == [[number, END] for number in range(8)]
    assert data.ledger.total().kept == 8
    assert len(data.documents) == 2


def test_control_tokens_in_a_document_end_nothing(tiny_tokenizer, tmp_path):
    path = text(tmp_path / "a.txt", "Fever.<|endoftext|>Cough.")
    how = corpus.cutting_for(tiny_tokenizer, 128)
    data = corpus.datasets(plan(path), tiny_tokenizer.backend_tokenizer, how, packed=False)
    [ids] = data.train["input_ids"]
    assert ids.count(0) == 1 and ids[-1] == 0
    assert tiny_tokenizer.decode(ids) == "Fever.< |endoftext|>Cough.<|endoftext|>"
    assert data.ledger.total().remarks["W_SPECIAL"] == 1


def test_the_ids_are_those_of_the_tokenizer(tiny_tokenizer):
    texts = ["First measure  the temperature.", "先测体温，再听诊肺部。", "a\ttab, cafe\u0301 and \U0001f600", " "]
    inside = tiny_tokenizer.backend_tokenizer
    got = [np.frombuffer(ids, np.int32).tolist() for ids in textwork.Encoder(inside).encode(texts)]
    assert got == [tiny_tokenizer(one, add_special_tokens=False)["input_ids"] for one in texts]


def test_several_processes_make_what_one_makes(tiny_tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "WORTH", 0)
    path = text(tmp_path / "a.txt", *(f"The patient has had a fever for {n} days." for n in range(600)))
    how = corpus.cutting_for(tiny_tokenizer, 16)
    one, two = (corpus.datasets(plan(path), tiny_tokenizer.backend_tokenizer, how, processes=n) for n in (1, 2))
    assert one.train["input_ids"] == two.train["input_ids"] and len(one.train) > 100


def test_much_text_waits_in_files(tiny_tokenizer, tmp_path, monkeypatch):
    path = text(tmp_path / "a.txt", *(f"Fever for {n} days." for n in range(50)))
    how = corpus.cutting_for(tiny_tokenizer, 16)
    core = tiny_tokenizer.backend_tokenizer
    plainly = corpus.datasets(plan(path, holdout=0.1), core, how, output=tmp_path)
    monkeypatch.setattr(corpus, "_IN_MEMORY", 0)
    stored = corpus.datasets(plan(path, holdout=0.1), core, how, output=tmp_path)
    assert stored.train["input_ids"] == plainly.train["input_ids"]
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "a", "chosen": "b", "rejected": "c"}, "this looks like preference data, expected text"),
        ({"instruction": "a", "output": "b"}, "this looks like questions and answers, for supervised_finetuning.py"),
        ({"body": "a"}, "no document, expected text"),
    ],
)
def test_rows_of_other_stages_are_named(letters, tmp_path, row, message):
    path = text(tmp_path / "a.jsonl", json.dumps(row))
    with pytest.raises(DataError, match=f"a.jsonl:1: E_SCHEMA .*{message}"):
        made(letters, plan(path))


def test_no_data_and_nothing_left_each_take_one_sentence(letters, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="empty: no data file here; expected .*.txt, found nothing"):
        files.find([str(tmp_path / "empty")], texts=True)
    path = text(tmp_path / "a.txt", "a", "b")
    with pytest.raises(DataError, match="E_NOTHING_LEFT no document is left to evaluate on"):
        made(letters, plan(path, validation=[text(tmp_path / "b.txt", "c")], max_eval=0))


def test_a_document_of_too_many_pieces_is_dropped_and_told(letters, tmp_path, monkeypatch):
    monkeypatch.setattr(textwork, "_MOST_PIECES", 2)
    data = made(letters, plan(text(tmp_path / "a.txt", "abcdefghabc", "a"), rate=0.9), packed=False)
    assert data.train["input_ids"] == [[0, END]] and data.ledger.total().dropped == {"W_LONG": 1}


def test_piece_lengths():
    assert textwork.piece_lengths(8, 4) == [4, 4]
    assert textwork.piece_lengths(9, 4) == [4, 4, 1]
    assert textwork.piece_lengths(3, 4) == [3]


class _Named:
    """A tokenizer with these tokens."""

    def __init__(self, eos, *tokens):
        self.eos_token, self._tokens = eos, (eos, *tokens)

    def get_vocab(self):
        return {token: number for number, token in enumerate(self._tokens)}


@pytest.mark.parametrize(
    ("tokenizer", "end"),
    [
        (_Named("<|endoftext|>", "<|im_end|>"), "<|endoftext|>"),  # Qwen's bases
        (_Named("<|im_end|>", "<|endoftext|>"), "<|endoftext|>"),  # and what they become
        (_Named("<|eot_id|>", "<|end_of_text|>"), "<|end_of_text|>"),
        (_Named("<end_of_turn>", "<eos>"), "<eos>"),
        (_Named("</s>", "<unk>"), "</s>"),
        (_Named("<|im_end|>", "<unk>"), "<|im_end|>"),  # nothing else ends anything here
        (_Named(None, "<unk>"), None),
    ],
)
def test_a_document_ends_as_the_base_ended_its_documents(tokenizer, end):
    assert document_end.of(tokenizer) == end


def test_without_an_end_or_with_a_tiny_block_there_is_no_run(tiny_tokenizer):
    with pytest.raises(ConfigError, match="--block_size 1: expected at least 2 tokens"):
        corpus.cutting_for(tiny_tokenizer, 1)


def test_the_interval_of_a_change_is_that_of_paired_documents():
    tokens = np.array([10, 20, 30, 40])
    before = heldout.Losses(np.array([30.0, 50.0, 100.0, 90.0]), tokens)
    after = heldout.Losses(before.nats + np.log(0.9) * tokens, tokens)
    assert before.perplexity == pytest.approx(np.exp(2.7))
    assert heldout.change(before, after) == pytest.approx((-0.1, -0.1, -0.1), abs=1e-6)
    least, low, high = heldout.change(before, heldout.Losses(before.nats + [1, -1, 2, -4], tokens))
    assert least == pytest.approx(np.exp(-0.02) - 1, abs=1e-6) and low < least < high and low < 0 < high


def test_pieces_of_a_document_are_counted_together(tiny_model_dir, tiny_tokenizer, tmp_path):
    import torch
    from transformers import AutoModelForCausalLM

    path = text(tmp_path / "a.txt", "Fever.", "First measure the temperature, then listen to the chest.", "Rest.")
    held = corpus.datasets(
        plan(text(tmp_path / "b.txt", "x"), validation=[path]), tiny_tokenizer.backend_tokenizer,
        corpus.cutting_for(tiny_tokenizer, 8),
    ).documents  # fmt: skip
    model = AutoModelForCausalLM.from_pretrained(tiny_model_dir, dtype=torch.float32)
    found = heldout.losses(model, held, 3)
    wanted = np.zeros(3)
    for piece, document in enumerate(held.of):
        ids = torch.tensor(held.samples.ids[held.samples.offsets[piece] : held.samples.offsets[piece + 1]])[
            None
        ].long()
        with torch.no_grad():
            loss = model(input_ids=ids, labels=ids).loss if ids.shape[1] > 1 else torch.zeros(())
        wanted[document] += loss.item() * (ids.shape[1] - 1)
    assert held.of.max() == 2 and len(held.of) > 3
    assert found.nats == pytest.approx(wanted, abs=1e-3)
    assert len(held.spread(2)) == 2 and held.spread(2).of.tolist()[0] == 0


def test_a_glance_refuses_before_anything_is_loaded(tmp_path):
    from bedside.data import glance

    path = text(tmp_path / "a.jsonl", '{"chosen": "a", "rejected": "b"}')
    with pytest.raises(DataError, match="this looks like preference data"):
        glance.glance(plan(path), None, textwork.document)
    ledger = Ledger()
    good = build.sources([str(text(tmp_path / "b.txt", "ab"))], texts=True)
    assert [made for _, made in build.read_records(good, textwork.document, ledger, build.Reading())] == ["ab"]
