"""The probe: log-probabilities of a few fixed tokens, which tell a right reload from a wrong one.

Measured on three adapters: a right reload moves them by 0.0007-0.0019 on average, a lost adapter by 0.016 or more,
an adapter applied twice by 0.035 or more, another base by more than 2.5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

LIMIT = 0.008  # mean absolute difference of log-probabilities (nats) above which a reload is wrong
# Written for this purpose; no training data.
_TEXT = (
    "The patient has had a fever and a cough for three days and asks what to do. 患者发热咳嗽三天，询问应该怎么办。"
    "First measure the temperature, then listen to the chest. 先测体温，再听诊肺部，必要时拍胸片。 "
)


def probe_ids(tokenizer: Any, length: int = 64) -> list[int]:
    """The first `length` token ids of the probe text."""
    ids = tokenizer(_TEXT * 8, add_special_tokens=False)["input_ids"]
    return ids[:length]


def token_logprobs(model: torch.nn.Module, ids: list[int]) -> torch.Tensor:
    """Log-probability of each token given those before it, `(T - 1,)`, float32 on the CPU; the mode stays."""
    import torch

    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    with torch.no_grad():
        inputs = torch.tensor([ids], device=device)
        logits = model(input_ids=inputs).logits[0, :-1].float()
        chosen = logits.log_softmax(-1).gather(-1, inputs[0, 1:, None]).squeeze(-1)
    model.train(was_training)
    return chosen.cpu()


def record(model: torch.nn.Module, tokenizer: Any) -> dict:
    """The probe as `lineage.json` keeps it."""
    ids = probe_ids(tokenizer)
    return {"ids": ids, "logprobs": [round(value, 5) for value in token_logprobs(model, ids).tolist()]}


def distance(model: torch.nn.Module, kept: dict) -> float:
    """Mean absolute difference (nats) between `model` now and the probe kept at the end of training."""
    import torch

    return (token_logprobs(model, kept["ids"]) - torch.tensor(kept["logprobs"])).abs().mean().item()
