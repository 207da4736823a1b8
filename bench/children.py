"""Starts and ends the floor's processes: each reports where it is bound, each ends with the block that started it."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

START_S = 20.0
END_S = 5.0


class Child:
    """One process of the floor, running since it was made."""

    def __init__(self, *arguments: str) -> None:
        root = Path(__file__).resolve().parent.parent
        command = [sys.executable, "-m", "bench.floor", *arguments]
        # A session of its own: whatever it forks is ended with it.
        self._process = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, start_new_session=True)
        self.pid = self._process.pid
        self._what = arguments[0]

    def addresses(self, count: int) -> list[str]:
        """Wait until `count` addresses are reported. Raises TimeoutError, or RuntimeError when the child has ended."""
        assert self._process.stdout is not None
        pipe, told, deadline = self._process.stdout.fileno(), b"", time.monotonic() + START_S
        while told.count(b"\n") < count:
            if not select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise TimeoutError(f"the floor's {self._what} reported no address within {START_S:.0f} s")
            chunk = os.read(pipe, 65_536)
            if not chunk:
                raise RuntimeError(f"the floor's {self._what} ended before it was ready; its error stands above")
            told += chunk
        return told.decode().split()

    def end(self) -> None:
        """Terminate the process and everything it forked, and wait for it."""
        for how in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, how)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(END_S)
                break
        if self._process.stdout is not None:
            self._process.stdout.close()


@contextlib.contextmanager
def process(*arguments: str) -> Iterator[Child]:
    """A child that ends with the block, whatever happens in it."""
    child = Child(*arguments)
    try:
        yield child
    finally:
        child.end()
