"""Exits in, decisions out: when a process that ended is started again. Pure: time is an argument.

The first restarts follow quickly and then ever more slowly, since a cause may be gone in a moment. Who needs more than
`BURST` restarts within `WINDOW` seconds has FAILED: that is visible, and still it is tried again, slowly, because the
cause may lie elsewhere (a full disk, a model server that comes back). A quiet `WINDOW` in service clears the record.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

FIRST_PAUSE = 0.1
LAST_PAUSE = 30.0
BURST = 5
WINDOW = 60.0


class Restart(NamedTuple):
    """Start it again `after` seconds. failed: it ends too often to be called alive."""

    after: float
    failed: bool


class RestartPolicy:
    """The record of one process. Call `ready` when it is in service and `ended` when it ended unasked."""

    def __init__(self) -> None:
        self._exits: deque[float] = deque()
        self._pause = FIRST_PAUSE
        self._failed = False
        self._ready_at: float | None = None

    def ready(self, now: float) -> None:
        self._ready_at = now

    def ended(self, now: float) -> Restart:
        """It ended, or did not become ready in time and was killed."""
        if self._ready_at is not None and now - self._ready_at >= WINDOW:
            self._forgive()
        self._ready_at = None
        self._exits.append(now)
        while now - self._exits[0] >= WINDOW:
            self._exits.popleft()
        self._failed = self._failed or len(self._exits) > BURST
        if self._failed:
            return Restart(LAST_PAUSE, True)
        pause, self._pause = self._pause, min(LAST_PAUSE, self._pause * 2)
        return Restart(pause, False)

    def _forgive(self) -> None:
        self._exits.clear()
        self._pause = FIRST_PAUSE
        self._failed = False
