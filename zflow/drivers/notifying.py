"""Tells systemd, or whoever else has started this process so, that it is ready, alive, or ending: sd_notify(3).

A datagram to the socket that NOTIFY_SOCKET names; no library is needed. The variables are taken out of the
environment, so that no process started from here speaks in our name.

Whether it is alive is asked of the loop that serves: a thread only reminds it. So a loop that hangs is noticed, and so
is user code that runs longer than WatchdogSec allows: give that only where a call may not take longer.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable

from zflow.config import environment

_MICROSECONDS = 1_000_000
_LEAST = 0.05  # seconds between two signs of life


class Notifier:
    """address: of the socket, ``@`` in front of an abstract one; empty where nobody wants to know. watchdog: seconds
    within which a sign of life is expected, 0 for never."""

    def __init__(self, address: str = "", watchdog: float = 0.0) -> None:
        self._address = address
        self._watchdog = watchdog
        self._is_ended = threading.Event()
        self._is_asked = False

    @classmethod
    def of_environment(cls) -> Notifier:
        """As the variables of this process say, which are gone afterwards."""
        told = environment.take("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
        address, period, pid = (told.get(name, "") for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"))
        is_meant = period.isdigit() and pid in ("", str(os.getpid()))
        return cls(address, int(period) / _MICROSECONDS if is_meant else 0.0)

    def ready(self, status: str) -> None:
        """It serves now. status: one line for people."""
        self._say(f"READY=1\nSTATUS={status}")

    def stopping(self) -> None:
        """It takes no more work, and ends when it has finished what there is."""
        self._say("STOPPING=1\nSTATUS=draining")

    def watch(self, ask: Callable[[Callable[[], None]], None]) -> None:
        """From now on give signs of life. ask: has the loop call something, from any thread."""
        if self._address and self._watchdog:
            threading.Thread(target=self._remind, args=(ask,), name="zflow-watchdog", daemon=True).start()

    def close(self) -> None:
        """No more signs of life."""
        self._is_ended.set()

    def _remind(self, ask: Callable[[Callable[[], None]], None]) -> None:
        while not self._is_ended.wait(max(self._watchdog / 3, _LEAST)):
            if not self._is_asked:  # a loop that is busy is asked once, not once for every time
                self._is_asked = True
                ask(self._beat)

    def _beat(self) -> None:
        self._is_asked = False
        self._say("WATCHDOG=1")

    def _say(self, words: str) -> None:
        """Nobody there is no reason not to serve."""
        if not self._address.startswith(("/", "@")):
            return
        path = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as s:
            s.sendto(words.encode(), path)
