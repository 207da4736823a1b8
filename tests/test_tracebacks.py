"""Tracebacks begin with the user's first line."""

from __future__ import annotations

import asyncio
import builtins
import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from zflow import Document, tracebacks
from zflow.errors import ConfigError
from zflow.importing import class_at, import_modules
from zflow.tracebacks import of_the_user, with_own_line


def raised_by(action: Callable[[], object]) -> BaseException:
    try:
        action()
    except BaseException as error:
        return error
    raise AssertionError("it did not raise")


@pytest.fixture
def module(tmp_path: Path) -> Callable[[str], Path]:
    """Write a module under a name that no other test imports, and that pytest does not take for a test."""

    def write(source: str, name: str = f"of_{tmp_path.name}.py") -> Path:
        path = tmp_path / name
        path.write_text(source)
        return path

    return write


def test_a_module_that_cannot_be_read_is_told_by_its_line_alone(module: Callable[[str], Path]) -> None:
    path = module("def f():\n    for x in y\n")
    error = raised_by(lambda: import_modules([str(path)], path.parent))
    assert of_the_user(error).splitlines()[:2] == [f'  File "{path}", line 2', "    for x in y"]
    assert of_the_user(error).splitlines()[-1].startswith("SyntaxError: ")


def test_modules_that_import_each_other_are_told_without_what_python_does_in_between(tmp_path: Path) -> None:
    inner, outer = f"in_{tmp_path.name}", tmp_path / f"out_{tmp_path.name}.py"
    (tmp_path / f"{inner}.py").write_text("1 / 0\n")
    outer.write_text(f"import importlib\nimportlib.import_module({inner!r})\n")
    told = of_the_user(raised_by(lambda: import_modules([str(outer)], tmp_path)))
    assert told.count("  File ") == 2 and "importlib/" not in told and "<frozen" not in told
    assert told.index(str(outer)) < told.index(f"{inner}.py") < told.index("ZeroDivisionError")


def test_what_an_event_loop_ran_begins_where_the_user_wrote_it() -> None:
    async def fail() -> None:
        raise LookupError("in vain")

    async def wait() -> None:
        await asyncio.create_task(fail())

    error = raised_by(lambda: asyncio.run(wait()))
    first = of_the_user(error).splitlines()[1]
    assert first.startswith(f'  File "{__file__}"')


def test_our_frames_below_the_users_stay_for_they_say_what_was_called() -> None:
    told = of_the_user(raised_by(lambda: Document(no_such_field=1)))
    assert told.splitlines()[1].startswith(f'  File "{__file__}"')
    assert "document.py" in told


def test_causes_and_groups_are_shortened_too() -> None:
    def fail() -> None:
        try:
            importlib.import_module("zflow.no_such_module")
        except ImportError as error:
            raise RuntimeError("wrapped") from error

    told = of_the_user(raised_by(fail))
    assert "direct cause" in told and "<frozen" not in told
    if group := getattr(builtins, "ExceptionGroup", None):  # from Python 3.11 on
        several = of_the_user(group("several", [raised_by(fail)]))
        assert "wrapped" in several and "<frozen" not in several


def test_what_is_wrong_with_a_description_is_said_by_its_message(tmp_path: Path) -> None:
    error = raised_by(lambda: class_at("json:Absent", tmp_path))
    assert isinstance(error, ConfigError) and of_the_user(error) == ""


def test_what_is_all_ours_is_told_whole() -> None:
    file = sys.modules["zflow"].__file__ or ""
    namespace: dict[str, Callable[[], None]] = {}
    exec(compile("def fail():\n    raise OSError('of ours')\n", file, "exec"), namespace)
    error = raised_by(namespace["fail"])
    assert error.__traceback__ is not None
    told = of_the_user(error.with_traceback(error.__traceback__.tb_next))
    assert told.startswith("Traceback") and file in told


def test_where_a_library_raised_the_users_last_line_is_told_first() -> None:
    def inner() -> None:
        json.loads("{")

    first, where, line, *_ = with_own_line(raised_by(lambda: inner())).splitlines()
    assert (first, line) == ("The last line of your own:", '    json.loads("{")')
    assert where.startswith(f'  File "{__file__}", line ') and where.endswith(", in inner")


def test_where_the_user_raised_it_is_not_told_twice() -> None:
    def fail() -> None:
        raise ValueError("mine")

    told = with_own_line(raised_by(fail))
    assert told.startswith("Traceback (most recent call last):") and told.endswith("ValueError: mine\n")
    assert with_own_line(ValueError("never raised")) == "ValueError: never raised\n"


@pytest.mark.parametrize(
    ("filename", "is_users"),
    [
        ("/home/me/exec.py", True),
        ("<ipython-input-3>", True),
        ("/home/me/venv/lib/python3.11/site-packages/torch/nn.py", False),
        ("/usr/lib/python3/dist-packages/yaml.py", False),
        (json.__file__, False),
        ("<frozen importlib._bootstrap>", False),
        (tracebacks.__file__, False),
        (__file__, True),
    ],
)
def test_whose_file_it_is(filename: str, is_users: bool) -> None:
    assert tracebacks._is_users(filename) is is_users
