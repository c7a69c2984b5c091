"""A report on the data of files, for a tokenizer and a template, without a training run.

    python -m bedside.datareport data/sft --tokenizer models/starter --template_name qwen3 --output_dir report

Writes data_report.html and data_lengths.png into --output_dir and prints a table.
"""

from pathlib import Path

from bedside import cli, datareport, errors, logs, models
from bedside.data import build, chats, tokens
from bedside.data_args import DataReportArguments
from bedside.errors import ConfigError


def main(argv: list[str] | None = None) -> None:
    """Read the files and write the report; rows that cannot be used stop nothing, they are what it tells."""
    args = cli.parse((DataReportArguments,), argv, None, __doc__, positional="paths")[DataReportArguments]
    logs.setup()
    if not args.paths:
        raise ConfigError("no files: name files or directories, as python -m bedside.datareport data/sft")
    reading = build.Reading.of_flags(args.encoding, args.columns, args.role_map)
    plan = chats.Plan(build.sources(args.paths), [], reading, max_bad_rate=1.0)
    tokenizer = models.load_tokenizer(args.tokenizer)
    template = models.install_template(tokenizer, args.template_name)
    encoding = tokens.encoding_for(tokenizer, template, args.max_length)
    data = chats.datasets(plan, tokenizer.backend_tokenizer, encoding, None, args.num_proc)
    directory = Path(args.output_dir)
    datareport.write(directory, data, args.max_length, template.name)
    data.ledger.write(directory)


if __name__ == "__main__":
    errors.run_command(main)
