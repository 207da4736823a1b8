"""Runs a role on the caller's own thread, until the answers are there: `Flow.post` and `Client.post`.

Nothing runs between two posts. A `Lane` is one role with its own connections, used by one thread at a time; a `Lanes`
is the pool that several threads take them from, so that no thread waits for another's request and none shares a
socket.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator

from zflow.drivers.carrier import Carrier, clock
from zflow.drivers.directory import Directory
from zflow.errors import Unavailable
from zflow.roles.contract import APPLICATION, Role
from zflow.wire.header import Message

_IDLE_LANES = 16
LOOK = 0.1  # seconds between two looks at the directory while nothing comes in: who waits may wait for a newcomer
_FRESH = 0.005  # seconds for which a lane need not look again whether its peers are still there


class Lane:
    """One role, driven while somebody waits for an answer. edition: of what its pool makes roles by."""

    def __init__(self, role: Role, directory: Directory, edition: int = 0) -> None:
        self.edition = edition
        self._carrier = Carrier(role, directory)
        self._looked_at = 0.0

    def catch_up(self) -> None:
        """Learn what happened while nobody looked: a peer that left must be known before it is sent anything."""
        if clock() - self._looked_at > _FRESH:
            self._carrier.turn(0.0)
            self._looked_at = clock()

    def ask(self, request: Message) -> None:
        """Send `request` on its way; its outcome comes from `answers`."""
        self.catch_up()  # inputs and callbacks may take their time
        self._carrier.deliver(APPLICATION, request)

    def answers(self, until: float | None = None) -> Iterator[Message]:
        """At least one outcome, and all that have come with it; none only when the time `until` comes first."""
        answered = self._carrier.answered
        while not answered:
            look = clock() + LOOK
            self._carrier.turn(look if until is None or look < until else until)
            if not answered and until is not None and clock() >= until:
                return
        self._looked_at = clock()
        while answered:
            yield answered.popleft()

    def close(self) -> None:
        """Say goodbye to the peers."""
        self._carrier.close()


class Lanes:
    """A pool of lanes. `new_role` makes the role of each."""

    def __init__(self, new_role: Callable[[], Role], directory: Directory) -> None:
        self._new_role = new_role
        self._directory = directory
        self._is_closed = False
        self._edition = 0
        self._begin()

    def _begin(self) -> None:
        """Nothing is open in this process yet. After a fork sockets are the parent's, and so is who holds the lock."""
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._given_back = threading.Condition(self._lock)
        self._idle: list[Lane] = []
        self._in_use = 0
        self._outdated = 0

    def renew(self, new_role: Callable[[], Role], grace: float) -> None:
        """Make other roles from now on. Who uses one of the old ones goes on with it; wait for them for at most `grace`
        seconds."""
        with self._lock:
            self._new_role = new_role
            self._edition += 1
            self._outdated = self._in_use
            idle, self._idle = self._idle, []
        for lane in idle:
            lane.close()
        with self._lock:
            self._given_back.wait_for(lambda: self._outdated == 0, grace)

    def close(self, grace: float = 0.0) -> None:
        """Close the idle lanes now, and those in use when they come back; wait at most `grace` seconds for these."""
        if self._owner != os.getpid():
            self._begin()
        with self._lock:
            self._is_closed = True
            self._given_back.wait_for(lambda: self._in_use == 0, grace)
            idle, self._idle = self._idle, []
        for lane in idle:
            lane.close()

    def take(self) -> Lane:
        """A lane for this thread alone, to be given back or dropped. Raises Unavailable when the pool is closed."""
        if self._owner != os.getpid():
            self._begin()
        with self._lock:
            if self._is_closed:
                raise Unavailable("it is closed already; use it inside its `with` block")
            self._in_use += 1
            lane = self._idle.pop() if self._idle else None
            edition, new_role = self._edition, self._new_role
        try:
            if lane is None:
                lane = Lane(new_role(), self._directory, edition)
            lane.catch_up()
            return lane
        except BaseException:
            self.drop(lane)
            raise

    def give_back(self, lane: Lane) -> None:
        """`lane` may be used by others."""
        with self._lock:
            self._in_use -= 1
            if not self._is_closed and lane.edition == self._edition and len(self._idle) < _IDLE_LANES:
                self._idle.append(lane)
                return
            self._left(lane)
        lane.close()

    def drop(self, lane: Lane | None) -> None:
        """`lane` was left in the middle of something and cannot be used again."""
        with self._lock:
            self._in_use -= 1
            self._left(lane)
        if lane is not None:
            lane.close()

    def _left(self, lane: Lane | None) -> None:
        if lane is not None and lane.edition != self._edition:
            self._outdated -= 1
        self._given_back.notify_all()
