"""How callers wait for the supervisor's thread, and see how far it is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

PULSE = 1.0  # seconds after which those who want it are told again, though nothing has changed

Progress = Callable[[Sequence[str], Sequence[str]], None]


class Acting(threading.Thread):
    """A thread that can be waited for again after Ctrl-C has interrupted the wait.

    `Thread.join` of CPython 3.11 and others, when it is interrupted, releases the lock that the running thread holds
    and takes it for ended (`_wait_for_tstate_lock`, bpo-45274): the next join returns at once, and then a process that
    was told to end by a second Ctrl-C left its children behind.
    """

    def __init__(self, act: Callable[[], None], name: str) -> None:
        super().__init__(target=act, name=name, daemon=True)
        self._is_over = threading.Event()

    def run(self) -> None:
        """Act, and let those who wait know that it is over."""
        try:
            super().run()
        finally:
            self._is_over.set()

    def join(self, timeout: float | None = None) -> None:
        """Wait until it is over. Raises KeyboardInterrupt, as often as there is one."""
        if self.ident is not None:
            self._is_over.wait(timeout)


class Watch:
    """`notify` is called by the thread that acts, after everything that it does."""

    def __init__(self) -> None:
        self._changed = threading.Condition()

    def notify(self) -> None:
        """Something has changed: whoever waits shall look."""
        with self._changed:
            self._changed.notify_all()

    def until(
        self,
        is_over: Callable[[], bool],
        progress: Callable[[], tuple[list[str], list[str]]],
        tell: Progress | None,
        pulse: float | None = None,
    ) -> None:
        """Return when it `is_over`. Until then `tell` of every new `progress`: the names awaited, and those there.

        pulse: tell it again after so many seconds in which nothing has changed.
        """
        told = None
        while True:
            with self._changed:
                is_time = False
                while (seen := progress()) == told and not is_over() and not is_time:
                    is_time = not self._changed.wait(pulse)
                over = is_over()
            if (seen != told or is_time) and tell is not None:
                tell(*seen)
            if over:
                return
            told = seen
