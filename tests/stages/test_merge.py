"""merge_peft_adapter.py as a user calls it."""

import subprocess
import sys
from pathlib import Path

from bedside import lineage
from tests.merge.toys import ROOT, make_adapter, run


def test_seed_command_as_written(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    adapter = make_adapter(Path("models/starter"), tmp_path / "outputs-sft")
    flags = ("--base_model_name_or_path", "models/starter", "--peft_model_path", adapter)
    assert run(*flags, "--output_dir", tmp_path / "merged") == 0
    written = lineage.read(tmp_path / "merged")
    assert [parent["how"] for parent in written["parents"]] == ["merged"]
    assert written["merge"]["ratio"] < 0.05


def test_mistakes_end_with_status_2_and_a_sentence(tmp_path):
    command = [
        sys.executable,
        "merge_peft_adapter.py",
        "--peft_model_path",
        str(tmp_path / "gone"),
        "--output_dir",
        "x",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: --peft_model_path") and "Traceback" not in done.stderr
    assert not (ROOT / "x").exists() and not (ROOT / "x.tmp").exists()
