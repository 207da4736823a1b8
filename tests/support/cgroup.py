"""A bound on the memory of some processes together, past which the kernel kills one: a cgroup of either kind."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_MOUNTED = Path("/sys/fs/cgroup")
_SWEEP = 5.0  # seconds for the last process to be gone from it


class Cgroup:
    """One cgroup. folder: where the kernel shows it. limit, told: its files of the bound, and of how many it killed."""

    def __init__(self, folder: Path, limit: str, told: str) -> None:
        self._folder = folder
        self._limit = folder / limit
        self._told = folder / told

    def open(self, most: int) -> None:
        """Make it; all processes in it together may have `most` bytes."""
        self._folder.mkdir()
        self._limit.write_text(str(most))
        self._told.read_text()

    def join(self) -> None:
        """This process, and whatever it will start, is in it from now on."""
        (self._folder / "cgroup.procs").write_text(str(os.getpid()))

    @property
    def kills(self) -> int:
        """How many processes in it the kernel has killed."""
        found = re.search(r"^oom_kill (\d+)$", self._told.read_text(), re.MULTILINE)
        assert found is not None, self._told
        return int(found[1])

    def close(self) -> None:
        """Remove it; it has to be empty in a moment."""
        until = time.monotonic() + _SWEEP
        while self._folder.exists():
            try:
                self._folder.rmdir()
            except OSError:
                assert time.monotonic() < until, f"processes are left in {self._folder}"
                time.sleep(0.01)


def _new() -> Cgroup:
    name = f"zflow-{os.getpid()}-{time.monotonic_ns()}"
    if (_MOUNTED / "memory").is_dir():
        return Cgroup(_MOUNTED / "memory" / name, "memory.limit_in_bytes", "memory.oom_control")
    return Cgroup(_MOUNTED / name, "memory.max", "memory.events")


def cgroup_fault() -> str:
    """Why memory cannot be bounded here; empty where it can."""
    made = _new()
    try:
        made.open(1 << 30)
        made.kills  # noqa: B018  (an old kernel does not count them)
    except (OSError, AssertionError) as error:
        return f"no cgroup can be made that bounds memory: {error}"
    finally:
        made.close()
    return ""


@contextmanager
def bounded(most: int) -> Iterator[Cgroup]:
    """A cgroup whose processes may have `most` bytes together. They must have ended when it is left."""
    made = _new()
    try:
        made.open(most)
        yield made
    finally:
        made.close()
