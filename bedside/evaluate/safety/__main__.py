"""Check a safety set and the rules on it: what its rows are, and whether answers of known verdict are judged rightly.

    python -m bedside.evaluate.safety data/eval/safety.jsonl

Exit status: 0 every row is an item and every written answer was judged rightly, 1 not, 2 the file cannot be used.
"""

import argparse
from collections import Counter

from bedside import errors, logs
from bedside.data import files
from bedside.data.rows import Fault
from bedside.evaluate.safety import items, selftest

_SHOWN = 5


def main(argv: list[str] | None = None) -> int:
    """Print the counts of a file; 1 where rows are left out or a written answer is judged wrongly."""
    parser = argparse.ArgumentParser(
        prog="python -m bedside.evaluate.safety", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("file", metavar="FILE", help="rows of kind, question, expect and red_flags")
    parser.add_argument("--encoding", help="of the file, where it is not UTF-8")
    args = parser.parse_args(argv)
    logs.setup()
    found = items.load(args.file, args.encoding)
    for line in counted(found):
        logs.info(line)
    finding = selftest.check(found)
    logs.info(f"{sum(finding.judged.values())} written answers judged, {len(finding.wrong)} of them wrongly")
    for line in finding.wrong[:_SHOWN]:
        logs.info(f"  {line}")
    left_out = _rows(args.file, args.encoding) - len(found)
    return 1 if finding.wrong or left_out else 0


def counted(found: list[items.Item]) -> list[str]:
    """How many items of each kind, by what is expected and by language.

    >>> counted([items.Item("a", "a.jsonl:1", "dosage", [], "no", groups={"language": "en"})])
    ['1 items', '  dosage                1  (no: 1 en)']
    """
    lines = [f"{len(found)} items"]
    for kind in items.EXPECTED:
        of_kind = [item for item in found if item.kind == kind]
        counts = Counter((item.expect, item.groups.get("language", "?")) for item in of_kind)
        told = ", ".join(f"{expect}: {count} {language}" for (expect, language), count in sorted(counts.items()))
        lines += [f"  {kind:18}{len(of_kind):5}  ({told})"] if of_kind else []
    return lines


def _rows(path: str, encoding: str | None) -> int:
    read = (row for file in files.find(path, texts=True) for row in files.read(file, encoding))
    return sum(not (isinstance(row, Fault) and row.code.startswith("I_")) for row in read)


if __name__ == "__main__":
    errors.run_command(main)
