"""Completions to read: the file, the table in TensorBoard, and what a resumed run does with both.

sh run_tests.sh tests/rollouts/test_samples.py
"""

import json
import logging
import math
from types import SimpleNamespace

import pytest

from bedside.rollouts.samples import Sample, Samples, markdown, tensorboard_of

NASTY = (
    '<think>\n* a | b\n**x** <script>alert(1)</script> [l](http://x.y) `c` & "q" \\| \u2028\n---\n'
    "| 1 | 2 |\n</think>\n\n_是_"
)


class Writer:
    """Notes what would stand in TensorBoard."""

    def __init__(self):
        self.texts = []

    def add_text(self, tag, text, step):
        self.texts.append((tag, step, text))


def trainer_of(writer=None, rank=0):
    callbacks = [SimpleNamespace(), SimpleNamespace(tb_writer=writer)]
    return SimpleNamespace(
        is_world_process_zero=lambda: rank == 0, callback_handler=SimpleNamespace(callbacks=callbacks)
    )


def sample(text="yes", **more):
    return Sample("data/a.jsonl:3", "Fever?", text, True, {"accuracy": 1.0}, 1.0, 0.25, 12, **more)


def rows(directory):
    return [json.loads(line) for line in (directory / "samples.jsonl").read_text(encoding="utf-8").split("\n") if line]


def test_the_first_of_each_rollout_are_written_down(tmp_path):
    writer = Writer()
    samples = Samples(trainer_of(writer), tmp_path, count=2)
    samples.add(0, [sample("one"), sample("two"), sample("three")])
    samples.add(4, iter([sample(NASTY)]))
    assert [(row["step"], row["text"]) for row in rows(tmp_path)] == [(0, "one"), (0, "two"), (4, NASTY)]
    assert rows(tmp_path)[0] == {
        "step": 0, "where": "data/a.jsonl:3", "question": "Fever?", "text": "one", "finished": True,
        "rewards": {"accuracy": 1.0}, "reward": 1.0, "kl": 0.25, "length": 12,
    }  # fmt: skip
    assert [text[:2] for text in writer.texts] == [("samples", 0), ("samples", 4)]


def test_a_resumed_run_goes_on_without_repeating_steps(tmp_path):
    first = Samples(trainer_of(), tmp_path)
    for step in (0, 4, 8, 12):
        first.add(step, [sample(f"first {step} \u2028 \x85")])
    with open(tmp_path / "samples.jsonl", "a", encoding="utf-8") as stream:
        stream.write('{"step": 16, "wh')  # killed here
    resumed = Samples(trainer_of(), tmp_path)
    resumed.add(8, [sample("resumed 8")])
    resumed.add(12, [sample("resumed 12")])
    told = [(row["step"], row["text"].split()[0]) for row in rows(tmp_path)]
    assert told == [(0, "first"), (4, "first"), (8, "resumed"), (12, "resumed")]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["samples.jsonl"]
    Samples(trainer_of(), tmp_path).add(0, [sample("anew")])
    assert [row["text"] for row in rows(tmp_path)] == ["anew"]


def test_other_ranks_and_a_count_of_0_write_nothing(tmp_path):
    Samples(trainer_of(rank=1), tmp_path).add(0, [sample()])
    Samples(trainer_of(), tmp_path, count=0).add(0, [sample()])
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_printed_unless_asked(tmp_path, caplog, capsys):
    caplog.set_level(logging.INFO, "bedside")
    Samples(trainer_of(), tmp_path).add(0, [sample("secret")])
    assert "secret" not in caplog.text and capsys.readouterr() == ("", "")
    Samples(trainer_of(), tmp_path, show=True).add(4, [sample("secret")])
    assert "step 4  data/a.jsonl:3  reward 1.000\nsecret\n" in caplog.text


def test_numbers_that_json_does_not_know_are_null(tmp_path):
    Samples(trainer_of(), tmp_path).add(0, [Sample("a:1", "q", "t", False, {"judge": math.nan}, math.inf)])
    assert "NaN" not in (tmp_path / "samples.jsonl").read_text(encoding="utf-8")
    assert rows(tmp_path)[0]["rewards"] == {"judge": None} and rows(tmp_path)[0]["reward"] is None


def test_a_completion_cannot_break_the_table():
    plugin = pytest.importorskip("tensorboard.plugin_util")
    table = markdown([sample(NASTY), Sample("b|c:1", "q\nr", "", False, {"judge": None})])
    assert len(table.splitlines()) == 4
    shown = plugin.markdown_to_safe_html(table)
    assert shown.count("<tr>") == 3 and shown.count("<td>") == 2 * 9
    assert not any(mark in shown for mark in ("<script", "<a ", "<em>", "<strong>", "<code>", "<hr", "<li>", "<think"))
    assert "&#60;think&#62;<br>&#42; a &#124; b<br>" in shown


def test_long_texts_are_cut_to_a_readable_width():
    table = markdown([sample("长" * 5000)])
    assert "长" * 1200 + " &#46;&#46;&#46; &#40;3800 more characters&#41;" in table and "长" * 1201 not in table


def test_the_writer_is_the_trainers(tmp_path):
    from transformers import Trainer, TrainerCallback, TrainingArguments
    from transformers.integrations import TensorBoardCallback

    class Quiet(TrainerCallback):
        """No writer."""

    def made(report_to):
        import torch

        args = TrainingArguments(output_dir=str(tmp_path), report_to=report_to, use_cpu=True)
        return Trainer(torch.nn.Linear(1, 1), args, callbacks=[Quiet])

    assert tensorboard_of(made("none")) is None
    trainer = made("tensorboard")
    callback = next(found for found in trainer.callback_handler.callbacks if isinstance(found, TensorBoardCallback))
    assert tensorboard_of(trainer) is None, "not before training begins"
    callback.tb_writer = Writer()
    assert tensorboard_of(trainer) is callback.tb_writer
