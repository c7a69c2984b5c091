"""KTO: learns from single answers that are labelled good or bad; no pairs are needed.

    python kto_training.py recipes/starter_kto.yaml
    python kto_training.py --model_name_or_path outputs-sft --train_file_dir my/labelled.jsonl --output_dir outputs-kto

Reads rows with `label` or `kto_tag`, and preference rows, of which each becomes a good and a bad answer. Starts as DPO
does: an SFT adapter is continued and its frozen copy is the reference (R1); a base or merged model gets a new adapter
and is itself the reference (R2); or all is trained. Warns when one label outweighs the other.
"""

from bedside import adapters, cli, errors, generate, guards, manifest, models, policy, runner, settle, settle_pairs
from bedside.args import AdapterArguments, DataArguments, ModelArguments, RunArguments
from bedside.checkpoints import Sealed, to_resume
from bedside.collate import LabelledCollator, LabelledRows
from bedside.data import chats, glance, tokens, unpaired
from bedside.evaluate.quick import Comparison
from bedside.fitting.retry import fitted
from bedside.kernel_args import KernelArguments
from bedside.preference import reference
from bedside.preference.heldout import Ranking
from bedside.settle_kto import kto, loss_at_start, warn_of_balance
from bedside.stage_args import ChatArguments, EvalArguments, LabelArguments, PairArguments

GROUPS = (
    ModelArguments, AdapterArguments, DataArguments, ChatArguments, PairArguments, LabelArguments, EvalArguments,
    KernelArguments, RunArguments,
)  # fmt: skip


@fitted
def main(argv: list[str] | None = None) -> None:
    # 1. What is asked for, and what the policy and its reference are.
    args = cli.parse(GROUPS, argv, "KTOConfig", __doc__)
    kto(args)
    begun = runner.start(args, "kto")
    output, origin = begun.output, begun.origin
    chat, run, questions = args[ChatArguments], args[RunArguments], args[EvalArguments]
    reference.refuse_accidents(origin, "kto", args[LabelArguments].allow_checkpoint_reference, "kto_training.py")

    # 2. Which rows; unusable files end the run here.
    plan = chats.Plan(**settle.files(args[DataArguments], args.trainer, chat.role_map, ranking=True))
    glance.glance(plan, output, unpaired.admitted)

    # 3. Rows to ids; over-long ones are left out by their tokens, and counted.
    tokenizer, template = runner.text_side(args, begun)
    limits = settle_pairs.limits(args[PairArguments], args.trainer)
    encoding = tokens.encoding_for(tokenizer, template, limits.sequence, chat.enable_thinking)
    data = unpaired.datasets(plan, tokenizer.backend_tokenizer, encoding, limits, output)
    runner.claim(begun, data)

    # 4. Policy, reference, trainer.
    from trl import KTOConfig, KTOTrainer

    class Trainer(guards.CheckedStart, LabelledRows, Sealed, KTOTrainer):
        """TRL's trainer on our ids, with sealed checkpoints and a checked start."""

    runner.settle_precision(args.trainer)
    config = runner.trainer_config(KTOConfig, args.trainer | settle.for_batches(args.trainer), run.logging_dir)
    warn_of_balance(data.good, data.bad, config)
    lora = settle.lora(args[AdapterArguments])
    loading = settle.loading(args[ModelArguments], lora is None)
    against = reference.choose(origin, lora is None)
    inputs = settle_pairs.inputs(config, limits, against.id) | {"enable_thinking": chat.enable_thinking}
    inputs = manifest.inputs_section(data.ledger, config, template, **inputs)
    resume = to_resume(begun.resume, str(output), inputs, run.force_resume)
    model, how = policy.load(origin, lora, loading, config.gradient_checkpointing)
    models.check_rows(model, tokenizer)
    stops = models.stop_ids(tokenizer, template, model.generation_config.eos_token_id)
    copy = settle_pairs.wants_copy(against.kind, config)
    with runner.refusals(), adapters.unrounded(model):
        trainer = Trainer(
            model, args=config, train_dataset=data.train, eval_dataset=data.held_out, processing_class=tokenizer,
            data_collator=LabelledCollator(tokenizer.pad_token_id, config.max_length, config.pad_to_multiple_of),
            **({"ref_model": reference.frozen_copy(origin, loading)} if copy else {}),
        )  # fmt: skip
    if how != "full":
        adapters.in_float32(trainer.model, whole_modules=config.bf16 or config.fp16)
    trainer.loss_at_start, trainer.loss_unit = loss_at_start(config), "per answer"
    quant = models.quantisation_of(model)
    runner.describe(
        trainer.model, how,
        {"model": origin.path, "base": quant or str(model.dtype), "template": template.name, "loss": config.loss_type,
         "reference": against.told}, config, len(data.train),
    )  # fmt: skip
    seal = manifest.Sealer(
        "kto", origin, how, quant, tokenizer, stops, template, manifest.data_section(data.ledger), args.as_dict(),
        config, inputs, settle.vllm_can(args[AdapterArguments]), str(resume) if resume else None,
        reference=against.section(),
    )  # fmt: skip
    trainer.seal = seal.checkpoint

    # 5. Train, evaluate, save, seal; held-out pairs, if rows are pairs, and questions before and after.
    engine = generate.ChatEngine(trainer.model, tokenizer, template, stops)
    comparison = Comparison(
        trainer, engine, encoding, output, questions.eval_file, questions.eval_samples, questions.eval_max_new_tokens
    )
    runner.run(trainer, args, begun, tokenizer, seal, resume, [Ranking(trainer, data.held_pairs, output), comparison])


if __name__ == "__main__":
    errors.run_command(main)
