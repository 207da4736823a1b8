"""What a head holds: what waits for a replica, oldest first, and how many bytes the replicas have of it.

Both are bounded in bytes, what waits also in requests. The bytes are those that the parts tell of themselves, and the
heads of one process share a `Room`, since it is its memory that must stay flat: a request is kept until its outcome,
because it may have to be sent again. What does not fit among what was sent has to wait, what may not wait is refused;
but a replica that has nothing is always given one, or large requests would never be served.

What was settled meanwhile holds nothing any more and is not counted; its place in the row goes when it is reached, or
when such places are the most.
"""

from __future__ import annotations

from collections import deque

from zflow.roles.call import Call
from zflow.roles.liveness import Neighbour

QUEUE_LIMIT = 10_000
QUEUE_BYTES = 1 << 30
RETRY_AFTER = 0.1
_SWEEP = 16


class Room:
    """How many bytes may wait, and how many do; as many may have been sent besides, and so many have."""

    __slots__ = ("size", "taken", "sent")

    def __init__(self, size: int = QUEUE_BYTES) -> None:
        self.size = size
        self.taken = 0
        self.sent = 0


class Backlog(deque[Call]):
    """The calls that wait; who asks whether there are any asks the deque itself. Use `add` and `take` to change it.

    room: what it shares with the other heads of its process.
    """

    def __init__(self, room: Room | None = None, limit: int | None = None) -> None:
        super().__init__()
        self.room = room or Room()
        self._limit = limit
        self._sizes: dict[bytes, int] = {}  # of those that really wait

    @property
    def waiting(self) -> int:
        """How many really wait."""
        return len(self._sizes)

    @property
    def oldest(self) -> Call | None:
        """The first that really waits."""
        while self and self[0].request is None:
            self.popleft()  # it was settled meanwhile
        return self[0] if self else None

    def refusal(self, size: int) -> str:
        """Why a request of `size` bytes may not wait too, for people; empty where it may.

        One alone always may: no limit here must keep out what a payload may be.
        """
        limit = QUEUE_LIMIT if self._limit is None else self._limit
        if len(self._sizes) >= limit:
            return f"{limit} requests wait already"
        room = self.room
        if room.taken and room.taken + size > room.size:
            return f"requests of {room.taken} bytes wait in this process already; at most {room.size} may"
        return ""

    def may_leave(self, size: int, neighbour: Neighbour) -> bool:
        """Whether a request of `size` bytes may be sent to `neighbour`, which has room for it."""
        room = self.room
        return not neighbour.calls or room.sent + size <= room.size

    def add(self, call: Call, *, first: bool = False) -> None:
        """`call`, which no replica has, waits behind the others, or before them."""
        if len(self) > 2 * len(self._sizes) + _SWEEP:
            self._sweep()
        self.release(call)
        self._sizes[call.call_id] = call.size
        self.room.taken += call.size
        self.appendleft(call) if first else self.append(call)

    def take(self) -> Call:
        """The first one, which waits no longer."""
        call = self.popleft()
        self.release(call)
        return call

    def release(self, call: Call) -> None:
        """`call` holds nothing here any more, if it did: it does not wait, and no replica has its payload from here."""
        if call.neighbour is None:
            self.room.taken -= self._sizes.pop(call.call_id, 0)
        else:
            self.room.sent -= call.size

    def _sweep(self) -> None:
        kept = [call for call in self if call.request is not None]
        self.clear()
        self.extend(kept)
