"""What scripts that load a model and ask it share: the same flags, limits and sentences.

sh run_tests.sh tests/test_inference_flags.py
"""

import dataclasses
from types import SimpleNamespace

import pytest

from bedside import inference_flags
from bedside.args import InferenceArguments
from bedside.chatpage.flags import PageArguments
from bedside.serving.flags import ServingArguments

ANSWER = {"max_new_tokens": 512, "temperature": 0.7, "top_p": 0.9, "top_k": 0, "repetition_penalty": 1.0}


@pytest.mark.parametrize("group", [PageArguments, ServingArguments])
def test_a_flag_of_two_scripts_has_the_same_default_spellings_and_choices(group):
    here = {field.name: field for field in dataclasses.fields(InferenceArguments)}
    names = {*inference_flags.LOADING, *ANSWER, "gpus", "resize_emb"}
    shared = [field for field in dataclasses.fields(group) if field.name in names]
    assert len(shared) >= len(names) - 1  # the pages and the server run no model's code
    for field in shared:
        told, meant = dict(field.metadata), dict(here[field.name].metadata)
        del told["help"], meant["help"]
        assert (field.default, field.type, told) == (here[field.name].default, here[field.name].type, meant)


def test_a_flag_may_be_described_anew():
    field = inference_flags.same("base_model", "the judge")
    assert (field.default, field.metadata["help"]) == ("models/starter", "the judge")
    assert field.metadata["aliases"] == ("model_name_or_path", "base_model_name_or_path")
    with pytest.raises(KeyError):
        inference_flags.same("base_modle")


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("max_new_tokens", 0, "--max_new_tokens 0: expected at least 1"),
        ("temperature", -0.1, "--temperature -0.1: expected 0 or more"),
        ("temperature", float("nan"), "--temperature nan: expected 0 or more"),
        ("top_p", 0, "--top_p 0: expected more than 0 and at most 1"),
        ("top_p", 1.1, "--top_p 1.1: expected more than 0 and at most 1"),
        ("top_k", -1, "--top_k -1: expected 0 (all) or more"),
        ("repetition_penalty", 0, "--repetition_penalty 0: expected more than 0; 1 changes nothing"),
    ],
)
def test_limits_of_an_answer(name, value, told):
    args = SimpleNamespace(**ANSWER)
    assert inference_flags.outside(args, inference_flags.answer_limits(args)) == []
    setattr(args, name, value)
    assert inference_flags.outside(args, inference_flags.answer_limits(args)) == [told]


@pytest.mark.parametrize(
    ("gb", "device_map", "told"),
    [
        (None, "auto", []),
        (8.0, None, []),
        (0.0, None, ["--memory_gb 0.0: expected more than 0, as 8 or 11.5"]),
        (-1.0, "auto", [
            "--memory_gb -1.0: expected more than 0, as 8 or 11.5",
            "--memory_gb and --device_map: choose one; --memory_gb places the layers itself",
        ]),
    ],
)  # fmt: skip
def test_memory(gb, device_map, told):
    assert inference_flags.memory_problems(SimpleNamespace(memory_gb=gb, device_map=device_map)) == told


def test_gpus_are_chosen_in_front_of_the_command():
    assert inference_flags.gpus_problems(SimpleNamespace(gpus=None)) == []
    assert inference_flags.gpus_problems(SimpleNamespace(gpus="0,1")) == [
        "--gpus 0,1: set CUDA_VISIBLE_DEVICES=0,1 in front of the command instead"
    ]


def test_a_system_prompt_that_no_conversation_could_hold():
    for fine in (None, "", "  ", "Be brief."):
        assert inference_flags.system_problems(SimpleNamespace(system_prompt=fine)) == []
    (told,) = inference_flags.system_problems(SimpleNamespace(system_prompt="a\ufdd0"))
    assert told.startswith("--system_prompt: messages[0].content holds U+FDD0")


@pytest.mark.parametrize(
    ("given", "adapter", "base"),
    [
        (set(), None, "models/starter"),  # nothing is named: the default
        (set(), "outputs-sft", None),  # the adapter's lineage knows its base
        ({"base_model"}, "outputs-sft", "models/starter"),
    ],
)
def test_the_base_that_was_meant(given, adapter, base):
    args = SimpleNamespace(base_model="models/starter", lora_model=adapter)
    assert inference_flags.said_base(args, given) == base
