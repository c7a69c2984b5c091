"""Proximal policy optimisation: the model answers, a reward says how well, and better answers become likelier.

    python ppo_training.py recipes/starter_ppo.yaml
    python ppo_training.py --sft_model_path outputs-sft --reward_model_path outputs-rm --train_file_dir data/sft \\
        --output_dir outputs-ppo
    python ppo_training.py --model_name_or_path outputs-sft --reward_funcs accuracy format --train_file_dir data/grpo

Policy, reference, critic and reward model are adapters of one frozen base (docs/stages/ppo.md). Starts from an SFT
adapter (continued; its frozen copy is the reference), or from a merged or base model (a new adapter; the model without
it is the reference). Rewards: a reward model, verifiable rewards, functions of yours, and weighted sums of them. Reads
the questions of every kind of row; writes what SFT writes, curves, samples.jsonl, and an exam before and after.
"""

from bedside import cli, errors, generate, manifest, models, runner, settle, settle_ppo, settle_rollouts
from bedside.args import AdapterArguments, DataArguments, ModelArguments, RunArguments
from bedside.checkpoints import Sealed, to_resume
from bedside.data import chats, glance, tasks, tokens
from bedside.evaluate.quick import Comparison
from bedside.fitting.retry import fitted
from bedside.kernel_args import KernelArguments
from bedside.ppo import assembly, scores, sources
from bedside.preference import reference
from bedside.rollouts import alarms, heldout, plots, samples
from bedside.stage_args import ChatArguments, EvalArguments, PPOArguments, RewardArguments, RolloutArguments

GROUPS = (
    ModelArguments, AdapterArguments, DataArguments, ChatArguments, RewardArguments, RolloutArguments, PPOArguments,
    EvalArguments, KernelArguments, RunArguments,
)  # fmt: skip


@fitted
def main(argv: list[str] | None = None) -> None:
    # 1. What is asked for, and what policy, reference and reward are.
    args = cli.parse(GROUPS, argv, "PPOConfig", __doc__)
    limits = settle_ppo.ppo(args)
    begun = runner.start(args, "ppo")
    output, origin, run = begun.output, begun.origin, args[RunArguments]
    chat, own, sampling = args[ChatArguments], args[PPOArguments], args[RolloutArguments]
    reference.refuse_accidents(origin, "ppo", own.allow_checkpoint_reference, "ppo_training.py")
    loading = settle.loading(args[ModelArguments], False)
    source = sources.find(own.reward_model_path, origin, own.share_reward_base, loading)

    # 2. Which questions; unusable files end the run here, and rewards that cannot tell a right answer to them.
    plan = chats.Plan(**settle.files(args[DataArguments], args.trainer, chat.role_map, ranking=None))
    glance.glance(plan, output, tasks.to_task)
    tokenizer, template = runner.text_side(args, begun)
    source = sources.settle(source, tokenizer, own.share_reward_base, own.reward_template_name, args.trainer)
    longest = settle_rollouts.longest_prompt(args, settle_rollouts.context_of(origin, loading), "response_length")
    encoding = tokens.encoding_for(tokenizer, template, longest, chat.enable_thinking)
    data = tasks.datasets(plan, tokenizer.backend_tokenizer, encoding, longest, output)
    scorer = settle_rollouts.tested(args[RewardArguments], output, data.train)
    runner.claim(begun, data)

    # 3. Four roles on one base, what answers are worth, the trainer.
    from bedside.ppo.config import PPOConfig
    from bedside.ppo.rollout import Drawing
    from bedside.ppo.trainer import PPOTrainer

    class Trainer(Sealed, PPOTrainer):
        """The trainer with sealed checkpoints."""

    runner.settle_precision(args.trainer)
    config = runner.trainer_config(PPOConfig, args.trainer | settle.for_batches(args.trainer), run.logging_dir)
    settle_ppo.align(config, len(data.train))
    against = reference.choose(origin, False, "ppo")
    worth = settle_ppo.worth(source, scorer, own.reward_model_weight)
    inputs = manifest.inputs_section(
        data.ledger, config, template, **settle_ppo.inputs(args, config, longest, worth, against.id)
    )
    resume = to_resume(begun.resume, str(output), inputs, run.force_resume)
    server = assembly.server(config, origin.resolved.base)
    model, how = assembly.load(origin, source, settle.lora(args[AdapterArguments]), loading)
    models.check_rows(model, tokenizer)
    stops = models.stop_ids(tokenizer, template, model.generation_config.eos_token_id)
    engine = generate.ChatEngine(model, tokenizer, template, stops)
    judge = assembly.reward_model(
        source, model, config, stops[0], tokenizer.pad_token_id, own.reward_template_name, loading
    )
    with runner.refusals():
        trainer = Trainer(
            model, config,
            scores.Scores(judge, scorer, own.reward_model_weight, config.reward_clip, config.missing_eos_penalty),
            Drawing(config.response_length, config.temperature, tuple(stops), tokenizer.pad_token_id), engine.decode,
            server, train_dataset=data.train, processing_class=tokenizer,
            eval_dataset=data.held_out if config.eval_strategy != "no" else None,
            callbacks=[alarms.callback(alarms.Alarms(limits), output / "plots")],
        )  # fmt: skip
    trainer.samples = samples.Samples(trainer, output, sampling.samples_kept, sampling.log_completions)
    quant = models.quantisation_of(model)
    facts = {
        "model": origin.path, "base": quant or str(model.dtype), "template": template.name,
        "reference": against.told, **settle_ppo.facts(config, worth),
    }  # fmt: skip
    runner.describe(model, how, facts, config, len(data.train))
    seal = manifest.Sealer(
        "ppo", origin, how, quant, tokenizer, stops, template, manifest.data_section(data.ledger), args.as_dict(),
        config, inputs, settle.vllm_can(args[AdapterArguments]), str(resume) if resume else None,
        reference=against.section(),
    )  # fmt: skip
    trainer.seal = seal.checkpoint

    # 4. Train, save, seal; held-out questions before and after.
    exam = heldout.Exam(
        trainer, engine, data.held_out, scorer or settle_rollouts.measure(), output, config.response_length,
        sampling.exam_samples, assembly.scored_by(judge, tokenizer), temperature=sampling.exam_temperature,
    )  # fmt: skip
    questions = args[EvalArguments]
    comparison = Comparison(
        trainer, engine, encoding, output, questions.eval_file, questions.eval_samples, questions.eval_max_new_tokens
    )
    with settle_rollouts.costs(scorer):
        runner.run(trainer, args, begun, tokenizer, seal, resume, [exam, comparison])
    if run.plot_loss and trainer.is_world_process_zero():
        plots.curves(trainer.state.log_history, output / "plots")


if __name__ == "__main__":
    errors.run_command(main)
