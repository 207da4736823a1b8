"""Tells those who ask workers where they are and which there are: the directory here, and the gateway's process.

A gateway confirms that it has seen a change of replicas. Only then may one that was left out be told to end: what is
still sent to it reaches it alive.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from zflow.drivers.directory import Directory
from zflow.processes.channel import Words

_END, _MOST = "\n", 512  # what happened may be a whole traceback
CONFIRMATION = 5.0  # seconds that a gateway has; one that is stopped by a debugger must not stop everything


class Announcer:
    """say_to_gateway: says words to the gateway's process, if there is one, and returns whether there is."""

    def __init__(self, directory: Directory, say_to_gateway: Callable[[Words], bool]) -> None:
        self._directory = directory
        self._say_to_gateway = say_to_gateway
        self._numbers = 0
        self._awaited: dict[int, tuple[float, Callable[[], None]]] = {}  # oldest first

    @property
    def due(self) -> float | None:
        """When `expire` must be called."""
        return next((by for by, _ in self._awaited.values()), None)

    def address(self, link: str, address: str | None) -> None:
        """The worker at the end of `link` is at `address` now; None: it is gone."""
        if address is None:
            self._directory.remove(link)
        else:
            self._directory.set(link, address)
        self._say_to_gateway({"address": [link, address]})

    def given_up(self, link: str, what_happened: str) -> None:
        """The worker at the end of `link` has failed once more, and will not be back soon."""
        why = f"it has failed too often, and is given up for now: {what_happened.partition(_END)[0]}"[:_MOST]
        self._directory.give_up(link, why)
        self._say_to_gateway({"given up": [link, why]})

    def replicas(
        self, group: str, links: Sequence[str], addresses: dict[str, str], then: Callable[[], None], now: float
    ) -> None:
        """The replicas of `group` are `links` now. Calls `then` as soon as nobody sends anything to others."""
        self._directory.set_replicas(group, links, addresses)
        self._numbers += 1
        if self._say_to_gateway({"replicas": [group, list(links), addresses], "number": self._numbers}):
            self._awaited[self._numbers] = (now + CONFIRMATION, then)
        else:
            then()

    def seen(self, number: int) -> None:
        """The gateway has seen the change with that number."""
        _, then = self._awaited.pop(number, (0.0, _nothing))
        then()

    def expire(self, now: float) -> None:
        """Go on without a gateway that has not confirmed in time."""
        for number in [number for number, (by, _) in self._awaited.items() if by <= now]:
            self.seen(number)

    def lost_gateway(self) -> None:
        """The gateway's process is gone; the next one is told everything when it is born."""
        for number in list(self._awaited):
            self.seen(number)


def _nothing() -> None:
    """It came after its time."""
