"""Requests whose replica died: they run alone, so that the one that kills is found and no other is blamed for it.

Four rules:

1. Where a replica is lost with few requests, each of them is a suspect. Suspects run one after another, each on a
   replica that has nothing else; one replica is kept free for them until all are done.
2. A suspect whose replica is lost again is poison if both replicas have died. Whether they have is known when they come
   back, by their incarnation; a connection that broke is nobody's fault. Who comes back may tell which calls it ran
   when it died: no other is blamed then, for what killed it may have come from another head.
3. Nothing is sent anew before it is known who else was lost in that moment: of what kills all replicas at once no
   request is guilty.
4. Where many were lost at once (a gateway, calls that wait for others) nobody is kept waiting: they are sent again
   as they are, and the number of attempts bounds what one of them can do.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from zflow.roles.balancing import least_outstanding
from zflow.roles.call import Call
from zflow.roles.liveness import READY, Neighbour

MOST_SUSPECTS = 8
TOGETHER = 0.05  # seconds after a loss in which others are lost by the same cause; a death is heard of in 8 ms


class Isolation:
    """The suspects of one head. is_active: there are some, or a replica is kept free for them."""

    def __init__(self) -> None:
        self.is_active = False
        self._waiting: deque[Call] = deque()
        self._reserved: Neighbour | None = None

    def add(self, call: Call) -> None:
        """`call` is a suspect, or is one still. Whoever was sent first comes last, and runs first."""
        self._waiting.appendleft(call)
        self.is_active = True

    @property
    def oldest(self) -> Call | None:
        """The first that waits."""
        while self._waiting and self._waiting[0].request is None:
            self._waiting.popleft()  # it was settled meanwhile
        return self._waiting[0] if self._waiting else None

    def popleft(self) -> Call:
        """The first, which is not to wait any more."""
        return self._waiting.popleft()

    def take(self, neighbours: Iterable[Neighbour]) -> tuple[Call, Neighbour] | None:
        """A suspect and the replica that has nothing else for it, if that is so now. Called when anything changed."""
        call = self.oldest
        reserved = self._reserved
        if reserved is not None and (not reserved.calls or reserved.state != READY):
            reserved.lend(False)  # the next one may have to avoid it
            reserved = self._reserved = None
        if call is None:
            self.is_active = reserved is not None
            return None
        if reserved is None:
            reserved = self._reserved = least_outstanding(neighbours, call.avoid)
            if reserved is None:
                return None
            reserved.lend(True)
        return None if reserved.calls else (self._waiting.popleft(), reserved)


def is_poison(call: Call) -> bool | None:
    """Whether each replica that was lost with `call` has died, and may have of it; None while not all can tell."""
    verdicts = [neighbour.has_died_with(call.call_id, boot) for neighbour, boot in call.losses]
    if False in verdicts:
        return False
    return None if None in verdicts else True


def why_poison(call: Call) -> str:
    """What speaks against `call`, for people."""
    lost = " and ".join(neighbour.link for neighbour, _ in call.losses)
    causes = "; ".join(dict.fromkeys(neighbour.cause for neighbour, _ in call.losses if neighbour.cause))
    how = f"were lost while they had it, and are not back ({causes})" if causes else "died while they had it"
    return f"{lost} {how}; it is not sent to a third"
