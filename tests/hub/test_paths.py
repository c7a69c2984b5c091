"""What is cut from what goes to a hub, and which names are hubs' names.

sh run_tests.sh tests/hub/test_paths.py
"""

import json

import pytest

from bedside.errors import ConfigError
from bedside.hub import __main__ as command
from bedside.hub import parcel, push


@pytest.fixture
def model(tmp_path):
    """A finished adapter, deep enough in the disk that its neighbours tell nothing."""
    directory = tmp_path / "work" / "outputs-sft"
    directory.mkdir(parents=True)
    (directory / "adapter_model.safetensors").write_bytes(b"w")
    return directory


def sent(model, **manifest) -> dict:
    """lineage.json as it would go."""
    (model / "lineage.json").write_text(json.dumps({"files": {}} | manifest))
    return json.loads(parcel.pack(model)[-1].content)


def test_a_path_that_climbs_to_the_root_is_cut_and_a_neighbour_is_kept(model):
    far = "../" * len(model.parts) + "srv/dr.li/models/base"
    found = sent(model, load={"base": {"path": far}}, parents=[{"path": "../outputs-pt"}], args={"data": "data/sft"})
    assert found["load"]["base"]["path"] == "base"
    assert found["parents"] == [{"path": "../outputs-pt"}]
    assert found["args"] == {"data": "data/sft"}


def test_nothing_that_is_not_on_the_list_goes(model):
    names = ("optimizer.pt", "rejected.jsonl", "samples.jsonl", "eval_before.json", "training_args.bin", ".env",
             "data_report.html", "rows.jsonl", "model.safetensors.tmp", "adapter_model.bin")  # fmt: skip
    for name in names:
        (model / name).write_text("a patient's words")
    (model / "checkpoint-5").mkdir()
    (model / "checkpoint-5" / "adapter_model.safetensors").write_bytes(b"old")
    sent(model)
    assert [item.name for item in parcel.pack(model)] == ["adapter_model.safetensors", "lineage.json"]


@pytest.mark.parametrize("name", ["me/m", "m", "Qwen/Qwen3-0.6B", "a_b/c.d-e_f"])
def test_names_on_a_hub_are_taken(name):
    assert push.name_problem(name) is None


@pytest.mark.parametrize(
    "name", ["a/b/c", "a b/c", "/abs", "a/", "../x", "a/b--c", "a/b.git", "名/字", "", "a/" + "x" * 97]
)
def test_other_names_are_refused_before_a_hub_is_asked(name, model):
    assert push.name_problem(name).startswith(f"--hub_model_id {name}: not a name on a hub; expected OWNER/NAME")
    with pytest.raises(ConfigError, match="not a name on a hub"):
        push.ready(push.Wish(name))
    if name:
        assert push.problems({"push_to_hub": True, "hub_model_id": name}) == [push.name_problem(name)]
        with pytest.raises(ConfigError, match="not a name on a hub"):
            command.main([str(model), "--hub_model_id", name, "--dry_run"])


def test_an_address_is_told_the_name_in_it():
    assert push.name_problem("https://huggingface.co/me/m").endswith("; is it me/m?")
    assert push.name_problem("https://www.modelscope.cn/models/me/m").endswith("; is it me/m?")
