"""Training by rewards on groups of answers: those that verify better than others to the same question become likelier.

    python grpo_training.py recipes/starter_grpo.yaml
    python grpo_training.py --model_name_or_path outputs-sft --train_file_dir data/grpo --output_dir outputs-grpo
    python grpo_training.py --model_name_or_path merged-sft --train_file_dir my/exams --reward_funcs choice,format

GRPO, or --algorithm rloo. Starts from an SFT adapter (which it continues), from a merged or base model (a new
adapter), or trains in full. Rewards test themselves on the rows before the model is loaded (docs/rewards.md). Writes
what SFT writes, what was sampled, and how held-out tasks are answered before and after.
"""

from bedside import adapters, cli, errors, generate, manifest, models, policy, runner, settle, settle_grpo
from bedside.args import AdapterArguments, DataArguments, ModelArguments, RunArguments
from bedside.checkpoints import Sealed, to_resume
from bedside.data import chats, glance, tasks, tokens
from bedside.fitting.retry import fitted
from bedside.grpo import rewards
from bedside.grpo.trainer import TaskTrainer
from bedside.kernel_args import KernelArguments
from bedside.preference import reference
from bedside.rollouts import alarms, heldout, plots, samples
from bedside.settle_rollouts import context_of, costs, longest_prompt, tested, thresholds
from bedside.stage_args import ChatArguments, GroupArguments, RewardArguments, RolloutArguments

GROUPS = (
    ModelArguments, AdapterArguments, DataArguments, ChatArguments, RewardArguments, RolloutArguments, GroupArguments,
    KernelArguments, RunArguments,
)  # fmt: skip


@fitted
def main(argv: list[str] | None = None) -> None:
    # 1. What is asked for, and what the policy and its reference are.
    args = cli.parse(GROUPS, argv, "GroupConfig", __doc__)
    algorithm, limits = settle_grpo.grpo(args), thresholds(args[RolloutArguments])
    begun = runner.start(args, "grpo")
    output, origin = begun.output, begun.origin
    chat, run, sampling = args[ChatArguments], args[RunArguments], args[RolloutArguments]
    reference.refuse_accidents(origin, "grpo", args[GroupArguments].allow_checkpoint_reference, "grpo_training.py")

    # 2. Which tasks; unusable files end the run here.
    plan = chats.Plan(**settle.files(args[DataArguments], args.trainer, chat.role_map, ranking=None))
    glance.glance(plan, output, tasks.to_task)

    # 3. Questions to ids, as they are served; rewards that cannot tell a right answer to them end the run here.
    tokenizer, template = runner.text_side(args, begun)
    lora = settle.lora(args[AdapterArguments])
    loading = settle.loading(args[ModelArguments], lora is None)
    longest = longest_prompt(args, context_of(origin, loading), "max_completion_length")
    encoding = tokens.encoding_for(tokenizer, template, longest, chat.enable_thinking)
    data = tasks.datasets(plan, tokenizer.backend_tokenizer, encoding, longest, output)
    scorer = tested(args[RewardArguments], output, data.train)
    runner.claim(begun, data)

    # 4. Policy, reference, rewards, trainer.
    if algorithm == "rloo":
        from trl import RLOOConfig as Config, RLOOTrainer as Base  # isort: skip
    else:
        from trl import GRPOConfig as Config, GRPOTrainer as Base  # isort: skip

    class Trainer(TaskTrainer, Sealed, Base):
        """The trainer on our ids and answers, with sealed checkpoints."""

    runner.settle_precision(args.trainer)
    config = runner.trainer_config(Config, settle_grpo.config(args.trainer, scorer), run.logging_dir)
    settle_grpo.check_rows(len(data.train), config)
    against = reference.choose(origin, lora is None, "grpo" if config.beta else "none")
    inputs = settle_grpo.inputs(config, longest, algorithm, scorer, args[RewardArguments], against.id) | {
        "enable_thinking": chat.enable_thinking
    }
    inputs = manifest.inputs_section(data.ledger, config, template, **inputs)
    resume = to_resume(begun.resume, str(output), inputs, run.force_resume)
    model, how = policy.load(origin, lora, loading, config.gradient_checkpointing)
    models.check_rows(model, tokenizer)
    stops = models.stop_ids(tokenizer, template, model.generation_config.eos_token_id)
    engine = generate.ChatEngine(model, tokenizer, template, stops)
    watch = alarms.callback(alarms.Alarms(limits, "--beta"), output / "plots")
    with runner.refusals(), adapters.unrounded(model):
        trainer = Trainer(
            model, rewards.functions(scorer, engine), config, data.train,
            data.held_out if config.eval_strategy != "no" else None, tokenizer, stop_ids=stops, callbacks=[watch],
        )  # fmt: skip
    reference.without_needless_copy(against, trainer.model)
    if how != "full":
        adapters.in_float32(trainer.model, whole_modules=config.bf16 or config.fp16)
    trainer.samples = samples.Samples(trainer, output, sampling.samples_kept, sampling.log_completions)
    quant = models.quantisation_of(model)
    runner.describe(
        trainer.model, how,
        {"model": origin.path, "base": quant or str(model.dtype), "template": template.name, "algorithm": algorithm,
         "reference": against.told, **settle_grpo.facts(config, scorer)},
        config, len(data.train) * config.num_generations,
    )  # fmt: skip
    seal = manifest.Sealer(
        "grpo", origin, how, quant, tokenizer, stops, template, manifest.data_section(data.ledger), args.as_dict(),
        config, inputs, settle.vllm_can(args[AdapterArguments]), str(resume) if resume else None,
        reference=against.section(),
    )  # fmt: skip
    trainer.seal = seal.checkpoint

    # 5. Train, evaluate, save, seal; held-out tasks before and after.
    exam = heldout.Exam(
        trainer,
        engine,
        data.held_out,
        scorer,
        output,
        config.max_completion_length,
        sampling.exam_samples,
        temperature=sampling.exam_temperature,
    )
    with costs(scorer):
        runner.run(trainer, args, begun, tokenizer, seal, resume, [exam])
    if run.plot_loss and trainer.is_world_process_zero():
        plots.curves(trainer.state.log_history, output / "plots")


if __name__ == "__main__":
    errors.run_command(main)
