"""Several stages one after another in the same processes, because importing takes longer than training toys.

    torchrun --nproc_per_node 2 tests/distributed/several.py RUNS.json

RUNS.json is `[[script, [flag, ...]], ...]`; `["set aside", [OUTPUT, KEPT]]` copies an output to KEPT and damages its
newest checkpoint, so that a resume must find the one before.
"""

import importlib
import json
import os
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bedside import errors  # noqa: E402


def set_aside(output: str, kept: str) -> None:
    """Copy `output` to `kept`, and flip one bit of the newest checkpoint's weights; on rank 0, the others wait."""
    import torch.distributed as dist

    if os.environ.get("RANK", "0") == "0":
        shutil.copytree(output, kept)
        newest = max(Path(output).glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
        weights = next(newest.glob("*model*.safetensors"))
        content = bytearray(weights.read_bytes())
        content[-100] ^= 1
        weights.write_bytes(content)
    if dist.is_initialized():
        dist.barrier()


def main() -> None:
    """Every run of the file; the first that fails ends it."""
    for script, argv in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")):
        if script == "set aside":
            set_aside(*argv)
        else:
            importlib.import_module(script).main(argv)


if __name__ == "__main__":
    errors.run_command(main)
