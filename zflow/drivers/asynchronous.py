"""Runs a role on an asyncio loop: AsyncClient and asynchronous Flows.

All calls of one loop share one role and its connections. ZeroMQ's descriptors tell only that something *may* have
happened (they are edge-triggered), so every wake-up, and every send, is followed by turns until nothing is left.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from zflow.drivers.carrier import Carrier, clock
from zflow.drivers.directory import Directory
from zflow.roles.contract import APPLICATION, Role
from zflow.wire.header import Kind, Message


class AsyncLane:
    """One role on the running loop. Make it, use it and close it inside that loop."""

    def __init__(self, role: Role, directory: Directory) -> None:
        self._loop = asyncio.get_running_loop()
        self._role = role
        self._carrier = Carrier(role, directory)
        self._inboxes: dict[bytes, asyncio.Queue[Message]] = {}
        self._watched: set[int] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._turn()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop it lives in."""
        return self._loop

    def ask(self, request: Message, inbox: asyncio.Queue[Message]) -> None:
        """Send `request` on its way; its outcome is put into `inbox`."""
        self._inboxes[request.call_id] = inbox
        self._carrier.deliver(APPLICATION, request)
        self._turn()

    def cancel(self, call_id: bytes) -> None:
        """Give up a call: nobody waits for its outcome any more."""
        if self._inboxes.pop(call_id, None) is not None:
            self._carrier.deliver(APPLICATION, Message(Kind.CANCEL, call_id))
            self._turn()

    def close(self) -> None:
        """Say goodbye to the peers and leave the loop."""
        if self._timer is not None:
            self._timer.cancel()
        for descriptor in self._watched:
            self._loop.remove_reader(descriptor)
        self._watched.clear()
        self._carrier.close()

    def _turn(self) -> None:
        carrier = self._carrier
        while carrier.turn(0.0):
            pass
        while carrier.answered:
            outcome = carrier.answered.popleft()
            inbox = self._inboxes.pop(outcome.call_id, None)
            if inbox is not None:
                inbox.put_nowait(outcome)
        self._watch()
        self._wake_in_time()

    def _watch(self) -> None:
        wanted = set(self._carrier.descriptors())
        for descriptor in self._watched - wanted:
            self._loop.remove_reader(descriptor)
        for descriptor in wanted - self._watched:
            self._loop.add_reader(descriptor, self._turn)
        self._watched = wanted

    def _wake_in_time(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self._carrier.next_due()
        if due is not None:
            self._timer = self._loop.call_later(max(0.0, due - clock()), self._turn)


async def answers(inbox: asyncio.Queue[Message]) -> AsyncIterator[Message]:
    """At least one outcome, and all that have come with it."""
    yield await inbox.get()
    while not inbox.empty():
        yield inbox.get_nowait()
