"""Direct preference optimisation: answers that people chose become likelier than those they rejected (DPO and kin).

    python dpo_training.py recipes/starter_dpo.yaml
    python dpo_training.py --model_name_or_path outputs-sft --train_file_dir data/reward --output_dir outputs-dpo
    python dpo_training.py --model_name_or_path merged-sft --train_file_dir data/reward --loss_type ipo --beta 0.1

Starts from an SFT adapter (which it continues; its own frozen copy is the reference), from a merged or base model (a
new adapter; the model without it is the reference), or trains in full. --loss_type takes those of TRL's trainer, one
or several with --loss_weights, and simpo. Reads every shape of preference rows; writes what SFT writes, and how the
held-out pairs are ranked before and after.
"""

from bedside import adapters, cli, errors, generate, guards, manifest, models, policy, runner, settle, settle_pairs
from bedside.args import AdapterArguments, DataArguments, ModelArguments, RunArguments
from bedside.checkpoints import Sealed, to_resume
from bedside.collate import PairCollator, ReadyRows
from bedside.data import admit, chats, glance, pairs, tokens
from bedside.evaluate.quick import Comparison
from bedside.fitting.retry import fitted
from bedside.kernel_args import KernelArguments
from bedside.preference import reference
from bedside.preference.heldout import Ranking
from bedside.settle_dpo import dpo, loss_at_start
from bedside.stage_args import ChatArguments, EvalArguments, PairArguments, PreferenceArguments

GROUPS = (
    ModelArguments, AdapterArguments, DataArguments, ChatArguments, PairArguments, PreferenceArguments, EvalArguments,
    KernelArguments, RunArguments,
)  # fmt: skip


@fitted
def main(argv: list[str] | None = None) -> None:
    # 1. What is asked for, and what the policy and its reference are.
    args = cli.parse(GROUPS, argv, "DPOConfig", __doc__)
    loss = dpo(args)
    begun = runner.start(args, "dpo")
    output, origin = begun.output, begun.origin
    chat, run, questions = args[ChatArguments], args[RunArguments], args[EvalArguments]
    reference.refuse_accidents(origin, "dpo", args[PreferenceArguments].allow_checkpoint_reference, "dpo_training.py")

    # 2. Which pairs; unusable files end the run here.
    plan = chats.Plan(**settle.files(args[DataArguments], args.trainer, chat.role_map, ranking=True))
    glance.glance(plan, output, admit.pair)

    # 3. Pairs to ids; over-long ones are left out by their tokens, and counted.
    tokenizer, template = runner.text_side(args, begun)
    limits = settle_pairs.limits(args[PairArguments], args.trainer)
    encoding = tokens.encoding_for(tokenizer, template, limits.sequence, chat.enable_thinking)
    data = pairs.datasets(plan, tokenizer.backend_tokenizer, encoding, limits, output)
    runner.claim(begun, data)

    # 4. Policy, reference, trainer.
    if loss == "simpo":
        from bedside.preference.config import PairConfig as Config
        from bedside.preference.trainer import PairTrainer as Base
    else:
        from trl import DPOConfig as Config, DPOTrainer as Base  # isort: skip

    class Trainer(guards.CheckedStart, ReadyRows, Sealed, Base):
        """The trainer on our ids, with sealed checkpoints and a checked start."""

    runner.settle_precision(args.trainer)
    config = runner.trainer_config(Config, args.trainer | settle.for_batches(args.trainer), run.logging_dir)
    lora = settle.lora(args[AdapterArguments])
    loading = settle.loading(args[ModelArguments], lora is None)
    against = reference.choose(origin, lora is None, "none" if loss == "simpo" else "dpo")
    inputs = settle_pairs.inputs(config, limits, against.id) | {"enable_thinking": chat.enable_thinking}
    inputs = manifest.inputs_section(data.ledger, config, template, **inputs)
    resume = to_resume(begun.resume, str(output), inputs, run.force_resume)
    model, how = policy.load(origin, lora, loading, config.gradient_checkpointing)
    models.check_rows(model, tokenizer)
    stops = models.stop_ids(tokenizer, template, model.generation_config.eos_token_id)
    copy = settle_pairs.wants_copy(against.kind, config)
    extra = {"ref_model": reference.frozen_copy(origin, loading)} if copy else {}
    with runner.refusals(), adapters.unrounded(model):
        trainer = Trainer(
            model, args=config, train_dataset=data.train, eval_dataset=data.held_out, processing_class=tokenizer,
            data_collator=PairCollator(tokenizer.pad_token_id, getattr(config, "pad_to_multiple_of", None)), **extra,
        )  # fmt: skip
    reference.without_needless_copy(against, trainer.model)
    if how != "full":
        adapters.in_float32(trainer.model, whole_modules=config.bf16 or config.fp16)
    trainer.loss_at_start = loss_at_start(config, loss)
    quant = models.quantisation_of(model)
    runner.describe(
        trainer.model, how,
        {"model": origin.path, "base": quant or str(model.dtype), "template": template.name, "loss": loss,
         "reference": against.told}, config, len(data.train),
    )  # fmt: skip
    seal = manifest.Sealer(
        "dpo", origin, how, quant, tokenizer, stops, template, manifest.data_section(data.ledger), args.as_dict(),
        config, inputs, settle.vllm_can(args[AdapterArguments]), str(resume) if resume else None,
        reference=against.section(),
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
