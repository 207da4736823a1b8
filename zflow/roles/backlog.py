"""What waits in a head for a replica, oldest first: bounded in requests, and in the bytes that they hold.

Only what has to wait is counted. The bytes are counted once, from the lengths that the parts tell of themselves, and
the heads of one process share a `Room`, since it is its memory that must stay flat. What was settled meanwhile holds
nothing any more and is not counted; its place in the row goes when it is reached, or when such places are the most.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from zflow.roles.call import Call
from zflow.wire.frames import Part

QUEUE_LIMIT = 10_000
QUEUE_BYTES = 1 << 30
RETRY_AFTER = 0.1
_SWEEP = 16


class Room:
    """How many bytes may wait, and how many do."""

    __slots__ = ("size", "taken")

    def __init__(self, size: int = QUEUE_BYTES) -> None:
        self.size = size
        self.taken = 0


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

    def refusal(self, parts: Sequence[Part]) -> str:
        """Why a request of `parts` may not wait too, for people; empty where it may.

        One alone always may: no limit here must keep out what a payload may be.
        """
        limit = QUEUE_LIMIT if self._limit is None else self._limit
        if len(self._sizes) >= limit:
            return f"{limit} requests wait already"
        room = self.room
        if room.taken and room.taken + size_of(parts) > room.size:
            return f"requests of {room.taken} bytes wait in this process already; at most {room.size} may"
        return ""

    def add(self, call: Call, *, first: bool = False) -> None:
        """`call` waits behind the others, or before them."""
        if len(self) > 2 * len(self._sizes) + _SWEEP:
            self._sweep()
        size = size_of(call.request.parts) if call.request is not None else 0
        self.release(call)
        self._sizes[call.call_id] = size
        self.room.taken += size
        self.appendleft(call) if first else self.append(call)

    def take(self) -> Call:
        """The first one, which waits no longer."""
        call = self.popleft()
        self.release(call)
        return call

    def release(self, call: Call) -> None:
        """`call` holds nothing here any more, if it did."""
        self.room.taken -= self._sizes.pop(call.call_id, 0)

    def _sweep(self) -> None:
        kept = [call for call in self if call.request is not None]
        self.clear()
        self.extend(kept)


def size_of(parts: Sequence[Part]) -> int:
    """The bytes of a payload."""
    return sum([sum(item.sizes) for item in parts])
