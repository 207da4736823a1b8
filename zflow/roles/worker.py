"""Serves one Executor: a short queue in front of the local link "executor", and its outcomes as answers.

Two rules:

1. One call runs at a time, on the worker's own thread; between calls everything that waits at the door is read, so
   that a cancel or a deadline still finds its call in the queue. What is batched runs as one call together.
2. A connection may have `credit` calls here, running or queued. What exceeds it, comes after a DRAIN or has run out
   of time is answered at once with a FAILURE that says it was not started.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any

from zflow.errors import Cancelled, DeadlineExceeded, RemoteError, ResourceExhausted, Unavailable
from zflow.roles.batching import Batching
from zflow.roles.contract import EXECUTOR, Batch, Link, Steps, failure
from zflow.roles.front_door import FrontDoor
from zflow.roles.timers import Timers
from zflow.wire.header import Kind, Message


class _Call:
    """A request that is here. `request` is None once it is answered: a deadline far away must not keep its payload."""

    __slots__ = ("link", "call_id", "request")

    def __init__(self, link: Link, request: Message) -> None:
        self.link = link
        self.call_id = request.call_id
        self.request: Message | None = request


class Worker:
    """The worker role. name: as in ``executor0/rep-0``; describe: endpoints and versions, for DESCRIBE; batching: where
    requests wait for company, if some do."""

    def __init__(
        self,
        name: str,
        *,
        boot: bytes,
        credit: int = 4,
        new_nonce: Callable[[], bytes] | None = None,
        idempotent: Sequence[str] = (),
        describe: Callable[[], Mapping[str, Any]] = dict,
        batching: Batching[_Call] | None = None,
    ) -> None:
        self.name = name
        self.door = FrontDoor(
            name,
            "worker",
            boot=boot,
            credit=credit,
            new_nonce=new_nonce,
            idempotent=idempotent,
            describe=describe,
            status=self._status,
        )
        self._queue: deque[_Call] = deque()
        self._batching = batching
        self._running: dict[bytes, _Call] = {}
        self._deadlines: Timers[_Call] = Timers()
        self._calls: dict[bytes, _Call] = {}
        self._outstanding: dict[Link, int] = {}
        self._served = 0

    def ways_out(self) -> Sequence[str]:
        return ()

    def receive(self, link: Link, message: Message, now: float) -> Steps:
        if link == EXECUTOR:
            return self._finished(message)
        answers = self.door.receive(link, message, now)
        if answers is not None:
            return answers
        if message.kind is Kind.CANCEL:
            return self._cancel(link, message.call_id)
        return self._request(link, message, now)

    def opened(self, link: str, now: float) -> Steps:
        return []

    def lost(self, link: Link, reason: str, now: float) -> Steps:
        """The caller is gone: its queued calls with it. A running one goes on; nobody will hear of it."""
        self.door.forget(link)
        for call in self._queue if self._batching is None else chain(self._queue, self._batching):
            if call.link == link and call.request is not None:
                self._forget(call)
        return []

    def expire(self, now: float) -> Steps:
        self.door.expire(now)
        steps: Steps = []
        if self._deadlines.next() is not None:
            for call in self._deadlines.due(now):
                if call.call_id not in self._running:
                    steps.append(self._too_late(call))
        while not self._running:
            if self._batching is not None and (together := self._batching.take(now, bool(self._queue))):
                steps.append(self._start_together(together))
            elif not self._queue:
                break
            elif (call := self._queue.popleft()).request is not None:
                steps.append(self._start(call, call.request))
        return steps

    def next_deadline(self) -> float | None:
        if self._queue and not self._running:
            return 0.0  # work can begin as soon as everything that waits at the door has been read
        due, leaves_at = self._deadlines.next(), self.door.leaves_at
        if self._batching is not None and not self._running and (waited := self._batching.next_due()) is not None:
            due = waited if due is None else min(due, waited)
        if due is None or leaves_at is None:
            return leaves_at if due is None else due
        return min(due, leaves_at)

    def malformed(self, link: Link, error: RemoteError, now: float) -> Steps:
        return self.door.malformed(link, error)

    def drain(self, now: float) -> Steps:
        if self._batching is not None:
            self._batching.drain()
        return self.door.drain(now)

    def is_idle(self, now: float) -> bool:
        return not self._calls and self.door.is_left(now)

    def _request(self, link: Link, message: Message, now: float) -> Steps:
        call_id = message.call_id
        if call_id in self._calls:
            if self._calls[call_id].link == link:
                self.door.dropped += 1  # the answer to the first of the two answers both
                return []
            taken = Unavailable(
                "the same call is already here from another connection", peer=self.name, maybe_executed=True
            )
            return [(link, failure(call_id, taken))]
        if self.door.draining:
            leaving = Unavailable(f"{self.name} is shutting down", peer=self.name)
            return [(link, failure(call_id, leaving, not_started=True))]
        outstanding = self._outstanding.get(link, 0)
        if outstanding >= self.door.credit:
            full = ResourceExhausted(
                f"{self.name} takes {self.door.credit} requests of one connection at a time", peer=self.name
            )
            return [(link, failure(call_id, full, not_started=True))]
        message.extra["nodes"] = self.door.nodes(link)
        call = _Call(link, message)
        self._calls[call_id] = call
        self._outstanding[link] = outstanding + 1
        deadline = self.door.deadline(link, message, now)
        if deadline is not None:
            if deadline <= now:
                return [self._too_late(call)]
            self._deadlines.add(deadline, call)
        if self._batching is not None and self._batching.admit(call, message, deadline, now):
            return []
        self._queue.append(call)  # even if nothing runs: what is read next may cancel it
        return []

    def _start(self, call: _Call, request: Message) -> tuple[Link, Message]:
        self._running[call.call_id] = call
        return EXECUTOR, request

    def _start_together(self, calls: Sequence[_Call]) -> tuple[Link, Message]:
        self._running.update((call.call_id, call) for call in calls)
        return EXECUTOR, Batch([call.request for call in calls if call.request is not None])

    def _finished(self, outcome: Message) -> Steps:
        call = self._running.pop(outcome.call_id, None)
        if call is None:
            if isinstance(outcome, Batch):
                return [step for member in outcome.members for step in self._finished(member)]
            raise AssertionError(f"{self.name}: the local link answered {outcome!r}, which nobody asked")
        self._served += 1
        self._forget(call)
        if self._batching is not None:
            self._batching.hurry()
        return [(call.link, outcome)]

    def _cancel(self, link: Link, call_id: bytes) -> Steps:
        call = self._calls.get(call_id)
        if call is None or call.link != link or call_id in self._running:
            return []
        self._forget(call)
        return [(link, failure(call_id, Cancelled("cancelled while it waited", peer=self.name), not_started=True))]

    def _too_late(self, call: _Call) -> tuple[Link, Message]:
        self._forget(call)
        late = DeadlineExceeded(f"the deadline passed while the request waited for {self.name}", peer=self.name)
        return call.link, failure(call.call_id, late, not_started=True)

    def _forget(self, call: _Call) -> None:
        call.request = None
        if self._batching is not None:
            self._batching.forget(call)
        del self._calls[call.call_id]
        left = self._outstanding[call.link] - 1
        if left:
            self._outstanding[call.link] = left
        else:
            del self._outstanding[call.link]

    def _status(self) -> dict[str, Any]:
        running = len(self._running)
        return {"inflight": running, "queued": len(self._calls) - running, "served": self._served}
