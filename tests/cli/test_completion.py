"""`zflow completion` prints a script with which a real shell completes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import zflow
from zflow.cli import main

ROOT = Path(zflow.__file__).parents[1]


@pytest.fixture(scope="module")
def script() -> str:
    result = CliRunner().invoke(main, ["completion", "bash"])
    assert result.exit_code == 0
    return result.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_has_its_script(shell: str) -> None:
    result = CliRunner().invoke(main, ["completion", shell])
    assert result.exit_code == 0
    assert f"_ZFLOW_COMPLETE={shell}_complete" in result.stdout


def test_another_shell_is_refused() -> None:
    assert CliRunner().invoke(main, ["completion", "tcsh"]).exit_code == 2


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("zflow", "execu"), {"executor"}),
        (("zflow", "client", "des"), {"describe"}),
        (("zflow", "executor", "--replic"), {"--replicas"}),
        (("zflow", "export", "schema", "--kind", "dep"), {"deployment"}),
    ],
)
def test_bash_completes(tmp_path: Path, script: str, words: tuple[str, ...], expected: set[str]) -> None:
    (tmp_path / "completion.sh").write_text(script)
    command = tmp_path / "zflow"
    command.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m zflow "$@"\n')
    command.chmod(0o755)
    told = " ".join(f"'{word}'" for word in words)
    code = (
        f"PATH={tmp_path}:$PATH; source {tmp_path}/completion.sh || exit 1\n"
        f"COMP_WORDS=({told}); COMP_CWORD={len(words) - 1}; _zflow_completion zflow\n"
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "--norc", "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == expected
