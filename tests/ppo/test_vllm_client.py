"""The policy's weights to a server, and its answers from there; a toy stands for vLLM (tests/serve has the real one).

sh run_tests.sh tests/ppo/test_vllm_client.py
"""

import gc
import json
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from bedside.errors import ConfigError
from bedside.ppo import vllm_delivery, vllm_http, vllm_weights
from bedside.ppo.merged import merged_weights
from bedside.ppo.vllm_client import VLLMSampler

from .vllm_toy import Toy, Worker

PROMPTS = [[1, 30], [2, 40], [3, 50]]
START = r"python -m bedside\.ppo\.vllm_server --model MODEL"


@pytest.fixture(autouse=True)
def _without_waiting(monkeypatch, tmp_path_factory):
    monkeypatch.setattr(vllm_weights, "_MEMORY", tmp_path_factory.mktemp("memory"))
    monkeypatch.setattr(vllm_http, "_PAUSES", (0.0, 0.0))
    monkeypatch.setattr(vllm_delivery, "_RESETS", 1)
    monkeypatch.delenv("VLLM_API_KEY", raising=False)


@pytest.fixture
def model(tiny_model_dir):
    return policy(tiny_model_dir)


def policy(directory: str, **lora):
    torch.manual_seed(0)
    config = {"r": 4, "target_modules": "all-linear", "task_type": "CAUSAL_LM"} | lora
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(directory), LoraConfig(**config))
    model.add_adapter("ref", LoraConfig(**config))
    return update(model)


def update(model):
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data += torch.randn_like(parameter) * 0.1
    return model


@pytest.fixture
def toy(tiny_model_dir):
    config = AutoModelForCausalLM.from_pretrained(tiny_model_dir).config
    server = Toy(Worker(config, tiny_model_dir))
    yield server
    server.close()


def test_rows_come_back_in_order_and_every_field_of_sampling_is_set(toy, model):
    sampler = VLLMSampler(toy.url)
    sampler.sync(model, 3)
    assert sampler.complete(PROMPTS, 3, 0.7, [2, 9], seed=11) == [[30, 31, 32], [40, 41, 42], [50, 51, 52]]
    bodies = sorted(toy.bodies("/v1/completions"), key=lambda body: body["prompt"])
    seeds = [body.pop("seed") for body in bodies]
    assert seeds == [6367358272793860901, 2883046802652001663, 2137628939778952718]
    name = f"bedside-{sampler.synced}"
    assert name.endswith("-3")
    assert bodies[0] == {
        "model": name, "prompt": [1, 30], "max_tokens": 3, "temperature": 0.7, "top_p": 1.0, "top_k": 0, "min_p": 0.0,
        "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0, "n": 1, "min_tokens": 0,
        "stop": [], "stop_token_ids": [2, 9], "ignore_eos": True, "stream": False, "add_special_tokens": False,
        "return_token_ids": True, "logprobs": 0,
    }  # fmt: skip
    sampler.complete(PROMPTS, 3, 0.7, [2, 9], seed=[7, 8, 9])
    assert sorted(body["seed"] for body in toy.bodies("/v1/completions")[3:]) == [7, 8, 9]
    assert sampler.complete([], 3, 0.7, [2]) == []


def test_a_stop_token_ends_an_answer_and_nothing_else_may(toy, model):
    sampler = VLLMSampler(toy.url)
    sampler.sync(model, 0)
    toy.says = lambda body: {"token_ids": [8, 9], "finish_reason": "stop"}
    assert sampler.complete(PROMPTS[:1], 5, 1.0, [2, 9]) == [[8, 9]]
    with pytest.raises(ConfigError, match=r"ended an answer after 2 tokens \(stop\), neither at a stop token nor at"):
        sampler.complete(PROMPTS[:1], 5, 1.0, [2])
    toy.says = lambda body: {"token_ids": [8] * 5, "prompt_token_ids": [0, 1, 30]}
    with pytest.raises(ConfigError, match="read another prompt than it was sent"):
        sampler.complete(PROMPTS[:1], 5, 1.0, [2])


def test_a_new_version_of_the_adapter_has_a_new_name_and_leaves_no_old_one(toy, model, tmp_path):
    from safetensors.torch import load_file

    sampler = VLLMSampler(toy.url, directory=tmp_path)
    with pytest.raises(ValueError, match="sync the policy before completing"):
        sampler.complete(PROMPTS, 3, 0.7, [2])
    for version in range(2):
        sampler.sync(update(model), version)
        ((name, place),) = toy.adapters.items()
        assert name == f"bedside-{sampler._token}-{version}"
        sent = load_file(Path(place) / "adapter_model.safetensors")
        own = {k.replace(".default", ""): v for k, v in model.state_dict().items() if ".default." in k}
        assert sorted(sent) == sorted(own) and all(torch.equal(sent[key], own[key]) for key in own)
        config = json.loads((Path(place) / "adapter_config.json").read_text())
        assert config["r"] == 4 and config["peft_type"] == "LORA" and config["lora_alpha"] == 8
        assert [path.parent for path in tmp_path.glob("*/bedside-*")] == [Path(place).parent]
        assert sampler.complete(PROMPTS[:1], 1, 1.0, [2]) == [[30]]
    toy.adapters.clear()  # a server that was started anew
    with pytest.raises(ConfigError, match=r"no longer holds the policy's weights .*--resume_from_checkpoint"):
        sampler.complete(PROMPTS, 1, 1.0, [2])
    sampler.sync(model, 2)
    sampler.close()
    assert toy.adapters == {} and list(tmp_path.iterdir()) == []
    sampler.sync(model, 3)
    assert len(list(tmp_path.iterdir())) == 1
    del sampler  # as at the end of a process that never closed it
    gc.collect()
    assert list(tmp_path.iterdir()) == []


def test_all_weights_arrive_as_they_are_and_their_files_go(toy, model, tmp_path, monkeypatch):
    monkeypatch.setattr(vllm_weights.write_merged, "__defaults__", (20_000,))  # several files
    sampler = VLLMSampler(toy.url, how="merged", directory=tmp_path)
    sampler.sync(model, 7)
    wanted = dict(merged_weights(model, dtype=torch.float32))
    assert sorted(toy.worker.loaded) == sorted(wanted)
    assert all(torch.equal(toy.worker.loaded[name], weight) for name, weight in wanted.items())
    assert toy.worker.bedside_holds()["label"] == sampler.synced == f"{sampler._token}-7"
    assert toy.bodies("/reset_prefix_cache") == [{}] and list(tmp_path.iterdir()) == []
    assert sampler.complete(PROMPTS[:1], 2, 1.0, [2]) == [[30, 31]]
    assert toy.bodies("/v1/completions")[0]["model"] == "base"
    toy.worker._bedside_label = "another-7"
    with pytest.raises(ConfigError, match="it was restarted, or another run uses it"):
        sampler.complete(PROMPTS[:1], 2, 1.0, [2])


def test_auto_takes_what_is_faster_where_the_server_runs(toy, model):
    sampler = VLLMSampler(toy.url)
    assert sampler.sync(model, 0).name == f"bedside-{sampler.synced}"
    sampler.close()
    toy.worker.device.type = "cpu"
    assert VLLMSampler(toy.url).sync(model, 0).name == "base"
    with pytest.raises(ConfigError, match="how=adaptor: expected auto, adapter, merged"):
        VLLMSampler(toy.url, how="adaptor")


@pytest.mark.parametrize("how", ["adapter", "merged"])
def test_another_process_follows_the_one_that_handed_the_weights_over(toy, model, how):
    first, second = VLLMSampler(toy.url, how=how), VLLMSampler(toy.url, how=how)
    handed = first.sync(model, 4)
    assert handed.seconds > 0
    second.follow(handed)
    assert second.complete(PROMPTS, 1, 1.0, [2]) == first.complete(PROMPTS, 1, 1.0, [2]) == [[30], [40], [50]]


def test_a_load_that_breaks_off_is_told_and_not_used(toy, model):
    sampler = VLLMSampler(toy.url, how="merged")
    toy.worker.breaks = True
    with pytest.raises(ConfigError, match="did not take the policy's weights .HTTP 500: CUDA out of memory"):
        sampler.sync(model, 0)
    with pytest.raises(ValueError, match="sync the policy"):
        sampler.complete(PROMPTS, 2, 1.0, [2])
    with pytest.raises(ConfigError, match=f"half replaced, since a load broke off; restart it with {START}"):
        sampler.sync(model, 1)
    toy.worker._bedside_broken = toy.worker.breaks = toy.resets = False
    with pytest.raises(ConfigError, match="answers requests of others; the policy needs a server of its own"):
        sampler.sync(model, 2)


UNFIT = {
    "vLLM does not serve DoRA": ({"use_dora": True}, 16),
    "its rank is 32, the server was started with --max-lora-rank 16": ({"r": 32}, 16),
    "its rank is 24, the": ({"rank_pattern": {"q_proj": 24}}, 16),
    "vLLM does not serve modules trained whole": ({"modules_to_save": ["lm_head"]}, 16),
    "without --enable-lora": ({}, None),
    "pissa moved a part of the base's weights": ({"init_lora_weights": "pissa"}, 16),
}


@pytest.mark.parametrize("reason", UNFIT)
def test_what_the_adapter_alone_cannot_tell_goes_as_all_weights(toy, tiny_model_dir, reason):
    lora, rank = UNFIT[reason]
    toy.worker.lora_config = rank and toy.worker.lora_config
    model = policy(tiny_model_dir, **lora)
    with pytest.raises(ConfigError, match=f"the adapter cannot be sent alone: .*{reason}"):
        VLLMSampler(toy.url, how="adapter").sync(model, 0)
    if "modules_to_save" not in lora:  # tied to the embeddings, so that plain weights cannot tell it either
        VLLMSampler(toy.url).sync(model, 0)
        assert len(toy.worker.loaded) > 20 and toy.adapters == {}


def test_another_model_is_refused(toy, model, tiny_model_dir, tmp_path):
    other = AutoModelForCausalLM.from_pretrained(tiny_model_dir)
    other.model.norm.weight.data += 1
    other.save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=f"whose weights are not those of the policy's base {tmp_path}; start it"):
        VLLMSampler(toy.url).sync(policy(str(tmp_path)), 0)
    toy.worker.model_config.model = "owner/elsewhere"
    with pytest.raises(ConfigError, match=f"serves owner/elsewhere, the policy's base is {tiny_model_dir}"):
        VLLMSampler(toy.url).sync(model, 0)
    model.get_base_model().config.hidden_size = 96
    with pytest.raises(ConfigError, match=r"serves another model, .*hidden_size 64 \(the policy has 96\); start it"):
        VLLMSampler(toy.url).sync(model, 0)
    with pytest.raises(ConfigError, match="serves base, not medical; start it with"):
        VLLMSampler(toy.url, "medical")
    assert toy.worker.loaded == {} and toy.adapters == {}


def test_what_does_not_fit_is_refused_before_it_is_sent(toy, model):
    sampler = VLLMSampler(toy.url)
    sampler.sync(model, 0)
    rows = model.get_base_model().config.vocab_size
    with pytest.raises(ConfigError, match=f"token {rows} of the policy's tokenizer is not among the {rows}"):
        sampler.complete(PROMPTS, 3, 1.0, [2, rows])
    with pytest.raises(ConfigError, match=r"up to 70 tokens, the server takes 64; start it with `-- --max-model-len"):
        sampler.complete([[1] * 20], 50, 1.0, [2])
    assert toy.bodies("/v1/completions") == []


def test_a_broken_connection_is_tried_again_and_a_refusal_is_not(toy, model):
    sampler = VLLMSampler(toy.url)
    toy.hangs_up = {"/v1/completions": 2, "/v1/load_lora_adapter": 1}
    sampler.sync(model, 0)
    assert toy.bodies("/v1/load_lora_adapter")[1]["load_inplace"] is True
    assert sampler.complete(PROMPTS[:1], 2, 1.0, [2]) == [[30, 31]]
    assert len(toy.bodies("/v1/completions")) == 3
    toy.refuses = {"/v1/completions": (400, "Token id 7 is out of vocabulary")}
    with pytest.raises(ConfigError, match="refuses a prompt .HTTP 400: Token id 7 is out of vocabulary"):
        sampler.complete(PROMPTS[:1], 2, 1.0, [2])
    assert len(toy.bodies("/v1/completions")) == 4
    toy.refuses = {"/v1/completions": (503, "busy")}
    with pytest.raises(ConfigError, match="HTTP 503: busy"):
        sampler.complete(PROMPTS[:1], 2, 1.0, [2])
    assert len(toy.bodies("/v1/completions")) == 7


def test_no_server_a_slow_one_and_one_of_another_kind(toy, model):
    url = toy.url
    toy.refuses = {"/collective_rpc": (404, "Not Found")}
    with pytest.raises(ConfigError, match=f"takes no weights .HTTP 404: Not Found.; start it with {START}"):
        VLLMSampler(url)
    toy.refuses = {}
    sampler = VLLMSampler(url, timeout=0.3)
    sampler.sync(model, 0)
    toy.says = lambda body: __import__("time").sleep(1) or {"token_ids": []}
    with pytest.raises(ConfigError, match=r"no answer within 0.3 s; raise --vllm_server_timeout"):
        sampler.complete(PROMPTS, 2, 1.0, [2])
    toy.close()
    with pytest.raises(ConfigError, match=f"no vLLM server answers there .*{START} --port {toy.port}"):
        VLLMSampler(url)
    with pytest.raises(ConfigError, match="ftp://there: expected an address such as http://127.0.0.1:8000"):
        VLLMSampler("ftp://there")


def test_the_key_goes_to_the_server_that_was_named_and_to_no_other(toy, monkeypatch):
    monkeypatch.setenv("VLLM_API_KEY", "secret")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # nobody: loopback addresses need no proxy
    VLLMSampler(toy.url + "/v1/")
    assert toy.keys == ["Bearer secret"] * 2
    other = Toy(toy.worker)
    toy.refuses = {"/v1/models": (307, other.url + "/v1/models")}
    with pytest.raises(ConfigError, match=f"no vLLM server, it lists no models .HTTP 307.*; start one with {START}"):
        VLLMSampler(toy.url)
    assert other.asked == []
    other.close()
    toy.refuses = {"/v1/models": (401, "Unauthorized")}
    with pytest.raises(ConfigError, match="refuses the key; .* environment variable VLLM_API_KEY"):
        VLLMSampler(toy.url)


def test_weights_have_their_name_when_they_are_complete(tmp_path):
    def breaks():
        yield "a", torch.ones(4)
        raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError, match="interrupted"):
        vllm_weights.write_merged(breaks(), tmp_path / "v1", "label")
    assert not (tmp_path / "v1").exists()
    size = vllm_weights.write_merged({"a": torch.ones(4), "b": torch.ones(4)}.items(), tmp_path / "v2", "label", 8)
    found = json.loads((tmp_path / "v2/manifest.json").read_text())
    assert found["label"] == "label" and list(found["files"]) == [
        "weights-00000.safetensors",
        "weights-00001.safetensors",
    ]
    assert sum(found["files"].values()) == size and (tmp_path / "v2").stat().st_mode & 0o077 == 0


def test_a_place_that_is_too_small_is_told(tmp_path):
    with pytest.raises(ConfigError, match=r"8000000.0 GB on their way .* do not fit into .*; free space there"):
        vllm_weights.workplace(tmp_path, 8_000_000 * 10**9)
    assert vllm_weights.workplace(tmp_path, 10).parent == tmp_path
