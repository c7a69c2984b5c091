"""How a policy answers held-out questions while it is trained, as a mixin. Imported late: it needs torch."""

from __future__ import annotations

import math
from typing import Any

import torch
from accelerate.utils import gather_object

from bedside import thoughts
from bedside.ppo import rollout
from bedside.ppo.scores import Case, Scored, cases_of


class Evaluated:
    """Mixin to the left of a Trainer that samples: `evaluate` answers held-out questions greedily."""

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Greedy answers to the held-out questions: rewards, KL to the reference, length, format."""
        dataset = self.eval_dataset if eval_dataset is None else eval_dataset
        measured = self.examine(dataset)
        names = list(dict.fromkeys(name for row in measured for name in row))
        means = {}
        for name in names:
            said = [row[name] for row in measured if row.get(name) is not None]
            means[f"{metric_key_prefix}_{name}"] = sum(said) / len(said) if said else math.nan
        metrics = {name: value for name, value in means.items() if math.isfinite(value)}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def examine(self, dataset: Any) -> list[dict[str, float | None]]:
        """What is measured of the greedy answer to each row, in order, in every process."""
        args, drawing = self.args, self.drawing
        greedy = rollout.Drawing(drawing.longest, 0.0, drawing.stops, drawing.pad)
        rank, world, size = args.process_index, self.accelerator.num_processes, args.per_device_eval_batch_size
        per_rank = math.ceil(len(dataset) / world / size) * size
        own = [(rank * per_rank + number) % len(dataset) for number in range(per_rank)]  # as many in every process
        found: list[tuple[int, dict]] = []
        self.model_wrapped.eval()
        for start in range(0, per_rank, size):
            chosen = own[start : start + size]
            rows = [dataset[index] for index in chosen]
            batch = self._prepare_inputs(self.data_collator([{**row, "index": 0} for row in rows]))
            with self.accelerator.autocast():
                answers = self._answers(batch["input_ids"], batch["attention_mask"], greedy, [0] * size)
                cases = cases_of(answers, rows, self.decode)
                scored = self.scores(cases)
                made = rollout.score(self._roles, answers, [torch.arange(size)], args.temperature)
            kl = ((made.micro[0]["logps"] - made.micro[0]["ref_logps"]) * made.micro[0]["mask"]).sum(1).tolist()
            for number, case in enumerate(cases):
                found.append((chosen[number], told(case, scored, number, kl[number])))
        everything = dict(gather_object(found)) if world > 1 else dict(found)
        return [everything[index] for index in range(len(dataset))]


def told(case: Case, scored: Scored, number: int, kl: float) -> dict[str, float | None]:
    """What an evaluation says of one answer."""
    finished = case.completion.finished
    return {
        "reward": scored.total[number],
        **{f"rewards/{name}": value for name, value in scored.named[number].items()},
        "kl": kl,
        "length": float(case.completion.tokens),
        "eos": float(finished),
        "format": float(thoughts.strict(case.completion.text, finished)),
    }
