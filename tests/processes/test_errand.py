"""Programs that are run for their answer, and leave nothing behind."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.support.processes import is_alive, wait_for
from zflow.errors import ConfigError, DeadlineExceeded
from zflow.processes.errand import Answer, run


def python(code: str, **options: object) -> Answer:
    return run([sys.executable, "-c", code], **{"patience": 20.0, **options})  # type: ignore[arg-type]


def test_it_gets_words_and_input_and_says_what_it_printed() -> None:
    told = python("import sys; print(input()); print('wrong', file=sys.stderr); sys.exit(3)", given="hello; $(id)\n")
    assert told == Answer(3, "hello; $(id)\n", "wrong\n")


def test_it_has_our_environment_with_changes() -> None:
    told = python("import os; print(os.environ['COLOR'], 'PATH' in os.environ)", changes={"COLOR": "red"})
    assert told.out == "red True\n"


def test_it_starts_where_it_is_told(tmp_path: Path) -> None:
    assert python("import os; print(os.getcwd())", folder=tmp_path).out == f"{tmp_path}\n"


def test_one_that_does_not_read_is_no_fault() -> None:
    assert python("pass", given="x" * 1_000_000).code == 0


def test_what_people_shall_see_goes_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    assert python("print('building')", show=True) == Answer(0, "", "")
    assert capfd.readouterr() == ("", "building\n")


def test_a_program_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match="there is no program 'no-such-program'; install it"):
        run(["no-such-program"], patience=1)


def test_one_that_takes_too_long_is_ended_with_what_it_started(tmp_path: Path) -> None:
    code = (
        "import pathlib, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(child.pid))\n"
        "time.sleep(60)\n"
    )
    with pytest.raises(DeadlineExceeded, match="took longer than 2 s and was ended"):
        python(code, patience=2.0)
    pid = int((tmp_path / "pid").read_text())
    wait_for(lambda: not is_alive(pid), "the child of the program to end")
