"""ORPO: one stage that learns the chosen answers and sets them apart from the rejected ones; no reference model.

    python orpo_training.py recipes/starter_orpo.yaml
    python orpo_training.py --model_name_or_path outputs-sft --train_file_dir data/reward --output_dir outputs-orpo

Starts from a base, a merged model or an SFT adapter (which it continues). The loss is our own: log-probabilities are
computed in pieces, so that no batch's logits ever exist. Reads every shape of preference rows; writes what SFT writes,
and how the held-out pairs are ranked before and after.
"""

from bedside import adapters, cli, errors, generate, manifest, models, policy, runner, settle, settle_pairs
from bedside.args import AdapterArguments, DataArguments, ModelArguments, RunArguments
from bedside.checkpoints import Sealed, to_resume
from bedside.collate import PairCollator
from bedside.data import admit, chats, glance, pairs, tokens
from bedside.evaluate.quick import Comparison
from bedside.fitting.retry import fitted
from bedside.kernel_args import KernelArguments
from bedside.preference.heldout import Ranking
from bedside.settle_orpo import orpo
from bedside.stage_args import ChatArguments, EvalArguments, OddsRatioArguments, PairArguments

GROUPS = (
    ModelArguments, AdapterArguments, DataArguments, ChatArguments, PairArguments, OddsRatioArguments, EvalArguments,
    KernelArguments, RunArguments,
)  # fmt: skip


@fitted
def main(argv: list[str] | None = None) -> None:
    # 1. What is asked for.
    args = cli.parse(GROUPS, argv, "PairConfig", __doc__)
    orpo(args)
    begun = runner.start(args, "orpo")
    output, origin = begun.output, begun.origin
    chat, run, questions = args[ChatArguments], args[RunArguments], args[EvalArguments]

    # 2. Which pairs; unusable files end the run here.
    plan = chats.Plan(**settle.files(args[DataArguments], args.trainer, chat.role_map, ranking=True))
    glance.glance(plan, output, admit.pair)

    # 3. Pairs to ids; over-long ones are left out by their tokens, and counted.
    tokenizer, template = runner.text_side(args, begun)
    limits = settle_pairs.limits(args[PairArguments], args.trainer)
    encoding = tokens.encoding_for(tokenizer, template, limits.sequence, chat.enable_thinking)
    data = pairs.datasets(plan, tokenizer.backend_tokenizer, encoding, limits, output)
    runner.claim(begun, data)

    # 4. The policy and its trainer.
    from bedside.preference.config import PairConfig
    from bedside.preference.trainer import PairTrainer

    class Trainer(Sealed, PairTrainer):
        """Our trainer of pairs, with sealed checkpoints."""

    runner.settle_precision(args.trainer)
    config = runner.trainer_config(PairConfig, args.trainer | settle.for_batches(args.trainer), run.logging_dir)
    inputs = settle_pairs.inputs(config, limits, None) | {"enable_thinking": chat.enable_thinking}
    inputs = manifest.inputs_section(data.ledger, config, template, **inputs)
    resume = to_resume(begun.resume, str(output), inputs, run.force_resume)
    lora = settle.lora(args[AdapterArguments])
    loading = settle.loading(args[ModelArguments], lora is None)
    model, how = policy.load(origin, lora, loading, config.gradient_checkpointing)
    models.check_rows(model, tokenizer)
    stops = models.stop_ids(tokenizer, template, model.generation_config.eos_token_id)
    with runner.refusals():
        trainer = Trainer(
            model, args=config, train_dataset=data.train, eval_dataset=data.held_out, processing_class=tokenizer,
            data_collator=PairCollator(tokenizer.pad_token_id),
        )  # fmt: skip
    if how != "full":
        adapters.in_float32(trainer.model, whole_modules=config.bf16 or config.fp16)
    quant = models.quantisation_of(model)
    runner.describe(
        trainer.model, how,
        {"model": origin.path, "base": quant or str(model.dtype), "template": template.name,
         "loss": f"likelihood of chosen answers + {config.beta:g} x odds ratio; no reference model"},
        config, len(data.train),
    )  # fmt: skip
    seal = manifest.Sealer(
        "orpo", origin, how, quant, tokenizer, stops, template, manifest.data_section(data.ledger), args.as_dict(),
        config, inputs, settle.vllm_can(args[AdapterArguments]), str(resume) if resume else None,
    )  # fmt: skip
    trainer.seal = seal.checkpoint

    # 5. Train, evaluate, save, seal; held-out pairs and questions before and after.
    engine = generate.ChatEngine(trainer.model, tokenizer, template, stops)
    comparison = Comparison(
        trainer, engine, encoding, output, questions.eval_file, questions.eval_samples, questions.eval_max_new_tokens
    )
    runner.run(trainer, args, begun, tokenizer, seal, resume, [Ranking(trainer, data.held_out, output), comparison])


if __name__ == "__main__":
    errors.run_command(main)
