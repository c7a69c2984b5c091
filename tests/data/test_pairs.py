"""Preference pairs to ids: what is trained, where a sequence ends, which limit drops a pair, and the account of it.

sh run_tests.sh tests/data/test_pairs.py
"""

import json
from pathlib import Path

import pytest

from bedside import templates
from bedside.collate import PairCollator
from bedside.data import build, chats, judged, pairs, tokens
from bedside.errors import ConfigError, DataError

ROW = {"prompt": "Fever?", "chosen": "Rest and drink.", "rejected": "No."}


@pytest.fixture(scope="module")
def encoding(tiny_tokenizer):
    template = templates.get("qwen3")
    tiny_tokenizer = tiny_tokenizer.__class__(
        tokenizer_object=tiny_tokenizer.backend_tokenizer, eos_token="<|im_end|>", pad_token="<|pad|>"
    )
    return tokens.encoding_for(tiny_tokenizer, template, 128)


def plan(path: Path, **more) -> chats.Plan:
    return chats.Plan([build.Source(path)], [], build.Reading(), more.pop("max_bad_rate", 0.01), **more)


def write(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def made(path, tokenizer, encoding, limits=None, **more) -> pairs.PairData:
    return pairs.datasets(plan(path, **more), tokenizer.backend_tokenizer, encoding, limits or pairs.Limits(128), None)


def test_a_pair_is_two_sequences_that_end_at_the_turn_end(tmp_path, tiny_tokenizer, encoding):
    data = made(write(tmp_path / "p.jsonl", [ROW]), tiny_tokenizer, encoding)
    row = data.train[0]
    text = tiny_tokenizer.decode(row["chosen_ids"])
    assert text.startswith("<|im_start|>user\nFever?<|im_end|>\n<|im_start|>assistant\n")
    assert text.endswith("Rest and drink.<|im_end|>"), "what the template writes behind the turn end is left out"
    assert tiny_tokenizer.decode(row["rejected_ids"]).endswith("No.<|im_end|>")
    answer = [token for token in row["chosen_labels"] if token != -100]
    assert tiny_tokenizer.decode(answer).endswith("Rest and drink.<|im_end|>")
    assert "user" not in tiny_tokenizer.decode(answer) and len(row["chosen_labels"]) == len(row["chosen_ids"])
    first = row["chosen_labels"].index(answer[0])
    assert row["chosen_ids"][:first] == row["rejected_ids"][:first], "both sides answer the same question"
    assert (row["source"], row["line"]) == (str(tmp_path / "p.jsonl"), 1)


def test_only_the_compared_answer_is_trained(tmp_path, tiny_tokenizer, encoding):
    history = [
        {"role": "user", "content": "Cough?"},
        {"role": "assistant", "content": "Since when?"},
        {"role": "user", "content": "A week."},
    ]
    data = made(write(tmp_path / "p.jsonl", [{**ROW, "prompt": history}]), tiny_tokenizer, encoding)
    answer = tiny_tokenizer.decode([token for token in data.train[0]["chosen_labels"] if token != -100])
    assert "Rest and drink." in answer and "Since when?" not in answer
    assert "Since when?" in tiny_tokenizer.decode(data.train[0]["chosen_ids"])


def test_every_shape_of_a_pair_gives_the_same_ids(tmp_path, tiny_tokenizer, encoding):
    ask = {"role": "user", "content": "Fever?"}
    sides = {side: {"role": "assistant", "content": ROW[side]} for side in ("chosen", "rejected")}
    shapes = [
        ROW,
        {"question": "Fever?", "response_chosen": ROW["chosen"], "response_rejected": ROW["rejected"]},
        {"instruction": "Fever?", "input": "", **{side: ROW[side] for side in sides}},
        {"conversations": [{"from": "human", "value": "Fever?"}], **{side: ROW[side] for side in sides}},
        {"prompt": [ask], **{side: [message] for side, message in sides.items()}},
        {side: [ask, message] for side, message in sides.items()},
        {"prompt": "Fever?", **{side: [ask, message] for side, message in sides.items()}},
    ]
    data = made(write(tmp_path / "p.jsonl", shapes), tiny_tokenizer, encoding)
    rows = [{name: row[name] for name in row if name != "line"} for row in data.train]
    assert len(rows) == len(shapes) and all(row == rows[0] for row in rows)


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        (pairs.Limits(20), "--max_length is 20"),
        (pairs.Limits(128, question=5), "--max_source_length is 5"),
        (pairs.Limits(128, answer=6), "--max_target_length is 6"),
    ],
)
def test_a_pair_that_breaks_a_limit_is_left_out_and_counted(tmp_path, tiny_tokenizer, encoding, limits, told):
    path = write(tmp_path / "p.jsonl", [ROW, {**ROW, "chosen": "x", "rejected": "y", "prompt": "?"}])
    try:
        data = made(path, tiny_tokenizer, encoding, limits)
    except DataError as error:  # the second pair is too long too
        assert "2 over-long" in str(error)
        return
    account = data.ledger.account(str(path))
    assert (account.rows, account.kept, account.overlong) == (2, 1, 1)
    assert any(told in line for line in data.ledger.details)
    assert data.ledger.rejected == [{"file": str(path), "line": 1, "code": "W_OVERLONG"}]


def test_the_oldest_turns_go_first_from_both_sides(tmp_path, tiny_tokenizer, encoding):
    turns = [
        message
        for n in range(6)
        for message in (
            {"role": "user", "content": f"Fever for {n} days and a cough?"},
            {"role": "assistant", "content": "Rest."},
        )
    ]
    row = {"prompt": [*turns, {"role": "user", "content": "And now?"}], "chosen": "Drink.", "rejected": "No."}
    data = made(write(tmp_path / "p.jsonl", [row]), tiny_tokenizer, encoding, pairs.Limits(128, question=60))
    chosen, rejected = (tiny_tokenizer.decode(data.train[0][f"{side}_ids"]) for side in pairs.SIDES)
    assert "for 0 days" not in chosen and "for 0 days" not in rejected and "And now?" in chosen
    assert data.ledger.samples["turns_dropped"] > 0 and data.ledger.total().kept == 1


def test_bad_rows_are_told_and_too_many_stop_the_run(tmp_path, tiny_tokenizer, encoding):
    mirrored = {**ROW, "chosen": ROW["rejected"], "rejected": ROW["chosen"]}
    equal, forged = {**ROW, "rejected": ROW["chosen"]}, {**ROW, "chosen": "a <|im_end|> b"}
    path = write(tmp_path / "p.jsonl", [ROW, mirrored, equal, forged])
    with pytest.raises(DataError, match="3 of 4 rows are bad"):
        made(path, tiny_tokenizer, encoding)
    data = made(path, tiny_tokenizer, encoding, max_bad_rate=0.9)
    assert dict(data.ledger.account(str(path)).dropped) == {"W_CONTRADICT": 1, "E_EQUAL": 1, "W_SPECIAL": 1}
    assert data.ledger.account(str(path)).adds_up()


def test_sft_rows_are_not_pairs(tmp_path, tiny_tokenizer, encoding):
    path = write(tmp_path / "p.jsonl", [{"instruction": "Fever?", "output": "Rest."}])
    with pytest.raises(DataError, match="expected chosen and rejected"):
        made(path, tiny_tokenizer, encoding)


def test_pairs_are_held_out_by_the_seed_and_capped_ones_are_counted(tmp_path, tiny_tokenizer, encoding):
    path = write(tmp_path / "p.jsonl", [{**ROW, "prompt": f"Fever {n}?"} for n in range(20)])
    data = made(path, tiny_tokenizer, encoding, holdout=0.5, max_eval=4, seed=1)
    assert (len(data.train), len(data.held_out)) == (10, 4)
    assert not set(data.train["line"]) & set(data.held_out["line"])
    total = data.ledger.total()
    assert (total.rows, total.kept, total.capped) == (20, 14, 6)
    again = made(path, tiny_tokenizer, encoding, holdout=0.5, max_eval=4, seed=1)
    assert again.held_out["line"] == data.held_out["line"]


def test_a_mixture_uses_a_pair_twice_to_train_and_once_to_evaluate(tmp_path, tiny_tokenizer, encoding):
    path = write(tmp_path / "p.jsonl", [{**ROW, "prompt": f"Fever {n}?"} for n in range(4)])
    source = build.Source(path, None, bytes([2, 2, 2, 2]))
    wanted = chats.Plan([source], [], build.Reading(), 0.0, holdout=1)
    data = pairs.datasets(wanted, tiny_tokenizer.backend_tokenizer, encoding, pairs.Limits(128))
    assert (len(data.train), len(data.held_out)) == (6, 1)


def test_a_template_that_does_not_fit_is_refused(tmp_path, tiny_tokenizer):
    from dataclasses import replace

    template = replace(templates.get("qwen3"), name="own", source="{{ messages[-1].content }}")
    encoding = tokens.encoding_for(tiny_tokenizer, template, 128)
    with pytest.raises(ConfigError, match="template"):
        made(write(tmp_path / "p.jsonl", [ROW]), tiny_tokenizer, encoding)


def test_the_collator_pads_right_and_masks_answers():
    rows = [
        {"chosen_ids": [5, 6, 7], "chosen_labels": [-100, 6, 7], "rejected_ids": [5, 8],
         "rejected_labels": [-100, 8], "source": "f", "line": 1},
        {"chosen_ids": [5], "chosen_labels": [5], "rejected_ids": [9, 9, 9, 9],
         "rejected_labels": [-100, -100, 9, 9], "source": "f", "line": 2},
    ]  # fmt: skip
    batch = PairCollator(0)(rows)
    assert batch["input_ids"].tolist() == [[5, 6, 7, 0], [5, 0, 0, 0], [5, 8, 0, 0], [9, 9, 9, 9]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1]]
    assert batch["completion_mask"].tolist() == [[0, 1, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 1]]
    assert PairCollator(0, multiple=8)(rows)["input_ids"].shape == (4, 8)
    known = PairCollator(0)([{**row, "ref_chosen_logps": -1.5, "ref_rejected_logps": -2.0} for row in rows])
    assert known["ref_chosen_logps"].tolist() == [-1.5, -1.5]


def test_ids_do_not_depend_on_the_chunk(tmp_path, tiny_tokenizer, encoding, monkeypatch):
    path = write(tmp_path / "p.jsonl", [{**ROW, "prompt": f"Fever {n}?"} for n in range(7)])
    whole = made(path, tiny_tokenizer, encoding)
    monkeypatch.setattr(judged, "_CHUNK", 2)
    assert made(path, tiny_tokenizer, encoding).train[:] == whole.train[:]
