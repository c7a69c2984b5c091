"""`--check`: the loss and every adapter's gradient with kernels and without, each against float32.

The reference is the same NF4 weights written out in float32 and run through the plain path. bfloat16 rounds both; the
kernels pass when they are no further from the reference than the plain path is, with a margin.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

from benchmarks.training import weights
from benchmarks.training.shapes import SHAPES

MARGIN, FLOOR = 1.5, 2e-2  # times the plain path's error; or this relative error, whichever is more
CHECKED = {"cuda": "slice", "cpu": "tiny"}  # a slice has the widths that kernels meet, which are no powers of two
WAYS = ("float32", "plain", "kernels", "kernels, checkpointed")


def causal(device: str) -> bool:
    """Packed rows and their cross entropy, on NF4 and on bfloat16; prints and says whether all passed."""
    passed = [compare(kind, device, None, _packed(device), _cross_entropy) for kind in ("nf4", "bf16")]
    return all(passed)


def scores(device: str) -> bool:
    """Padded pairs and their Bradley-Terry loss, on NF4 and on bfloat16; prints and says whether all passed."""
    passed = [compare(kind, device, 1, _pairs(device), _bradley_terry) for kind in ("nf4", "bf16")]
    return all(passed)


def _packed(device: str) -> dict[str, Any]:
    """Three packed rows of 250 tokens or fewer, `(3, T)`."""
    import torch

    from bedside.collate import PackedCollator

    draw = torch.Generator().manual_seed(2)
    made = []
    for lengths in ((90, 130, 30), (200,), (64, 64, 64, 20)):
        ids = torch.randint(10, SHAPES["tiny"].words, (sum(lengths),), generator=draw).tolist()
        made.append({"input_ids": ids, "labels": [-100] * 20 + ids[20:], "seq_lengths": list(lengths)})
    return {name: tensor.to(device) for name, tensor in PackedCollator(3)(made).items()}


def _pairs(device: str) -> dict[str, Any]:
    """Two pairs, padded right, chosen first: `(4, T)`."""
    import torch

    draw, lengths = torch.Generator().manual_seed(2), torch.tensor([180, 60, 77, 128])
    mask = (torch.arange(180) < lengths[:, None]).long()
    ids = torch.randint(10, SHAPES["tiny"].words, mask.shape, generator=draw)
    return {"input_ids": torch.where(mask == 1, ids, 3).to(device), "attention_mask": mask.to(device)}


def _cross_entropy(model: Any, batch: dict[str, Any], kernels: bool) -> Any:
    """Mean cross entropy, through all logits or through `kernels.loss`."""
    import torch

    from benchmarks.training import ours

    if kernels:
        return ours.loss_of(model, batch)
    logits = model(input_ids=batch["input_ids"], position_ids=batch["position_ids"], use_cache=False).logits
    return torch.nn.functional.cross_entropy(logits[:, :-1].float().flatten(0, 1), batch["labels"][:, 1:].flatten())


def _bradley_terry(model: Any, batch: dict[str, Any], kernels: bool) -> Any:
    """The loss of a reward model."""
    import torch

    chosen, rejected = model(**batch, use_cache=False).logits.float().chunk(2)
    return -torch.nn.functional.logsigmoid(chosen - rejected).mean()


def compare(kind: str, device: str, labels: int | None, batch: dict, loss: Callable[..., Any]) -> bool:
    """Print a line for each way; whether both ways with kernels are near enough."""
    found = {way: gradients(way, kind, device, labels, batch, loss) for way in WAYS}
    reference, (_, plain) = found["float32"], _errors(found["plain"], found["float32"])
    passed = True
    for way in WAYS[1:]:
        of_loss, of_each = _errors(found[way], reference)
        allowed = max(FLOOR, MARGIN * max(plain.values()))
        worst = max(of_each, key=of_each.get)
        good = way == "plain" or (of_each[worst] <= allowed and of_loss <= FLOOR)
        passed &= good
        print(
            f"{'ok  ' if good else 'FAIL'} {kind:5} {way:22} loss {found[way][0]:.5f} of {reference[0]:.5f}; "
            f"{len(of_each)} gradients, relative error median {statistics.median(of_each.values()):.1e}, worst "
            f"{of_each[worst]:.1e} ({worst.partition('layers.')[2]}), allowed {allowed:.1e}"
        )
    return passed


def _errors(found: tuple[float, dict], reference: tuple[float, dict]) -> tuple[float, dict[str, float]]:
    """Relative errors of the loss and of each gradient."""
    of_loss = abs(found[0] - reference[0]) / abs(reference[0])
    each = {
        name: ((found[1][name] - right).norm() / right.norm().clamp(min=1e-12)).item()
        for name, right in reference[1].items()
    }
    return of_loss, each


def gradients(
    way: str, kind: str, device: str, labels: int | None, batch: dict, loss: Callable[..., Any]
) -> tuple[float, dict[str, Any]]:
    """The loss and the adapter's gradients, by name, of one way to compute them on the same weights."""
    import torch

    from bedside import adapters, kernels

    base = weights.build(CHECKED[device], kind, device, labels=labels)
    base.config.pad_token_id = 3
    if way == "float32":
        written_out(base)
    model = adapters.in_float32(weights.with_adapter(base, task="SEQ_CLS" if labels else "CAUSAL_LM"))
    wake(model)
    model.train()
    if way.endswith("checkpointed"):
        model.enable_input_require_grads()
        base.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    on = way.startswith("kernels")
    if on and not any(": on" in line or "fused" in line for line in kernels.install(model, anywhere=True)):
        raise RuntimeError("no kernel was put in: there is nothing to compare")
    with torch.autocast(device, torch.bfloat16, enabled=way != "float32"):
        value = loss(model, batch, on)
    value.backward()
    made = {name: it.grad.float().cpu() for name, it in model.named_parameters() if it.grad is not None}
    return value.item(), {name: grad for name, grad in made.items() if "lora_" in name}


def wake(model: Any) -> None:
    """Fixed noise in both halves of an adapter: B starts at zero, and nothing would flow to A."""
    import torch

    draw = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data.copy_(0.02 * torch.randn(parameter.shape, generator=draw))


def written_out(model: Any) -> None:
    """Float32 in place: quantised linear layers become plain ones with the weights that they stand for."""
    import torch
    from bitsandbytes.functional import dequantize_4bit

    for layer in model.model.layers:
        for parent in (layer.self_attn, layer.mlp):
            for name, quantised in list(parent.named_children()):
                state = getattr(getattr(quantised, "weight", None), "quant_state", None)
                if state is None:
                    continue
                plain = torch.nn.Linear(
                    quantised.in_features, quantised.out_features, quantised.bias is not None,
                    device=quantised.weight.device,
                )  # fmt: skip
                plain.weight.data = dequantize_4bit(quantised.weight.data, state).float()
                if quantised.bias is not None:
                    plain.bias.data = quantised.bias.data.float()
                setattr(parent, name, plain.requires_grad_(False))
    if hasattr(model, "quantization_method"):
        del model.quantization_method
        model.is_loaded_in_4bit = False
    model.float()
