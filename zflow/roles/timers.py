"""Points in time at which something is due for a call, with calls that were settled meanwhile left out.

Settling a call must not cost a search, so its timer stays in the heap until it is due or until the settled ones are
the most: then all of them are swept out at once.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

from zflow.wire.header import Message

_SWEEP = 1024


class Settleable(Protocol):
    """A call, or whatever else waits for a time."""

    @property
    def request(self) -> Message | None:
        """None once it is settled."""


CallT = TypeVar("CallT", bound=Settleable)


class Timers(Generic[CallT]):
    """A heap of (time in seconds, call)."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, CallT]] = []
        self._sequence = 0
        self._sweep_at = _SWEEP

    def add(self, when: float, call: CallT) -> None:
        """`call` is due at `when`."""
        if len(self._heap) >= self._sweep_at:
            self._heap = [entry for entry in self._heap if entry[2].request is not None]
            heapq.heapify(self._heap)
            self._sweep_at = max(_SWEEP, 2 * len(self._heap))
        self._sequence += 1  # breaks ties: calls cannot be compared
        heapq.heappush(self._heap, (when, self._sequence, call))

    def due(self, now: float) -> Iterator[CallT]:
        """The unsettled calls whose time has come, earliest first; each is given once."""
        while self._heap and self._heap[0][0] <= now:
            call = heapq.heappop(self._heap)[2]
            if call.request is not None:
                yield call

    def next(self) -> float | None:
        """The earliest time, perhaps of a call that is settled already."""
        return self._heap[0][0] if self._heap else None
