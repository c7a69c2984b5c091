"""Reward modelling: a model that scores answers, from pairs of which one was preferred (Bradley-Terry).

    python reward_modeling.py recipes/starter_rm.yaml
    python reward_modeling.py --model_name_or_path outputs-sft --train_file_dir data/reward \\
        --validation_split_percentage 15 --output_dir outputs-rm
    torchrun --nproc_per_node 2 reward_modeling.py recipes/any_model_rm.yaml --model_name_or_path Qwen/Qwen3-4B

Starts from a base or merged model (a fresh head, and a new adapter or every parameter), from the adapter of an SFT or
DPO (its weights are kept, under a fresh head), or from a reward model (trained further). A score is read at the end of
the answer's turn. Reads every shape of preference rows; writes what SFT writes, and how the held-out pairs are ranked:
accuracy with its interval, margin, calibration, accuracy by file and by length.
"""

from bedside import cli, errors, policy, runner, settle, settle_pairs, settle_reward
from bedside.args import AdapterArguments, DataArguments, ModelArguments, RunArguments
from bedside.checkpoints import to_resume
from bedside.data import admit, chats, glance, pairs, tokens
from bedside.fitting.retry import fitted
from bedside.kernel_args import KernelArguments
from bedside.stage_args import ChatArguments, PairArguments

GROUPS = (ModelArguments, AdapterArguments, DataArguments, ChatArguments, PairArguments, KernelArguments, RunArguments)
TASK = "SEQ_CLS"


@fitted
def main(argv: list[str] | None = None) -> None:
    # 1. What is asked for. Nothing heavy is imported until flags and data are known to be good.
    args = cli.parse(GROUPS, argv, "RewardConfig", __doc__)
    settle_reward.reward(args)
    begun = runner.start(args, "rm", ("CAUSAL_LM", TASK))
    output, origin = begun.output, begun.origin
    chat, run = args[ChatArguments], args[RunArguments]

    # 2. Which pairs; files that are missing or of another kind end the run here.
    plan = chats.Plan(**settle.files(args[DataArguments], args.trainer, chat.role_map, ranking=True))
    glance.glance(plan, output, admit.pair)

    # 3. Pairs to ids that end with the answer's turn; over-long ones are left out by their tokens, and counted.
    tokenizer, template = runner.text_side(args, begun)
    limits = settle_pairs.limits(args[PairArguments], args.trainer)
    encoding = tokens.encoding_for(tokenizer, template, limits.sequence, chat.enable_thinking)
    data = pairs.datasets(plan, tokenizer.backend_tokenizer, encoding, limits, output)
    settle_pairs.warn_of_eval(data.held_out)
    runner.claim(begun, data)

    # 4. The model with its head, and its trainer.
    from trl import RewardConfig, RewardTrainer

    from bedside import adapters, manifest, models
    from bedside.checkpoints import Sealed
    from bedside.reward.scoring import Judge, Scoring

    class Trainer(Scoring, Sealed, RewardTrainer):
        """TRL's trainer on our ids, with sealed checkpoints and held-out scores that count every pair once."""

    runner.settle_precision(args.trainer)
    config = runner.trainer_config(RewardConfig, args.trainer | settle.for_batches(args.trainer), run.logging_dir)
    inputs = settle_reward.inputs(config, limits) | {"enable_thinking": chat.enable_thinking}
    inputs = manifest.inputs_section(data.ledger, config, template, **inputs)
    config.max_length = None  # the rows that are left keep to it; the trainer would drop others without a word
    resume = to_resume(begun.resume, str(output), inputs, run.force_resume)
    lora = settle.lora(args[AdapterArguments])
    loading = settle.loading(args[ModelArguments], lora is None)
    model, how = policy.load(origin, lora, loading, config.gradient_checkpointing, task=TASK)
    models.check_rows(model, tokenizer)
    stops = models.stop_ids(tokenizer, template, model.config.eos_token_id)
    with runner.refusals(), adapters.unrounded(model):
        trainer = Trainer(
            model, args=config, train_dataset=data.train, eval_dataset=data.held_out, processing_class=tokenizer
        )
    if how != "full":
        adapters.in_float32(trainer.model, whole_modules=config.bf16 or config.fp16)
    quant = models.quantisation_of(model)
    runner.describe(
        trainer.model, how, {"model": origin.path, "base": quant or str(model.dtype), "template": template.name},
        config, len(data.train),
    )  # fmt: skip
    seal = manifest.Sealer(
        "rm", origin, how, quant, tokenizer, stops, template, manifest.data_section(data.ledger), args.as_dict(),
        config, inputs, "merge_only", str(resume) if resume else None, task=TASK,
    )  # fmt: skip
    trainer.seal = seal.checkpoint

    # 5. Train, score the held-out pairs, save, seal.
    judge = Judge(trainer, data.held_out, output, run.plot_loss)
    runner.run(trainer, args, begun, tokenizer, seal, resume, [judge])


if __name__ == "__main__":
    errors.run_command(main)
