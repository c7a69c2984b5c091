"""PPO's policy in the live server: its weights arrive, its answers are those of the trainer, its base stays as it was.

sh run_tests.sh --serve -k ppo
"""

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model

from bedside import models
from bedside.errors import ConfigError
from bedside.ppo.vllm_client import VLLMSampler
from bedside.ppo.vllm_http import Refused

from . import server

BASE = Path("models/starter").resolve()
NF4 = {"bits": 4, "type": "nf4", "double": True}
PROMPTS = [[11, 402, 77, 1033], [2044, 5, 910], [64, 333, 1200, 18, 7]]
LENGTH = 24


@pytest.fixture(scope="module")
def url(tmp_path_factory) -> Iterator[str]:
    """The server that our own command starts; float32, so that the likeliest token is the same on both sides."""
    port, log = server.free_port(), tmp_path_factory.mktemp("ppo") / "server.log"
    command = [
        str(server.PYTHON), "-m", "bedside.ppo.vllm_server", "--model", str(BASE), "--port", str(port), "--",
        "--dtype", "float32", "--enforce-eager", "--no-enable-chunked-prefill", "--max-model-len", "256",
    ]  # fmt: skip
    with server.running(command, port, log) as address:
        yield address


def policy(quant: dict | None = None, rank: int = 8):
    """Three roles on the starter, and a head, as in PPO."""
    torch.manual_seed(0)
    config = {"r": rank, "lora_alpha": 16, "target_modules": "all-linear", "task_type": "CAUSAL_LM"}
    model = get_peft_model(models.load_base(str(BASE), "float32", quant), LoraConfig(**config))
    model.add_adapter("ref", LoraConfig(**config))
    model.add_adapter("critic", LoraConfig(**config | {"r": 4}))
    model.value_head = torch.nn.Linear(256, 1)
    return update(model.eval(), 0.01)


def update(model, size: float):
    """A step of the policy, and one of the critic that nobody may see."""
    for name, parameter in model.named_parameters():
        if "lora_B.default" in name or "lora_B.critic" in name:
            parameter.data += torch.randn_like(parameter) * size
    return model


def base_of(model) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters() if "lora_" not in name}


@torch.no_grad()
def likeliest(model, prompt: list[int], answer: list[int]) -> list[int]:
    """What the policy finds likeliest at each place of `answer`: greedy decoding writes it if they are equal."""
    logits = model(input_ids=torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1]
    return logits.argmax(-1).tolist()


def assert_follows(sampler: VLLMSampler, model) -> None:
    """After each sync the server writes what the policy of the trainer would write, whose base is never changed."""
    base, seen = base_of(model), []
    for version in range(3):
        if version:
            update(model, 0.02)
        sampler.sync(model, version)
        found = sampler.complete(PROMPTS, LENGTH, 0.0, [])
        assert found == [likeliest(model, *pair) for pair in zip(PROMPTS, found, strict=True)]
        assert [len(answer) for answer in found] == [LENGTH] * len(PROMPTS)
        seen.append(found)
    assert seen[0] != seen[1] != seen[2]
    assert all(torch.equal(base[name], p) for name, p in base_of(model).items())


def test_the_adapter_alone_is_the_policy(url, tmp_path):
    sampler = VLLMSampler(url, how="adapter", directory=tmp_path)
    with pytest.raises(ValueError, match="sync the policy before completing"):
        sampler.complete(PROMPTS, LENGTH, 0.0, [])
    assert_follows(sampler, policy())
    names = [card["id"] for card in sampler.server.get("/v1/models")["data"]]
    assert names == [str(BASE), sampler._asked]  # one version at a time
    (kept,) = tmp_path.iterdir()
    assert sorted(path.name for path in (kept / sampler._asked).iterdir()) == [
        "adapter_config.json", "adapter_model.safetensors",
    ]  # fmt: skip
    sampler.close()
    assert list(tmp_path.iterdir()) == []
    assert len(sampler.server.get("/v1/models")["data"]) == 1


def test_answers_have_the_ids_the_stops_and_the_seeds_that_were_asked_for(url):
    model, sampler = policy(), VLLMSampler(url, how="adapter")
    sampler.sync(model, 0)
    free = sampler.complete(PROMPTS, LENGTH, 0.0, [])
    assert [len(ids) for ids in free] == [LENGTH] * 3
    for place in (2, 9):
        stops = [free[0][place], free[1][place], free[2][place]]
        cut = [next(i for i, token in enumerate(ids) if token in stops) for ids in free]
        expected = [ids[: at + 1] for ids, at in zip(free, cut, strict=True)]
        assert sampler.complete(PROMPTS, LENGTH, 0.0, stops) == expected

    drawn = sampler.complete(PROMPTS * 4, LENGTH, 1.0, [], seed=7)
    assert len({tuple(ids) for ids in drawn}) == 12  # equal prompts, rows of their own
    assert sampler.complete(PROMPTS * 4, LENGTH, 1.0, [], seed=7) == drawn
    assert sampler.complete(PROMPTS * 4, LENGTH, 1.0, [], seed=8) != drawn
    assert sampler.complete(PROMPTS, LENGTH, 1.0, [], seed=[5, 6, 5])[2] == sampler.complete(
        PROMPTS[2:], LENGTH, 1.0, [], seed=[5]
    )[0]  # fmt: skip
    sampler.close()


def test_answers_are_drawn_from_the_whole_distribution(url):
    model, sampler, count = policy(), VLLMSampler(url, how="adapter"), 400
    sampler.sync(model, 0)
    found = Counter(ids[0] for ids in sampler.complete(PROMPTS[:1] * count, 1, 1.5, [], seed=3))
    with torch.no_grad():
        chances = (model(input_ids=torch.tensor(PROMPTS[:1])).logits[0, -1].float() / 1.5).softmax(-1)
    said = torch.tensor([logps[0] for logps in sampler.logps])  # of the same distribution, in the same order
    sampled = [ids[0] for ids in sampler.complete(PROMPTS[:1] * count, 1, 1.5, [], seed=3)]
    torch.testing.assert_close(said, chances[sampled].log(), atol=1e-3, rtol=0)
    for token in chances.topk(8).indices.tolist():
        chance = float(chances[token])
        assert abs(found[token] / count - chance) < 4 * math.sqrt(chance * (1 - chance) / count), token
    unlikely = chances < chances.topk(50).values[-1]  # what a top_k or top_p that crept in would rule out
    assert (
        abs(sum(found[t] for t in range(len(chances)) if unlikely[t]) / count - float(chances[unlikely].sum())) < 0.1
    )
    sampler.close()


def test_another_model_is_refused(url, tiny_model_dir, tmp_path):
    from transformers import AutoModelForCausalLM

    lora = LoraConfig(task_type="CAUSAL_LM", target_modules="all-linear")
    sampler = VLLMSampler(url, how="adapter")
    tiny = get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_model_dir), lora)
    with pytest.raises(ConfigError, match=r"another model, .*starter, with vocab_size 5000 \(the policy has \d+\)"):
        sampler.sync(tiny, 0)
    other = AutoModelForCausalLM.from_pretrained(BASE)
    other.model.norm.weight.data += 0.1
    other.save_pretrained(tmp_path)
    other = get_peft_model(AutoModelForCausalLM.from_pretrained(tmp_path), lora)
    with pytest.raises(ConfigError, match=f"whose weights are not those of the policy's base {tmp_path}; start it"):
        sampler.sync(other, 0)
    with pytest.raises(ConfigError, match=f"serves {BASE}, not medical"):
        VLLMSampler(url, "medical")
    sampler.sync(policy(), 0)
    with pytest.raises(ConfigError, match=r"token 5000 .* is not among the 5000"):
        sampler.complete([[5000]], 8, 0.0, [])
    with pytest.raises(
        ConfigError, match=r"up to 260 tokens, the server takes 256; start it with `-- --max-model-len 260`"
    ):
        sampler.complete([[5] * 10], 250, 0.0, [])
    sampler.close()


def test_damaged_or_foreign_files_leave_the_server_as_it_was(url, tmp_path):
    from bedside.ppo import vllm_weights

    sampler = VLLMSampler(url)
    vllm_weights.write_merged({"model.norm.weight": torch.ones(256)}.items(), tmp_path / "a", "right")
    for label, reason in (("other", "holds weights right, asked for other"), ("right", "expected a file of")):
        with pytest.raises(Refused, match=reason):
            sampler._rpc("bedside_receive", directory=str(tmp_path / "a"), label=label)
        with open(tmp_path / "a" / "weights-00000.safetensors", "ab") as stream:
            stream.write(b"x")
    assert sampler._holds()["label"] is None and sampler._holds()["broken"] is False


# From here on the server holds other weights than it began with.


@pytest.mark.parametrize("quant", [None, NF4], ids=["float32", "nf4"])
def test_all_weights_are_the_policy(url, quant, tmp_path):
    sampler = VLLMSampler(url, directory=tmp_path)  # auto, on a CPU
    assert_follows(sampler, policy(quant))
    assert sampler.holds["label"] != sampler.synced == sampler._holds()["label"]
    assert list(tmp_path.iterdir()) == []


def test_answers_by_the_weights_of_another_run_are_not_accepted(url):
    model = policy()
    mine, theirs = VLLMSampler(url, how="merged"), VLLMSampler(url, how="merged")
    mine.sync(model, 5)
    assert len(mine.complete(PROMPTS, 4, 1.0, [])) == 3
    theirs.sync(model, 5)
    with pytest.raises(ConfigError, match=r"no longer holds the policy's weights .*--resume_from_checkpoint"):
        mine.complete(PROMPTS, 4, 1.0, [])
    with pytest.raises(ConfigError, match="another run has replaced its weights; start it"):
        VLLMSampler(url, how="adapter").sync(model, 0)
