"""Runs a role on an asyncio loop: AsyncClient and asynchronous Flows.

All calls of one loop share one role and its connections. ZeroMQ's descriptors tell only that something *may* have
happened (they are edge-triggered), so every wake-up, and every send, is followed by turns until nothing is left.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from typing import Any

from zflow.drivers.carrier import Carrier, clock
from zflow.drivers.directory import Directory
from zflow.drivers.inline import LOOK
from zflow.errors import Unavailable
from zflow.roles.contract import APPLICATION, Role, failure
from zflow.wire.header import Kind, Message

_FRESH = 0.005  # seconds for which a lane need not look again whether its peers are still there


class AsyncLane:
    """One role on the running loop. Make it, use it and close it inside that loop."""

    def __init__(self, role: Role, directory: Directory) -> None:
        self._loop = asyncio.get_running_loop()
        self._role = role
        self._carrier = Carrier(role, directory)
        self._inboxes: dict[bytes, asyncio.Queue[Any]] = {}
        self._watched: dict[int, object] = {}
        self._watched_version = -1
        self._looked_at = 0.0
        self._is_closed = False
        self._timer: asyncio.TimerHandle | None = None
        self._turn()

    def ask(self, request: Message, inbox: asyncio.Queue[Any]) -> None:
        """Send `request` on its way; its outcome is put into `inbox`. Raises Unavailable after `close`."""
        if self._is_closed:
            raise Unavailable("it was closed meanwhile")
        if clock() - self._looked_at > _FRESH:
            self._turn()  # the loop was busy: a peer that left must be known before it is sent anything
        self._inboxes[request.call_id] = inbox
        self._carrier.deliver(APPLICATION, request)
        self._turn()

    def tell(self, message: Message) -> None:
        """Say something about a call that is on its way."""
        if not self._is_closed:
            self._carrier.deliver(APPLICATION, message)
            self._turn()

    def cancel(self, call_id: bytes) -> None:
        """Give up a call: nobody waits for its outcome any more."""
        if self._inboxes.pop(call_id, None) is not None:
            self._carrier.deliver(APPLICATION, Message(Kind.CANCEL, call_id))
            self._turn()

    def close(self) -> None:
        """Say goodbye to the peers and leave the loop; who still waits hears that it was closed."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        if not self._loop.is_closed():
            for descriptor in self._watched:
                self._loop.remove_reader(descriptor)
        self._watched.clear()
        self._carrier.close()
        for call_id, inbox in self._inboxes.items():
            inbox.put_nowait(failure(call_id, Unavailable("it was closed before the answer came", maybe_executed=True)))
        self._inboxes.clear()

    def _turn(self) -> None:
        carrier = self._carrier
        while carrier.turn(0.0):
            pass
        self._looked_at = clock()
        while carrier.answered:
            outcome = carrier.answered.popleft()
            take = self._inboxes.get if outcome.kind is Kind.PARTIAL else self._inboxes.pop
            inbox = take(outcome.call_id, None)
            if inbox is not None:
                inbox.put_nowait(outcome)
        self._watch()
        self._wake_in_time()

    def _watch(self) -> None:
        version = self._carrier.descriptors_version
        if version == self._watched_version:
            return
        self._watched_version = version
        watched, wanted = self._watched, self._carrier.descriptors()
        for descriptor, owner in watched.items():
            if wanted.get(descriptor) is not owner:
                self._loop.remove_reader(descriptor)
        for descriptor, owner in wanted.items():
            if watched.get(descriptor) is not owner:
                self._loop.add_reader(descriptor, self._turn)
        self._watched = wanted

    def _wake_in_time(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self._carrier.next_due()
        if self._inboxes:
            due = min(math.inf if due is None else due, clock() + LOOK)
        if due is not None:
            self._timer = self._loop.call_later(max(0.0, due - clock()), self._turn)


class AsyncLanes:
    """A lane for each loop that asks. `new_role` makes the role of each."""

    def __init__(self, new_role: Callable[[], Role], directory: Directory) -> None:
        self._new_role = new_role
        self._directory = directory
        self._lanes: dict[asyncio.AbstractEventLoop, AsyncLane] = {}
        self._is_closed = False
        self._outdated: list[dict[asyncio.AbstractEventLoop, AsyncLane]] = []

    def renew(self, new_role: Callable[[], Role], grace: float) -> None:
        """Make other roles from now on. The old ones go on with what they have, and are closed with the others."""
        self._new_role = new_role
        self._outdated.append(self._lanes)
        self._lanes = {}

    def lane(self) -> AsyncLane:
        """The lane of the running loop. Raises Unavailable after `close`."""
        if self._is_closed:
            raise Unavailable("it is closed already; use it inside its `with` block")
        loop = asyncio.get_running_loop()
        lane = self._lanes.get(loop)
        if lane is None:
            self._close_where(lambda loop: loop.is_closed())
            lane = self._lanes[loop] = AsyncLane(self._new_role(), self._directory)
        return lane

    def close(self, grace: float = 0.0) -> None:
        """Close the lane of the running loop, and those of loops that do not run any more.

        Nothing waits here: what is awaited on the running loop cannot finish before this returns.
        """
        self._is_closed = True
        try:
            here: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            here = None
        self._close_where(lambda loop: loop is here or not loop.is_running())

    def _close_where(self, condition: Callable[[asyncio.AbstractEventLoop], bool]) -> None:
        for lanes in (self._lanes, *self._outdated):
            for loop in list(lanes):  # loops of other threads may come and go meanwhile
                lane = lanes.pop(loop, None) if condition(loop) else None
                if lane is not None:
                    lane.close()


async def answers(inbox: asyncio.Queue[Any]) -> AsyncIterator[Any]:
    """At least one outcome, and all that have come with it."""
    yield await inbox.get()
    while not inbox.empty():
        yield inbox.get_nowait()
