"""A small repository whose scripts are all the same stand-in, and the pipeline run in it as a user would."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bedside.pipeline.steps import SCRIPTS

REPO = Path(__file__).resolve().parents[2]
FAKE = Path(__file__).with_name("fake_step.py")


class Place:
    """A directory with data, recipes, a starter and fake scripts."""

    def __init__(self, root: Path):
        self.root = root
        for script in (*SCRIPTS.values(), "merge_peft_adapter.py", "evaluation.py", "inference.py"):
            shutil.copy(FAKE, root / script)
        for stage in SCRIPTS:
            folder = {"pt": "pretrain", "rm": "reward", "dpo": "reward", "orpo": "reward", "grpo": "grpo"}.get(
                stage, "sft"
            )
            for start in ("starter", "any_model"):
                self.write(f"recipes/{start}_{stage}.yaml", f"train_file_dir: data/{folder}\n")
        for folder in ("pretrain", "sft", "reward", "grpo"):
            self.write(f"data/{folder}/rows.jsonl", f'{{"text": "{folder}"}}\n')
        self.write("data/eval/questions.jsonl", '{"text": "?"}\n')
        self.write("models/starter/config.json", "{}")
        self.write("models/starter/model.safetensors", "weights")

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def orders(self, **orders: str) -> None:
        """What fake steps do besides: fail, wait, or kill the pipeline before, amid or after their work."""
        shutil.rmtree(self.root / "orders", ignore_errors=True)
        for name, order in orders.items():
            self.write(f"orders/{name.replace('_', '-')}", order)

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(REPO), "CUDA_VISIBLE_DEVICES": ""}

    def command(self, *argv: str) -> list[str]:
        return [sys.executable, "-m", "bedside.pipeline", *argv]

    def run(self, *argv: str, **environment: str) -> subprocess.CompletedProcess:
        """The pipeline, to its end."""
        (self.root / "ran.txt").unlink(missing_ok=True)
        return subprocess.run(
            self.command(*argv), cwd=self.root, env={**self.environment, **environment}, capture_output=True, text=True
        )

    @property
    def ran(self) -> list[str]:
        """The steps that were run since the last call, in the order of their beginnings, with what was added."""
        path = self.root / "ran.txt"
        return path.read_text().splitlines() if path.is_file() else []

    def outputs(self) -> dict[str, str]:
        """What lies in the output directory, without times."""
        found = {}
        for path in sorted((self.root / "outputs-pipeline").rglob("*")):
            name = path.relative_to(self.root / "outputs-pipeline").as_posix()
            if path.is_file() and not name.startswith(("logs/", ".lock", "pipeline.json")):
                found[name] = path.read_text()
        return found


@pytest.fixture
def place(tmp_path) -> Place:
    """The small repository."""
    return Place(tmp_path)
