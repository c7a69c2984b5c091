"""Rollouts by a vLLM server, in the place of `rollout.draw`: the first process hands over the weights, each one asks
for its own answers. What they are trained on is computed by the policy itself, as for every rollout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bedside.ppo.vllm_client import VLLMSampler

if TYPE_CHECKING:
    import torch

    from bedside.ppo.rollout import Drawing, Rollout


class Served:
    """Draws answers from the server that `sampler` talks to; the weights there are those of the newest step."""

    def __init__(self, sampler: VLLMSampler):
        self.sampler = sampler
        self.step: int | None = None

    def draw(
        self, model: Any, prompts: torch.Tensor, mask: torch.Tensor, drawing: Drawing, seeds: Sequence[int], step: int
    ) -> torch.Tensor:
        """Completions `(B, drawing.longest)` of prompts `(B, P)` padded on the left, padded behind their stop token;
        `seeds` one for each row, as for `rollout.draw`."""
        import torch

        self._sync(model, step)
        ids = [row[kept.bool()].tolist() for row, kept in zip(prompts, mask, strict=True)]
        found = self.sampler.complete(
            ids, drawing.longest, drawing.temperature, list(drawing.stops), [seed & 0x7FFFFFFF for seed in seeds]
        )
        padded = [row + [drawing.pad] * (drawing.longest - len(row)) for row in found]
        return torch.tensor(padded, device=prompts.device)

    def gaps(self, made: Rollout) -> torch.Tensor:
        """`log pi - log q` of every token of the last answers: the policy as the trainer computes it, and as the
        server that sampled them does; empty where the server does not say."""
        import torch

        found = [torch.empty(0)]
        for batch, rows in zip(made.micro, made.rows, strict=True):
            for place, row in enumerate(rows.tolist()):
                theirs = torch.tensor(self.sampler.logps[row])
                ours = batch["logps"][place, : int(batch["mask"][place].sum())].float().cpu()
                if len(theirs) == len(ours):
                    found.append(ours - theirs)
        return torch.cat(found)

    def _sync(self, model: Any, step: int) -> None:
        """The weights of this step, once."""
        from bedside import launch

        if step == self.step:
            return
        self.sampler.follow(launch.once(lambda: self.sampler.sync(model, step)))
        self.step = step

    def close(self) -> None:
        """The server forgets the policy, and its files go; who draws again hands over the weights again."""
        self.sampler.close()
        self.step = None
