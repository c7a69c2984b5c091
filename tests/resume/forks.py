"""A process that has imported everything once and forks for each run: a run can be killed, and starts in no time.

Importing torch, transformers and trl takes 8 s, a run of the tiny model 1 s. The parent never computes, so that
its children inherit no threads. Only tests use it.
"""

import contextlib
import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
STAGES = (
    "supervised_finetuning", "pretraining", "reward_modeling", "dpo_training", "orpo_training", "kto_training",
    "grpo_training", "ppo_training",
)  # fmt: skip
KILLS = ("weights", "optimizer", "scheduler", "rng", "trainer_state", "seal", "replace", "rotate")


class Fork:
    """Runs stage scripts in forked children: `run(script, argv)` gives the exit status and what was said."""

    def __init__(self):
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.resume.forks"], cwd=REPO, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def run(self, script: str, argv: list[str], kill: str | None = None, step: int = 0) -> tuple[int, str]:
        """`kill` is one of KILLS, at the saving of checkpoint-`step`. A status of -9 is SIGKILL."""
        request = {"script": script, "argv": argv, "kill": kill, "step": step}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        return answer["status"], answer["said"]

    def close(self) -> None:
        """Let the parent end."""
        self.process.stdin.close()
        self.process.wait(timeout=60)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _half(path: str) -> None:
    """What a file looks like when the process dies while it is written."""
    os.truncate(path, os.path.getsize(path) // 2)


def _after(owner, name: str, then) -> None:
    """Call `then(*arguments)` after `owner.name`."""
    original = getattr(owner, name)

    def wrapped(*args, **kwargs):
        result = original(*args, **kwargs)
        then(*args, **kwargs)
        return result

    setattr(owner, name, wrapped)


def _before(owner, name: str, first) -> None:
    """Call `first(*arguments)` before `owner.name`."""
    original = getattr(owner, name)

    def wrapped(*args, **kwargs):
        first(*args, **kwargs)
        return original(*args, **kwargs)

    setattr(owner, name, wrapped)


def arm(point: str, step: int) -> None:
    """Let this process kill itself at a point of saving checkpoint-`step`."""
    import torch
    from transformers import Trainer, TrainerState, trainer_utils

    from bedside import manifest
    from bedside.ppo.saving import Kept

    place = f"checkpoint-{step}"

    def here(*paths) -> bool:
        return any(place in Path(str(path)).parts for path in paths)

    def half_saved(name):
        def then(_, path, *rest, **more):
            if here(path) and Path(str(path)).name == name:
                _half(path)
                _die()

        return then

    def weights(_, directory=None, *rest, **more):
        if here(directory):
            _half(next(Path(directory).glob("*model*.safetensors")))
            _die()

    def at(argument: int):
        return lambda *args, **more: _die() if here(*args[argument : argument + 1]) else None

    patches = {
        "weights": lambda: [_after(owner, "_save", weights) for owner in (Trainer, Kept)],
        "optimizer": lambda: _after(torch, "save", half_saved("optimizer.pt")),
        "scheduler": lambda: _after(torch, "save", half_saved("scheduler.pt")),
        "rng": lambda: _after(Trainer, "_save_rng_state", at(1)),
        "trainer_state": lambda: _after(TrainerState, "save_to_json", at(1)),
        "seal": lambda: _before(manifest.Sealer, "checkpoint", at(1)),
        "replace": lambda: _before(os, "replace", at(1)),
        "rotate": lambda: _before(
            trainer_utils,
            "rotate_checkpoints",
            lambda **more: _die() if Path(more["output_dir"], place, "lineage.json").is_file() else None,
        ),
    }
    patches[point]()


def _child(request: dict, said: str) -> None:
    """One run, in the forked process; never returns."""
    status = 70  # a traceback
    try:
        with open(said, "w", encoding="utf-8") as stream:
            os.dup2(stream.fileno(), 1)
            os.dup2(stream.fileno(), 2)
        if request["kill"]:
            arm(request["kill"], request["step"])
        from bedside import errors

        module = importlib.import_module(request["script"])
        try:
            errors.run_command(lambda: module.main(request["argv"]))
        except SystemExit as ended:
            status = ended.code
        except BaseException:  # noqa: BLE001, the test shows it
            import traceback

            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status)


def serve() -> None:
    """Read requests from stdin, a line each, and answer each on stdout with its status and output."""
    import bitsandbytes  # noqa: F401
    import matplotlib.pyplot  # noqa: F401
    import peft  # noqa: F401
    import tokenizers  # noqa: F401
    import torch  # noqa: F401
    import trl
    from transformers import Qwen3ForCausalLM, Qwen3ForSequenceClassification, Trainer  # noqa: F401

    for name in ("SFTTrainer", "DPOTrainer", "RewardTrainer", "SFTConfig", "DPOConfig", "RewardConfig",
                 "GRPOTrainer"):  # fmt: skip
        getattr(trl, name)
    sys.path.insert(0, str(REPO))
    from bedside import trainer_flags

    for script in STAGES:
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module(script)
    for config in trainer_flags.CONFIGS:  # half a second of reading trl's source, which each child would spend
        trainer_flags.flags_of(config)
    gc.freeze()  # what is imported stays: a child need not look at it again
    for line in sys.stdin:
        request = json.loads(line)
        with tempfile.NamedTemporaryFile(suffix=".log") as log:
            child = os.fork()
            if child == 0:
                _child(request, log.name)
            _, ended = os.waitpid(child, 0)
            said = Path(log.name).read_text(encoding="utf-8", errors="replace")
        print(json.dumps({"status": os.waitstatus_to_exitcode(ended), "said": said}), flush=True)


if __name__ == "__main__":
    serve()
