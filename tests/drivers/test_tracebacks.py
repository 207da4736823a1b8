"""Tracebacks begin with the user's code, and tell where that was last."""

from __future__ import annotations

import json
import traceback
from pathlib import Path

import pytest

from zflow.drivers import tracebacks
from zflow.drivers.tracebacks import remote_traceback, users_frames


def called(code: str, caller: str = "zflow.drivers.user_code") -> BaseException:
    """What comes of user code that a module of ours calls, which calls another one of ours before."""
    namespace = {"__name__": caller, "users": code}
    exec(compile("def call(f):\n    f()\n", "<ours>", "exec"), namespace)
    method: dict = {"__name__": "users", "json": json}
    exec(compile(code, "/home/me/exec.py", "exec"), method)
    try:
        namespace["call"](lambda: namespace["call"](method["encode"]))
    except BaseException as error:
        return error.with_traceback(error.__traceback__.tb_next if error.__traceback__ else None)
    raise AssertionError("nothing was raised")


@pytest.mark.parametrize("caller", ["zflow.drivers.user_code", "zflow.processes.entry", "asyncio.events"])
def test_our_frames_above_the_users_are_left_out(caller: str) -> None:
    error = called("def encode():\n    raise ValueError('mine')\n", caller)
    shown = [frame.filename for frame in traceback.extract_tb(users_frames(error))]
    assert "/home/me/exec.py" in shown and shown[0] != "<ours>"


def test_the_users_last_line_is_told_first_where_a_library_raised() -> None:
    error = called("def encode():\n    inner()\n\ndef inner():\n    json.loads('{')\n")
    first, where, *_ = remote_traceback(error).splitlines()
    assert first == "The last line of your own:"
    assert where == '  File "/home/me/exec.py", line 5, in inner'
    assert remote_traceback(error).count("Traceback (most recent call last):") == 1


def test_it_is_not_told_twice_where_the_user_raised() -> None:
    error = called("def encode():\n    raise ValueError('mine')\n")
    told = remote_traceback(error)
    assert told.startswith("Traceback (most recent call last):") and told.endswith("ValueError: mine\n")


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
        (str(Path(__file__)), True),
    ],
)
def test_whose_file_it_is(filename: str, is_users: bool) -> None:
    assert tracebacks._is_users(filename) is is_users


def test_an_error_without_a_traceback_is_told_all_the_same() -> None:
    assert remote_traceback(ValueError("never raised")) == "ValueError: never raised\n"
