"""Check data files before a training: every fault with its file, line and code, and no text of any row.

    python validate_jsonl.py data/sft data/reward/preferences.jsonl
    python validate_jsonl.py answers.csv --kind sft --encoding gb18030 --columns question,answer
    python validate_jsonl.py chats.jsonl --fix merge_turns,drop_tail

Reads every file exactly as the stages do. Exit status: 0 clean, 1 bad rows (that --fix did not repair), 2 a file or a
flag that cannot be used.
"""

import contextlib
import functools
import json
import sys
from pathlib import Path

from bedside import cli, errors, logs
from bedside.data import build, repair, validate, writers
from bedside.data_args import ValidateArguments
from bedside.errors import ConfigError


def counted(counts: dict[str, int]) -> str:
    """`E_EMPTY 3, E_JSON 1`, the most frequent first."""
    return ", ".join(f"{code} {count}" for code, count in sorted(counts.items(), key=lambda item: -item[1]))


def summary_of(report: validate.Report) -> list[str]:
    """What became of one file's rows."""
    if report.unusable:
        return [str(report.unusable), f"{report.file}: unusable ({report.unusable.code})"]
    total = report.ledger.total()
    codes, remarks, fixed = counted(total.dropped), counted(total.remarks), counted(report.fixed)
    summary = f"{report.file}: {report.kind}, {total.rows} rows = {report.usable} usable + {report.bad()} bad"
    summary += (f" ({codes})" if codes else "") + (f"; remarks: {remarks}" if remarks else "")
    return [summary + (f"; {report.repaired} of the usable were repaired: {fixed}" if fixed else "")]


def table_of(reports: list[validate.Report]) -> list[str]:
    """All files in aligned columns, with their sum."""
    rows = [("file", "kind", "rows", "usable", "bad", "bad by code", "remarks")]
    for report in reports:
        total, why = report.ledger.total(), f"unusable: {report.unusable.code}" if report.unusable else ""
        counts = (str(total.rows), str(report.usable), str(report.bad()))
        rows.append((report.file, report.kind, *counts, why or counted(total.dropped), counted(total.remarks)))
    sums = [str(sum(int(row[column]) for row in rows[1:])) for column in (2, 3, 4)]
    rows.append((f"{len(reports)} files", "", *sums, "", ""))
    widths = [max(len(row[column]) for row in rows) for column in range(7)]
    return [
        "  ".join(cell.rjust(width) if 2 <= column <= 4 else cell.ljust(width)
                  for column, (cell, width) in enumerate(zip(row, widths, strict=True))).rstrip()
        for row in rows
    ]  # fmt: skip


def fixed_name(source: build.Source, args: ValidateArguments) -> Path:
    """Where the usable rows of a file go."""
    name = source.path.with_name(source.path.name.split(".")[0] + ".fixed.jsonl")
    name = Path(args.output_dir) / name.name if args.output_dir else name
    return writers.checked(args.output_file or str(name), [source.path], args.overwrite_output_file)


def problems_of(args: ValidateArguments) -> list[str]:
    """What is wrong with the flags, all of it."""
    found = [] if args.paths else ["no files: name files or directories, as validate_jsonl.py data/sft"]
    if not 0 <= args.max_bad_rate <= 1:
        found.append(f"--max_bad_rate {args.max_bad_rate:g}: expected 0 to 1")
    found += [f"--fix {n}: expected {', '.join(repair.REPAIRS)}" for n in args.fix or () if n not in repair.REPAIRS]
    if (args.output_file or args.output_dir) and not args.fix:
        found.append("--output_file and --output_dir say where --fix writes; name the repairs, as --fix merge_turns")
    return found


def main(argv: list[str] | None = None) -> int:
    """Check every file; returns the exit status."""
    args = cli.parse((ValidateArguments,), argv, None, __doc__, positional="paths")[ValidateArguments]
    logs.setup()
    if problems := problems_of(args):
        raise ConfigError(problems)
    reading = build.Reading.of_flags(args.encoding, args.columns, args.role_map, args.txt_documents)
    sources = build.sources(args.paths, texts=args.kind == "text")
    targets = [fixed_name(source, args) for source in sources] if args.fix else []
    if len(set(targets)) < len(targets):
        raise ConfigError("--fix: two files would go to one name; give --output_dir, or fix them one by one")

    def tell(line: str) -> None:
        sys.stdout.write(line + "\n")

    reports = []
    for index, source in enumerate(sources):
        with contextlib.ExitStack() as stack:
            mending = None
            if targets:
                mend = functools.partial(repair.repaired, wanted=args.fix, roles=reading.roles)
                mending = validate.Mending(mend, stack.enter_context(writers.opened(targets[index])))
            report = validate.check(source, args.kind, reading, None if args.json else tell, args.num_proc, mending)
        for line in [json.dumps(report.to_dict(), ensure_ascii=False)] if args.json else summary_of(report):
            tell(line)
        if targets and report.unusable:
            targets[index].unlink()  # holds the rows in front of the fault only
        elif targets and not args.json:
            tell(f"{targets[index]}: {report.usable} rows")
        reports.append(report)
    if len(reports) > 1 and not args.json:
        tell("\n" + "\n".join(table_of(reports)))
    return max(report.status(args.max_bad_rate) for report in reports)


if __name__ == "__main__":
    errors.run_command(main)
