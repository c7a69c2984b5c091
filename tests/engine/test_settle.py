"""A model found and settled by its flags before its weights are read, and loaded when it is asked for.

sh run_tests.sh tests/engine/test_settle.py
"""

import pytest

from bedside import cli, engine, lineage, models
from bedside.args import InferenceArguments
from bedside.errors import ConfigError


@pytest.fixture
def parsed(tiny_model_dir):
    """The flags of a command on the tiny model, and what was given."""

    def parse(*argv):
        found = cli.parse((InferenceArguments,), ["--base_model", tiny_model_dir, "--interactive", *argv])
        return found[InferenceArguments], found.given

    return parse


@pytest.fixture
def weightless(monkeypatch):
    """No weights may be read."""
    monkeypatch.setattr(models, "load_base", lambda *_: pytest.fail("weights were read"))


def settled(args, given, **more):
    return engine.settle(engine.asked_for(args, given), args, given, **more)


def test_nothing_is_loaded_before_it_is_asked_for(parsed, weightless, tiny_model_dir):
    found = settled(*parsed("--template_name", "qwen3", "--dtype", "float32"))
    assert (found.origin.path, found.template.name, found.quantisation, found.dtype) == (
        tiny_model_dir, "qwen3", None, "float32"
    )  # fmt: skip
    assert found.identity == {
        "base": lineage.fingerprint(tiny_model_dir), "adapter": None, "precision": "16/32-bit float32",
        "template": engine.identity(found.origin, found.template, None, "float32")["template"],
    }  # fmt: skip


def test_it_is_loaded_as_it_was_settled_and_told(parsed, said, tiny_model_dir):
    loaded = settled(*parsed("--template_name", "qwen3", "--dtype", "float32")).load()
    assert str(loaded.model.dtype) == "torch.float32"
    assert loaded.template.name == "qwen3"
    assert f"     model  {tiny_model_dir}" in said
    assert "    device  CPU, float32" in said


def test_the_revision_is_the_lineages_unless_one_is_given(parsed, weightless):
    args, given = parsed("--template_name", "qwen3")
    origin = engine.asked_for(args, given)
    origin.resolved.revision = "trained-on"
    assert engine.settle(origin, args, given).origin.resolved.revision == "trained-on"
    args, given = parsed("--template_name", "qwen3", "--model_revision", "newer")
    assert settled(args, given).origin.resolved.revision == "newer"


def test_a_base_without_a_template_takes_another_ones_where_there_is_one(parsed, weightless, tmp_path, tiny_model_dir):
    with pytest.raises(ConfigError, match="the model has no chat template of its own; add --template_name"):
        settled(*parsed())
    assert settled(*parsed(), otherwise="qwen3").template.name == "qwen3"
    assert settled(*parsed("--template_name", "chatml"), otherwise="qwen3").template.name == "chatml"
    tokenizer = models.load_tokenizer(tiny_model_dir)
    models.install_template(tokenizer, "qwen3")
    tokenizer.save_pretrained(tmp_path / "own")
    own = parsed("--tokenizer_path", str(tmp_path / "own"))
    assert settled(*own, otherwise="vicuna").template.name == "qwen3"


def test_a_thought_of_a_template_that_has_none_is_warned_of(parsed, weightless, said):
    settled(*parsed("--template_name", "vicuna", "--enable_thinking", "False"))
    assert said == ["warning: --enable_thinking: the template vicuna has no thinking mode; the flag changes nothing"]
