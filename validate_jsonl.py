"""Check data files before a training: every fault with its file, line and code, and no text of any row.

    python validate_jsonl.py data/sft data/reward/preferences.jsonl
    python validate_jsonl.py answers.csv --kind sft --encoding gb18030 --columns question,answer

Reads JSONL, JSON, CSV and TSV exactly as the stages do. Exit status: 0 clean, 1 bad rows, 2 a file or a flag that
cannot be used.
"""

import json
import sys

from bedside import cli, errors, logs
from bedside.args import ValidateArguments
from bedside.data import build, validate
from bedside.errors import ConfigError


def lines_of(report: validate.Report) -> list[str]:
    """Faults, remarks and one line of summary."""
    if report.unusable:
        return [*report.ledger.details, str(report.unusable), f"{report.file}: unusable ({report.unusable.code})"]
    total = report.ledger.total()
    codes = ", ".join(f"{code} {count}" for code, count in total.dropped.most_common())
    remarks = ", ".join(f"{code} {count}" for code, count in total.remarks.most_common())
    summary = f"{report.file}: {report.kind}, {total.rows} rows = {report.usable} usable + {report.bad()} bad"
    summary += (f" ({codes})" if codes else "") + (f"; remarks: {remarks}" if remarks else "")
    return [*report.ledger.details, summary]


def main(argv: list[str] | None = None) -> int:
    """Check every file; returns the exit status."""
    args = cli.parse((ValidateArguments,), argv, None, __doc__, positional="paths")[ValidateArguments]
    logs.setup()
    if not args.paths:
        raise ConfigError("no files: name files or directories, as validate_jsonl.py data/sft")
    if not 0 <= args.max_bad_rate <= 1:
        raise ConfigError(f"--max_bad_rate {args.max_bad_rate:g}: expected 0 to 1")
    reading = build.Reading.of_flags(args.encoding, args.columns, args.role_map)
    status = 0
    for source in build.sources(args.paths):
        report = validate.check(source, args.kind, reading)
        lines = [json.dumps(report.to_dict(), ensure_ascii=False)] if args.json else lines_of(report)
        sys.stdout.write("".join(line + "\n" for line in lines))
        status = max(status, report.status(args.max_bad_rate))
    return status


if __name__ == "__main__":
    errors.run_command(main)
