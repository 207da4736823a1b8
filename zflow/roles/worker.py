"""Serves one Executor: a short queue in front of the local link "executor", and its outcomes as answers.

Three rules:

1. One call runs at a time, on the worker's own thread; between calls everything that waits at the door is read, so
   that a cancel or a deadline still finds its call in the queue. What is batched runs as one call together, and what
   comes in meanwhile may be read. Calls of concurrent endpoints (`async def`) run beside it, `concurrency` of them at
   once.
2. A connection may have `credit` calls here, running or queued. What exceeds it, comes after a DRAIN or has run out
   of time is answered at once with a FAILURE that says it was not started.
3. A call that runs and that nobody waits for any more (cancelled, out of time, its caller gone) is not stopped here:
   the local link is told by a CANCEL, and ends the call as soon as user code lets it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from zflow.errors import Cancelled, DeadlineExceeded, RemoteError, ResourceExhausted, Unavailable
from zflow.roles.batching import Batching
from zflow.roles.contract import EXECUTOR, Batch, Link, Steps, failure
from zflow.roles.front_door import PROBE, FrontDoor
from zflow.roles.timers import Timers
from zflow.wire.header import IDEMPOTENT, Kind, Message


class _Call:
    """A request that is here. `request` is None once it is answered: a deadline far away must not keep its payload.

    is_concurrent: it may run beside others. is_running: the local link has it. is_late: its deadline passed meanwhile.
    is_given_up: the local link was told to end it.
    """

    __slots__ = ("link", "call_id", "request", "is_concurrent", "is_running", "is_late", "is_given_up")

    def __init__(self, link: Link, request: Message, is_concurrent: bool) -> None:
        self.link = link
        self.call_id = request.call_id
        self.request: Message | None = request
        self.is_concurrent = is_concurrent
        self.is_running = False
        self.is_late = False
        self.is_given_up = False

    def may_be_taken_over(self, again: Message) -> bool:
        """Whether `again`, which is the same call by another connection, may have the outcome instead.

        Its caller has lost the connection by which it came first, and would rather run it twice than not at all. Pieces
        of an answer that have left by the other cannot be told again.
        """
        if self.request is None or self.is_given_up or "partial" in self.request.extra:
            return False
        return bool(self.request.flags & again.flags & IDEMPOTENT) and self.request.endpoint == again.endpoint


class Worker:
    """The worker role. name: as in ``executor0/rep-0``; describe: endpoints and versions, for DESCRIBE.

    is_concurrent: whether calls of an endpoint may run beside others; None where those of no endpoint may. batching:
    where requests wait for company, if some do. deaths: the calls that the incarnation before died with, where that is
    known.
    """

    def __init__(
        self,
        name: str,
        *,
        boot: bytes,
        credit: int = 4,
        new_nonce: Callable[[], bytes] | None = None,
        idempotent: Sequence[str] = (),
        is_concurrent: Callable[[str], bool] | None = None,
        concurrency: int = 1,
        batching: Batching[_Call] | None = None,
        deaths: Sequence[bytes] | None = None,
        describe: Callable[[], Mapping[str, Any]] = dict,
    ) -> None:
        self.name = name
        self.door = FrontDoor(
            name,
            "worker",
            boot=boot,
            credit=credit,
            new_nonce=new_nonce,
            idempotent=idempotent,
            deaths=deaths,
            describe=describe,
            status=self._status,
        )
        self._is_concurrent = is_concurrent
        self._concurrency = concurrency
        self._queue: deque[_Call] = deque()
        self._queue_of_concurrent: deque[_Call] = deque()
        self._batching = batching
        self._running = 0  # calls that keep others waiting: one, or those of a batch
        self._running_beside = 0
        self._deadlines: Timers[_Call] = Timers()
        self._calls: dict[bytes, _Call] = {}
        self._outstanding: dict[Link, int] = {}
        self._served = 0

    def ways_out(self) -> Sequence[str]:
        return ()

    def receive(self, link: Link, message: Message, now: float) -> Steps:
        if link == EXECUTOR:
            return self._heard_from_executor(message)
        answers = self.door.receive(link, message, now)
        if answers is not None:
            return answers
        if message.kind is Kind.REQUEST:
            return self._request(link, message, now)
        if message.kind is Kind.CANCEL:
            return self._cancel(link, message)
        return self._more(link, message)

    def opened(self, link: str, now: float) -> Steps:
        return []

    def lost(self, link: Link, reason: str, now: float) -> Steps:
        """The caller is gone: its queued calls with it. A running one is told; nobody will hear how it ends."""
        self.door.forget(link)
        if link not in self._outstanding:
            return []
        steps: Steps = []
        for call in [call for call in self._calls.values() if call.link == link]:
            if call.is_running:
                call.is_given_up = True
                steps.append((EXECUTOR, Message(Kind.CANCEL, call.call_id)))
            else:
                self._forget(call)
        return steps

    def expire(self, now: float) -> Steps:
        self.door.expire(now)
        steps: Steps = self.door.probe(self._outstanding, now)
        if self._deadlines.next() is not None:
            for call in self._deadlines.due(now):
                if call.is_running:
                    call.is_late = call.is_given_up = True
                    steps.append((EXECUTOR, Message(Kind.CANCEL, call.call_id)))
                else:
                    steps.append(self._too_late(call))
        while not self._running:
            if self._batching is not None and (together := self._batching.take(now, bool(self._queue))):
                steps.append(self._start_together(together))
            elif not self._queue:
                break
            elif (call := self._queue.popleft()).request is not None:
                self._running = 1
                steps.append(self._start(call, call.request))
        while self._queue_of_concurrent and self._running_beside < self._concurrency:
            call = self._queue_of_concurrent.popleft()
            if call.request is not None:
                self._running_beside += 1
                steps.append(self._start(call, call.request))
        return steps

    def next_deadline(self) -> float | None:
        if self._queue and not self._running:
            return 0.0  # work can begin as soon as everything that waits at the door has been read
        if self._queue_of_concurrent and self._running_beside < self._concurrency:
            return 0.0
        due = self._deadlines.next()
        batch_due = self._batching.next_due() if self._batching is not None and not self._running else None
        for when in (self.door.leaves_at, self.door.probes_at, batch_due):
            if when is not None and (due is None or when < due):
                due = when
        return due

    def malformed(self, link: Link, error: RemoteError, now: float) -> Steps:
        return self.door.malformed(link, error)

    def replicas(self, group: str, links: Sequence[str], now: float) -> Steps:
        return []

    def drain(self, now: float) -> Steps:
        if self._batching is not None:
            self._batching.drain()
        return self.door.drain(now)

    def is_idle(self, now: float) -> bool:
        return not self._calls and self.door.is_left(now)

    def _request(self, link: Link, message: Message, now: float) -> Steps:
        call_id = message.call_id
        if call_id in self._calls:
            return self._again(self._calls[call_id], link, message)
        if self.door.draining:
            leaving = Unavailable(f"{self.name} is shutting down", peer=self.name)
            return [(link, failure(call_id, leaving, not_started=True))]
        outstanding = self._outstanding.get(link, 0)
        if outstanding >= self.door.credit:
            full = ResourceExhausted(
                f"{self.name} takes {self.door.credit} requests of one connection at a time", peer=self.name
            )
            return [(link, failure(call_id, full, not_started=True))]
        nodes = message.extra.get("nodes")  # of a graph behind who asks: by whom it is handed on knows no names in it
        message.extra["nodes"] = self.door.nodes(link) if nodes is None else [str(name) for name in nodes]
        is_concurrent = self._is_concurrent is not None and self._is_concurrent(message.endpoint)
        call = _Call(link, message, is_concurrent)
        self._calls[call_id] = call
        self._outstanding[link] = outstanding + 1
        if self.door.probes_at is None and (self.door.probes_all or "partial" in message.extra):
            self.door.probes_at = now + PROBE
        deadline = self.door.deadline(link, message, now)
        if deadline is not None:
            if deadline <= now:
                return [self._too_late(call)]
            self._deadlines.add(deadline, call)
        if self._batching is not None and self._batching.admit(call, message, deadline, now):
            return []
        # even if nothing runs: what is read next may cancel it
        (self._queue_of_concurrent if is_concurrent else self._queue).append(call)
        return []

    def _again(self, call: _Call, link: Link, message: Message) -> Steps:
        """A REQUEST for a call that is here already: it does not run twice, and one connection hears its outcome."""
        if call.link == link:
            self.door.dropped += 1  # the answer to the first of the two answers both
            return []
        if not call.may_be_taken_over(message):
            here = "the same call is already here from another connection"
            return [(link, failure(call.call_id, Unavailable(here, peer=self.name, maybe_executed=True)))]
        former, call.link = call.link, link
        self._count_out(former)
        self._outstanding[link] = self._outstanding.get(link, 0) + 1
        over = "another connection has taken the call over"
        return [(former, failure(call.call_id, Unavailable(over, peer=self.name, maybe_executed=True)))]

    def _start(self, call: _Call, request: Message) -> tuple[Link, Message]:
        call.is_running = True
        return EXECUTOR, request

    def _start_together(self, calls: Sequence[_Call]) -> tuple[Link, Message]:
        self._running = len(calls)
        for call in calls:
            call.is_running = True
        return EXECUTOR, Batch([call.request for call in calls if call.request is not None])

    def _heard_from_executor(self, message: Message) -> Steps:
        if isinstance(message, Batch):
            return [step for outcome in message.members for step in self._heard_from_executor(outcome)]
        call = self._calls.get(message.call_id)
        if call is None or not call.is_running:
            raise AssertionError(f"{self.name}: the local link answered {message!r}, which nobody asked")
        if message.kind is not Kind.PARTIAL:
            if call.is_concurrent:
                self._running_beside -= 1
            else:
                self._running -= 1
                if self._batching is not None:
                    self._batching.hurry()
            self._served += 1
            self._forget(call)
            if call.is_late and message.extra.get("code") == Cancelled.code:
                late = DeadlineExceeded(f"{self.name}: the deadline passed", peer=self.name, maybe_executed=True)
                return [(call.link, failure(call.call_id, late))]
        return [(call.link, message)]

    def _cancel(self, link: Link, message: Message) -> Steps:
        call = self._calls.get(message.call_id)
        if call is None or call.link != link:
            return []
        if call.is_running:
            call.is_given_up = True
            return [(EXECUTOR, message)]
        self._forget(call)
        gone = Cancelled("cancelled while it waited", peer=self.name)
        return [(link, failure(call.call_id, gone, not_started=True))]

    def _more(self, link: Link, message: Message) -> Steps:
        call = self._calls.get(message.call_id)
        return [(EXECUTOR, message)] if call is not None and call.link == link and call.is_running else []

    def _too_late(self, call: _Call) -> tuple[Link, Message]:
        self._forget(call)
        late = DeadlineExceeded(f"the deadline passed while the request waited for {self.name}", peer=self.name)
        return call.link, failure(call.call_id, late, not_started=True)

    def _forget(self, call: _Call) -> None:
        call.request = None
        if self._batching is not None:
            self._batching.forget(call)
        del self._calls[call.call_id]
        self._count_out(call.link)

    def _count_out(self, link: Link) -> None:
        left = self._outstanding[link] - 1
        if left:
            self._outstanding[link] = left
        else:
            del self._outstanding[link]

    def _status(self) -> dict[str, Any]:
        running = self._running_beside + self._running
        return {"inflight": running, "queued": len(self._calls) - running, "served": self._served}
