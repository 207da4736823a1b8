"""The command line of a fresh interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from zflow.processes.interpreter import command

MODULE = """
import sys
def main(descriptor):
    print(descriptor, sys.argv, sys.flags.optimize, sys.flags.dont_write_bytecode, sys.warnoptions)
    return 7
"""


def run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> subprocess.CompletedProcess[str]:
    (folder / "some_module_of_the_test.py").write_text(MODULE)
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    line = command("some_module_of_the_test", "main", 3, "a label")
    return subprocess.run(line, capture_output=True, text=True, cwd="/")


def test_it_sees_our_modules_and_ends_with_the_functions_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "a 'quoted' \"folder\" {with} \\ braces"
    folder.mkdir()
    monkeypatch.setattr(sys, "path", [tmp_path, *sys.path])  # what is no text, no import looks at
    done = run(folder, monkeypatch)
    assert done.returncode == 7, done.stderr
    assert done.stdout.startswith("3 ['-c', 'a label']")


@pytest.mark.parametrize(
    ("options", "told"),
    [(["-O"], "1 0 []"), (["-B"], "0 1 []"), (["-Werror::UserWarning"], "0 0 ['error::UserWarning']")],
)
def test_it_gets_the_options_that_change_what_code_means(tmp_path: Path, options: list[str], told: str) -> None:
    (tmp_path / "some_module_of_the_test.py").write_text(MODULE)
    script = (
        "import subprocess, sys; from zflow.processes.interpreter import command; "
        "sys.exit(subprocess.call(command('some_module_of_the_test', 'main', 3, 'label')))"
    )
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    env["PYTHONPATH"] = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    done = subprocess.run([sys.executable, *options, "-c", script], capture_output=True, text=True, env=env)
    assert done.returncode == 7, done.stderr
    assert told in done.stdout
