"""The flags of quantize_model.py, spelled and parsed as those of `bedside.args`."""

from dataclasses import dataclass

from bedside.args import flag

BNB = ("nf4", "int8")
CALIBRATED = ("gptq", "awq")


@dataclass
class QuantiseArguments:
    """Write a model in 8 or 4 bits, and report what that changed."""

    model_name_or_path: str = flag(
        "", "merged or full model: directory or hub name", ("base_model", "model", "export_model")
    )
    output_dir: str = flag("", "where the quantised model goes", ("output", "export_dir"))
    method: str = flag(
        "nf4",
        "nf4 and int8 need no data (bitsandbytes); gptq and awq look at rows of --calibration_file (llm-compressor)",
        ("quant_method",),
        (*BNB, *CALIBRATED),
    )
    group_size: int = flag(
        0, "gptq, awq: weights that share a scale; 0 takes the largest of 128, 64, 32 that every layer admits"
    )
    calibration_file: str = flag(
        "data/sft/cot.jsonl", "gptq, awq: rows as in training, rendered by the model's own template",
        ("export_quantization_dataset",),
    )  # fmt: skip
    calibration_rows: int = flag(
        256,
        "gptq, awq: rows drawn from --calibration_file",
        ("export_quantization_nsamples", "num_calibration_samples"),
    )
    calibration_length: int = flag(
        1024, "gptq, awq: longest row in tokens; longer ones are passed over", ("export_quantization_maxlen",)
    )
    seed: int = flag(42, "seed of the draw")
    quant_python: str = flag(".quant-venv/bin/python", "gptq, awq: the Python of requirements-quantise.txt")
    eval_file: str | None = flag(
        "data/eval/heldout_phrasings.jsonl", "held-out questions of the report; None writes no report"
    )
    report_rows: int = flag(64, "held-out rows whose answers' tokens are compared; 0 is all")
    report_questions: int = flag(64, "held-out questions that both models answer; 0 is all")
    max_new_tokens: int = flag(256, "longest answer in the report, thought included, in tokens")
    min_agreement: float = flag(
        0.9, "exit status 1 if the likeliest next token is the same for a smaller share, 0..1; the model is kept"
    )
    max_shard_size: str = flag("5GB", "largest safetensors file", ("export_size",))
    overwrite_output_dir: bool = flag(False, "replace an existing --output_dir")
    cache_dir: str | None = flag(None, "where downloaded models are kept")
    model_revision: str = flag("main", "branch, tag or commit of a hub model", ("revision",))


def problems(args: QuantiseArguments) -> list[str]:
    """What is wrong with the flags by themselves, a sentence each."""
    found = []
    if not args.model_name_or_path:
        found.append("no model: give --model_name_or_path DIRECTORY")
    if not args.output_dir:
        found.append("no place for the result: give --output_dir DIRECTORY")
    least = {"calibration_rows": 1, "calibration_length": 16, "report_rows": 0, "report_questions": 0,
             "max_new_tokens": 1, "group_size": 0, "seed": 0}  # fmt: skip
    found += [
        f"--{name} {getattr(args, name)}: expected {low} or more"
        for name, low in least.items()
        if getattr(args, name) < low
    ]
    if not 0 <= args.min_agreement <= 1:
        found.append(f"--min_agreement {args.min_agreement}: expected a share, 0 to 1")
    return found


def unused(args: QuantiseArguments, given: set[str]) -> list[str]:
    """Flags that were given and mean nothing for this method."""
    if args.method in CALIBRATED:
        return []
    own = ("group_size", "calibration_file", "calibration_rows", "calibration_length", "quant_python", "seed")
    named = [f"--{name}" for name in own if name in given]
    return [f"{', '.join(named)}: --method {args.method} looks at no data; for gptq and awq only"] if named else []
