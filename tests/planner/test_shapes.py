"""A model's widths from its name, config, directory or size; the numbers are those that its publisher counts.

sh run_tests.sh tests/planner/test_shapes.py
"""

import json

import pytest

from bedside.errors import ConfigError
from bedside.planner import shapes
from bedside.planner.families import CONFIGS, FAMILIES

# Parameters as model cards and safetensors indices state them.
COUNTED = {
    "Qwen/Qwen2.5-0.5B": 494_032_768, "Qwen/Qwen2.5-1.5B": 1_543_714_304, "Qwen/Qwen2.5-3B": 3_085_938_688,
    "Qwen/Qwen2.5-7B": 7_615_616_512, "Qwen/Qwen2.5-14B": 14_770_033_664, "Qwen/Qwen2.5-32B": 32_763_876_352,
    "Qwen/Qwen2.5-72B": 72_706_203_648, "Qwen/Qwen3-0.6B": 596_049_920, "Qwen/Qwen3-4B": 4_022_468_096,
    "Qwen/Qwen3-8B": 8_190_735_360, "Qwen/Qwen3-32B": 32_762_123_264, "meta-llama/Llama-2-7b-hf": 6_738_415_616,
    "meta-llama/Llama-2-13b-hf": 13_015_864_320, "meta-llama/Llama-2-70b-hf": 68_976_648_192,
    "meta-llama/Meta-Llama-3-8B": 8_030_261_248, "meta-llama/Meta-Llama-3-70B": 70_553_706_496,
    "meta-llama/Llama-3.2-1B": 1_235_814_400, "mistralai/Mistral-7B-v0.3": 7_248_023_552,
    "google/gemma-7b": 8_537_680_896, "google/gemma-2-9b": 9_241_705_984, "google/gemma-3-1b-it": 999_885_952,
    "microsoft/Phi-3-mini-4k-instruct": 3_821_079_552, "microsoft/phi-4": 14_659_507_200,
    "01-ai/Yi-34B": 34_388_917_248, "zai-org/glm-4-9b-chat-hf": 9_399_951_360,
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B": 1_777_088_000,
}  # fmt: skip


@pytest.mark.parametrize("name", COUNTED)
def test_the_numbers_of_a_model_are_those_of_its_card(name):
    assert shapes.model_of(name).parameters == COUNTED[name]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_has_the_weights_that_transformers_makes(family):
    from transformers import AutoConfig

    from bedside.memory import sizes

    widths = {
        "num_hidden_layers": 2, "hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 16, "vocab_size": 320, "pad_token_id": 0,
    }  # fmt: skip
    config = AutoConfig.for_model(family, **widths, **({"attention_bias": True} if family.startswith("glm") else {}))
    found = sizes.of_config(config)
    model = shapes.from_config(config.to_dict(), family, "")
    assert model.parameters == found.numbers
    assert sorted(model.layer.linear) == sorted(found.parts[found.layers[0]].linear)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Qwen2.5-7B", "Qwen/Qwen2.5-7B"),
        ("Qwen2.5-7B-Instruct", "Qwen/Qwen2.5-7B-Instruct"),
        ("meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Llama-3.1-8B-Instruct"),
        ("7B", "Qwen/Qwen2.5-7B"),
        ("13b", "meta-llama/Llama-2-13b-hf"),
        ("72B", "Qwen/Qwen2.5-72B"),
    ],
)
def test_a_name_or_a_size_is_understood(text, name):
    assert shapes.model_of(text).name == name


def test_a_config_a_directory_and_an_adapter_are_read(tmp_path):
    starter = shapes.model_of("models/starter")
    assert (starter.parameters, starter.ends, starter.kernels) == (6_100_992, (1_280_000, 0), True)
    assert shapes.model_of("models/starter/config.json").parameters == starter.parameters
    (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "Qwen/Qwen3-4B"}))
    assert shapes.model_of(str(tmp_path)).name == "Qwen/Qwen3-4B"


def test_a_config_in_the_cache_goes_before_what_is_known(tmp_path):
    place = tmp_path / "models--Qwen--Qwen2.5-7B" / "snapshots" / "abc"
    place.mkdir(parents=True)
    (place / "config.json").write_text(json.dumps(CONFIGS["Qwen/Qwen2.5-7B"] | {"num_hidden_layers": 1}))
    model = shapes.model_of("Qwen/Qwen2.5-7B", str(tmp_path))
    assert model.shape.layers == 1
    assert "snapshots" in model.told


def refused(text: str) -> str:
    with pytest.raises(ConfigError) as told:
        shapes.model_of(text)
    return str(told.value)


def test_what_is_not_counted_is_refused_with_what_is_known(tmp_path):
    assert "30.5 billion parameters of which about 3.3 work" in refused("Qwen3-30B-A3B")
    assert "Did you mean Qwen/Qwen2.5-7B" in refused("Qwen2.5-8B")
    assert "no known shape is near that size" in refused("3000B")
    assert "neither config.json nor an adapter's" in refused(str(tmp_path))
    path = tmp_path / "config.json"

    def of(config: dict | list) -> str:
        path.write_text(json.dumps(config))
        return refused(str(path))

    dense = CONFIGS["Qwen/Qwen2.5-7B"]
    mixture = dense | {"model_type": "qwen3_moe", "num_experts": 8, "num_experts_per_tok": 2}
    assert "47.5 billion parameters of which about 13.3 work" in of(mixture)
    assert "model_type gpt2 is not counted here" in of({"model_type": "gpt2"})
    assert "its attention (model_type qwen2)" in of(dense | {"layer_types": ["linear_attention"]})
    assert "quantised on disk" in of(dense | {"quantization_config": {"quant_method": "gptq"}})
    assert "has no hidden_size" in of({k: v for k, v in dense.items() if k != "hidden_size"})
    assert "expected a model's config.json" in of([])
    path.write_text("{")
    assert "not JSON" in refused(str(path))
