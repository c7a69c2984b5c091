"""The flags of evaluation.py against each other: every conflict at once, before anything heavy is loaded."""

import difflib
from pathlib import Path

from bedside import inference_flags as shared
from bedside.cli import Parsed
from bedside.data import files
from bedside.errors import ConfigError
from bedside.evaluate import registry
from bedside.evaluate.flags import EvaluationArguments, is_url
from bedside.settle import quantisation, template_problems

JUDGES = ("rules", "reward", "endpoint")
_CHOICE_BY = ("likelihood", "generation")


def check(parsed: Parsed) -> None:
    """Settle the flags in place; ConfigError lists every problem."""
    args, given = parsed[EvaluationArguments], parsed.given
    args.system_prompt = (args.system_prompt or "").strip() or None
    problems = quantisation(args) + shared.gpus_problems(args) + shared.memory_problems(args)
    problems += template_problems(args) + shared.system_problems(args)
    problems += shared.outside(args, _limits(args)) + _who(args, given) + _what(args, given) + _judged(args, given)
    problems += _places(args)
    if args.samples_per_question > 1 and not args.temperature:
        problems.append("--samples_per_question: greedy answers are all the same; add --temperature 0.7")
    if problems:
        raise ConfigError(problems)


def _limits(args: EvaluationArguments) -> shared.Limits:
    most, orders = args.max_eval_samples, args.choice_permutations
    return {
        **shared.answer_limits(args),
        "batch_size": (args.batch_size >= 1, "at least 1"),
        "samples_per_question": (1 <= args.samples_per_question <= 1000, "1 to 1000"),
        "max_eval_samples": (most is None or most >= 1, "at least 1"),
        "choice_permutations": (orders is None or orders >= 1, "at least 1"),
        "seed": (0 <= args.seed < 1 << 32, "0 to 4294967295"),
        "concurrency": (1 <= args.concurrency <= 1024, "1 to 1024"),
        "server_timeout": (args.server_timeout > 0, "more than 0 seconds"),
    }


_ASKING = ("served_model", "concurrency", "server_timeout")
_MODEL = ("model_name_or_path", *shared.LOADING[1:])
_OF_A_RUN = ("compare_with", "tasks", "max_eval_samples", "server", "lm_eval", "samples_per_question", "name")


def _who(args: EvaluationArguments, given: set[str]) -> list[str]:
    """Problems of what is evaluated: a model, a server, or evaluations that are there."""
    if args.evaluations:
        useless = [f"--{name}" for name in (*_OF_A_RUN, *_MODEL) if name in given]
        told = f"--evaluations only reports, no model is asked: drop {', '.join(useless)}"
        return [told] if useless else []
    if is_url(args.model_name_or_path):
        return [f"--model_name_or_path {args.model_name_or_path}: a server's address; give it as --server"]
    if args.server is None:
        asking = () if is_url(args.compare_with) else _ASKING
        return [f"--{name}: belongs to --server" for name in asking if name in given]
    problems = []
    loading = [f"--{name}" for name in _MODEL if name in given]
    if loading and not (args.compare_with and not is_url(args.compare_with)):
        problems.append(
            f"{', '.join(loading)}: the server has loaded its model already; say so where it is started, or drop "
            "--server"
        )
    if "model_name_or_path" in given and args.compare_with:
        problems.append(
            "--server and --model_name_or_path: give the one that is evaluated; the other is --compare_with"
        )
    return problems


def _what(args: EvaluationArguments, given: set[str]) -> list[str]:
    """Problems of the tasks that are named."""
    problems = []
    for name in args.tasks or []:
        if name not in registry.NAMES:
            near = difflib.get_close_matches(name, registry.NAMES, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(registry.NAMES)}"
            if name.partition("_")[0] in ("mmlu", "cmmlu", "ceval"):
                hint = f"its questions come from your file: --tasks choice --choice_files FILE, or --lm_eval {name}"
            problems.append(f"--tasks {name}: no such task; {hint}")
    if args.tasks == []:
        problems.append(f"--tasks: expected one of {', '.join(registry.NAMES)}")
    for name in args.choice_by or []:
        if name not in _CHOICE_BY:
            problems.append(f"--choice_by {name}: expected likelihood, generation, or both")
    if args.tasks:
        problems += _idle(args, given)
    if args.tasks and "reward" in args.tasks and not args.reward_model_path:
        problems.append("--tasks reward: needs --reward_model_path")
    if args.tasks and "lm_eval" in args.tasks and not args.lm_eval:
        problems.append("--tasks lm_eval: needs --lm_eval with the harness's own names, as --lm_eval medqa_4options")
    return problems


def _idle(args: EvaluationArguments, given: set[str]) -> list[str]:
    """Problems of flags that only tasks read which --tasks leaves out."""
    read = {name for task in args.tasks for name in registry.FLAGS_OF.get(task, ())}
    if args.judge or "instructions" in args.tasks:
        read |= {"eval_file", "reward_model_path"}
    owner = {name: task for task, flags in registry.FLAGS_OF.items() for name in flags}
    idle = sorted(name for name in given & owner.keys() if name not in read)
    return [f"--{name}: belongs to the task {owner[name]}, which --tasks leaves out; add {owner[name]} to --tasks, or "
            "drop the flag" for name in idle]  # fmt: skip


def _judged(args: EvaluationArguments, given: set[str]) -> list[str]:
    """Problems of comparing two models' answers."""
    if args.judge_url and not args.judge:
        args.judge = ["endpoint"]
    judges, problems = args.judge or [], []
    for name in judges:
        if name not in JUDGES:
            near = difflib.get_close_matches(name, JUDGES, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            hint = f"an address is --judge_url {name}; " if is_url(name) else hint
            problems.append(f"--judge {name}: {hint}expected rules, reward or endpoint")
    if "endpoint" in judges and not (args.judge_url and args.judge_model):
        problems.append("--judge endpoint: needs --judge_url and --judge_model")
    if "reward" in judges and not args.reward_model_path:
        problems.append("--judge reward: needs --reward_model_path")
    if "endpoint" not in judges:
        problems += [f"--{name}: belongs to --judge endpoint" for name in sorted(given) if name.startswith("judge_")]
    if args.reward_template_name and not args.reward_model_path:
        problems.append("--reward_template_name: belongs to --reward_model_path")
    asked = [f"--{name}" for name in ("judge", "review_sheet", "votes") if getattr(args, name)]
    asked += ["--tasks instructions"] if "instructions" in (args.tasks or []) else []
    if asked and not args.compare_with and len(args.evaluations or []) < 2:
        problems.append(f"{', '.join(asked)}: compares two models; add --compare_with")
    return problems


def _places(args: EvaluationArguments) -> list[str]:
    """Problems of files and directories."""
    problems = []
    named = {name: getattr(args, name) for name in ("document_file", "eval_file", "verifiable_file", "safety_file",
             "pairs_file", "choice_files", "train_file_dir", "votes", "judge_rubric")}  # fmt: skip
    for name, value in named.items():
        for path in value if isinstance(value, list) else [value] if value else []:
            try:
                files.find(path, texts=True)
            except ConfigError as error:
                problems += [f"--{name} {problem}" for problem in error.problems]
    if Path(args.output_dir).exists() and not Path(args.output_dir).is_dir():
        problems.append(f"--output_dir {args.output_dir}: a file, expected a directory")
    for place in args.evaluations or []:
        if not (Path(place) / "evaluation.json").is_file():
            problems.append(
                f"--evaluations {place}: no evaluation.json there; expected the --output_dir of an evaluation"
            )
    return problems
