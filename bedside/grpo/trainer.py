"""A mixin to the left of TRL's GRPOTrainer or RLOOTrainer: `class T(TaskTrainer, Sealed, GRPOTrainer)`.

Rows are tasks (`bedside.data.tasks`): the ids are ours, so that what is trained is what is served. Answers are drawn
from the whole distribution by a seed of each row, so that a resumed run, and one on more processes, draws the same.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator, Sequence
from typing import Any

from bedside import guards, launch, logs
from bedside.errors import ConfigError
from bedside.grpo.order import EpochOrder
from bedside.rewards.completion import asked
from bedside.rollouts.chance import seeded
from bedside.rollouts.samples import Sample, Samples

_SHUFFLED, _EVALUATED = 1 << 40, 1 << 41  # steps of their own for seeds that are no rollout's


class TaskTrainer:
    """The trainer on tasks. `samples` keeps what the first answers of each rollout were."""

    loss_unit = "policy loss"
    patience = 30  # answers that are all rewarded alike train nothing; so many rollouts in a row are a mistake
    no_change = (
        "all answers to a question are rewarded alike: see samples.jsonl, and raise --temperature or choose "
        "other --reward_funcs"
    )
    samples: Samples | None = None
    _begun = _compared = False

    def __init__(self, model: Any, reward_funcs: list, args: Any, *more: Any, stop_ids: Sequence[int], **kwargs: Any):
        # TRL ends an answer at the ids that the model's own settings name, and vLLM at those that it is given.
        model.generation_config.eos_token_id = list(stop_ids)
        args.generation_kwargs = {"stop_token_ids": list(stop_ids)} if args.use_vllm else None
        super().__init__(model, reward_funcs, args, *more, **kwargs)
        for kind in type(self).__mro__:
            if kind.__module__.startswith("trl.trainer."):
                logging.getLogger(kind.__module__).addFilter(_without_texts)

    def _get_train_sampler(self, dataset: Any = None) -> Any:
        return EpochOrder(super()._get_train_sampler(dataset), self.args.seed)

    def get_train_dataloader(self) -> Any:
        """TRL's, whose number of micro-batches tells where a resumed run stands."""
        loader = super().get_train_dataloader()
        self._micro_batches = len(loader)
        return loader

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        """TRL's; it counts from 0 after a resume, and would sample when it should not."""
        if not self._begun:
            self._step, self._begun = self._steps_done(), True
        return super().training_step(*args, **kwargs)

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        """TRL's; before the first step policy and reference must be the same model, or ConfigError is raised."""
        loss = super().compute_loss(*args, **kwargs)
        found = self._metrics["train"].get("kl") if self.model.training else None
        if found and not self._compared:
            self._compared = True
            limit = guards.TOLERANCE_HALF if self.args.bf16 or self.args.fp16 else guards.TOLERANCE
            if not self.state.global_step and not abs(found[0]) <= limit:
                raise ConfigError(
                    f"the KL before the first step is {found[0]:.5f}, expected 0: policy and reference are not the "
                    "same model; check --model_name_or_path and --peft_path"
                )
        return loss

    def _steps_done(self) -> int:
        """Micro-batches that were trained on before this run."""
        accumulation = self.args.gradient_accumulation_steps
        epochs, rest = divmod(self.state.global_step, math.ceil(self._micro_batches / accumulation))
        done = epochs * self._micro_batches + rest * accumulation
        if done % self._answers_last:
            logs.warn(
                "this checkpoint lies inside a rollout, whose answers were not kept: they are sampled anew, by the "
                "policy as it is now, so the run goes on otherwise than without the interruption"
            )
        return done

    @property
    def _answers_last(self) -> int:
        """Micro-batches that one rollout serves."""
        return self.args.steps_per_generation * self.num_iterations

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        rank = self.accelerator.process_index
        with seeded(_seed(self.args.seed, _SHUFFLED + self._step // self._answers_last, rank)):
            return super()._prepare_inputs(generation_batch)

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        self._tasks = inputs
        return super()._generate_and_score_completions(inputs)

    def _tokenize_prompts(self, prompts: list) -> tuple[list[list[int]], None, dict]:
        return [list(task["prompt_ids"]) for task in self._tasks], None, {}

    def _generate_single_turn(self, prompt_ids: list[list[int]], *args: Any, **kwargs: Any) -> Any:
        if self.use_vllm:
            return super()._generate_single_turn(prompt_ids, *args, **kwargs)
        drawn = self._drawn(prompt_ids)
        return (drawn, None) if hasattr(self.args, "loss_type") else drawn  # RLOO's returns no log-probabilities

    def _drawn(self, prompt_ids: list[list[int]]) -> list[list[int]]:
        """An answer to each prompt, its stop token included."""
        import torch

        from bedside.ppo import rollout

        seeds = self._seeds(prompt_ids)
        width, pad = max(map(len, prompt_ids)), self._tokenizer.pad_token_id
        ids = torch.tensor([[pad] * (width - len(row)) + row for row in prompt_ids])
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in prompt_ids])
        drawing = rollout.Drawing(self.max_completion_length, self.temperature, tuple(self.eos_token_ids), pad)
        device, was_training = self.accelerator.device, self.model.training
        self.model.eval()  # no checkpointing, so that the cache of keys and values is used
        try:
            with self.accelerator.autocast():
                answers = rollout.draw(
                    self.accelerator.unwrap_model(self.model_wrapped), ids.to(device), mask.to(device), drawing, seeds,
                    launch.cut_into_shards(self),
                )  # fmt: skip
        except torch.OutOfMemoryError:
            batch = "--per_device_train_batch_size, --gradient_accumulation_steps"
            lower = batch if was_training else "--per_device_eval_batch_size"
            raise ConfigError(
                f"the GPU's memory does not hold {len(ids)} answers that are sampled at once; lower {lower} or "
                "--max_completion_length"
            ) from None
        finally:
            self.model.train(was_training)
        kept, _ = rollout.completion_mask(answers, drawing.stops)
        return [row[: int(count)].tolist() for row, count in zip(answers, kept.sum(1), strict=True)]

    def _seeds(self, prompt_ids: list[list[int]]) -> list[int]:
        """A seed for each row: by rollout and place among the rows of all processes; when evaluating by the task
        alone, so that two evaluations differ by the policy and not by luck."""
        if not self.model.training:
            places = [int(task["line"]) * self.num_generations_eval for task in self._tasks]
            return [_seed(self.args.seed, _EVALUATED, place + index) for index, place in enumerate(places)]
        first, rollout = self.accelerator.process_index * len(prompt_ids), self._step // self._answers_last
        return [_seed(self.args.seed, rollout, first + index) for index in range(len(prompt_ids))]

    def _calculate_rewards(self, inputs: list[dict], prompts: list, completions: list, completion_ids: list) -> Any:
        rewards = super()._calculate_rewards(inputs, prompts, completions, completion_ids)
        if self.samples and self.model.training:
            self.samples.add(self.state.global_step, self._shown(inputs, completions, completion_ids, rewards))
        return rewards

    def _shown(self, tasks: list[dict], texts: list[str], ids: list[list[int]], rewards: Any) -> Iterator[Sample]:
        """This process's answers with what they were given, one of each group first."""
        rows = rewards[self.accelerator.process_index * len(texts) :].tolist()
        order = sorted(range(len(texts)), key=lambda index: index % self.num_generations)
        for index in order:
            named = {name: None if math.isnan(value) else value
                     for name, value in zip(self.reward_func_names, rows[index], strict=True)}  # fmt: skip
            weighed = [(value or 0.0) * float(weight)
                       for value, weight in zip(named.values(), self.reward_weights, strict=True)]  # fmt: skip
            task, last = tasks[index], ids[index][-1:]
            yield Sample(
                f"{task['source']}:{task['line']}", asked(json.loads(task["prompt"])), texts[index],
                bool(last) and last[0] in self.eos_token_ids, named, sum(weighed), None, len(ids[index]),
            )  # fmt: skip


def _seed(seed: int, step: int, row: int) -> int:
    from bedside.ppo.rollout import row_seed

    return row_seed(seed, step, row)


def _without_texts(record: logging.LogRecord) -> bool:
    """Leaves out TRL's warning that prints question and answer of a row without any reward; ours names its line."""
    return "All reward functions returned None" not in str(record.msg)
