"""python -m bedside.lineage as a user calls it, mistakes included.

sh run_tests.sh tests/lineage/test_command.py
"""

import subprocess
import sys

import pytest

from bedside.errors import ConfigError, LineageError
from bedside.lineage import __main__ as command


def test_verify_of_what_bedside_did_not_write_fails(tmp_path, capsys):
    for name, says in ((".", "no lineage.json"), ("gone", "no such directory")):
        assert command.main(["verify", str(tmp_path / name)]) == 1
        out = capsys.readouterr().out
        assert out.startswith("manifest   FAILED") and says in out and "1 check(s) FAILED" in out
    (tmp_path / "lineage.json").write_text("{")
    assert command.main(["verify", str(tmp_path)]) == 1
    assert "damaged" in capsys.readouterr().out


def test_show_and_wrong_words_end_in_a_sentence(tmp_path, capsys):
    with pytest.raises(LineageError, match="no lineage.json, so nobody wrote down where it came from"):
        command.main(["show", str(tmp_path)])
    with pytest.raises(ConfigError, match="expected one directory: python -m bedside.lineage show DIR"):
        command.main(["show"])
    with pytest.raises(ConfigError, match="verfy: no such command; known: show, verify"):
        command.main(["verfy", "x"])
    assert command.main(["--help"]) == 0 and "verify DIR" in capsys.readouterr().out


def test_without_the_probe_nothing_heavy_is_imported(repo):
    code = (
        "import sys; from bedside.lineage import __main__ as m; status = m.main(['verify', 'models/starter', "
        "'--no_probe']); print(status, sorted({'torch', 'transformers', 'peft'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=repo, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"
