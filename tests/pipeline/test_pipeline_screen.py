"""What a person sees: a line a step, a live line on a terminal, measures of the stages; and what is started first.

sh run_tests.sh tests/pipeline/test_pipeline_screen.py
"""

import io
import json

import pytest

from bedside.evaluate import registry, stored
from bedside.evaluate.task import Case
from bedside.pipeline import measures, schedule, show
from bedside.pipeline.screen import Screen, clock, duration, last_lines
from bedside.pipeline.steps import EVALUATION, REPORT, Step


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


SFT = Step("sft", "SFT learns", (), "sft")


def test_times_in_words():
    assert [clock(seconds) for seconds in (0, 59.9, 60, 3600, 7325)] == ["0:00", "0:59", "1:00", "1:00:00", "2:02:05"]
    assert [duration(seconds) for seconds in (1, 89, 91, 7200)] == ["1 min", "1 min", "2 min", "2 h 0 min"]


def test_a_line_a_step(tmp_path):
    stream = io.StringIO()
    screen = Screen(["sft", "evaluate-sft"], stream)
    screen.begun(SFT, "", False, tmp_path / "sft.log", 0)
    screen.show({"sft": (3.0, tmp_path / "sft.log")}, 600.0)
    screen.done(SFT, 62.3, "loss 0.5", tmp_path / "sft.log")
    screen.blocked(Step("evaluate-sft", "", (), ""), ["merge-sft"])
    assert stream.getvalue() == (
        "    0:00       sft           SFT learns\n"
        "    0:00  1/2  sft           done in 1:02, about 10 min left: loss 0.5\n"
        "    0:00  2/2  evaluate-sft  not run: it needs merge-sft\n"
    )


@pytest.mark.parametrize(
    ("why", "goes_on", "told"),
    [
        ("was interrupted", False, "SFT learns, again because it was interrupted"),
        ("data/sft changed", False, "SFT learns, again because data/sft changed"),
        ("sft: x is missing", False, "SFT learns, again because sft: x is missing"),
        ("was interrupted", True, "SFT learns, going on from its last checkpoint"),
    ],
)
def test_why_a_step_is_run_again(why, goes_on, told, tmp_path):
    stream = io.StringIO()
    Screen(["sft"], stream).begun(SFT, why, goes_on, tmp_path / "sft.log", 0)
    assert stream.getvalue().rstrip().endswith(f"sft  {told}")


def test_a_terminal_has_a_live_line(tmp_path):
    log = tmp_path / "sft.log"
    log.write_text("loading\n 10%|#    | 12/120 [00:10<01:30]\r 11%|#    | 13/120 [00:11<01:29]")
    stream = Terminal()
    screen = Screen(["sft"], stream)
    screen.begun(SFT, "", False, log, 0)
    screen.show({"sft": (71.0, log)}, 300.0)
    assert stream.getvalue() == "\r    0:00  sft 1:11 13/120   about 5 min left"
    screen.say("text")
    assert stream.getvalue().endswith("\r" + " " * 44 + "\rtext\n"), "the live line is wiped first"


def test_verbose_shows_whole_lines_of_this_run(tmp_path):
    log = tmp_path / "sft.log"
    log.write_text("an earlier run\n")
    stream = io.StringIO()
    screen = Screen(["sft"], stream, verbose=True)
    screen.begun(SFT, "", False, log, log.stat().st_size)
    with log.open("a") as more:
        more.write("loading\n 1%\r 2%\nhalf a li")
        more.flush()
        screen.show({"sft": (1.0, log)}, None)
        more.write("ne\n")
    screen.done(SFT, 1.0, "", log)
    assert stream.getvalue().splitlines()[1:4] == ["sft | loading", "sft |  2%", "sft | half a line"]


def test_last_lines_of_a_log(tmp_path):
    log = tmp_path / "x.log"
    log.write_bytes(
        b"old run\n" + b"".join(b"line %d\n" % number for number in range(30)) + b"10%\r 50%\r100%\n\n\xff\n"
    )
    assert last_lines(log)[-3:] == ["line 29", "100%", "\ufffd"]
    assert len(last_lines(log)) == 20
    assert last_lines(log, from_byte=log.stat().st_size) == ["(it printed nothing)"]


def test_the_longest_path_is_started_first():
    steps = [Step("a", "", (), ""), Step("b", "", (), ""), Step("c", "", (), "", needs=("b",))]
    seconds = {"a": 50.0, "b": 10.0, "c": 60.0}
    assert schedule.tails(steps, seconds) == {"c": 60.0, "b": 70.0, "a": 50.0}
    assert [step.name for step in schedule.urgent_first(steps, seconds)] == ["b", "c", "a"]


def test_the_rest_is_the_longest_path_or_what_the_lanes_share():
    steps = [Step("a", "", (), ""), Step("b", "", (), ""), Step("c", "", (), "", needs=("b",))]
    seconds = {"a": 50.0, "b": 10.0, "c": 60.0}
    assert schedule.rest(steps, seconds, set(), {}, 2) == 70.0
    assert schedule.rest(steps, seconds, set(), {}, 1) == 120.0
    assert schedule.rest(steps, seconds, {"b"}, {"a": 20.0, "c": 100.0}, 1) == 30.0, "what takes longer ends soon"
    assert schedule.rest(steps, {**seconds, "c": None}, set(), {}, 1) is None
    assert schedule.rest(steps, seconds, {"a", "b", "c"}, {}, 1) == 0.0
    before = schedule.expected([*steps, SFT], {"sft": {"seconds": 7.0}})
    assert before == {"a": None, "b": None, "c": None, "sft": 7.0}


@pytest.mark.parametrize(
    ("name", "metrics", "told"),
    [
        ("pt", {"document_perplexity_before": 13.16, "document_perplexity_after": 4.5255, "document_perplexity_change":
         -0.656, "document_perplexity_change_low": -0.678, "document_perplexity_change_high": -0.633,
         "documents_compared": 200}, "perplexity of 200 held-out documents 13.16 -> 4.53 (-66 % [-68, -63])"),
        ("pt", {"train_loss": 0.5, "eval_loss": 0.25}, "eval loss 0.250"),
        ("pt", {"train_loss": 0.5, "train_perplexity": 1.6487}, "perplexity of training rows 1.65, nothing held out"),
        ("ppo", {"train_loss": 0.5}, "train loss 0.500"),
        ("rm", {"reward": {"accuracy": {"accuracy": 0.9118, "low": 0.8206, "high": 0.959, "pairs": 68}}},
         "ranks 91 % [82, 96] of 68 held-out pairs right"),
        ("dpo", {"heldout_win_rate_before": 0.76, "heldout_win_rate": 0.84, "heldout_margin_before": 0.912,
         "heldout_margin": 1.48}, "held-out pairs ranked right 76 % -> 84 %, margin 0.91 -> 1.48 nats a token"),
        ("grpo", {"heldout_tasks": 180, "heldout_accuracy_before": 0.5, "heldout_accuracy": 0.625,
         "heldout_accuracy_change": 0.125, "heldout_accuracy_change_low": 0.05, "heldout_accuracy_change_high": 0.2},
         "180 held-out tasks: accuracy 0.50 -> 0.62 (+0.12 [+0.05, +0.20])"),
        ("sft", {"eval_perplexity": 1.25}, "perplexity of held-out rows 1.25"),
        ("sft", {}, ""),
        ("rm", {"train_loss": 0.1}, ""),
    ],
)  # fmt: skip
def test_a_stage_tells_its_own_measure(tmp_path, name, metrics, told):
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    assert measures.told(Step(name, "", (), str(tmp_path))) == told


def test_sft_tells_of_its_questions(tmp_path):
    for when, named in (("before", 3), ("after", 55)):
        scores = {"n": 60, "named": named, "strict": named + 3, "perplexity": 60 / named}
        (tmp_path / f"eval_{when}.json").write_text(json.dumps({"scores": scores}))
    assert measures.told(Step("sft", "", (), str(tmp_path))) == (
        "of 60 held-out questions: condition named 3 -> 55, format kept 6 -> 58, perplexity of answers 20.00 -> 1.09"
    )


@pytest.mark.parametrize(("name", "logged"), [("ppo", [0.25, 0.5, 0.75, 1.0]), ("grpo", [0.25, 1.0])])
def test_without_held_out_tasks_ppo_and_grpo_tell_what_their_answers_earned(tmp_path, name, logged):
    (tmp_path / "metrics.json").write_text(json.dumps({"train_loss": 0.125, "epoch": 1.0}))
    history = [{"loss": 0.5}, *({"reward": reward, "step": 1} for reward in logged), {"eval_reward": 9.0}]
    (tmp_path / "trainer_state.json").write_text(json.dumps({"log_history": history}))
    step = Step(name, "", (), str(tmp_path))
    assert measures.told(step) == "mean reward of its answers in training 0.25 -> 1.00, nothing held out"
    (tmp_path / "trainer_state.json").write_text(json.dumps({"log_history": history[:2]}))
    assert measures.told(step) == "train loss 0.125", "one logged reward is no course"


def kept(place, tasks, complete=True):
    """An evaluation of the registered `tasks`: `{name: values of a case, in turn}`."""
    store = stored.Store(place, place.name, {"model": "toy"})
    for name, values in tasks.items():
        cases = [Case(str(number), one) for number, one in enumerate(values)]
        store.keep(registry.get(name), {}, cases)
    store.write(complete=complete)
    return Step(f"evaluate-{place.name}", "", (), str(place), EVALUATION)


def test_an_evaluation_tells_the_measures_of_its_stage(tmp_path):
    chat = [{"strict": 1.0, "named": 0.0, "diagnosis": float(number < 5)} for number in range(10)]
    right = [{"accuracy": float(number < 8), "format": 1.0} for number in range(10)]
    assert measures.told(kept(tmp_path / "sft", {"chat": chat, "verifiable": right})) == (
        "thought format, strict 100.0 % [72.2, 100.0], n = 10; condition stated as the answer 50.0 % [23.7, 76.3], "
        "n = 10"
    )
    assert measures.told(kept(tmp_path / "grpo", {"chat": chat, "verifiable": right})) == (
        "right answer 80.0 % [49.0, 94.3], n = 10; thought format, strict 100.0 % [72.2, 100.0], n = 10"
    )


def test_an_evaluation_without_the_measures_of_its_stage_tells_the_first_ones(tmp_path):
    choice = [{"accuracy": None, "accuracy_likelihood": 0.5}, {"accuracy": None, "accuracy_likelihood": 1.0}]
    chat = [{"strict": None, "named": 1.0}]
    assert measures.told(kept(tmp_path / "grpo", {"choice": choice, "chat": chat})) == (
        "choice by likelihood, right 75.0 % [0.0, 100.0], n = 2; condition named in the answer 100.0 %, n = 1"
    )
    assert measures.told(kept(tmp_path / "pt", {"chat": chat}, complete=False)) == "", "stopped before its end"


def test_the_report_beside_sft_tells_the_win_rates(tmp_path):
    win = {"first": "sft", "second": "dpo", "judge": "rules", "win_rate": {"value": 0.56, "low": 0.51, "high": 0.61}}
    other = {**win, "second": "ppo", "win_rate": {"value": 1.0, "low": None, "high": None}}
    (tmp_path / "report.json").write_text(json.dumps({"judged": [win, other, {**win, "judge": "rm"}]}))
    step = Step("against-sft", "", (), str(tmp_path), REPORT)
    assert measures.told(step) == (
        "wins over sft by rules: dpo 56 % [51, 61], ppo 100 %; wins over sft by rm: dpo 56 % [51, 61]"
    )
    (tmp_path / "report.json").write_text(json.dumps({"judged": []}))
    assert measures.told(step) == ""


def test_who_wins(tmp_path):
    win = {"first": "sft", "second": "dpo", "judge": "rules", "won": 30, "tied": 20, "lost": 10,
           "win_rate": {"value": 0.667, "low": 0.57, "high": 0.76}}  # fmt: skip
    few = {**win, "judge": "reward", "win_rate": {"value": 1.0, "low": None, "high": None}}
    (tmp_path / "report.json").write_text(json.dumps({"judged": [win, few]}))
    step = Step("against-sft", "the branches beside SFT", (), str(tmp_path), REPORT)
    assert show.wins(step).splitlines() == [
        "dpo over sft, by rules: wins 67 % [57, 76] (won 30, tied 20, lost 10; a tie is half a win)",
        "dpo over sft, by reward: too few answers for a win rate (won 30, tied 20, lost 10; a tie is half a win)",
    ]
    (tmp_path / "report.json").write_text("{")
    assert show.wins(step) == f"the branches beside SFT: see {tmp_path}/report.md"


def test_an_answer_is_shown_with_its_thought(tmp_path):
    path = tmp_path / "answer.jsonl"
    path.write_text(json.dumps({"prompt": "What?", "thought": "\nHm.\n", "answer": "This."}) + "\n")
    assert show.answer(Step("answer", "", (), str(path))) == "asked     What?\nthought   Hm.\nanswered  This."
