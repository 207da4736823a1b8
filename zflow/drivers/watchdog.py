"""Ends this process when a method of the user's goes on long after the time of its request was over.

It may hang for ever, perhaps in C with Python's lock held, so that no thread of ours would ever run again. Only the
kernel can be relied on: a timer is set before the method runs and taken back after it, two system calls in all. When
it fires, where every thread is goes to stderr and SIGALRM ends the process; whoever supervises it starts another one.

User code that has a handler for SIGALRM, or a timer, of its own keeps them, and is not watched.
"""

from __future__ import annotations

import contextlib
import faulthandler
import signal
import time

PATIENCE = 5.0  # seconds after the deadline, and between two times that a method asks `self.cancelled`
_TOLERANCE = 0.1  # seconds by which a timer of ours may differ from what we believe of it

clock = time.monotonic


class Watchdog:
    """Of one process, in which one method runs at a time."""

    def __init__(self) -> None:
        self._is_ready = False
        self._is_off = False
        self._due = 0.0  # 0: nothing is watched

    def watch(self, budget: float) -> None:
        """A method begins, or goes on, that has `budget` microseconds."""
        if not self._is_ready:
            self._get_ready()
        if not self._is_off:
            self._set(clock() + budget / 1e6 + PATIENCE)

    def heard(self) -> None:
        """The method that runs has asked whether it is still wanted: it does not hang."""
        if self._due and self._due - clock() < PATIENCE and self._take_back():
            self._set(clock() + PATIENCE)

    def rest(self) -> None:
        """It has returned."""
        if self._due:
            self._take_back()

    def _set(self, due: float) -> None:
        self._due = due
        self._keep_off(signal.setitimer(signal.ITIMER_REAL, max(0.001, due - clock())))

    def _take_back(self) -> bool:
        """Returns whether the timer was ours still."""
        left, interval = signal.setitimer(signal.ITIMER_REAL, 0.0)
        is_ours = interval == 0.0 and abs(self._due - clock() - left) < _TOLERANCE
        self._due = 0.0
        if not is_ours:
            self._keep_off((left, interval))
        return is_ours

    def _keep_off(self, timer: tuple[float, float]) -> None:
        """`timer` was set when we came. One that was is the user's, and goes on."""
        if timer != (0.0, 0.0):
            self._is_off, self._due = True, 0.0
            signal.setitimer(signal.ITIMER_REAL, *timer)

    def _get_ready(self) -> None:
        self._is_ready = True
        self._is_off = signal.getsignal(signal.SIGALRM) is not signal.SIG_DFL
        if not self._is_off:
            with contextlib.suppress(RuntimeError, ValueError, OSError, AttributeError):  # without a stderr
                faulthandler.register(signal.SIGALRM, all_threads=True, chain=True)
