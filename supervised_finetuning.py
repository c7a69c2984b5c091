"""Stage 2: supervised fine-tuning with LoRA, QLoRA or all parameters, on dialogues and on thoughts with answers.

    python supervised_finetuning.py recipes/starter_sft.yaml
    python supervised_finetuning.py --model_name_or_path Qwen/Qwen3-4B --train_file_dir data/sft \\
        --template_name qwen3 --qlora True --max_length 2048 --packing True --output_dir outputs-sft

Reads alpaca, sharegpt, messages and medical-o1 rows; trains on answers and turn ends only (--mask_history True: on
each chat's last answer; rows may mark theirs); writes the adapter (or model), tokenizer with its template,
lineage.json, ledger.json, metrics.json, a report on the data and curves.
"""

from bedside import cli, datareport, errors, logs, models, policy, runner, settle
from bedside.args import AdapterArguments, DataArguments, ModelArguments, RunArguments
from bedside.checkpoints import to_resume
from bedside.data import chats, glance, prepared, tokens

GROUPS = (ModelArguments, AdapterArguments, DataArguments, RunArguments)


def main(argv: list[str] | None = None) -> None:
    # 1. What is asked for. Nothing heavy is imported until flags and data are known to be good.
    args = cli.parse(GROUPS, argv, "SFTConfig", __doc__)
    logs.setup()
    settle.training(args, "sft")
    model_args, data_args, run_args = args[ModelArguments], args[DataArguments], args[RunArguments]
    models.check_model_path(model_args.model_name_or_path)
    resume_wish = args.trainer.pop("resume_from_checkpoint", None)
    output = runner.prepare_output(args.trainer["output_dir"], run_args.overwrite_output_dir, bool(resume_wish))
    origin = policy.origin_of(
        model_args.model_name_or_path, args[AdapterArguments].peft_path, args[AdapterArguments].use_peft,
        model_given="model_name_or_path" in args.given,
    )  # fmt: skip

    # 2. Which rows; files that are missing or of another kind end the run here, before anything heavy is loaded.
    seed = args.trainer.get("seed", 42)
    plan = chats.Plan(**settle.chat_files(data_args, wants_eval=bool(args.trainer.get("do_eval")), seed=seed))
    glance.glance(plan, output)

    # 3. Rows to ids and labels, through the template that is saved with the model; too many bad rows end it here.
    tokenizer = models.load_tokenizer(
        model_args.tokenizer_name_or_path or origin.tokenizer_path,
        model_args.model_revision, model_args.cache_dir, model_args.trust_remote_code,
    )  # fmt: skip
    template = models.install_template(tokenizer, data_args.template_name, data_args.tool_format)
    encoding = tokens.encoding_for(
        tokenizer, template, args.trainer["max_length"], data_args.enable_thinking, data_args.mask_history
    )
    pack = encoding.max_length if args.trainer.get("packing") else None
    data = prepared.datasets(
        data_args.prepared_dir, plan, tokenizer.backend_tokenizer, encoding, pack,
        args.trainer.get("dataset_num_proc"), output,
    )  # fmt: skip
    runner.clear_output(output, run_args.overwrite_output_dir, bool(resume_wish))
    if logs.rank() == 0:
        data.ledger.write(output)
        if data_args.data_report:
            datareport.write(output, data, encoding.max_length, template.name)

    # 4. The model and its trainer.
    from trl import SFTConfig, SFTTrainer

    from bedside import adapters, generate, manifest
    from bedside.accounting import TokenWeighted
    from bedside.checkpoints import Sealed
    from bedside.collate import PackedCollator
    from bedside.evaluate.quick import Comparison

    class Trainer(TokenWeighted, Sealed, SFTTrainer):
        """TRL's trainer on our ids, with sealed checkpoints and token-weighted evaluation."""

    runner.settle_precision(args.trainer)
    config = runner.trainer_config(SFTConfig, args.trainer | settle.for_ready_ids(args.trainer), run_args.logging_dir)
    inputs = manifest.inputs_section(data.ledger, config, template.source) | {"mask_history": encoding.mask_history}
    resume = to_resume(resume_wish, str(output), inputs, run_args.force_resume)
    lora = settle.lora(args[AdapterArguments])
    model, how = policy.load(origin, lora, settle.loading(model_args, lora is None), config.gradient_checkpointing)
    models.check_rows(model, tokenizer)
    stops = models.stop_ids(tokenizer, template, model.generation_config.eos_token_id)
    trainer = Trainer(
        model,
        args=config,
        train_dataset=data.train,
        eval_dataset=data.held_out,
        processing_class=tokenizer,
        data_collator=PackedCollator(tokenizer.pad_token_id) if pack else None,
    )
    if how != "full":
        # TRL makes the adapters of a quantised base bfloat16; ours stay float32.
        adapters.in_float32(trainer.model, whole_modules=config.bf16 or config.fp16)
    quant = models.quantisation_of(model)
    runner.describe(
        trainer.model, how, {"model": origin.path, "base": quant or str(model.dtype), "template": template.name},
        config, len(data.train),
    )  # fmt: skip
    seal = manifest.Sealer(
        "sft", origin, how, quant, tokenizer, stops, template, manifest.data_section(data.ledger),
        {**vars(model_args), **vars(data_args), **args.trainer}, config, inputs,
        settle.vllm_can(args[AdapterArguments]), str(resume) if resume else None,
    )  # fmt: skip
    trainer.seal = seal.checkpoint

    # 5. Train, evaluate, save, seal; with --eval_file, the same questions before and after.
    engine = generate.ChatEngine(trainer.model, tokenizer, template, stops)
    comparison = Comparison(trainer, engine, encoding, output, run_args.eval_file, run_args.eval_samples)
    comparison.before(run_args.eval_max_new_tokens)
    metrics = runner.train(trainer, resume, bool(args.trainer.get("do_train")), bool(args.trainer.get("do_eval")))
    runner.save(trainer, output, tokenizer, metrics, seal, run_args.plot_loss)
    comparison.after(run_args.eval_max_new_tokens)


if __name__ == "__main__":
    errors.run_command(main)
