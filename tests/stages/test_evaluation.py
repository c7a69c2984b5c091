"""evaluation.py as a user calls it: one model, two, a base without a template, a server, earlier evaluations, a kill.

sh run_tests.sh tests/stages/test_evaluation.py
"""

import json
import shutil
from pathlib import Path

import pytest

import evaluation
from bedside import errors
from bedside.errors import ConfigError, DataError, LineageError
from bedside.evaluate import results, stored
from tests.engine.server import running, says
from tests.stages import files

CHATS = [
    {"messages": [{"role": "user", "content": f"I have had a fever for {number} days; what is it?"},
                  {"role": "assistant", "content": "Influenza.", "reasoning_content": "Fever."}],
     "expect": ["influenza"]} for number in range(6)
] + [{"prompt": "咳嗽怎么办？", "response": "多喝水。"}]  # fmt: skip


@pytest.fixture
def data(tmp_path) -> dict[str, str]:
    """Small files for four tasks, as flags."""
    documents = tmp_path / "documents.txt"
    documents.write_text("The patient has had a fever.\n患者发热咳嗽三天。\nListen to the chest.\n", encoding="utf-8")
    tasks = [{"question": f"Which dose {number}?", "answer": 500, "unit": "mg"} for number in range(3)]
    return {
        "--eval_file": str(files.write(tmp_path / "chats.jsonl", CHATS)),
        "--verifiable_file": str(files.write(tmp_path / "tasks.jsonl", tasks)),
        "--document_file": str(documents),
    }


@pytest.fixture
def chats(data) -> list[str]:
    return ["--eval_file", data["--eval_file"], "--tasks", "chat"]


@pytest.fixture
def drawn():
    """Reports with their pictures, which take longer than these models do."""


@pytest.fixture(autouse=True)
def without_pictures(request, monkeypatch):
    from bedside.evaluate.report import plots

    if "drawn" not in request.fixturenames:
        monkeypatch.setattr(plots, "pictures", lambda *_: [])


def run(model, output, *flags) -> dict:
    """What evaluation.json says after the command."""
    evaluation.main(["--model_name_or_path", str(model), "--output_dir", str(output), "--max_new_tokens", "6",
                     "--batch_size", "2", "--template_name", "qwen3", *map(str, flags)])  # fmt: skip
    return json.loads((Path(output) / "evaluation.json").read_text(encoding="utf-8"))


def cases(output, task: str) -> list:
    return stored.read_cases(output, task)


def never(*_, **__):
    raise AssertionError("a model was loaded or asked")


def test_a_model_is_evaluated_whole(tiny_model_dir, data, tmp_path, said, drawn):
    flags = [word for pair in data.items() for word in pair]
    found = run(tiny_model_dir, tmp_path / "out", *flags, "--tasks", "documents", "perplexity", "chat", "verifiable")
    assert (found["complete"], found["name"], list(found["tasks"])) == (
        True, "model", ["documents", "perplexity", "chat", "verifiable"],
    )  # fmt: skip
    assert [entry["n"] for entry in found["tasks"].values()] == [3, 7, 7, 3]
    about = found["about"]
    assert about["command"].startswith("python evaluation.py --model_name_or_path")
    assert about["template"] == "qwen3" and about["base"] == tiny_model_dir
    assert set(about["data"]) == set(data.values())
    assert {"versions", "hardware", "date", "commit"} <= set(about)
    for name in ("report.html", "report.md", "report.json", "answers.jsonl"):
        assert (tmp_path / "out" / name).stat().st_size > 0
    assert any("perplexity of documents" in line for line in said), "a table is printed"


def test_what_is_there_is_not_asked_again(tiny_model_dir, chats, tmp_path, monkeypatch):
    from bedside import engine

    first = run(tiny_model_dir, tmp_path / "out", *chats)
    monkeypatch.setattr(engine, "load", never)
    again = run(tiny_model_dir, tmp_path / "out", *chats)
    assert first["tasks"] == again["tasks"]


def test_two_tasks_that_ask_the_same_pay_once(tiny_model_dir, chats, tmp_path, monkeypatch):
    from bedside.generate import ChatEngine

    run(tiny_model_dir, tmp_path / "out", *chats)
    shutil.rmtree(tmp_path / "out" / "cases")
    (tmp_path / "out" / "evaluation.json").unlink()
    monkeypatch.setattr(ChatEngine, "complete", never)
    assert run(tiny_model_dir, tmp_path / "out", *chats)["complete"]


@pytest.mark.parametrize("batches", [0, 1, 2])
@pytest.mark.parametrize("temperature", [0, 1])
def test_a_run_that_was_killed_ends_in_the_same_table(
    tiny_model_dir, chats, tmp_path, monkeypatch, batches, temperature
):
    from bedside.generate import ChatEngine

    drawn = [*chats, "--temperature", temperature]
    run(tiny_model_dir, tmp_path / "whole", *drawn)
    made, complete = [], ChatEngine.complete

    def dies(engine, prompts, sampling):
        if len(made) == batches:
            raise KeyboardInterrupt
        made.append(len(prompts))
        return complete(engine, prompts, sampling)

    monkeypatch.setattr(ChatEngine, "complete", dies)
    with pytest.raises(KeyboardInterrupt):
        run(tiny_model_dir, tmp_path / "killed", *drawn)
    assert not stored._content(tmp_path / "killed", "")["complete"]
    monkeypatch.setattr(ChatEngine, "complete", complete)
    run(tiny_model_dir, tmp_path / "killed", *drawn)
    assert cases(tmp_path / "killed", "chat") == cases(tmp_path / "whole", "chat")


def test_two_models_are_compared_in_pairs(tiny_model_dir, data, tmp_path, said):
    other = tmp_path / "other"
    shutil.copytree(tiny_model_dir, other)
    flags = ["--eval_file", data["--eval_file"], "--tasks", "perplexity,chat", "--judge", "rules"]
    run(tiny_model_dir, tmp_path / "out", *flags, "--compare_with", other)
    before = stored.read(tmp_path / "out" / "compared_with")
    after = stored.read(tmp_path / "out")
    assert (before.name, after.name) == ("other", "model")
    task, first = before.tasks["perplexity"]
    change = results.difference(task.measures[0], first, after.tasks["perplexity"][1])
    assert (change.n, change.change, change.verdict) == (7, 0.0, "no clear change")
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert "rules" in json.dumps(report)
    assert any("wins 0, ties 7, loses 0 of 7" in line for line in said), "the same model against itself"


def test_an_earlier_evaluation_is_taken_where_it_fits(tiny_model_dir, chats, tmp_path):
    run(tiny_model_dir, tmp_path / "first", *chats, "--name", "base")
    run(tiny_model_dir, tmp_path / "second", *chats, "--compare_with", tmp_path / "first", "--judge", "rules")
    assert not (tmp_path / "second" / "compared_with").exists()
    assert "base" in (tmp_path / "second" / "report.md").read_text()


def test_an_earlier_evaluation_of_other_settings_is_refused_before_the_work(
    tiny_model_dir, chats, tmp_path, monkeypatch
):
    from bedside import engine

    run(tiny_model_dir, tmp_path / "first", *chats)
    monkeypatch.setattr(engine, "load", never)
    with pytest.raises(ConfigError, match="task chat has --max_new_tokens 6 in one and 7 in the other"):
        run(tiny_model_dir, tmp_path / "b", *chats, "--compare_with", tmp_path / "first", "--max_new_tokens", "7")


def test_only_a_report_over_earlier_evaluations(tiny_model_dir, chats, tmp_path, monkeypatch):
    from bedside import engine

    for name in ("a", "b", "c"):
        run(tiny_model_dir, tmp_path / name, *chats, "--name", name)
    monkeypatch.setattr(engine, "load", never)
    places = [str(tmp_path / name) for name in "abc"]
    evaluation.main(["--evaluations", *places, "--output_dir", str(tmp_path / "report"), "--judge", "rules"])
    text = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    assert text.index("| a") < text.index("| b") < text.index("| c")
    assert not (tmp_path / "report" / "evaluation.json").exists()


def test_evaluations_that_asked_differently_are_not_reported_together(tiny_model_dir, chats, tmp_path):
    run(tiny_model_dir, tmp_path / "a", *chats, "--name", "a")
    run(tiny_model_dir, tmp_path / "b", *chats, "--name", "b", "--max_eval_samples", "3")
    with pytest.raises(ConfigError, match="task chat has --max_eval_samples None in one and 3 in the other"):
        evaluation.main(
            ["--evaluations", str(tmp_path / "a"), str(tmp_path / "b"), "--output_dir", str(tmp_path / "r")]
        )


def test_a_base_without_a_template_reads_documents(tiny_model_dir, data, tmp_path, said):
    evaluation.main(["--model_name_or_path", tiny_model_dir, "--output_dir", str(tmp_path / "out"),
                     "--document_file", data["--document_file"]])  # fmt: skip
    assert stored.tasks_of(tmp_path / "out") == ["documents"]
    assert any("has no chat template, so it is asked for documents only" in line for line in said)
    with pytest.raises(ConfigError, match="model has no chat template; add --template_name"):
        evaluation.main(
            ["--model_name_or_path", tiny_model_dir, "--output_dir", str(tmp_path / "b"), "--tasks", "chat"]
        )


def test_a_base_is_compared_under_the_template_of_the_tuned_model(tiny_model_dir, chats, tmp_path):
    run(tiny_model_dir, tmp_path / "out", *chats, "--compare_with", tiny_model_dir)
    assert stored.read(tmp_path / "out" / "compared_with").name == "model (before)"


def test_several_answers_count_as_their_mean(tiny_model_dir, chats, tmp_path):
    drawn = ["--temperature", "1", "--samples_per_question", "3", "--max_eval_samples", "2"]
    run(tiny_model_dir, tmp_path / "out", *chats, *drawn)
    found = cases(tmp_path / "out", "chat")
    assert [len(case.shown["other_answers"]) for case in found] == [2, 2]
    assert len((tmp_path / "out" / "answers.jsonl").read_text().splitlines()) == 1 + 2 * 3


def test_one_item_is_told_without_an_interval(tiny_model_dir, chats, tmp_path):
    run(tiny_model_dir, tmp_path / "out", *chats, "--max_eval_samples", "1")
    estimate = results.estimate(
        stored.read(tmp_path / "out").tasks["chat"][0].measures[2], cases(tmp_path / "out", "chat")
    )
    assert (estimate.n, estimate.low) == (1, None) or estimate.high - estimate.low > 0.5


def test_a_server_is_evaluated_without_a_model(chats, tmp_path, said):
    with running(says("Most likely influenza.", "Fever.")) as server:
        flags = ["--server", server.url, "--output_dir", str(tmp_path / "out"), "--system_prompt", "Be brief."]
        evaluation.main([*flags, *chats])
        asked = len(server.asked)
        evaluation.main([*flags, *chats])
        assert len(server.asked) == asked == 7
    found = cases(tmp_path / "out", "chat")
    assert [case.values["named"] for case in found] == [1.0] * 6 + [None]
    assert all(case.values["strict"] == 1.0 for case in found)
    assert server.asked[0]["messages"][0] == {"role": "system", "content": "Be brief."}


def test_a_server_gives_no_probabilities(tmp_path):
    with (
        running(says("x")) as server,
        pytest.raises(ConfigError, match="needs probabilities, which a server does not"),
    ):
        evaluation.main(["--server", server.url, "--tasks", "perplexity", "--output_dir", str(tmp_path / "out")])


@pytest.mark.parametrize(
    ("flags", "kind", "told"),
    [
        (["--tasks", "pairs"], ConfigError, "examines a reward model, and model writes answers"),
        (["--compare_with", "no/such/model"], (ConfigError, LineageError), "no/such/model"),
    ],
)
def test_what_cannot_be_asked_is_told(tiny_model_dir, tmp_path, flags, kind, told):
    with pytest.raises(kind, match=told):
        run(tiny_model_dir, tmp_path / "out", *flags)


def test_a_bad_file_is_told_before_a_model_is_loaded(tiny_model_dir, tmp_path, monkeypatch):
    from bedside import engine

    monkeypatch.setattr(engine, "load", never)
    bad = tmp_path / "bad.jsonl"
    bad.write_text("{broken\n")
    with pytest.raises(DataError, match=r"bad\.jsonl"):
        run(tiny_model_dir, tmp_path / "out", "--tasks", "chat", "--eval_file", bad)


def test_an_evaluation_is_not_written_into_a_model(tiny_model_dir, chats):
    with pytest.raises(ConfigError, match="holds a model; choose another directory"):
        run(tiny_model_dir, tiny_model_dir, *chats)


def test_a_mistake_ends_in_a_sentence(monkeypatch, capsys):
    with pytest.raises(SystemExit) as ended:
        errors.run_command(lambda: evaluation.main(["--tasks", "chatt"]))
    assert ended.value.code == errors.USER_MISTAKE
    assert "error: --tasks chatt: no such task; did you mean chat?" in capsys.readouterr().err
