"""The exam before and after: numbers by hand, pairs, notes on too few tasks, resume, and a real engine.

sh run_tests.sh tests/rollouts/test_heldout.py
"""

import json
import logging
from types import SimpleNamespace

import pytest

from bedside.generate import Answer, ChatEngine
from bedside.rewards.completion import Completion
from bedside.rollouts.heldout import Exam, Sitting, changes, numbers, table

GOOD = "<think>\nhm\n</think>\n\n{}"


class Scorer:
    """The reward `accuracy` is 1 where the answer ends as gold does; `silent` says nothing of any."""

    names, weights = ["accuracy", "silent"], [1.0, 0.5]

    def score(self, completions, golds, messages):
        assert len(completions) == len(golds) == len(messages)
        return [
            {"accuracy": None if "answer" not in gold else float(found.text.endswith(gold["answer"])), "silent": None}
            for found, gold in zip(completions, golds, strict=True)
        ]


class Engine:
    """A real tiny model, whose answers are given instead of generated; `asked` counts the prompts."""

    def __init__(self, model, tokenizer, answer):
        self.model, self.tokenizer, self.answer, self.stop_ids, self.asked = model, tokenizer, answer, [2], 0

    def complete(self, prompts, sampling):
        assert sampling.temperature == 0 and sampling.max_new_tokens == 9
        self.asked += len(prompts)
        texts = [self.answer(prompt.ids[0]) for prompt in prompts]
        return [
            Answer(text or "", None, "", "stop" if text else "length", len(prompt.ids), 4)
            for text, prompt in zip(texts, prompts, strict=True)
        ]


def tasks(count):
    """Task n: n tokens, all n; right is `an`; every third has no gold, kinds alternate."""
    kinds = ["drug" if n % 2 == 0 else "choice" for n in range(count + 1)]
    golds = [{"answer": f"a{n}", "kind": kinds[n]} if n % 3 else {} for n in range(1, count + 1)]
    return [
        {
            "prompt_ids": [n] * n, "prompt": json.dumps([{"role": "user", "content": f"Question {n}?"}]),
            "gold": json.dumps(gold), "opened": False, "source": "data/t.jsonl", "line": n, "length": n,
        }
        for n, gold in enumerate(golds, 1)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def model(tiny_model_dir):
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(tiny_model_dir, dtype=torch.float32)


@pytest.fixture
def trainer():
    return SimpleNamespace(
        is_world_process_zero=lambda: True, is_deepspeed_enabled=False, is_fsdp_enabled=False,
        args=SimpleNamespace(device="cpu"), accelerator=SimpleNamespace(state=SimpleNamespace(deepspeed_plugin=None)),
    )  # fmt: skip


def case(accuracy, kind="choice", strict=True, tokens=10, **more):
    return {"kind": kind, "strict": strict, "finished": True, "tokens": tokens, "reward": accuracy,
            "scores": {"accuracy": accuracy, **more}}  # fmt: skip


def test_changes_by_hand():
    before = Sitting([case(0.0), case(1.0, "drug"), case(0.0, "drug"), case(None, None)])
    after = Sitting([case(1.0), case(1.0, "drug"), case(1.0, "drug", strict=False), case(None, None, tokens=30)])
    found = changes(before, after)
    assert list(found) == [
        "reward", "accuracy", "accuracy (choice)", "accuracy (drug)", "strict", "finished", "tokens",
    ]  # fmt: skip
    assert found["accuracy"][:4] == pytest.approx((3, 1 / 3, 1.0, 2 / 3))
    assert found["accuracy (drug)"][:4] == (2, 0.5, 1.0, 0.5)
    assert found["strict"][:4] == (4, 1.0, 0.75, -0.25)
    assert found["tokens"][:4] == (4, 10.0, 15.0, 5.0)
    kept = numbers(before, after)
    assert kept["heldout_tasks"] == 4 and kept["heldout_accuracy_before"] == pytest.approx(1 / 3)
    assert kept["heldout_accuracy_drug"] == 1.0 and kept["heldout_accuracy_drug_change"] == 0.5
    assert kept["heldout_strict_change"] == -0.25 and kept["heldout_tokens"] == 15.0


def test_the_table_shows_changes_with_intervals():
    before = Sitting([case(0.0)] * 50 + [case(1.0)] * 50)
    after = Sitting([case(1.0)] * 90 + [case(0.0, strict=False)] * 10)
    lines = table(before, after).splitlines()
    assert lines[0].split() == ["held-out", "tasks:", "100", "before", "after", "change", "[95", "%", "interval]"]
    assert not any(line.startswith("reward, weighted") for line in lines), "the same as the only reward"
    assert lines[2].split()[:4] == ["accuracy", "0.500", "0.900", "+0.400"]
    assert lines[3].split()[:8] == ["thought", "format,", "strict", "100.0", "%", "90.0", "%", "-10.0"]
    assert len(lines) == 6, "50 tasks became right and 10 wrong: no note is needed"


def test_too_few_tasks_are_told():
    told = table(Sitting([case(0.0)] * 5), Sitting([case(1.0)] * 5))
    assert "accuracy: 5 task(s); fewer than 6 cannot show a change, even if all of them changed" in told
    before = Sitting([case(0.0)] * 3 + [case(1.0)] * 17)
    after = Sitting([case(1.0)] * 3 + [case(0.0)] * 1 + [case(1.0)] * 16)
    told = table(before, after)
    # Differences 3 x 1, 1 x -1, 16 x 0: mean 0.1, deviation 0.447; (1.96 * 0.447 / 0.1)^2 = 76.8
    assert "accuracy: a change of +0.100 cannot be told from chance with 20 tasks; about 77 would show it" in told
    assert "told from chance" not in table(before, before)


def test_answers_are_scored_and_kept(trainer, model, tiny_tokenizer, tmp_path, caplog):
    caplog.set_level(logging.INFO, "bedside")
    engine = Engine(model, tiny_tokenizer, lambda number: None if number == 2 else GOOD.format("a1"))
    lengths = lambda tasks, answers: {"judge": [float(len(answer.text)) for answer in answers]}  # noqa: E731
    exam = Exam(trainer, engine, tasks(8), Scorer(), tmp_path, 9, batch=3, extra=lengths)
    exam.before()
    engine.answer = lambda number: GOOD.format(f"a{number}")
    found = exam.after()
    assert engine.asked == 16
    # Of 8 tasks 3 and 6 have no gold: 1 of 6 is right before, all after.
    assert found["heldout_accuracy_before"] == pytest.approx(1 / 6) and found["heldout_accuracy"] == 1.0
    assert found["heldout_finished_before"] == 7 / 8 and found["heldout_strict"] == 1.0
    assert found["heldout_judge"] == len(GOOD.format("a1")) and not any("silent" in name for name in found)
    assert found["heldout_accuracy_change_low"] > 0.3
    before = json.loads((tmp_path / "exam_before.json").read_text(encoding="utf-8"))["cases"]
    assert [case["where"] for case in before] == [f"data/t.jsonl:{n}" for n in range(1, 9)]
    assert before[1] | {"scores": 0} == {
        "where": "data/t.jsonl:2", "question": "Question 2?", "kind": "drug", "expect": "a2", "text": "",
        "finished": False, "opened": False, "tokens": 4, "strict": False, "reward": 0.0, "scores": 0,
    }  # fmt: skip
    after = json.loads((tmp_path / "exam_after.json").read_text(encoding="utf-8"))["cases"]
    assert [case["scores"]["accuracy"] for case in after] == [1.0, 1.0, None, 1.0, 1.0, None, 1.0, 1.0]
    assert "held-out tasks: 8" in caplog.text and "  drug, n = 3" in caplog.text and "accuracy, n = 6" in caplog.text


def test_samples_are_spread_and_a_judge_alone_will_do(trainer, model, tiny_tokenizer, tmp_path):
    engine = Engine(model, tiny_tokenizer, lambda number: "a")
    judged = lambda tasks, answers: {"reward": [1.0] * len(answers)}  # noqa: E731 - named as a measure of ours
    exam = Exam(trainer, engine, tasks(9), None, tmp_path, 9, samples=3, extra=judged)
    exam.before()
    assert [case["where"][-1] for case in exam._before.cases] == ["1", "4", "7"]
    found = exam.after()
    assert found["heldout_reward_score"] == 1.0 and "heldout_reward" not in found and found["heldout_strict"] == 0.0


def test_a_resumed_run_does_not_ask_again(trainer, model, tiny_tokenizer, tmp_path):
    import copy

    import torch

    engine = Engine(model, tiny_tokenizer, lambda number: "a1")
    Exam(trainer, engine, tasks(4), Scorer(), tmp_path, 9).before()
    assert engine.asked == 4

    def asked(model=model, count=4):
        again = Engine(model, tiny_tokenizer, lambda number: "a1")
        exam = Exam(trainer, again, tasks(count), Scorer(), tmp_path, 9)
        exam.before()
        assert exam._before.cases[0]["scores"]["accuracy"] == 1.0
        return again.asked

    assert asked() == 0
    assert asked(count=5) == 5, "other tasks"
    assert asked(count=5) == 0
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.model.layers[0].mlp.down_proj.weight.mul_(3)
    assert asked(other, 5) == 5, "another model"
    path = tmp_path / "exam_before.json"
    path.write_text(path.read_text(encoding="utf-8")[:500], encoding="utf-8")
    assert asked(other, 5) == 5, "half a file"


@pytest.mark.parametrize("case", ["no tasks", "no held-out set", "another rank", "shards"])
def test_where_there_is_nothing_to_do_nothing_is_done(case, trainer, model, tiny_tokenizer, tmp_path, caplog):
    caplog.set_level(logging.INFO, "bedside")
    rows = {"no tasks": [], "no held-out set": None}.get(case, tasks(2))
    if case == "another rank":
        trainer.is_world_process_zero = lambda: False
    trainer.is_fsdp_enabled = case == "shards"
    exam = Exam(trainer, Engine(model, tiny_tokenizer, lambda number: "a"), rows, Scorer(), tmp_path, 9)
    exam.before()
    assert exam.after() == {} and list(tmp_path.iterdir()) == []
    assert ("not answered while parameters are sharded" in caplog.text) == (case == "shards")


def test_with_the_real_engine_and_dataset(trainer, model, tiny_tokenizer, tmp_path):
    from datasets import Dataset

    from bedside.templates import get

    engine = ChatEngine(model, tiny_tokenizer, get("qwen3"), [tiny_tokenizer.convert_tokens_to_ids("<|im_end|>")])
    rows = tasks(3)
    rows[2]["opened"] = True
    exam = Exam(trainer, engine, Dataset.from_list(rows), Scorer(), tmp_path, 5)
    exam.before()
    found = exam.after()
    assert found["heldout_tokens_change"] == 0.0, "greedy answers of one model are the same"
    assert 1 <= found["heldout_tokens"] <= 5
    seen = []
    Exam(trainer, engine, Dataset.from_list(rows), None, tmp_path, 5,
         extra=lambda tasks, answers: seen.extend(answers) or {}).before()  # fmt: skip
    assert all(isinstance(answer, Completion) for answer in seen) and [answer.opened for answer in seen] == [
        False, False, True,
    ]  # fmt: skip


def test_with_the_rewards_themselves(trainer, model, tiny_tokenizer, tmp_path):
    from bedside import rewards

    golds = [{"answer": "500 mg", "kind": "number"}, {"answer": "influenza"}, {"answer": "Rest.", "kind": "reference"}]
    rows = [{**row, "gold": json.dumps(gold)} for row, gold in zip(tasks(3), golds, strict=True)]
    engine = Engine(model, tiny_tokenizer, lambda number: "I do not know.")
    exam = Exam(trainer, engine, rows, rewards.resolve(["accuracy", "format"], [1.0, 0.2]), tmp_path, 9)
    exam.before()
    engine.answer = lambda number: GOOD.format(["", "The dose is 0.5 g.", "It is influenza.", "Rest."][number])
    found = exam.after()
    assert [found[f"heldout_accuracy{kind}"] for kind in ("_before", "", "_number", "_answer")] == [0.0, 1.0, 1.0, 1.0]
    # Two of three are right, all keep the format: (2 x 1.2 + 0.2) / 3.
    assert found["heldout_reward"] == pytest.approx(2.6 / 3) and found["heldout_format_change"] == 1.0
