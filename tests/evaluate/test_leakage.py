"""Evaluation items in the training data: which are found, what is said of them, what is left without them.

sh run_tests.sh tests/evaluate/test_leakage.py
"""

import json
from pathlib import Path

import pytest

from bedside.errors import ConfigError, DataError, LineageError
from bedside.evaluate import leakage, trained_on
from bedside.evaluate.leakage import Leakage
from bedside.evaluate.task import Case
from bedside.fingerprints import file_sha256

QUESTIONS = (
    "A woman of thirty has had burning pain on passing water since Monday and no fever; what is the likeliest cause?",
    "A boy of six limps and will not put weight on his left hip after a cold last week; what should be thought of?",
    "老年男性突发胸背部撕裂样疼痛，双上肢血压相差三十毫米汞柱，最可能的诊断是什么？",
    "Which drug should a patient with severe aortic stenosis and angina not be given without great care?",
)


def rows(path: Path, *questions: str) -> Path:
    lines = [json.dumps({"question": text, "answer": f"answer {n}"}) for n, text in enumerate(questions)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def evaluated(tmp_path) -> Path:
    return rows(tmp_path / "exam.jsonl", *QUESTIONS)


def test_a_question_in_a_training_row_is_found_on_both_sides(tmp_path, evaluated):
    training = rows(tmp_path / "train.jsonl", "What is a fever and when does it need a doctor's eye?", QUESTIONS[2])
    found = leakage.check([training], [evaluated])
    assert [(hit.place, hit.item, hit.how) for hit in found.hits] == [(f"{training}:2", f"{evaluated}:3", "verbatim")]
    assert (found.items, found.training, found.evaluated) == (4, {str(training): 2}, {str(evaluated): 4})


def test_a_respelled_question_is_found(tmp_path, evaluated):
    training = rows(tmp_path / "train.jsonl", QUESTIONS[1].upper().replace(",", " ,").replace(";", "..."))
    assert [hit.how for hit in leakage.check([training], [evaluated]).hits] == ["respelled"]


def test_every_item_that_one_row_holds_is_found(tmp_path, evaluated):
    book = tmp_path / "book.txt"
    book.write_text(" ".join(QUESTIONS) + "\n", encoding="utf-8")
    found = leakage.check([book], [evaluated])
    assert found.places == {f"{evaluated}:{line}" for line in (1, 2, 3, 4)}
    assert {hit.place for hit in found.hits} == {f"{book}:1"}


def test_an_exam_that_holds_one_question_twice_has_both_found(tmp_path):
    exam = rows(tmp_path / "exam.jsonl", QUESTIONS[0], QUESTIONS[0])
    assert leakage.check([rows(tmp_path / "train.jsonl", QUESTIONS[0])], [exam]).leaked_in(str(exam)) == 2


def test_the_same_facts_in_other_words_are_no_leak(tmp_path, evaluated):
    told = (
        "Cystitis burns when passing water; a fever speaks for the kidney. Young women have it most.",
        "A limping child who had a cold may have transient synovitis of the hip.",
        "主动脉夹层的疼痛呈撕裂样，两侧上肢血压不对称。",
        "Nitrates lower the filling of the heart: with a narrow aortic valve they may cause collapse.",
    )
    found = leakage.check([rows(tmp_path / "train.jsonl", *told)], [evaluated])
    assert found.hits == []
    assert (
        leakage.sentences(found)[0].en
        == "No leak found: none of 4 evaluation items stands in 4 training rows of 1 file."
    )


def test_our_own_training_data_holds_none_of_what_is_evaluated(repo):
    found = leakage.check([repo / "data/sft/cot.jsonl"], [repo / "data/eval/heldout_phrasings.jsonl"])
    assert (found.hits, found.severity, found.items) == ([], "none", 240)


@pytest.mark.parametrize(("leaked", "severity", "end"), [
    (1, "some", "What is measured on them is memory; results without them are given beside the others."),
    (20, "many", "Those results cannot be used as they are: read the ones without these items."),
])  # fmt: skip
def test_the_sentence_grows_with_the_share(leaked, severity, end):
    hits = [leakage.Hit(f"t.jsonl:{n}", f"e.jsonl:{n}", "verbatim", 1.0) for n in range(1, leaked + 1)]
    found = Leakage({"t.jsonl": 1000}, {"e.jsonl": 100}, hits)
    assert found.severity == severity
    said = leakage.sentences(found)[0]
    assert said.en == (
        f"LEAK: {leaked} of 100 evaluation items ({leaked}.0 %; {leaked} of 100 in e.jsonl) stand in 1,000 training "
        f"rows of 1 file, {leaked} of them word for word. {end}"
    )
    assert said.zh.startswith(f"泄漏：100 道评测题中有 {leaked} 道")


def test_one_file_that_leaked_whole_is_not_hidden_by_a_large_clean_one():
    hits = [leakage.Hit(f"t.jsonl:{n}", f"small.jsonl:{n}", "near", 0.8) for n in range(1, 11)]
    assert Leakage({"t.jsonl": 9}, {"large.jsonl": 100_000, "small.jsonl": 10}, hits).severity == "many"


def test_an_item_in_several_rows_counts_once_and_by_its_plainest_way():
    hits = [leakage.Hit("t:1", "e.jsonl:1", "overlap", 0.9), leakage.Hit("t:2", "e.jsonl:1", "verbatim", 1.0)]
    said = leakage.sentences(Leakage({"t": 2}, {"e.jsonl": 50}, hits))[0].en
    assert "LEAK: 1 of 50" in said and "1 of them word for word" in said


def test_what_was_not_looked_at_is_said(tmp_path, evaluated):
    training = tmp_path / "train.jsonl"
    training.write_text('{"names": ["no text"]}\nnot json\n', encoding="utf-8")
    found = leakage.check([training], [evaluated])
    told = [said.en for said in leakage.sentences(found)]
    assert told[0] == "Leakage could not be checked: no training row was to be had."
    assert f"Not checked: 1 rows of {training} could not be read." in told
    assert f"Not checked: 1 rows of {training} hold no text in a known field." in told


def test_no_training_data_is_no_clean_bill(evaluated):
    assert leakage.check([], [evaluated]).severity == "unchecked"
    assert leakage.sentences(None)[0].en == "Leakage of evaluation items into the training data was not checked."


def test_nothing_evaluated_is_unchecked_too(tmp_path):
    found = leakage.check([rows(tmp_path / "train.jsonl", QUESTIONS[0])], [])
    assert (found.severity, found.hits) == ("unchecked", [])


def test_a_file_that_is_not_there_is_refused(tmp_path, evaluated):
    with pytest.raises(ConfigError, match=r"gone: no such file or directory"):
        leakage.check([tmp_path / "gone"], [evaluated])


def test_cases_of_leaked_items_are_left_out():
    cases = [Case("a", {}, shown={"where": "data/e.jsonl:1"}), Case("b", {}, shown={"where": "./data/e.jsonl:2"}),
             Case("c", {})]  # fmt: skip
    assert [case.id for case in leakage.clean(cases, {"./data/e.jsonl:1", "data/e.jsonl:2"})] == ["c"]


def test_findings_are_read_back_as_they_were(tmp_path, evaluated):
    found = leakage.check([rows(tmp_path / "train.jsonl", QUESTIONS[0], "short")], [evaluated])
    value = json.loads(json.dumps(leakage.to_json(found)))
    assert leakage.from_json(value) == found
    assert (value["leaked"], value["items"], value["severity"]) == (1, 4, "many")
    with pytest.raises(DataError, match="holds no leakage check"):
        leakage.from_json({"hits": 3}, "x.json")


def lineage(directory: Path, args: dict, *data: tuple[str, str], parents: tuple = ()) -> Path:
    directory.mkdir()
    manifest = {"schema": 1, "stage": directory.name, "kind": "adapter", "id": f"s1:{directory.name}", "load": {},
                "parents": list(parents), "files": {}, "args": args,
                "data": [{"file": name, "sha": sha, "rows": 1} for name, sha in data]}  # fmt: skip
    (directory / "lineage.json").write_text(json.dumps(manifest), encoding="utf-8")
    return directory


def test_training_files_are_found_through_the_whole_chain(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("sft", "dpo"):
        (tmp_path / "data" / name).mkdir(parents=True)
    first, second = rows(Path("data/sft/a.jsonl"), QUESTIONS[0]), rows(Path("data/dpo/b.jsonl"), QUESTIONS[1])
    lineage(tmp_path / "one", {"train_file_dir": "data/sft"}, ("a.jsonl", file_sha256(first)))
    parent = {"id": "s1:one", "stage": "one", "path": "../one", "how": "continued"}
    two = lineage(
        tmp_path / "two", {"train_file_dir": "data/dpo"}, ("b.jsonl", file_sha256(second)), parents=(parent,)
    )
    assert trained_on.files_of(two) == ([second, first], [])


def test_a_training_file_that_changed_is_told_not_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    rows(tmp_path / "data/a.jsonl", "another text than that of the training")
    model = lineage(tmp_path / "model", {"train_file_dir": "data"}, ("a.jsonl", "0" * 64))
    found, told = trained_on.files_of(model)
    assert found == []
    assert [said.en for said in told] == [
        "stage model was trained on a.jsonl, which is not to be found with the same SHA-256; give its place with "
        "--train_file_dir"
    ]


def test_a_parent_that_is_gone_is_told(tmp_path):
    parent = {"id": "s1:gone", "stage": "sft", "path": "../gone", "how": "continued"}
    found, told = trained_on.files_of(lineage(tmp_path / "model", {}, parents=(parent,)))
    assert found == []
    assert [said.en for said in told] == [f"stage sft ({tmp_path}/gone) is missing, so its training data is not known"]


def test_a_directory_without_lineage_is_refused(tmp_path):
    with pytest.raises(LineageError, match=r"no lineage\.json"):
        trained_on.files_of(tmp_path)
