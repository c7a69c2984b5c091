"""Write a merged model in 8 or 4 bits, and report what that changed on held-out questions.

    python quantize_model.py --model_name_or_path merged-sft --output_dir merged-sft-nf4
    python quantize_model.py --model_name_or_path merged-sft --output_dir merged-sft-gptq --method gptq

nf4 and int8 (bitsandbytes) look at no data; gptq and awq (llm-compressor, 4 bits) look at rows of --calibration_file
and run in an environment of their own. Exit status: 0 done, 1 the likeliest next token agrees too rarely (the model is
kept), 2 a mistake in the input.
"""

import json
from pathlib import Path

from bedside import cli, errors, logs
from bedside.quantise.arguments import BNB, QuantiseArguments, problems, unused


def main(argv: list[str] | None = None) -> int:
    # 1. Which model, and whether it may be quantised; nothing is loaded until that is known.
    parsed = cli.parse((QuantiseArguments,), argv, description=__doc__)
    args = parsed[QuantiseArguments]
    if found := problems(args) + unused(args, parsed.given):
        raise errors.ConfigError(found)
    logs.setup()
    from bedside.quantise import source as sources

    python = sources.python_of(args)
    if args.eval_file:
        from bedside.evaluate import quick

        quick.load(args.eval_file)
    source = sources.find(args)
    method = {"name": args.method}
    if args.method not in BNB:
        method["group_size"] = sources.group_size(source.sizes, args.group_size)
        ids = sources.calibration(args, source)
        method |= {
            "calibration_rows": len(ids),
            "calibration_file": Path(args.calibration_file).name,
            "seed": args.seed,
        }

    from bedside.merge import staged
    from bedside.quantise import output, report, work

    name = args.model_name_or_path
    logs.info(f"{name} -> {args.output_dir} ({args.method})")
    need = output.bytes_needed(source, args.method, args.report_rows if args.eval_file else 0)
    with staged(args.output_dir, args.overwrite_output_dir, need) as place:
        aside = place / "working"  # job files and log-probabilities: gone before the model gets its name
        aside.mkdir()
        measured = {"do": "measure", "eval_file": args.eval_file, "report_rows": args.report_rows,
                    "report_questions": args.report_questions, "max_new_tokens": args.max_new_tokens,
                    "logprobs": str(aside / "logprobs.f16")}  # fmt: skip

        # 2. The model as it is, on held-out answers and questions.
        if args.eval_file:
            logs.info("1/3 measuring the model as it is")
            job = measured | {"model": source.directory, "compare": False, "what": "before"}
            before = report.Side(output.size_of(source.directory), work.run(job, python, aside / "before.log"))

        # 3. Quantise it, with tokenizer, template and stops beside it.
        logs.info(f"2/3 quantising ({args.method})")
        job = {"do": "quantise" if args.method in BNB else "calibrate", "model": source.directory, "place": str(place),
               "method": args.method, "max_shard_size": args.max_shard_size}  # fmt: skip
        if args.method not in BNB:
            (aside / "ids.json").write_text(json.dumps(ids), encoding="utf-8")
            job |= {"calibration": str(aside / "ids.json"), "group_size": method["group_size"]}
        method |= work.run(job, python, aside / "quantise.log")
        output.text_files(source, place)

        # 4. The same questions again, and the report.
        told = None
        if args.eval_file:
            logs.info("3/3 measuring what was written")
            job = measured | {"model": str(place), "compare": True, "what": "after"}
            after = report.Side(output.size_of(place), work.run(job, python, aside / "after.log"))
            told = report.record(before, after, method)
            report.write(told, place)
            logs.info(report.table(told))
        output.clear(aside)
        output.seal(place, args.output_dir, name, source, method, told)
    logs.info(f"wrote {args.output_dir} ({output.size_of(args.output_dir) / 1e6:,.1f} MB)")
    if told and told["agreement"]["share"] < args.min_agreement:
        logs.warn(
            f"the likeliest next token agrees for {told['agreement']['share']:.1%}, less than --min_agreement "
            f"{args.min_agreement:g}: do not take it for the same model; int8, or a smaller --group_size, is closer"
        )
        return errors.CHECK_FAILED
    return 0


if __name__ == "__main__":
    errors.run_command(main)
