"""Does it fit, how long does it take: memory, speed and best settings of a training, before anything is downloaded.

    python plan.py --model_name_or_path Qwen2.5-7B --stage sft --gpu "RTX 4090" --rows 25000 --tokens_per_row 700
    python plan.py --model_name_or_path models/starter/config.json --stage dpo --gpu 11GB
    python plan.py --model_name_or_path Qwen3-4B --stage ppo --gpu "RTX 3090" --gpus 2 --write outputs-plan/ppo.yaml
    python plan.py --table

Reads a config.json, a model or adapter directory, a hub name or a size such as 7B; needs no weights, no GPU, no torch.
Prints the peak of memory by part, tokens a second and hours with an interval, and the flags of the stage's script;
--write makes a recipe of them. Exit status 2, with what would fit, where nothing does (docs/planning.md).
"""

import sys

from bedside import cli, errors, logs
from bedside.errors import ConfigError
from bedside.planner import cards, choose, measured, recipe, shapes, table, told
from bedside.planner.flags import PlanArguments
from bedside.planner.memory import SAMPLING

_AT_LEAST_1 = ("gpus", "rows", "tokens_per_row", "lora_r", "response_length", "max_source_length")
_OR_NONE = ("max_length", "effective_batch_size", "per_device_train_batch_size")


def problems_of(args: PlanArguments, given: set[str]) -> list[str]:
    """What is wrong with the flags, all of it."""
    found = []
    if not args.model_name_or_path:
        found.append("--model_name_or_path: expected a model directory, config.json, hub name, or a size such as 7B")
    if not args.gpu:
        found.append("--gpu: expected a card, such as 'RTX 4090', or its memory, such as 11GB")
    values = {name: getattr(args, name) for name in (*_AT_LEAST_1, *_OR_NONE)}
    found += [f"--{name} {value}: expected at least 1" for name, value in values.items() if value and value < 1]
    found += [f"--{name} 0: expected at least 1" for name in (*_AT_LEAST_1, *_OR_NONE) if values[name] == 0]
    if args.num_train_epochs <= 0:
        found.append(f"--num_train_epochs {args.num_train_epochs:g}: expected more than 0")
    samples = args.stage in SAMPLING
    foreign = ("max_length",) if samples else ("max_source_length", "response_length")
    found += [
        f"--{name} has no meaning for --stage {args.stage}: expected "
        + ("--max_source_length and --response_length" if samples else "--max_length")
        for name in foreign if name in given
    ]  # fmt: skip
    if args.template_name and args.stage == "pt":
        found.append(f"--template_name {args.template_name}: pretraining has no template; drop it")
    if args.overwrite and not args.write:
        found.append("--overwrite True without --write: there is nothing to overwrite")
    return found


def wish_of(args: PlanArguments) -> choose.Wish:
    """What is asked for."""
    samples = args.stage in SAMPLING
    batch = args.effective_batch_size or (64 if samples else 16)
    return choose.Wish(
        args.stage, args.precision, args.max_length, args.max_source_length, args.response_length, batch,
        args.per_device_train_batch_size, args.lora_r, args.gpus, args.tokens_per_row,
    )  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    # 1. What is planned, or which table is wanted.
    parsed = cli.parse((PlanArguments,), argv, None, __doc__)
    args = parsed[PlanArguments]
    logs.setup()
    if args.table or args.measured:
        sys.stdout.write((table.markdown() if args.table else measured.table()) + "\n")
        return 0
    if problems := problems_of(args, parsed.given):
        raise ConfigError(problems)

    # 2. The model's widths, the card's data sheet, the best settings that fit.
    model = shapes.model_of(args.model_name_or_path, args.cache_dir)
    plan = choose.best(model, cards.card(args.gpu), wish_of(args))
    if model.longest and plan.setting.length + plan.setting.response > model.longest:
        logs.warn(
            f"rows of {plan.setting.length + plan.setting.response} tokens: the model has {model.longest} places"
        )
    if plan.wish.length is None and plan.setting.length < choose.LENGTHS[0] and args.stage not in SAMPLING:
        logs.warn(f"rows of {choose.LENGTHS[0]} tokens do not fit: planned with --max_length {plan.setting.length}")

    # 3. Told, and written down.
    flags = recipe.flags(plan, args.train_file_dir, args.output_dir, args.num_train_epochs, args.template_name)
    sys.stdout.write(told.text(plan, args.rows, args.num_train_epochs, flags) + "\n")
    if args.write:
        planned_by = recipe.written_by(sys.argv[1:] if argv is None else argv)
        recipe.write(recipe.yaml(plan, flags, args.write, planned_by), args.write, args.overwrite)
        logs.info(f"{args.write} written: {recipe.launcher(plan)} {recipe.SCRIPTS[args.stage]} {args.write}")
    return 0


if __name__ == "__main__":
    errors.run_command(main)
