"""`zflow new` writes what zflow/scaffold.py makes, and prints what to do next."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from zflow.cli import main


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def new(*words: str) -> Result:
    return CliRunner().invoke(main, ["new", *words])


def commands_in(told: str) -> list[str]:
    """What is printed, without what each command is for."""
    return [line.partition("#")[0].strip() for line in told.splitlines()]


def test_files_are_told_and_the_next_commands_are_printed(here: Path) -> None:
    result = new("executor", "MyExecutor")
    assert result.exit_code == 0
    assert "MyExecutor/executor.py\n" in result.stderr
    assert commands_in(result.stdout) == [
        "cd MyExecutor",
        "python -m pytest",
        "zflow executor --uses config.yml --port-in 12345 --reload",
        "zflow client call localhost:12345 /shout --text hello",
    ]
    assert (here / "MyExecutor" / "tests" / "test_executor.py").exists()


def test_into_this_folder_there_is_nowhere_to_go(here: Path) -> None:
    result = new("flow", "Search", "--dir", ".")
    assert commands_in(result.stdout)[:2] == ["python -m pytest", "zflow flow --uses flow.yml --reload --restart"]
    assert (here / "flow.yml").exists()


def test_a_second_time_nothing_is_written(here: Path) -> None:
    new("executor", "MyExecutor", "--dockerfile")
    (here / "MyExecutor" / "executor.py").write_text("mine")
    result = new("executor", "MyExecutor")
    assert result.exit_code == 2
    assert "there already: MyExecutor/README.md" in result.stderr
    assert (here / "MyExecutor" / "executor.py").read_text() == "mine"
    assert (here / "MyExecutor" / "Dockerfile").exists()


def test_a_misspelled_word_names_the_nearest() -> None:
    assert "did you mean 'executor'?" in new("exekutor", "X").output
