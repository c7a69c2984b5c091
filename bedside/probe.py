"""The probe: log-probabilities of a few fixed tokens, which tell a right reload from a wrong one.

Measured on three adapters: a right reload moves them by 0.0007-0.0019 on average, a lost adapter by 0.016 or more,
an adapter applied twice by 0.035 or more, another base by more than 2.5. A reward model is probed by its scores of
the text's beginnings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

LIMIT = 0.008  # mean absolute difference of log-probabilities (nats) above which a reload is wrong
SCORE_LIMIT = 0.01  # the same for scores, as a share of their mean size where that is above 1
_EVERY = 8  # a reward model scores the text cut after every eighth token
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


def scores(model: torch.nn.Module, ids: list[int]) -> torch.Tensor:
    """A reward model's scores of the text's beginnings, `(T / 8, labels)`, float32 on the CPU; the mode stays."""
    import torch

    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    starts = [ids[:end] for end in range(_EVERY, len(ids) + 1, _EVERY)]
    with torch.no_grad():
        rows = [model(input_ids=torch.tensor([start], device=device)).logits[0] for start in starts]
    model.train(was_training)
    return torch.stack(rows).float().cpu()


def _scores_texts(model: torch.nn.Module, ids: list[int]) -> bool:
    """Whether the model gives one row of scores a text, `(B, labels)`, not logits of tokens, `(B, T, V)`."""
    import torch

    device = next(model.parameters()).device
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids[:_EVERY]], device=device)).logits.ndim == 2


def record(model: torch.nn.Module, tokenizer: Any) -> dict:
    """The probe as `lineage.json` keeps it: `ids`, and `logprobs` or a reward model's `scores`."""
    ids = probe_ids(tokenizer)
    if _scores_texts(model, ids):
        return {"ids": ids, "scores": [[round(value, 5) for value in row] for row in scores(model, ids).tolist()]}
    return {"ids": ids, "logprobs": [round(value, 5) for value in token_logprobs(model, ids).tolist()]}


def distance(model: torch.nn.Module, kept: dict) -> float:
    """Mean absolute difference between `model` now and the probe kept at the end of training: nats, or for scores
    points, divided by their mean size where that is above 1."""
    import torch

    if "scores" in kept:
        then = torch.tensor(kept["scores"])
        return ((scores(model, kept["ids"]) - then).abs().mean() / then.abs().mean().clamp(min=1)).item()
    return (token_logprobs(model, kept["ids"]) - torch.tensor(kept["logprobs"])).abs().mean().item()


def limit(kept: dict) -> float:
    """The distance above which a reload is wrong."""
    return SCORE_LIMIT if "scores" in kept else LIMIT
