"""PPO as a `transformers.Trainer`: one of its steps is one optimizer step on one mini-batch of a rollout.

The data loader delivers questions; `get_batch_samples`, called once an optimizer step, puts the micro-batches of the
current rollout in their place. Resume, launchers, clipping, schedules, callbacks and logging are the Trainer's own.
Imported late: it needs torch and transformers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import Trainer

from bedside import launch, thoughts
from bedside.errors import ConfigError
from bedside.ppo import TOGETHER, objective, roles, rollout
from bedside.ppo.batches import RolloutSampler, TaskCollator, mini_batches, rollout_size, steps_for
from bedside.ppo.evaluation import Evaluated
from bedside.ppo.saving import Kept
from bedside.ppo.scores import Case, Scored, Scores, cases_of, where
from bedside.rewards.completion import asked
from bedside.rollouts.samples import Sample

_UPDATE = ("policy_loss", "value_loss", "clip_fraction", "value_clip_fraction", "approximate_kl", "ratio")


class PPOTrainer(Evaluated, Kept, Trainer):
    """Trains the policy and the critic of a RoleModel on answers that it samples.

    `scores` says what answers are worth. Log rows: of each rollout `reward` (without the KL), `rewards/NAME`, `kl`
    (nats an answer), `length`, `eos`, `format`, `entropy`, `explained_variance`, `kl_coef`, `first_ratio_gap`
    (largest |log ratio| of the first micro-batch: 0 where sampling and training compute alike); of updates
    `policy_loss`, `value_loss`, `clip_fraction`, `value_clip_fraction`, `approximate_kl`, `ratio`, and the gradient
    norms of both. With a vLLM server also `sampling_ratio` and `sampling_gap`: what is trained against what sampled.
    """

    loss_is_scaled_for_ga = True  # compute_loss divides by the tokens of the whole optimizer step
    loss_unit = "loss of policy and critic"

    def __init__(
        self, model: roles.RoleModel, args: Any, scores: Scores, drawing: rollout.Drawing,
        decode: Callable[[list[int]], str], server: Any = None, samples: Any = None, **more: Any,
    ):  # fmt: skip
        for name in ("train_dataset", "eval_dataset"):
            if more.get(name) is not None and "index" not in more[name].column_names:
                more[name] = more[name].add_column("index", list(range(len(more[name]))))
        if args.max_steps <= 0:
            args.max_steps = steps_for(args, len(more["train_dataset"]))
        super().__init__(model=model, args=args, data_collator=TaskCollator(drawing.pad), **more)
        if args.n_gpu > 1:
            raise ConfigError(
                f"{args.n_gpu} GPUs are visible to one process; launch with torchrun --nproc_per_node {args.n_gpu}, "
                "or set CUDA_VISIBLE_DEVICES=0"
            )
        self.model_accepts_loss_kwargs = True
        self.scores, self.drawing, self.decode, self.server, self.samples = scores, drawing, decode, server, samples
        self.updates_per_rollout = args.num_ppo_epochs * args.num_mini_batches
        self.kl_coef = args.kl_coef
        self._updates: list[tuple[list[dict], torch.Tensor]] | None = None
        self._sums: torch.Tensor | None = None  # of _UPDATE over tokens since the last log, and the tokens
        self._norms: dict[str, float] = {}
        self._first_gap: float | None = None

    # ------------------------------------------------------------------ rollouts

    def get_train_dataloader(self) -> Any:
        """Each group of questions once for every batch that the Trainer asks for while its rollout lasts."""
        size = rollout_size(self.args)
        repeats = self.updates_per_rollout * self.args.gradient_accumulation_steps
        whole = size * self.accelerator.num_processes
        return self._get_dataloader(
            dataset=self.train_dataset, description="Training", batch_size=size, is_training=True,
            sampler_fn=lambda rows: RolloutSampler(len(rows), whole, repeats, self.args.seed),
        )  # fmt: skip

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: torch.device) -> tuple:
        """The micro-batches of this optimizer step, and how many tokens all processes have in them."""
        prompts, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        if not prompts:
            return prompts, None
        place = self.state.global_step % self.updates_per_rollout  # of the saved state, so right after a resume too
        if place == 0 or self._updates is None:
            self._updates = self._new_rollout(self._prepare_inputs(prompts[0]))
        return self._updates[place]

    def _reduce(self, sums: torch.Tensor) -> torch.Tensor:
        return self.accelerator.reduce(sums, "sum")

    def _mean(self, values: torch.Tensor) -> float:
        return float(objective.masked_mean(values.float(), torch.ones_like(values, dtype=torch.float), self._reduce))

    @property
    def _roles(self) -> roles.RoleModel:
        return self.accelerator.unwrap_model(self.model_wrapped)

    def _new_rollout(self, batch: dict[str, torch.Tensor]) -> list[tuple[list[dict], torch.Tensor]]:
        """Sample, score and credit the answers of one rollout; the micro-batches of its updates."""
        args, step = self.args, self.state.global_step
        self.model_wrapped.eval()  # checkpointing is inert, so that the cache works
        with self.accelerator.autocast():
            answers = self._answers(
                batch["input_ids"], batch["attention_mask"], self.drawing, self._seeds(batch, step)
            )
            tasks = [self.train_dataset[index] for index in batch["index"].tolist()]
            cases = cases_of(answers, tasks, self.decode)
            scored = self.scores(cases)
            generator = torch.Generator().manual_seed(rollout.row_seed(args.seed, step, -1))
            mini = mini_batches(answers, args.num_mini_batches, args.per_device_train_batch_size, generator)
            made = rollout.score(self._roles, answers, [rows for part in mini for rows in part], args.temperature)
        if self.server is not None:
            made.measures |= self._against_server(self.server.gaps(made))
        totals = torch.tensor(scored.total, device=answers.mask.device)
        rollout.credit(made, totals, self.kl_coef, args.gamma, args.lam, self._reduce)
        self._tell(step, cases, scored, answers, made)
        return self._in_updates(made, [len(part) for part in mini], generator)

    def _against_server(self, gaps: torch.Tensor) -> dict[str, float]:
        """The importance ratio of the policy that is trained over the server's that sampled, and the largest gap of
        this process, in nats: numerics alone make it differ from 1, unless the server has other weights."""
        if not len(gaps):
            return {}
        gaps = gaps.to(self.args.device)
        return {"sampling_ratio": self._mean(gaps.exp()), "sampling_gap": float(gaps.abs().max())}

    def _seeds(self, batch: dict[str, torch.Tensor], step: int) -> list[int]:
        """One for each row, by its place in the rollout of all processes."""
        first = self.args.process_index * len(batch["index"])
        return [rollout.row_seed(self.args.seed, step, first + row) for row in range(len(batch["index"]))]

    def _answers(
        self, prompts: torch.Tensor, mask: torch.Tensor, drawing: rollout.Drawing, seeds: Sequence[int]
    ) -> rollout.Answers:
        if self.server is not None:
            completions = self.server.draw(self._roles, prompts, mask, drawing, seeds, self.state.global_step)
        else:
            size = self.args.rollout_batch_size or min(len(prompts), TOGETHER)
            parts = [slice(at, at + size) for at in range(0, len(prompts), size)]
            completions = torch.cat([self._drawn(prompts[at], mask[at], drawing, seeds[at]) for at in parts])
        return rollout.answers_of(prompts, mask, completions, drawing.stops)

    def _drawn(
        self, prompts: torch.Tensor, mask: torch.Tensor, drawing: rollout.Drawing, seeds: Sequence[int]
    ) -> torch.Tensor:
        try:
            return rollout.draw(self._roles, prompts, mask, drawing, seeds, launch.cut_into_shards(self))
        except torch.OutOfMemoryError:
            raise ConfigError(
                f"the GPU's memory does not hold {len(prompts)} answers that are sampled at once; lower "
                "--rollout_batch_size (the answers stay the same) or --response_length"
            ) from None

    def _in_updates(self, made: rollout.Rollout, sizes: list[int], generator: torch.Generator) -> list[tuple]:
        """The mini-batches `num_ppo_epochs` times, in an order of their own each time."""
        ends = [sum(sizes[: number + 1]) for number in range(len(sizes))]
        parts = [made.micro[end - size : end] for size, end in zip(sizes, ends, strict=True)]
        tokens = [self._reduce(sum(batch["mask"].sum() for batch in part).float()) for part in parts]
        order = [list(range(len(parts)))]
        order += [torch.randperm(len(parts), generator=generator).tolist() for _ in range(1, self.args.num_ppo_epochs)]
        return [(parts[number], tokens[number]) for passed in order for number in passed]

    def _tell(
        self, step: int, cases: list[Case], scored: Scored, answers: rollout.Answers, made: rollout.Rollout
    ) -> None:
        """Log what the rollout is like, keep its first answers, and adapt the coefficient of the KL."""
        device, mask = answers.mask.device, rollout.flat(made, "mask")
        kl = rollout.of_answers(made, lambda batch: ((batch["logps"] - batch["ref_logps"]) * batch["mask"]).sum(1))
        strict = [thoughts.strict(case.completion.text, case.completion.finished) for case in cases]
        measures = {
            "reward": self._mean(torch.tensor(scored.total, device=device)),
            "reward_std": self._spread(torch.tensor(scored.total, device=device)),
            **{f"rewards/{name}": self._mean_of(scored.named, name, device) for name in self.scores.names},
            "kl": self._mean(kl),
            "length": self._mean(answers.lengths),
            "eos": self._mean(answers.finished),
            "format": self._mean(torch.tensor(strict, device=device)),
            "entropy": float(objective.masked_mean(rollout.flat(made, "entropy"), mask, self._reduce)),
            "kl_coef": self.kl_coef,
            **made.measures,
        }
        if self.samples is not None:
            self.samples.add(step, (
                Sample(where(case.task), asked(json.loads(case.task["prompt"])), case.completion.text,
                       case.completion.finished, named, total, float(kl[row]), case.completion.tokens)
                for row, (case, named, total) in enumerate(zip(cases, scored.named, scored.total, strict=True))
            ))  # fmt: skip
        self.log({name: value for name, value in measures.items() if value is not None})
        if self.args.adaptive_kl:
            count = len(cases) * self.accelerator.num_processes
            args = self.args
            self.kl_coef = objective.adapted_kl_coef(
                self.kl_coef, measures["kl"], args.target_kl, count, args.kl_horizon
            )

    def _mean_of(self, named: list[dict], name: str, device: torch.device) -> float | None:
        """Mean of one reward over the answers of all processes of which it says something."""
        said = [row[name] for row in named if row.get(name) is not None]
        total, count = self._reduce(torch.tensor([float(sum(said)), float(len(said))], device=device)).tolist()
        return total / count if count else None

    def _spread(self, values: torch.Tensor) -> float:
        ones = torch.ones_like(values)
        mean = objective.masked_mean(values, ones, self._reduce)
        return float(objective.masked_mean((values - mean) ** 2, ones, self._reduce).sqrt())

    # ------------------------------------------------------------------ updates

    def compute_loss(
        self, model: Any, inputs: dict, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """The share of these answers in the mean over the tokens of the optimizer step; policy and critic in one
        forward, so that every trained parameter is used once."""
        args, mask = self.args, inputs["mask"]
        logps, values = model(
            input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], starts=inputs["starts"],
            count=mask.shape[1], want="update", temperature=args.temperature,
        )  # fmt: skip
        policy = objective.policy_loss(logps, inputs["logps"], inputs["advantages"], args.cliprange)
        critic, clipped = objective.value_loss(values, inputs["values"], inputs["returns"], args.cliprange_value)
        self._remember(logps.detach(), inputs, policy, critic.detach(), clipped)
        tokens = num_items_in_batch / self.accelerator.num_processes  # processes average their gradients
        weight = 0.0 if self._warming_up else 1.0
        return (weight * (policy.loss * mask).sum() + args.vf_coef * (critic * mask).sum()) / tokens

    @property
    def _warming_up(self) -> bool:
        return self.state.global_step < self.args.critic_warmup_rollouts * self.updates_per_rollout

    def _remember(
        self,
        logps: torch.Tensor,
        inputs: dict,
        policy: objective.PolicyLoss,
        critic: torch.Tensor,
        clipped: torch.Tensor,
    ) -> None:
        mask = inputs["mask"]
        if self.state.global_step % self.updates_per_rollout == 0 and self._first_gap is None:
            self._first_gap = float(((logps - inputs["logps"]) * mask).abs().max())
        distance = objective.approximate_kl(inputs["logps"], logps)
        told = (policy.loss.detach(), critic, policy.clipped, clipped, distance, policy.ratio)
        sums = torch.stack([(value.float() * mask).sum() for value in told] + [mask.sum().float()])
        self._sums = sums if self._sums is None else self._sums + sums

    def create_optimizer(self, model: Any = None) -> Any:
        """Policy and critic as groups of their own, each with its learning rate."""
        if self.optimizer is not None:
            return self.optimizer
        model = self.model if model is None else model
        kind, keywords = self.optimizer_cls_and_kwargs or self.get_optimizer_cls_and_kwargs(self.args, model)
        rates = (self.args.learning_rate, critic_rate(self.args))
        groups = []
        for trained, rate in zip(_by_role(model), rates, strict=True):
            groups.append({"params": trained, "lr": rate, "weight_decay": self.args.weight_decay})
        self.optimizer = kind(groups, **{**keywords, "lr": self.args.learning_rate})
        self.optimizer.register_step_pre_hook(self._decay_what_learns)
        return self.optimizer

    def _decay_what_learns(self, optimizer: Any, *_: Any) -> None:
        """Weight decay would move the policy while only the critic learns: a gradient of 0 does not stop it."""
        optimizer.param_groups[0]["weight_decay"] = 0.0 if self._warming_up else self.args.weight_decay

    def _clip_grad_norm(self, model: Any) -> torch.Tensor:
        """Each of the two by its own norm: the large errors of an early critic would shrink the policy's step.

        DeepSpeed clips both together, in its engine.
        """
        if self.is_deepspeed_enabled:
            return super()._clip_grad_norm(model)
        self.accelerator.unscale_gradients()
        norms = [torch.nn.utils.clip_grad_norm_(trained, self.args.max_grad_norm) for trained in _by_role(model)]
        norms = [norm.full_tensor() if hasattr(norm, "full_tensor") else norm for norm in norms]
        self._norms = dict(zip(("grad_norm/policy", "grad_norm/critic"), (float(norm) for norm in norms), strict=True))
        return torch.stack(norms).norm()

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add to a line about updates their means over all tokens since the last log, of all processes."""
        if "loss" in logs and self._sums is not None:
            totals = self._reduce(self._sums).tolist()
            logs |= {name: value / max(1.0, totals[-1]) for name, value in zip(_UPDATE, totals, strict=False)}
            logs |= self._norms
            if self._first_gap is not None:
                logs["first_ratio_gap"] = self._first_gap
            self._sums, self._first_gap = None, None
        super().log(logs, start_time)


def critic_rate(args: Any) -> float:
    """The critic's peak learning rate: its own, or five times the policy's."""
    return args.critic_learning_rate if args.critic_learning_rate is not None else 5 * args.learning_rate


def _by_role(model: Any) -> tuple[list, list]:
    """Trained parameters of the policy, and of the critic."""
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    policy = [parameter for name, parameter in named if roles.of_policy(name)]
    return policy, [parameter for name, parameter in named if not roles.of_policy(name)]
