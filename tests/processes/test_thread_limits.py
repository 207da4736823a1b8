"""Libraries that were loaded before learn how many threads they may use."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from zflow.processes import thread_limits
from zflow.processes.thread_limits import limit_loaded

LIMITED = """
import ctypes, os
import numpy
from zflow.processes import thread_limits

libraries = thread_limits._loaded()
called = thread_limits.limit_loaded(1)
for path in libraries:
    library = ctypes.CDLL(path)
    for setter in called:
        getter = getattr(library, setter.replace("_set_", "_get_").replace("_Set_", "_Get_Max_"), None)
        if getter is not None:
            print(setter, getter())
"""


def test_a_library_that_is_loaded_uses_no_more() -> None:
    done = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True, timeout=20, check=True)
    if not done.stdout:
        pytest.skip("this numpy brings no library with threads that can be told")
    assert {line.split()[1] for line in done.stdout.splitlines()} == {"1"}


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ("7f-8f r-xp 00 fd:01 12   /a/numpy.libs/libscipy_openblas64_-32a4.so\n", True),
        ("7f-8f r-xp 00 fd:01 12   /usr/lib/libopenblas.so.0\n", True),
        ("7f-8f r-xp 00 fd:01 12   /usr/lib/libgomp.so.1.0.0\n", True),
        ("7f-8f r-xp 00 fd:01 12   /opt/lib/libmkl_rt.so.2\n", True),
        ("7f-8f r-xp 00 fd:01 12   /opt/lib/libiomp5.so\n", True),
        ("7f-8f r-xp 00 fd:01 12   /usr/lib/libcomposite.so\n", False),
        ("7f-8f r-xp 00 fd:01 12   /usr/lib/libc.so.6\n", False),
        ("7f-8f rw-p 00 00:00 0    [heap]\n", False),
    ],
)
def test_which_libraries_are_meant(line: str, path: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    maps = tmp_path / "maps"
    maps.write_text(line)
    monkeypatch.setattr(thread_limits, "_MAPS", str(maps))
    assert bool(thread_limits._loaded()) is path


def test_where_nothing_can_be_found_out_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thread_limits, "_MAPS", "/no/such/file")
    assert limit_loaded(1) == []
