"""Real processes, for tests from end to end: what they print, whether they live, who descends from whom."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path


def wait_for(condition: Callable[[], object], what: str, timeout: float = 20.0) -> None:
    """Return as soon as `condition` holds; fail, naming `what`, when it does not in time."""
    until = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < until, f"waited {timeout} s for {what}"
        time.sleep(0.01)


def read_until(process: subprocess.Popen[str], pattern: str) -> str:
    """What the process prints up to the line that matches `pattern`."""
    told = ""
    assert process.stdout is not None
    for line in process.stdout:
        told += line
        if re.search(pattern, line):
            return told
    raise AssertionError(f"it ended without saying {pattern!r}:\n{told}")


def descendants_of(pid: int) -> list[int]:
    """The pids of a process' children and theirs."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(child) for child in task.read_text().split()]
        except OSError:
            continue
        for child in children:
            found += [child, *descendants_of(child)]
    return found


def is_alive(pid: int) -> bool:
    """Whether a process runs, and is not just waiting to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
