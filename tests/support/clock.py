"""A clock that stands still until a test moves it, and ids that come in order."""

from __future__ import annotations

from itertools import count


class Clock:
    """Seconds of a monotonic clock that nobody winds: `now` moves only by `advance` and `move_to`."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def advance(self, seconds: float) -> float:
        """Let `seconds` pass; returns the time it is then."""
        return self.move_to(self.now + seconds)

    def move_to(self, when: float) -> float:
        """Make it `when`, which must not be in the past."""
        if when < self.now:
            raise ValueError(f"a monotonic clock cannot go back from {self.now} to {when}")
        self.now = when
        return when


class Ids:
    """Makes 16-byte ids that differ and can be told apart by a reader: 1, 2, 3 ... behind `prefix`."""

    def __init__(self, prefix: bytes = b"id") -> None:
        self._prefix = prefix
        self._numbers = count(1)

    def __call__(self) -> bytes:
        return self._prefix + next(self._numbers).to_bytes(16 - len(self._prefix), "big")
