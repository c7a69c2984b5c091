"""Tiny models with LoRA, and the comparison of the fast paths with the plain one."""

import torch

from tests.kernels.tiny import tiny


def with_lora(base, **lora):
    """`base` with a LoRA whose b is not zero, in training mode."""
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(base, LoraConfig(**{"r": 8, "target_modules": "all-linear", **lora}))
    draw = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data = torch.randn(parameter.shape, generator=draw) * 0.1
    return model.train()


def fused_base(family: str = "qwen2") -> torch.nn.Module:
    """A tiny model with TRL's head."""
    from trl.trainer.utils import add_fused_lm_head

    base = tiny(family, tie_word_embeddings=False)
    add_fused_lm_head(base, outputs=("log_probs", "entropy", "mean_logits", "is_top1"))
    return base


def adapted(family: str = "qwen2", **lora):
    """A tiny model with TRL's head and a LoRA of rank 8 and alpha 12, in training mode."""
    return with_lora(fused_base(family), lora_alpha=12, **lora)


def step(model, batch: dict[str, torch.Tensor], checkpointing: bool = False):
    """What a trainer reads of the batch, and the gradients of a weighted sum of log-probabilities."""
    if checkpointing:
        model.enable_input_require_grads()
        model.get_base_model().gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    labels = batch["input_ids"].masked_fill(batch.get("attention_mask", torch.ones(1)) == 0, -100)
    labels[:, :2] = -100
    out = model(**batch, labels=labels, fused_lm_head=True)
    weights = torch.randn(out.log_probs.shape, generator=torch.Generator().manual_seed(4))
    (out.log_probs * weights).sum().backward()
    return out, {name: p.grad for name, p in model.named_parameters() if p.requires_grad}


def agree(plain, fast, batch, checkpointing: bool = False) -> None:
    """Both give the same numbers and the same gradients."""
    wanted, wanted_gradients = step(plain, batch, checkpointing)
    found, gradients = step(fast, batch, checkpointing)
    for name in ("log_probs", "entropy", "mean_logits"):
        torch.testing.assert_close(getattr(found, name), getattr(wanted, name), atol=2e-5, rtol=1e-4)
    assert found.is_top1.tolist() == wanted.is_top1.tolist()
    assert found.label_mask.tolist() == wanted.label_mask.tolist()
    assert gradients.keys() == wanted_gradients.keys()
    for name, gradient in wanted_gradients.items():
        torch.testing.assert_close(gradients[name], gradient, atol=2e-5, rtol=1e-3, msg=lambda m, name=name: name + m)
