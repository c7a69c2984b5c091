"""Stage 2: supervised fine-tuning with LoRA, QLoRA or all parameters, on dialogues and on thoughts with answers.

    python supervised_finetuning.py recipes/starter_sft.yaml
    python supervised_finetuning.py --model_name_or_path Qwen/Qwen3-4B --train_file_dir data/sft \\
        --template_name qwen3 --qlora True --max_length 2048 --packing True --output_dir outputs-sft

Reads alpaca, sharegpt, messages and medical-o1 rows; trains on answers and turn ends only (--mask_history True: on
each chat's last answer; rows may mark theirs); writes the adapter (or model), tokenizer with its template,
lineage.json, ledger.json, metrics.json, a report on the data and curves.
"""

from bedside import adapters, cli, datareport, errors, logs, models, policy, runner, settle
from bedside.args import AdapterArguments, DataArguments, ModelArguments, RunArguments
from bedside.checkpoints import to_resume
from bedside.data import chats, glance, prepared, tokens
from bedside.fitting.retry import fitted
from bedside.kernel_args import KernelArguments
from bedside.stage_args import ChatArguments, EvalArguments, SupervisedArguments

GROUPS = (
    ModelArguments, AdapterArguments, DataArguments, ChatArguments, SupervisedArguments, EvalArguments,
    KernelArguments, RunArguments,
)  # fmt: skip


@fitted
def main(argv: list[str] | None = None) -> None:
    # 1. What is asked for. Nothing heavy is imported until flags and data are known to be good.
    args = cli.parse(GROUPS, argv, "SFTConfig", __doc__)
    begun = runner.start(args, "sft")
    output, origin = begun.output, begun.origin
    chat, own, questions = args[ChatArguments], args[SupervisedArguments], args[EvalArguments]

    # 2. Which rows; files that are missing or of another kind end the run here, before anything heavy is loaded.
    plan = chats.Plan(**settle.files(args[DataArguments], args.trainer, chat.role_map))
    glance.glance(plan, output)

    # 3. Rows to ids and labels, through the template that is saved with the model; too many bad rows end it here.
    tokenizer, template = runner.text_side(args, begun)
    encoding = tokens.encoding_for(
        tokenizer, template, args.trainer["max_length"], chat.enable_thinking, own.mask_history
    )
    pack = encoding.max_length if args.trainer.get("packing") else None
    data = prepared.datasets(
        own.prepared_dir, plan, tokenizer.backend_tokenizer, encoding, pack, args.trainer.get("dataset_num_proc"),
        output,
    )  # fmt: skip
    runner.claim(begun, data)
    if own.data_report and logs.rank() == 0:
        datareport.write(output, data, encoding.max_length, template.name)

    # 4. The model and its trainer.
    from trl import SFTConfig, SFTTrainer

    from bedside import generate, manifest
    from bedside.accounting import TokenWeighted
    from bedside.checkpoints import Sealed
    from bedside.collate import PackedCollator
    from bedside.evaluate.quick import Comparison

    class Trainer(TokenWeighted, Sealed, SFTTrainer):
        """TRL's trainer on our ids, with sealed checkpoints and token-weighted evaluation."""

    run = args[RunArguments]
    runner.settle_precision(args.trainer)
    config = runner.trainer_config(SFTConfig, args.trainer | settle.for_ready_ids(args.trainer), run.logging_dir)
    inputs = manifest.inputs_section(
        data.ledger,
        config,
        template,
        packing=bool(pack),
        mask_history=encoding.mask_history,
        enable_thinking=chat.enable_thinking,
    )
    resume = to_resume(begun.resume, str(output), inputs, run.force_resume)
    lora = settle.lora(args[AdapterArguments])
    loading = settle.loading(args[ModelArguments], lora is None)
    model, how = policy.load(origin, lora, loading, config.gradient_checkpointing)
    models.check_rows(model, tokenizer)
    stops = models.stop_ids(tokenizer, template, model.generation_config.eos_token_id)
    with runner.refusals(), adapters.unrounded(model):
        trainer = Trainer(
            model, args=config, train_dataset=data.train, eval_dataset=data.held_out, processing_class=tokenizer,
            data_collator=PackedCollator(tokenizer.pad_token_id) if pack else None,
        )  # fmt: skip
    if how != "full":
        adapters.in_float32(trainer.model, whole_modules=config.bf16 or config.fp16)
    quant = models.quantisation_of(model)
    runner.describe(
        trainer.model, how, {"model": origin.path, "base": quant or str(model.dtype), "template": template.name},
        config, len(data.train),
    )  # fmt: skip
    seal = manifest.Sealer(
        "sft", origin, how, quant, tokenizer, stops, template, manifest.data_section(data.ledger),
        args.as_dict(), config, inputs,
        settle.vllm_can(args[AdapterArguments]), str(resume) if resume else None,
    )  # fmt: skip
    trainer.seal = seal.checkpoint

    # 5. Train, evaluate, save, seal; with --eval_file, the same questions before and after.
    engine = generate.ChatEngine(trainer.model, tokenizer, template, stops)
    comparison = Comparison(
        trainer, engine, encoding, output, questions.eval_file, questions.eval_samples, questions.eval_max_new_tokens
    )
    runner.run(trainer, args, begun, tokenizer, seal, resume, [comparison])


if __name__ == "__main__":
    errors.run_command(main)
