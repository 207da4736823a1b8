"""Runs a role on the caller's own thread, until the answers are there: `Flow.post` and `Client.post`.

Nothing runs between two posts. A `Lane` is one role with its own connections, used by one thread at a time; a `Lanes`
is the pool that several threads take them from, so that no thread waits for another's request and none shares a
socket.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from zflow.drivers.carrier import Carrier, clock
from zflow.drivers.directory import Directory
from zflow.errors import Unavailable
from zflow.roles.contract import APPLICATION, Role
from zflow.wire.header import Message

_IDLE_LANES = 16


class Lane:
    """One role, driven while somebody waits for an answer."""

    def __init__(self, role: Role, directory: Directory) -> None:
        self._carrier = Carrier(role, directory)
        self.owner = os.getpid()

    def catch_up(self) -> None:
        """Learn what happened while nobody looked: a peer that left must be known before it is sent anything."""
        self._carrier.turn(0.0)

    def ask(self, request: Message) -> None:
        """Send `request` on its way; its outcome comes from `answers`."""
        self._carrier.deliver(APPLICATION, request)

    def answers(self, until: float | None = None) -> Iterator[Message]:
        """At least one outcome, and all that have come with it; none only when the time `until` comes first."""
        answered = self._carrier.answered
        while not answered:
            if until is not None and clock() >= until:
                return
            self._carrier.turn(until)
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
        self._idle: list[Lane] = []
        self._in_use = 0
        self._lock = threading.Condition()
        self._is_closed = False

    @contextmanager
    def lane(self) -> Iterator[Lane]:
        """A lane for this thread alone. One whose use ended by an exception is not used again."""
        lane = self._take()
        try:
            lane.catch_up()
            yield lane
        except BaseException:
            self._leave()
            lane.close()
            raise
        self._give_back(lane)

    def close(self, grace: float = 0.0) -> None:
        """Close the idle lanes now, and those in use when they come back; wait at most `grace` seconds for these."""
        with self._lock:
            self._is_closed = True
            self._lock.wait_for(lambda: self._in_use == 0, grace)
            idle, self._idle = self._idle, []
        for lane in idle:
            if lane.owner == os.getpid():
                lane.close()

    def _take(self) -> Lane:
        with self._lock:
            if self._is_closed:
                raise Unavailable("it is closed already; use it inside its `with` block")
            self._in_use += 1
            while self._idle:
                lane = self._idle.pop()
                if lane.owner == os.getpid():  # sockets do not survive a fork; the child makes its own
                    return lane
        try:
            return Lane(self._new_role(), self._directory)
        except BaseException:
            self._leave()
            raise

    def _give_back(self, lane: Lane) -> None:
        with self._lock:
            self._leave()
            if not self._is_closed and len(self._idle) < _IDLE_LANES:
                self._idle.append(lane)
                return
        lane.close()

    def _leave(self) -> None:
        with self._lock:
            self._in_use -= 1
            if self._is_closed:
                self._lock.notify_all()
