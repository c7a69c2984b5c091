"""Cells of the table in docs/distributed.md, one after another in the same processes; each tells how it ended.

    torchrun --nproc_per_node 2 tests/distributed/cells.py RUNS.json

RUNS.json is `[[name, script, [flag, ...]], ...]`. A refusal is an end like another; anything else stops all processes.
"""

import importlib
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bedside import errors, logs  # noqa: E402


def main() -> None:
    """Every run of the file; rank 0 prints a line each: `cell NAME: trained`, or `cell NAME: refused SENTENCE`."""
    for name, script, argv in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")):
        try:
            importlib.import_module(script).main(argv)
            end = "trained"
        except errors.UserError as error:
            end = "refused " + " ".join(str(error).split())
        if logs.rank() == 0:
            sys.stdout.write(f"\ncell {name}: {end}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
