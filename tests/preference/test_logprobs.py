"""Token log-probabilities in pieces: values, gradients and memory against the plain path, and every kind of head.

sh run_tests.sh tests/preference/test_logprobs.py
"""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.utils._python_dispatch import TorchDispatchMode

from bedside.errors import ConfigError
from bedside.preference import logprobs
from bedside.preference.logprobs import LogitRule, TokenLogProbs


def plain(hidden, weight, bias, targets, rule):
    """The same with all logits at once, by torch's own functions."""
    logits = torch.nn.functional.linear(hidden, weight, bias) * rule.scale
    if rule.softcap is not None:
        logits = rule.softcap * torch.tanh(logits / rule.softcap)
    return torch.log_softmax(logits / rule.temperature, -1).gather(-1, targets[:, None]).squeeze(-1)


def numbers(dtype, rows=11, width=6, vocabulary=17):
    torch.manual_seed(0)
    tensors = (torch.randn(rows, width), torch.randn(vocabulary, width), torch.randn(vocabulary))
    return [t.to(dtype).requires_grad_() for t in tensors], torch.randint(vocabulary, (rows,))


@pytest.mark.parametrize(
    "rule", [LogitRule(), LogitRule(0.25), LogitRule(1.0, 3.0), LogitRule(0.5, 2.0), LogitRule(0.5, 2.0, 0.7)], ids=str
)
@pytest.mark.parametrize("rows", [1, 4, 100])
def test_values_and_gradients_are_those_of_log_softmax_in_float64(rule, rows):
    tensors, targets = numbers(torch.float64)
    weights = torch.rand(len(targets), dtype=torch.float64)
    found = TokenLogProbs.apply(*tensors, targets, rule, torch.float64, rows)[0]
    wanted = plain(*tensors, targets, rule)
    torch.testing.assert_close(found, wanted, atol=1e-13, rtol=0)
    ours = torch.autograd.grad((found * weights).sum(), tensors)
    theirs = torch.autograd.grad((wanted * weights).sum(), tensors)
    torch.testing.assert_close(ours, theirs, atol=1e-13, rtol=0)


@pytest.mark.parametrize("rows", [3, 100])
def test_entropies_are_those_of_the_distribution(rows):
    tensors, targets = numbers(torch.float64)
    rule = LogitRule(0.5, 2.0, 0.7)
    logps, entropy = TokenLogProbs.apply(*tensors, targets, rule, torch.float64, rows, True)
    logits = rule(torch.nn.functional.linear(*tensors))
    torch.testing.assert_close(entropy, torch.distributions.Categorical(logits=logits).entropy(), atol=1e-13, rtol=0)
    assert logps.requires_grad and not entropy.requires_grad


def test_gradients_are_those_of_differences():
    tensors, targets = numbers(torch.float64, 5, 3, 7)
    assert torch.autograd.gradcheck(
        lambda *t: TokenLogProbs.apply(*t, targets, LogitRule(0.7, 2.5, 1.3), torch.float64, 2)[0], tensors
    )


def test_a_frozen_weight_gets_no_gradient():
    (hidden, weight, _), targets = numbers(torch.float32)
    weight.requires_grad_(False)
    TokenLogProbs.apply(hidden, weight, None, targets, LogitRule(), torch.float32, 4)[0].sum().backward()
    assert weight.grad is None and hidden.grad.abs().sum() > 0


def test_bfloat16_products_are_summed_in_float32():
    (hidden, weight, bias), targets = numbers(torch.float32, 64, 32, 500)
    found = TokenLogProbs.apply(hidden, weight, bias, targets, LogitRule(), torch.bfloat16, 16)[0]
    assert found.dtype == torch.float32
    exact = plain(hidden.double(), weight.double(), bias.double(), targets, LogitRule())
    assert (found - exact).abs().max() < 0.1  # logits of about 20 are rounded to 1/16
    ours = torch.autograd.grad(found.sum(), (hidden, weight, bias))
    theirs = torch.autograd.grad(exact.sum(), (hidden, weight, bias))
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.dtype == torch.float32 and (mine - other).norm() / other.norm() < 0.02


class Largest(TorchDispatchMode):
    """Remembers the largest tensor that any operation made."""

    size = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, tuple) else (made,):
            if isinstance(tensor, torch.Tensor):
                self.size = max(self.size, tensor.numel())
        return made


def test_no_tensor_of_all_logits_is_made_or_kept():
    rows, width, vocabulary = 256, 8, 1000
    (hidden, weight, _), targets = numbers(torch.float32, rows, width, vocabulary)
    kept = []
    hooks = torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t)
    with Largest() as made, hooks:
        TokenLogProbs.apply(hidden, weight, None, targets, LogitRule(), torch.float32, 16)[0].sum().backward()
    assert made.size == 16 * vocabulary  # a piece of logits; all would be 256,000
    assert sorted(kept) == [rows, rows, rows * width, vocabulary * width]  # targets, norms, hidden states, weight
    kept.clear()
    with hooks:
        plain(hidden, weight, None, targets, LogitRule()).sum().backward()
    assert max(kept) == rows * vocabulary


def config_of(kind: str):
    import transformers as t

    shared = {
        "vocab_size": 50, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
        "num_key_value_heads": 1, "head_dim": 8, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
    }  # fmt: skip
    made = {
        "qwen3, tied": lambda: t.Qwen3Config(**shared, tie_word_embeddings=True),
        "qwen3, untied": lambda: t.Qwen3Config(**shared, tie_word_embeddings=False),
        "llama": lambda: t.LlamaConfig(**shared),
        "gemma2, capped": lambda: t.Gemma2Config(**shared, final_logit_softcapping=3.0),
        "granite, divided": lambda: t.GraniteConfig(**shared, logits_scaling=4.0),
        "cohere, multiplied": lambda: t.CohereConfig(**shared, logit_scale=0.0625),
        "phi, with a bias": lambda: t.PhiConfig(
            vocab_size=50, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
            pad_token_id=0, bos_token_id=1, eos_token_id=2,
        ),
        "gpt2": lambda: t.GPT2Config(vocab_size=50, n_embd=16, n_layer=1, n_head=2, n_positions=32, bos_token_id=1,
                                     eos_token_id=2),
    }  # fmt: skip
    return made[kind]()


def causal(kind: str = "qwen3, tied"):
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config_of(kind), dtype=torch.float32).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))  # biases and norms begin at 0 and 1
    return model


def batch():
    torch.manual_seed(1)
    ids = torch.randint(3, 50, (3, 9))
    mask = torch.ones_like(ids)
    mask[1, 6:], mask[2, 8:] = 0, 0
    labels = torch.where(mask == 1, ids, -100)
    labels[:, :3] = -100
    return {"input_ids": ids, "attention_mask": mask}, labels


def from_logits(model, inputs, labels):
    logits = model(**inputs).logits[:, :-1].float()
    targets = labels[:, 1:]
    found = torch.log_softmax(logits, -1).gather(-1, targets.clamp(min=0)[..., None]).squeeze(-1)
    return torch.where(targets == -100, 0.0, found)


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def same_as_logits(model, tolerance=1e-5):
    """The installed path against the model's own logits: values and every gradient."""
    inputs, labels = batch()
    wanted = from_logits(model, inputs, labels)
    weights = torch.linspace(-1, 1, wanted.numel()).view_as(wanted)
    theirs = gradients(model, (wanted * weights).sum())
    logprobs.check(logprobs.install(model))
    found = model(**inputs, labels=labels, token_logprobs=True)
    assert found.shape == (3, 8)
    torch.testing.assert_close(found, wanted, atol=tolerance, rtol=0)
    ours = gradients(model, (found * weights).sum())
    assert ours.keys() == theirs.keys() and ours
    torch.testing.assert_close(ours, theirs, atol=tolerance, rtol=1e-4)
    torch.testing.assert_close(model(**inputs).logits, model(**inputs, token_logprobs=False).logits)


@pytest.mark.parametrize(
    "kind",
    ["qwen3, tied", "qwen3, untied", "llama", "gemma2, capped", "granite, divided", "cohere, multiplied",
     "phi, with a bias", "gpt2"],
)  # fmt: skip
def test_every_family_gives_what_its_logits_give(kind):
    same_as_logits(causal(kind))


@pytest.mark.parametrize(
    "more",
    [
        {"target_modules": "all-linear"},
        {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]},
        {"target_modules": ["q_proj", "lm_head"]},
        {"target_modules": ["q_proj"], "trainable_token_indices": [5, 6]},
    ],
    ids=["adapter", "head saved whole", "adapter on the head", "trained tokens"],
)
@pytest.mark.parametrize("kind", ["qwen3, tied", "gemma2, capped"])
def test_every_adapter_gives_what_its_logits_give(kind, more):
    if kind == "gemma2, capped" and "modules_to_save" in more:
        more = {**more, "ensure_weight_tying": True}
    model = get_peft_model(causal(kind), LoraConfig(task_type="CAUSAL_LM", init_lora_weights=False, **more))
    same_as_logits(model)


def test_gradient_checkpointing_changes_nothing():
    model = causal()
    inputs, labels = batch()
    logprobs.install(model).train()
    wanted = gradients(model, model(**inputs, labels=labels, token_logprobs=True).sum())
    model.gradient_checkpointing_enable({"use_reentrant": False})
    found = gradients(model, model(**inputs, labels=labels, token_logprobs=True).sum())
    torch.testing.assert_close(found, wanted)


def test_autocast_computes_as_the_head_does():
    model = logprobs.install(causal())
    inputs, labels = batch()
    with torch.autocast("cpu", torch.bfloat16):
        found = model(**inputs, labels=labels, token_logprobs=True)
        wanted = from_logits(model, inputs, labels)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)


def test_a_batch_in_which_nothing_is_trained_has_a_gradient_of_zero():
    inputs, labels = batch()
    for model in (causal(), get_peft_model(causal(), LoraConfig(task_type="CAUSAL_LM", target_modules=["lm_head"]))):
        found = logprobs.install(model)(**inputs, labels=torch.full_like(labels, -100), token_logprobs=True)
        found.sum().backward()
        assert found.abs().sum() == 0
        assert all(p.grad.abs().sum() == 0 for p in model.parameters() if p.grad is not None)


def test_logits_that_are_changed_in_an_unknown_way_are_refused():
    model = causal()
    own = model.forward

    def doubled(*args, **kwargs):
        found = own(*args, **kwargs)
        found.logits = found.logits * 2
        return found

    logprobs.install(model)
    logprobs.check(model)
    installed = model.forward
    model.forward = lambda *a, **k: installed(*a, **k) if "token_logprobs" in k else doubled(*a, **k)
    with pytest.raises(ConfigError, match="Qwen3ForCausalLM does something to its logits that bedside does not know"):
        logprobs.check(model)
