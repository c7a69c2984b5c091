"""Evaluate a model on held-out questions, alone or beside another one; every number with its interval.

    python evaluation.py --model_name_or_path outputs-sft --output_dir outputs-evaluation/sft
    python evaluation.py --model_name_or_path outputs-dpo --compare_with outputs-sft --judge rules
    python evaluation.py --server http://127.0.0.1:8000 --tasks chat choice safety --max_eval_samples 100
    python evaluation.py --evaluations outputs-evaluation/base outputs-evaluation/sft --output_dir outputs-report

Base, precision, tokenizer and template are those of the model's training (lineage.json). Answers and cases are written
as they come: a run that was stopped goes on, and what is there is not asked again.
"""

import os
import sys
from collections.abc import Collection
from pathlib import Path

from bedside import cli, errors, logs
from bedside.evaluate import conflicts
from bedside.evaluate.flags import EvaluationArguments


def main(argv: list[str] | None = None) -> None:
    # 1. What is asked for, before anything heavy is imported.
    parsed = cli.parse((EvaluationArguments,), argv, description=__doc__)
    logs.setup()
    conflicts.check(parsed)
    args, output = parsed[EvaluationArguments], Path(parsed[EvaluationArguments].output_dir)
    if args.only_cpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""

    # 2. Evaluations that are there, or those of the models now: the one that is compared with comes first.
    from bedside.evaluate import comparison, report, run, stored

    settings = run.settings_of(args)
    judges = comparison.judges(output, settings)
    given = sys.argv[1:] if argv is None else argv
    places = args.evaluations or evaluate(args, parsed.given, given)
    stored.check_comparable(places)
    evaluations = [stored.read(place, whole=bool(args.evaluations)) for place in places]

    # 3. Answers of two models, compared in pairs.
    judged = comparison.judged(places, [one.name for one in evaluations], output, settings, judges)

    # 4. The report.
    content = report.of(evaluations, judged)
    logs.info("\n" + report.terminal.text(content))
    for path in report.write(output, content, tensorboard=args.report_to == "tensorboard"):
        logs.info(f"report: {path}")


def evaluate(args: EvaluationArguments, given: Collection[str], command: list[str]) -> list[str]:
    """Evaluate the model, after the one that it is compared with; returns their directories in that order."""
    from bedside.evaluate import candidate, lm_eval, run, stored

    # Who is asked.
    settings, output = run.settings_of(args), Path(args.output_dir)
    own = candidate.of_flags(args, given)
    asked = [(own, output)]
    earlier = args.compare_with if args.compare_with and stored.is_one(args.compare_with) else None
    if args.compare_with and not earlier:
        asked.insert(0, (candidate.of_comparison(args, given, own), output / stored.COMPARED))

    # What they are asked: every file is read before a model is loaded.
    names = run.names_of(args, given, [one for one, _ in asked])
    planned = run.plan(names, args, settings)
    if args.lm_eval:
        lm_eval.check(args.lm_eval)
    if earlier:
        stored.check_fits(earlier, {one.task.name: one.made_of for one in planned})

    # The work; what is there already is not done again.
    about = candidate.circumstances(command)
    stores = [stored.Store(place, one.name, one.identity, args.overwrite_output_dir) for one, place in asked]
    for (one, _), store in zip(asked, stores, strict=True):
        run.evaluate(one, planned, store, settings, about, args.samples_per_question)
        run.check_leaks(one, planned, store, settings)
    return [*([earlier] if earlier else []), *(str(place) for _, place in asked)]


if __name__ == "__main__":
    errors.run_command(main)
