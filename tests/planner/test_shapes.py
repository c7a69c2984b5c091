"""A model's widths from its name, config, directory or size; the numbers are those that its publisher counts.

sh run_tests.sh tests/planner/test_shapes.py
"""

import json

import pytest

from bedside.errors import ConfigError
from bedside.planner import names, shapes
from bedside.planner.families import CONFIGS, FAMILIES, MIXTURES, SAME_SHAPE

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
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B": 1_777_088_000, "Qwen/Qwen1.5-7B": 7_721_324_544,
    "mistralai/Ministral-8B-Instruct-2410": 8_019_808_256, "microsoft/Phi-4-mini-instruct": 3_836_021_760,
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
        ("6B", "01-ai/Yi-6B"),
        ("600M", "Qwen/Qwen3-0.6B"),
        ("1b", "meta-llama/Llama-3.2-1B"),
        ("Qwen/Qwen3-8B-Base", "Qwen/Qwen3-8B-Base"),
        ("llama3-8b", "meta-llama/Meta-Llama-3-8B"),
        ("qwen2.5:7b", "Qwen/Qwen2.5-7B"),
        ("Mistral-7B-Instruct-v0.3", "mistralai/Mistral-7B-Instruct-v0.3"),
        ("unsloth/Qwen2.5-7B-Instruct", "unsloth/Qwen2.5-7B-Instruct"),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B"),
    ],
)
def test_a_name_or_a_size_is_understood(text, name):
    assert shapes.model_of(text).name == name


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("meta-llama/Llama-2-7b-chat-hf", "meta-llama/Llama-2-7b-hf"), ("01-ai/Yi-1.5-34B-Chat", "01-ai/Yi-34B"),
        ("meta-llama/Meta-Llama-3.1-8B-Instruct", "meta-llama/Llama-3.1-8B"), ("Qwen/QwQ-32B", "Qwen/Qwen2.5-32B"),
        ("THUDM/glm-4-9b-chat-hf", "zai-org/glm-4-9b-chat-hf"), ("Qwen/Qwen2.5-Math-7B", "Qwen/Qwen2.5-7B"),
        ("mistralai/Mistral-7B-Instruct-v0.2", "mistralai/Mistral-7B-v0.1"),
        ("microsoft/Phi-3.5-mini-instruct", "microsoft/Phi-3-mini-4k-instruct"),
        ("FreedomIntelligence/HuatuoGPT-o1-8B", "meta-llama/Llama-3.1-8B"),
        ("deepseek-ai/DeepSeek-R1-0528-Qwen3-8B", "Qwen/Qwen3-8B"), ("google/gemma-3-1b-pt", "google/gemma-3-1b-it"),
    ],
)  # fmt: skip
def test_other_names_of_a_shape_are_known_by_it(text, shape):
    model = shapes.model_of(text)
    assert (model.name, model.told) == (text, f"shape of {shape}, known without its files")


def test_no_two_shapes_have_one_name():
    plain = [names.plain(name) for name in (*CONFIGS, *MIXTURES)]
    assert len(set(plain)) == len(plain)
    assert not set(plain) & set(SAME_SHAPE) and set(SAME_SHAPE.values()) <= set(CONFIGS)
    assert all(shapes.model_of(name).name == name for name in CONFIGS)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Qwen/Qwen2.5-7B-Instruct-AWQ", "quantised on disk.*made from, of the shape of Qwen/Qwen2.5-7B; --precision"),
        ("unsloth/llama-3-8b-bnb-4bit", "quantised on disk.*of the shape of meta-llama/Meta-Llama-3-8B"),
        ("somebody/own-model-GPTQ-Int4", "quantised on disk; name the model it was made from$"),
        ("deepseek-v3", "671.0 billion parameters"), ("Mixtral", "a mixture of experts, by its name"),
        ("org/New-50B-A5B", "50.0 billion parameters of which about 5.0"), ("8x7B", "a mixture of experts"),
        ("THUDM/glm-4-9b-chat", "its code is not in transformers"), ("THUDM/chatglm2-6b", "not in transformers"),
        ("baichuan-inc/Baichuan2-7B-Chat", "not in transformers"), ("bigscience/bloom-7b1", "no gated MLP"),
        ("google/medgemma-4b-it", "images or sound"), ("Qwen/Qwen2.5-VL-7B-Instruct", "images or sound"),
        ("0B", "no known shape is near"), (" ", "expected a model directory"),
    ],
)  # fmt: skip
def test_a_name_that_tells_what_is_not_counted_is_refused_with_the_reason(text, told):
    with pytest.raises(ConfigError, match=told):
        shapes.model_of(text)


def test_few_places_are_known_without_the_files():
    assert (shapes.model_of("Llama-2-7b").longest, shapes.model_of("phi-3-mini-128k").longest) == (4096, None)


@pytest.mark.parametrize("name", ["google/gemma-2-2b", "microsoft/Phi-4-mini-instruct", "zai-org/GLM-4-9B-0414",
                                  "Qwen/Qwen3-0.6B", "meta-llama/Llama-3.2-1B"])  # fmt: skip
def test_an_adapter_has_the_numbers_that_peft_makes(name):
    import torch
    from peft import get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM

    from bedside import adapters

    config = CONFIGS[name] | {"num_hidden_layers": 2, "pad_token_id": 0}
    kind = config.pop("model_type")
    with torch.device("meta"):
        made = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **config))
        adapted = get_peft_model(made, adapters.lora_config(r=8))
    model = shapes.from_config(config | {"model_type": kind}, name, "")
    assert sum(weight.numel() for weight in adapted.parameters() if weight.requires_grad) == model.lora(8)


def test_a_config_a_directory_and_an_adapter_are_read(tmp_path):
    starter = shapes.model_of("models/starter")
    assert (starter.parameters, starter.ends, starter.kernels) == (6_100_992, (1_280_000, 0), True)
    assert shapes.model_of("models/starter/config.json") == starter  # the name is what a stage can load
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
    assert "images or sound beside its decoder (vision_config)" in of(
        {"text_config": dense, "vision_config": {"a": 1}}
    )
    assert "quantised on disk" in of(dense | {"quantization_config": {"quant_method": "gptq"}})
    assert "has no hidden_size" in of({k: v for k, v in dense.items() if k != "hidden_size"})
    assert "expected a model's config.json" in of([])
    path.write_text("{")
    assert "not JSON" in refused(str(path))
