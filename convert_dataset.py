"""Write data of any known format in another: nothing is lost in silence, and every row is accounted for.

    python convert_dataset.py data/sft --output_file sft.jsonl --to messages
    python convert_dataset.py --input_file data/reward/preferences.jsonl --output_file kto.parquet --to kto
    python convert_dataset.py --in_file data/sft/alpaca.jsonl --out_file chats.jsonl --data_type alpaca
    python convert_dataset.py --input_file data/sft/cot.jsonl --output_file chats.jsonl --template_name qwen

A field that has no place in the target refuses the row, unless --lossy True. The file is read back before the command
ends. Exit status: 0, 1 if more than --max_bad_rate of the rows were refused, 2 for a mistake (docs/data/convert.md).
"""

import difflib
import sys

from bedside import cli, errors, logs, templates
from bedside.data import build, convert, targets, validate, writers
from bedside.data_args import ConvertArguments
from bedside.errors import ConfigError

# What is written where nobody says --to: of each kind of rows, the format that most toolkits train on.
USUAL = {"sft": "sharegpt", "preference": "preference", "kto": "kto", "choice": "choice", "prompt": "prompt",
         "text": "text"}  # fmt: skip


def target_of(args: ConvertArguments, sources: list[build.Source], reading: build.Reading) -> str:
    """The format to write; ConfigError for an unknown one."""
    if args.to is None:
        kind = validate.kind_of(sources[0], reading) if args.kind == "auto" else args.kind
        said = f"--data_type {args.data_type}: the input is recognised by itself; " if args.data_type else ""
        logs.info(f"{said}{USUAL[kind]} is written, as no --to says otherwise")
        return USUAL[kind]
    name = targets.ALIASES.get(args.to, args.to)
    if name not in targets.KIND_OF:
        near = difflib.get_close_matches(name, targets.KIND_OF, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise ConfigError(f"--to {args.to}: {hint}expected {', '.join((*targets.KIND_OF, *targets.ALIASES))}")
    return name


def template_of(name: str | None, target: str) -> templates.Template | None:
    """The template that writes --to text; with any other target it is only named."""
    if name is None:
        return None
    template = templates.get(name)
    if target != "text":
        logs.info(f"--template_name {template.name}: rows hold no template, it is chosen in training; not used")
        return None
    for token in ("bos_token", "eos_token"):
        if token in template.source:
            logs.warn(f"template {template.name} writes the tokenizer's own {token}, which is left out of the text")
    return template


def cleaning():
    """What clean_dataset.py does to a row by itself, as a function from row to row."""
    from bedside.clean import fields, steps
    from bedside.data.conversation import RowError

    chosen = (steps.mending(False), steps.normalising, steps.hiding(False))

    def clean(row: dict) -> dict:
        texts = fields.texts_of(row)
        for step in chosen:
            verdict = step(texts)
            if verdict.removed:
                raise RowError(*verdict.removed)
            texts = verdict.texts
        return fields.with_texts(row, texts)

    return clean


def main(argv: list[str] | None = None) -> int:
    """Convert; returns the exit status."""
    args = cli.parse((ConvertArguments,), argv, None, __doc__, positional="input_file")[ConvertArguments]
    logs.setup()
    if not args.input_file:
        raise ConfigError("no files: name them, as convert_dataset.py data/sft --output_file sft.jsonl --to messages")
    if not 0 <= args.max_bad_rate <= 1:
        raise ConfigError(f"--max_bad_rate {args.max_bad_rate:g}: expected 0 to 1")
    reading = build.Reading.of_flags(args.encoding, args.columns, args.role_map, args.txt_documents)
    sources = build.sources(args.input_file, texts=args.to == "text")
    target = target_of(args, sources, reading)
    template = template_of(args.template_name, target)
    output = writers.checked(args.output_file, [source.path for source in sources], args.overwrite_output_file)
    clean = cleaning() if args.clean else None
    way = convert.Way(target, convert.suffix_of(output), args.lossy, template, clean)

    with writers.opened(output) as write:
        account = convert.convert(sources, args.kind, reading, way, write)
        sys.stdout.write("\n".join(account.lines()) + "\n")
        if not account.written:
            raise ConfigError(f"no row could be written as {target}; {output} was not made")
    convert.verify(output, target, account)
    sys.stdout.write(f"{output}: {account.written} rows of {target}, read back equal\n")
    total = account.ledger.total()
    return int(sum(total.dropped.values()) > args.max_bad_rate * total.rows)


if __name__ == "__main__":
    errors.run_command(main)
