"""Classes are found, and what is wrong with them is told, in processes that end afterwards."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from zflow.loading import describe
from zflow.processes.inspection import Found, inspect

MODULE = """\
import os
from zflow import Executor, requests
print("noise on stdout")
class Mine(Executor):
    def __init__(self, size=1, **kwargs):
        super().__init__(**kwargs)
        open("made", "w").close()
    @requests(on="/index")
    def index(self, docs, **kwargs): ...
    @requests
    def other(self, docs, **kwargs): ...
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MODULE)
    return tmp_path


def found(module: str, jtype: str = "Mine", patience: float = 60.0, **definition: object) -> Found:
    return inspect([describe({"jtype": jtype, "py_modules": [module], **definition})], patience)[0]


def test_a_class_is_found_and_not_made(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert found("mine.py") == Found("Mine", str(folder / "mine.py"), ("/index", "/default"))
    assert not (folder / "made").exists()
    assert "mine" not in sys.modules
    told = capfd.readouterr()
    assert told.out == "" and "noise on stdout" in told.err


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("import nonesuch_x", "No module named 'nonesuch_x' ("),
        ("x = 1\n\nraise ValueError('as asked')", "ValueError: as asked ("),
        ("def f(:", "SyntaxError"),
        ("raise SystemExit(3)", "ends the process when it is imported: sys.exit(3)"),
        ("import os; os._exit(7)", "the process that imported it ended with exit code 7"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "was killed by SIGKILL"),
        ("class Mine: ...", "is no Executor class"),
        ("from zflow import Executor\nclass Mina(Executor): ...", "did you mean 'Mina'?"),
    ],
)
def test_what_keeps_a_class_from_being_found_is_told(source: str, told: str, folder: Path) -> None:
    (folder / "theirs.py").write_text(source)
    assert told in found("theirs.py").problem


def test_the_line_that_raised_is_told(folder: Path) -> None:
    (folder / "theirs.py").write_text("x = 1\n\nraise ValueError('as asked')\n")
    assert found("theirs.py").problem.endswith(f"({folder / 'theirs.py'}:3)")


def test_methods_and_arguments_are_looked_at() -> None:
    assert "has no method 'indx'" in found("mine.py", requests={"/x": "indx"}).problem
    assert "no endpoint and no method" in found("mine.py", dynamic_batching={"/nope": {}}).problem


def test_an_argument_that_init_needs(folder: Path) -> None:
    (folder / "needy.py").write_text(MODULE.replace("size=1", "size"))
    assert "missing a required argument: 'size'" in found("needy.py").problem
    assert found("needy.py", **{"with": {"size": 3}}).problem == ""


def test_an_import_that_takes_too_long_is_ended(folder: Path) -> None:
    (folder / "slow.py").write_text("import os\nopen('pid', 'w').write(str(os.getpid()))\nimport time; time.sleep(600)")
    assert "longer than 2 s" in found("slow.py", patience=2.0).problem
    with pytest.raises(ProcessLookupError):
        os.kill(int((folder / "pid").read_text()), 0)


def test_one_class_does_not_keep_another_from_being_found(folder: Path) -> None:
    (folder / "other").mkdir()
    (folder / "other" / "mine.py").write_text(MODULE.replace("/index", "/other"))
    (folder / "broken.py").write_text("import os; os._exit(1)")
    asked = [describe({"jtype": "Mine", "py_modules": [file]}) for file in ("mine.py", "broken.py", "other/mine.py")]
    first, second, third = inspect(asked)
    assert (first.endpoints[0], third.endpoints[0]) == ("/index", "/other")
    assert second.problem


def test_nothing_to_inspect_starts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent")
    assert inspect([]) == []
