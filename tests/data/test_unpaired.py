"""Labelled answers to ids: labels, limits, partners, contradictions; every row accounted.

sh run_tests.sh tests/data/test_unpaired.py
"""

import json
from pathlib import Path

import pytest
from datasets import Dataset

from bedside import models
from bedside.collate import LabelledCollator
from bedside.data import build, chats, tokens, unpaired
from bedside.data.conversation import RowError
from bedside.data.judged import Limits
from bedside.errors import DataError

ROOMY = Limits(400)


def write(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def made(tiny_model_dir, tmp_path):
    """Rows and more flags of a plan to data, decoded by the tokenizer that comes with it."""
    tokenizer = models.load_tokenizer(tiny_model_dir)
    template = models.install_template(tokenizer, "qwen3")

    def make(rows: list[dict], limits: Limits = ROOMY, **plan):
        path = write(tmp_path / "rows.jsonl", rows)
        reading = build.Reading()
        plan = chats.Plan(**{"train": [build.Source(path)], "validation": [], "reading": reading, "max_bad_rate": 1.0,
                             **plan})  # fmt: skip
        encoding = tokens.encoding_for(tokenizer, template, limits.sequence)
        return unpaired.datasets(plan, tokenizer.backend_tokenizer, encoding, limits), tokenizer

    return make


def by_line(dataset) -> list[dict]:
    return sorted(dataset, key=lambda row: (row["line"], not row["label"]))


def test_question_and_answer_are_apart_and_end_with_the_turn(made):
    data, tokenizer = made([{"prompt": "Fever?", "completion": "Rest.", "label": True},
                            {"instruction": "Cough?", "input": "", "output": "Run.", "kto_tag": False}])  # fmt: skip
    first, second = by_line(data.train)
    assert tokenizer.decode(first["prompt_ids"]).startswith(
        "<|im_start|>user\nFever?<|im_end|>\n<|im_start|>assistant"
    )
    assert tokenizer.decode(first["completion_ids"]).endswith("Rest.<|im_end|>")
    assert first["completion_labels"] == first["completion_ids"]
    assert first["length"] == len(first["prompt_ids"]) + len(first["completion_ids"])
    assert (first["label"], second["label"]) == (True, False)
    assert (data.good, data.bad) == (1, 1)


def test_a_preference_row_becomes_two_answers_to_one_question(made):
    data, tokenizer = made([{"prompt": "Fever?", "chosen": "Rest.", "rejected": "Run."}])
    good, bad = by_line(data.train)
    assert good["prompt_ids"] == bad["prompt_ids"] and (good["label"], bad["label"]) == (True, False)
    assert tokenizer.decode(bad["completion_ids"]).endswith("Run.<|im_end|>")
    assert data.ledger.total().kept == 1


def test_both_answers_of_a_pair_are_held_out_together(made):
    rows = [{"prompt": f"Fever {n}?", "chosen": "Rest.", "rejected": "Run."} for n in range(10)]
    data, _ = made(rows, holdout=0.3)
    held = [row["line"] for row in by_line(data.held_out)]
    assert len(held) == 6 and held[::2] == held[1::2]
    assert not set(held) & {row["line"] for row in data.train} and len(data.train) == 14


def test_every_row_is_accounted(made):
    rows = [
        {"prompt": "Fever?", "completion": "Rest.", "label": True},
        {"prompt": "Fever?", "completion": "Rest.", "label": False},  # contradicts the first
        {"prompt": "Fever?", "completion": "Rest. " * 60, "label": True},  # too long
        {"prompt": "Fever?", "completion": "", "label": True},
        {"prompt": "Fever?", "completion": "Rest.", "label": "perhaps"},
        {"prompt": "Cough?", "completion": "Drink.", "label": "true"},
    ]
    data, _ = made(rows, Limits(400, None, 30))
    account = data.ledger.total()
    assert account.adds_up() and (account.rows, account.kept, account.overlong) == (6, 2, 1)
    assert dict(account.dropped) == {"W_CONTRADICT": 1, "E_EMPTY": 1, "E_LABEL": 1}


def test_the_oldest_turns_are_left_out_to_fit(made):
    history = [{"role": "user", "content": "Old question. " * 20}, {"role": "assistant", "content": "Old answer."}]
    row = {"prompt": [*history, {"role": "user", "content": "New?"}],
           "completion": [{"role": "assistant", "content": "Yes."}], "label": True}  # fmt: skip
    data, tokenizer = made([row], Limits(60))
    text = tokenizer.decode(data.train[0]["prompt_ids"])
    assert "New?" in text and "Old" not in text
    assert data.ledger.samples["turns_dropped"] == 1


def test_rows_of_another_kind_are_refused():
    with pytest.raises(RowError, match="expected label or kto_tag, or chosen and rejected"):
        unpaired.admitted({"instruction": "Fever?", "input": "", "output": "Rest."})
    with pytest.raises(RowError, match="label and kto_tag contradict"):
        unpaired.admitted({"prompt": "Fever?", "completion": "Rest.", "label": True, "kto_tag": False})


def test_a_file_of_which_nothing_is_left_is_refused(made):
    with pytest.raises(DataError, match="E_NOTHING_LEFT|no row is left to train on"):
        made([{"prompt": "Fever?", "completion": "Rest. " * 60, "label": True}], Limits(30))


def test_the_seed_shuffles_once(made):
    rows = [{"prompt": f"Fever {n}?", "completion": "Rest.", "label": True} for n in range(8)]
    orders = [[row["line"] for row in made(rows, seed=seed)[0].train] for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2] and sorted(orders[0]) == list(range(1, 9))


def test_partners_are_the_answers_of_the_row_before_in_the_batch():
    rows = Dataset.from_dict({"completion_ids": [[n] for n in range(7)], "completion_labels": [[n] for n in range(7)]})
    found = unpaired.with_partners(rows, 3)
    # Batches 0 1 2, 3 4 5 and 6 alone, which takes the one before.
    assert found["KL_completion_ids"] == [[2], [0], [1], [5], [3], [4], [5]]
    assert found["KL_completion_labels"] == found["KL_completion_ids"]
    assert unpaired.with_partners(rows.select([0]), 3)["KL_completion_ids"] == [[0]]


def test_a_batch_of_labelled_rows():
    rows = [
        {"prompt_ids": [5, 6], "completion_ids": [7, 8], "completion_labels": [7, -100], "label": True,
         "KL_completion_ids": [9], "KL_completion_labels": [9], "ref_logps": -1.5, "ref_KL_logps": -2.5},
        {"prompt_ids": [4], "completion_ids": [9], "completion_labels": [9], "label": False,
         "KL_completion_ids": [7, 8, 3], "KL_completion_labels": [7, -100, 3], "ref_logps": -0.5, "ref_KL_logps": 0.0},
    ]  # fmt: skip
    batch = LabelledCollator(1, max_length=3)(rows)
    assert batch["input_ids"].tolist() == [[5, 6, 7], [4, 9, 1]]  # cut at three tokens, padded with 1
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]
    assert batch["completion_mask"].tolist() == [[0, 0, 1], [0, 1, 0]]
    assert batch["KL_input_ids"].tolist() == [[5, 6, 9], [4, 7, 8]]
    assert batch["KL_completion_mask"].tolist() == [[0, 0, 1], [0, 1, 0]]
    assert batch["label"].tolist() == [True, False]
    assert LabelledCollator(1, multiple=8)(rows)["KL_attention_mask"].shape == (2, 8)
    assert batch["ref_logps"].tolist() == [-1.5, -0.5] and batch["ref_KL_logps"].tolist() == [-2.5, 0.0]
