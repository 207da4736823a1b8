"""Who ends a container when its attendant cannot: a small process that waits for the attendant's end, however it ends.

A container is the engine's child, not ours: killing the process that attends to it does not touch it. What runs in it
hears of the attendant's end and ends as well, unless it hangs where Python hears nothing.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time

from zflow.processes.interpreter import command

_PATIENCE = 20.0  # seconds for one order
_TRIES = 2
_PAUSE = 1.0  # seconds; the engine may just be making the container
_ALL_IS_WELL = b"\0"
_NAME_BYTES = 256


class Guard:
    """The attendant's end of it. name: of the container, which need not be there yet. Raises OSError."""

    def __init__(self, name: str) -> None:
        import subprocess  # the guard itself seldom needs it, and is to be small

        theirs, self._ours = os.pipe()
        try:
            # A session of its own: what ends the attendant's group must not end this one.
            self._process = subprocess.Popen(
                command(__name__, "main", theirs, "zflow-guard"),
                pass_fds=(theirs,),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
        finally:
            os.close(theirs)
        os.write(self._ours, name.encode().ljust(_NAME_BYTES, b"\0"))

    def dismiss(self) -> None:
        """There is no container any more."""
        with contextlib.suppress(OSError):  # it has been ended by somebody
            os.write(self._ours, _ALL_IS_WELL)
        os.close(self._ours)
        self._process.wait()


def main(descriptor: int) -> int:
    """Its life. Returns an exit code."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    watch_over(descriptor)
    return 0


def watch_over(descriptor: int) -> None:
    """Hear which container it is, and end it unless it is said that there is none any more."""
    name = os.read(descriptor, _NAME_BYTES).rstrip(b"\0").decode()
    if name and os.read(descriptor, 1) != _ALL_IS_WELL:
        end_container(name)


def end_container(name: str) -> None:
    """Have the engine kill and remove it; again where it is not there, for it may just be being made."""
    for attempt in range(_TRIES):
        if attempt:
            time.sleep(_PAUSE)
        if remove_container(name):
            return


def remove_container(name: str) -> bool:
    """Kill it and have it forgotten. Whether it was there."""
    import subprocess  # as above

    words = ["docker", "rm", "--force", name]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(words, capture_output=True, text=True, timeout=_PATIENCE, check=False)
        return done.returncode == 0 and "No such container" not in done.stderr
    return False
