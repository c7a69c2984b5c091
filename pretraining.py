"""Stage 1: continued pretraining on plain documents with LoRA, QLoRA or all parameters.

    python pretraining.py recipes/starter_pt.yaml
    python pretraining.py --model_name_or_path Qwen/Qwen3-4B-Base --train_file_dir data/pretrain --qlora True \\
        --block_size 2048 --output_dir outputs-pt

Reads .txt (a document a line, or --txt_documents blank_line) and rows with a `text` field; every document is closed by
the base's end of document, cut into pieces of --block_size where it is longer, and packed so that no document sees
another. No chat template is used or written. New tokens of an extended vocabulary get rows, trained and saved. Writes
the adapter (or model), tokenizer, lineage.json, ledger.json, metrics.json with held-out perplexity before and after.
"""

from bedside import cli, errors, models, policy, runner, settle
from bedside.args import AdapterArguments, DataArguments, ModelArguments, RunArguments
from bedside.checkpoints import to_resume
from bedside.data import corpus, glance, textwork
from bedside.fitting.retry import fitted
from bedside.kernel_args import KernelArguments
from bedside.stage_args import PretrainArguments
from bedside.templates import Template

GROUPS = (ModelArguments, AdapterArguments, DataArguments, PretrainArguments, KernelArguments, RunArguments)


@fitted
def main(argv: list[str] | None = None) -> None:
    # 1. What is asked for. Nothing heavy is imported until flags and data are known to be good.
    args = cli.parse(GROUPS, argv, "SFTConfig", __doc__)
    packed = args.trainer.setdefault("packing", True)
    begun = runner.start(args, "pt")
    output, origin, run = begun.output, begun.origin, args[RunArguments]

    # 2. Which documents; files that are missing or of another kind end the run here.
    own = args[PretrainArguments]
    plan = corpus.plan_of(settle.files(args[DataArguments], args.trainer, documents=own.txt_documents, texts=True))
    glance.glance(plan, output, textwork.document)

    # 3. Documents to ids, in pieces that fill rows. The tokenizer stays as it is, but for a pad where it has none.
    lora = settle.lora(args[AdapterArguments])
    loading = settle.loading(args[ModelArguments], lora is None)
    given = args[ModelArguments].tokenizer_name_or_path
    tokenizer = policy.tokenizer_of(origin, given, loading)
    policy.warn_of_chats(origin, tokenizer)
    cutting = corpus.cutting_for(tokenizer, args.trainer["max_length"])
    if tokenizer.pad_token is None:
        models.choose_pad(tokenizer)
    data = corpus.datasets(
        plan, tokenizer.backend_tokenizer, cutting, packed, args.trainer.get("dataset_num_proc"), output
    )  # fmt: skip
    runner.claim(begun, data)

    # 4. The model, with rows for new tokens, and its trainer.
    from trl import SFTConfig, SFTTrainer

    from bedside import adapters, manifest
    from bedside.accounting import TokenWeighted
    from bedside.checkpoints import Sealed
    from bedside.collate import PackedCollator
    from bedside.evaluate.documents import Comparison
    from bedside.vocabulary import train

    class Trainer(TokenWeighted, Sealed, SFTTrainer):
        """TRL's trainer on our ids, with sealed checkpoints and token-weighted evaluation."""

    runner.settle_precision(args.trainer)
    config = runner.trainer_config(SFTConfig, args.trainer | settle.for_ready_ids(args.trainer), run.logging_dir)
    new = train.find(origin, tokenizer, given, loading)
    inputs = manifest.inputs_section(data.ledger, config, None, packing=packed, documents=own.txt_documents)
    resume = to_resume(begun.resume, str(output), inputs, run.force_resume)
    model, how = policy.load(origin, lora, loading, config.gradient_checkpointing, prepare=new and new.prepare)
    models.check_rows(model, tokenizer)
    stops = models.stop_ids(tokenizer, Template("none", ""), model.generation_config.eos_token_id)
    with runner.refusals(), adapters.unrounded(model):
        trainer = Trainer(
            model, args=config, train_dataset=data.train, eval_dataset=data.held_out, processing_class=tokenizer,
            data_collator=PackedCollator(tokenizer.pad_token_id) if packed else None,
        )  # fmt: skip
    if how != "full":
        adapters.in_float32(trainer.model, whole_modules=config.bf16 or config.fp16)
    quant = models.quantisation_of(model)
    runner.describe(
        trainer.model, how,
        {"model": origin.path, "base": quant or str(model.dtype),
         "documents": f"end with {tokenizer.convert_ids_to_tokens(cutting.end)}, see nothing of each other"},
        config, len(data.train),
    )  # fmt: skip
    seal = manifest.Sealer(
        "pt", origin, how, quant, tokenizer, stops, None,
        manifest.data_section(data.ledger), args.as_dict(), config, inputs,
        "merge_only" if new and lora else settle.vllm_can(args[AdapterArguments]), str(resume) if resume else None,
        rows=new.grown if new and lora else None,
    )  # fmt: skip
    trainer.seal = seal.checkpoint

    # 5. Train, evaluate, save, seal; held-out documents before and after.
    comparison = Comparison(trainer, data.documents, tokenizer.pad_token_id)
    runner.run(trainer, args, begun, tokenizer, seal, resume, [comparison])
    if new and lora:
        train.check_saved(output)


if __name__ == "__main__":
    errors.run_command(main)
