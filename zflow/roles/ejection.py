"""Replicas that fail again and again while others are well: they get nothing for a while, then one request to prove it.

Four rules:

1. A failure is what the replica or the way to it is to blame for: a ready connection lost, a deadline that passed
   while it had the request, a request handed back unstarted. What user code raises is none. An answer that somebody
   waited for ends the row of failures.
2. After `FAILURES` in a row it is ejected for `PAUSE` seconds; the second time for twice that, then three times, up to
   `LONGEST`. Then it may have one request. If that goes well it is as it was; if not, it is ejected again.
3. At most half of the replicas are ejected, and none where no other one is ready and without failures of its own.
4. Where the others are gone, whoever was ejected is better than nobody.

While nobody fails, all of it costs one look at a number for each answer.
"""

from __future__ import annotations

from collections.abc import Collection

from zflow.roles.liveness import LEFT, READY, Neighbour

FAILURES = 5
PAUSE = 5.0
LONGEST = 300.0


class Ejection:
    """Who of a head's replicas is out. is_active: somebody is."""

    def __init__(self) -> None:
        self.is_active = False
        self._out: list[tuple[float, Neighbour]] = []

    def failed(self, neighbour: Neighbour, neighbours: Collection[Neighbour], why: str, now: float) -> None:
        """`neighbour` has failed once more."""
        neighbour.failures += 1
        if neighbour.is_ejected or (neighbour.failures < FAILURES and not neighbour.on_probation):
            return
        if neighbour.state == LEFT or not self._may_do_without(neighbour, neighbours):
            return
        neighbour.ejections += 1
        pause = min(PAUSE * neighbour.ejections, LONGEST)
        neighbour.eject(f"ejected for {pause:g} s after {neighbour.failures} failures in a row, the last one: {why}")
        self._out.append((now + pause, neighbour))
        self.is_active = True

    def next_due(self) -> float | None:
        """When the next one may prove itself."""
        return min((when for when, _ in self._out), default=None)

    def readmit(self, neighbours: Collection[Neighbour], now: float) -> None:
        """Whose time is over may have one request; where nobody else is left, so may all."""
        is_needed = not any(item.state == READY and not item.is_ejected for item in neighbours)
        left = []
        for when, neighbour in self._out:
            if when <= now or is_needed:
                neighbour.put_on_probation()
            elif neighbour.state != LEFT:
                left.append((when, neighbour))
        self._out = left
        self.is_active = bool(left)

    def _may_do_without(self, neighbour: Neighbour, neighbours: Collection[Neighbour]) -> bool:
        known = [item for item in neighbours if item.state != LEFT]
        if 2 * (1 + sum(item.is_ejected for item in known)) > len(known):
            return False
        others = [item for item in known if item is not neighbour]
        return any(item.state == READY and not item.is_ejected and not item.failures for item in others)
