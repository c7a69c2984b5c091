"""One job in this environment: `python -m bedside.quantise JOB.json RESULT.json`, started by `work.run`."""

import json
import sys
from pathlib import Path

from bedside import errors, logs
from bedside.quantise import work


def main() -> None:
    """Read the job, do it, write its result."""
    if len(sys.argv) != 3:
        raise errors.ConfigError("this is a part of quantize_model.py; run: python quantize_model.py --help")
    logs.setup()
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    Path(sys.argv[2]).write_text(json.dumps(work.do(job)), encoding="utf-8")


if __name__ == "__main__":
    errors.run_command(main)
