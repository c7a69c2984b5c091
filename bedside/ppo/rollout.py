"""Answers sampled from the policy, and what the four roles say of them. Imported late: it needs torch.

Sampling is seeded for each row and token, not for a process: the same step asks the same question and gets the same
answer, however rows are spread over batches and processes, and after a resume.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from transformers import GenerationConfig, LogitsProcessor

from bedside import stretches
from bedside.generate import own_generation_config, plain_cache
from bedside.ppo import objective

_MIX = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F)  # odd numbers that spread (seed, step, row) over 64 bits


@dataclass(frozen=True)
class Drawing:
    """How answers are drawn: at most `longest` tokens, from the whole distribution at `temperature` (0: the likeliest
    token), until one of `stops`. `pad` fills what is behind."""

    longest: int
    temperature: float
    stops: tuple[int, ...]
    pad: int


class Chances(LogitsProcessor):
    """Samples from `softmax(logits)` by given uniform numbers `(B, N)`: the token where the cumulated probability
    passes the number of its place. All other tokens are ruled out, so that greedy decoding takes it."""

    def __init__(self, numbers: torch.Tensor, prompt_length: int, temperature: float):
        self.numbers, self.prompt_length, self.temperature = numbers, prompt_length, temperature

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Scores `(B, V)` with one finite number a row."""
        at = self.numbers[:, input_ids.shape[1] - self.prompt_length].to(scores.device)
        cumulated = torch.softmax(scores.double() / self.temperature, -1).cumsum(-1)
        drawn = torch.searchsorted(cumulated, (at * cumulated[:, -1])[:, None], right=True)
        drawn = drawn.clamp(max=scores.shape[-1] - 1)
        return torch.full_like(scores, -torch.inf).scatter_(1, drawn, 0.0)


def row_seed(seed: int, step: int, row: int) -> int:
    """A 63-bit seed of its own for each row of each rollout."""
    mixed = (seed * _MIX[0] ^ (step + 1) * _MIX[1]) + (row + 1) * _MIX[0]
    mixed &= (1 << 64) - 1
    mixed = ((mixed ^ mixed >> 31) * _MIX[1]) & ((1 << 64) - 1)
    return (mixed ^ mixed >> 29) >> 1


def uniform_numbers(seeds: Sequence[int], count: int) -> torch.Tensor:
    """`(len(seeds), count)` numbers in [0, 1), each row from its own seed."""
    rows = [torch.rand(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) for seed in seeds]
    return torch.stack(rows)


def completion_mask(completions: torch.Tensor, stops: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """1 up to and including the first stop token, `(B, N)`, and whether there is one, `(B,)`.

    From the ids' places, never from `ids != pad`: a stop token may be the pad token too.
    """
    is_stop = torch.isin(completions, torch.tensor(list(stops), device=completions.device))
    before = is_stop.long().cumsum(1) - is_stop.long()
    return (before == 0).long(), is_stop.any(1)


@torch.no_grad()
def draw(
    model: Any,
    prompts: torch.Tensor,
    mask: torch.Tensor,
    drawing: Drawing,
    seeds: Sequence[int],
    together: bool = False,
) -> torch.Tensor:
    """Completions `(B, drawing.longest)` of prompts `(B, P)` padded on the left, padded behind their stop token.

    Answers that have ended leave the batch (bedside.stretches). `together`: processes hold shards
    of one model, so none may stop, or drop a row, before the others.
    """
    width = prompts.shape[1]
    numbers = uniform_numbers(seeds, drawing.longest) if drawing.temperature > 0 else None
    cache = None if together else plain_cache(model)

    def proceed(rows: torch.Tensor, ids: torch.Tensor, seen: torch.Tensor, count: int) -> torch.Tensor:
        chances = [] if numbers is None else [Chances(numbers[rows.cpu()], width, drawing.temperature)]
        return model.generate(
            input_ids=ids, attention_mask=seen, past_key_values=cache, logits_processor=chances,
            generation_config=_every_field(drawing, count), synced_gpus=together,
        )  # fmt: skip

    def ended(rows: torch.Tensor, written: torch.Tensor) -> torch.Tensor:
        return completion_mask(written, drawing.stops)[1]

    # The model's own generation config would fill every field that is left open here.
    with own_generation_config(model), _fastest(model, prompts.device):
        return stretches.written(prompts, mask, drawing.longest, cache, drawing.pad, proceed, ended)


def _fastest(model: Any, device: torch.device) -> AbstractContextManager:
    """On a CPU float32 decodes faster than bfloat16 under autocast, which casts every weight at every token."""
    plain = device.type == "cpu" and all(p.dtype == torch.float32 for p in model.parameters())
    return torch.autocast("cpu", enabled=False) if plain else nullcontext()


def _every_field(drawing: Drawing, count: int) -> GenerationConfig:
    return GenerationConfig(
        do_sample=False, num_beams=1, max_new_tokens=count, min_new_tokens=0, repetition_penalty=1.0,
        no_repeat_ngram_size=0, length_penalty=1.0, eos_token_id=list(drawing.stops), pad_token_id=drawing.pad,
        use_cache=True,
    )  # fmt: skip


class Answers(NamedTuple):
    """Questions and sampled answers of a rollout. Prompts `(B, P)` are padded on the left, completions `(B, N)` on
    the right; `mask` `(B, N)` is 1 on the answers' tokens, `finished` `(B,)` says that a stop token ended them."""

    prompts: torch.Tensor
    prompt_mask: torch.Tensor
    completions: torch.Tensor
    mask: torch.Tensor
    finished: torch.Tensor

    @property
    def lengths(self) -> torch.Tensor:
        """Tokens of each answer, `(B,)`."""
        return self.mask.sum(1)

    def ids_of(self, row: int) -> tuple[list[int], list[int]]:
        """Prompt and completion of one row as lists, without padding."""
        prompt = self.prompts[row][self.prompt_mask[row].bool()].tolist()
        return prompt, self.completions[row][self.mask[row].bool()].tolist()

    def part(self, rows: torch.Tensor) -> dict[str, torch.Tensor]:
        """`input_ids` and `attention_mask` `(b, T)`, `starts` `(b,)` and `mask` `(b, n)` of some rows: question and
        answer without a gap, the answer from `starts` on, padded on the right only.

        (A query of padding on the left attends to nothing. What kernels make of that may be no number, and times a
        weight of 0 it still is none.)
        """
        starts = self.prompt_mask[rows].sum(1)
        longest, most = int(self.mask[rows].sum(1).max()), int(starts.max())
        first, mask = self.prompts.shape[1] - most, self.mask[rows, :longest]
        ids = torch.cat([self.prompts[rows, first:], self.completions[rows, :longest]], 1)
        kept = torch.cat([self.prompt_mask[rows, first:], mask], 1)
        width = int((starts + mask.sum(1)).max())
        moved = torch.arange(width, device=ids.device) + (most - starts)[:, None]
        inside = moved < ids.shape[1]
        moved = moved.clamp(max=ids.shape[1] - 1)
        return {
            "input_ids": ids.gather(1, moved), "attention_mask": kept.gather(1, moved) * inside, "starts": starts,
            "mask": mask,
        }  # fmt: skip


def answers_of(
    prompts: torch.Tensor, prompt_mask: torch.Tensor, completions: torch.Tensor, stops: Sequence[int]
) -> Answers:
    """Answers, cut to the longest of them."""
    mask, finished = completion_mask(completions, stops)
    longest = int(mask.sum(1).max())
    return Answers(prompts, prompt_mask, completions[:, :longest], mask[:, :longest], finished)


@dataclass
class Rollout:
    """A batch to learn from: micro-batches whose tensors `(b, n)` are trimmed to their own rows, and measures.

    `micro` holds `input_ids`, `attention_mask`, `starts`, `mask`, `logps`, `ref_logps`, `entropy`, `values`, and once
    the rewards are known `advantages` and `returns`. `rows` says which answers they hold.
    """

    micro: list[dict[str, torch.Tensor]]
    rows: list[torch.Tensor]
    measures: dict[str, float] = field(default_factory=dict)


@torch.no_grad()
def score(model: Callable, answers: Answers, rows: Sequence[torch.Tensor], temperature: float) -> Rollout:
    """What policy, reference and critic say of the answers, by the forward that training uses, on the micro-batches
    that training sees: the first ratio of probabilities is exactly 1.

    (Log-probabilities of cached decoding differ by up to 0.2 nats a token on a 4-bit base: the whole clip range.)
    """
    made = []
    for chosen in rows:
        batch = answers.part(chosen)
        shared = (batch["input_ids"], batch["attention_mask"], batch["starts"], batch["mask"].shape[1])
        logps, entropy = model(*shared, "policy", temperature)
        ref_logps, _ = model(*shared, "reference", temperature)
        values = model(*shared, "values")
        made.append({**batch, "logps": logps, "ref_logps": ref_logps, "entropy": entropy, "values": values})
    return Rollout(made, list(rows))


def credit(
    rollout: Rollout, scores: torch.Tensor, kl_coef: float, gamma: float, lam: float, reduce: objective.Reduce
) -> None:
    """Add `advantages` (whitened over every token of the rollout, of all processes) and `returns` to the
    micro-batches. `scores` `(B,)` are the rewards of whole answers."""
    for batch, chosen in zip(rollout.micro, rollout.rows, strict=True):
        mask = batch["mask"]
        rewards = objective.token_rewards(scores[chosen], batch["logps"], batch["ref_logps"], mask, kl_coef)
        batch["advantages"], batch["returns"] = objective.gae(rewards, batch["values"], mask, gamma, lam)
    mask = flat(rollout, "mask")
    rollout.measures["explained_variance"] = float(
        objective.explained_variance(flat(rollout, "values"), flat(rollout, "returns"), mask, reduce)
    )
    whitened = objective.whiten(flat(rollout, "advantages"), mask, reduce)
    sizes = [batch["mask"].numel() for batch in rollout.micro]
    for batch, part in zip(rollout.micro, whitened.split(sizes), strict=True):
        batch["advantages"] = part.view_as(batch["mask"])


def flat(rollout: Rollout, name: str) -> torch.Tensor:
    """One tensor of all micro-batches, in a row."""
    return torch.cat([batch[name].flatten() for batch in rollout.micro])


def of_answers(rollout: Rollout, values: Callable[[dict], torch.Tensor]) -> torch.Tensor:
    """A number an answer, `(B,)` in the order of the answers, from what `values` makes of each micro-batch, `(b,)`."""
    found = torch.cat([values(batch) for batch in rollout.micro])
    ordered = torch.empty_like(found)
    ordered[torch.cat(rollout.rows).to(found.device)] = found
    return ordered
