"""Merge an adapter into its base, prove that nothing changed, and write a model that needs no adapter.

    python merge_peft_adapter.py --peft_model_path outputs-sft --output_dir merged-sft
    python merge_peft_adapter.py --base_model_name_or_path models/starter --peft_model_path outputs-sft \\
        --output_dir merged-sft

The base comes from the adapter's lineage.json. An adapter trained with QLoRA is merged into the original weights,
which can be quantised again; --mode nf4 merges into the 4-bit weights of training, exact for serving in bfloat16.
Exit status: 0 written, 1 merged but not equal (nothing is left behind), 2 a mistake in the input.
"""

import re
from pathlib import Path

from bedside import cli, errors, logs, merge_source, settle
from bedside.args import MergeArguments
from bedside.hub import push


def settled(args: MergeArguments) -> MergeArguments:
    """The flags with one meaning each; ConfigError lists every problem."""
    problems = []
    if not args.peft_model_path:
        problems.append("no adapter: give --peft_model_path DIRECTORY")
    if not args.output_dir:
        problems.append("no place for the result: give --output_dir DIRECTORY")
    if args.output_dir and Path(args.output_dir).resolve() in [
        Path(place).resolve() for place in (args.peft_model_path, args.base_model_name_or_path) if place
    ]:
        problems.append(f"--output_dir {args.output_dir}: is the adapter or the base itself; choose another directory")
    if args.verify and not 16 <= args.verify <= 512:
        problems.append(f"--verify {args.verify}: expected 16 to 512 tokens, or 0 for no proof")
    if not 0 < args.max_error_ratio <= 1:
        problems.append(f"--max_error_ratio {args.max_error_ratio}: expected a share above 0, at most 1")
    if args.trained_quant == "none" and args.mode == "nf4":
        problems.append("--trained_quant none and --mode nf4: nf4 is only for adapters trained on NF4")
    args.max_shard_size = args.max_shard_size.strip().upper()
    if args.max_shard_size.isdigit():
        args.max_shard_size += "GB"
    if not re.fullmatch(r"[1-9]\d*(KB|MB|GB|TB)", args.max_shard_size):
        problems.append(f"--max_shard_size {args.max_shard_size}: expected a size such as 5GB or 500MB")
    if problems:
        raise errors.ConfigError(problems)
    return args


def main(argv: list[str] | None = None) -> int:
    # 1. Which adapter on which base; nothing is loaded until both are known to be the right ones.
    args = settled(cli.parse((MergeArguments,), argv, None, __doc__)[MergeArguments])
    logs.setup()
    source = merge_source.source_of(
        args.peft_model_path, args.base_model_name_or_path, args.trained_quant, args.cache_dir, args.output_dir
    )
    mode = merge_source.check_mode(args.mode, source.quant, source.resolved.manifest is None)
    tokenizer, tokenizer_dir = merge_source.tokenizer_of(source, args.tokenizer_path)
    template = merge_source.template_of(source, tokenizer)
    if args.template_name not in (None, template["name"]):
        logs.warn(
            f"--template_name {args.template_name}: the adapter was trained with {template['name']}, which stays"
        )
    wish = push.ready(push.Wish(args.hf_hub_model_id, args.hub_private_repo) if args.hf_hub_model_id else None)

    from transformers.utils import logging as library

    from bedside import merge, merge_check, models, probe

    library.disable_progress_bar()  # five loads' bars would bury the report
    library.set_verbosity_error()  # that a fresh base has no reward head is expected here; the proof tells the rest
    stored = models.file_dtype(source.base)
    dtype = stored if args.dtype == "keep" else settle.full_dtype(args.dtype)
    held = "float32" if "float32" in (stored, dtype) else stored
    logs.info(f"adapter {source.adapter} + base {source.base} -> {args.output_dir} ({mode} weights, {dtype})")

    need = merge.bytes_needed(source.base, stored, dtype)
    with merge.staged(args.output_dir, args.overwrite_output_dir, need) as place:
        # 2. The adapter on its base, as it was trained and on the weights it goes into.
        ids, same, trained = probe.probe_ids(tokenizer, args.verify), None, None
        if args.verify:
            logs.info(f"1/3 computing {len(ids)} tokens with the adapter on its base")
            same = merge_check.sides(lambda: merge.base_for(source, mode, held), source, ids, exact=True)
            if source.quant:
                trained = merge_check.sides(lambda: merge.quantised_base(source), source, ids, exact=False)
        origin = trained or same
        if origin and origin.probe_on is not None:
            right, line = merge_check.probe_line(origin)
            logs.info(line)
            if not right:
                return 1

        # 3. Merge into weights that have computed nothing yet, write, read back, compare.
        logs.info("2/3 merging on the CPU, in float32")
        model = merge.fold(merge.attach(source, merge.base_for(source, mode, held)), dtype)
        merge.save(model, source, place, tokenizer, tokenizer_dir, template["stops"], args.max_shard_size)
        del model
        report = probed = None
        if args.verify:
            logs.info("3/3 reading back and comparing")
            report, reread = merge_check.reread(place, dtype, source, same, trained, ids, args.max_error_ratio)
            logs.info(report.line())
            if not report.passed:
                logs.warn(f"{report.advice(dtype)}; {args.output_dir} was not written")
                return 1
            probed = probe.record(reread, tokenizer)
        merge.seal(place, args.output_dir, source, mode, dtype, tokenizer, template, report, probed)
    logs.info(merge.ending(args.output_dir, source.task, dtype, verified=bool(args.verify)))
    push.finished(wish, args.output_dir)
    return 0


if __name__ == "__main__":
    errors.run_command(main)
