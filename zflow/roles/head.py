"""Spreads requests over the replicas of one node, and answers for them whatever happens to a replica.

Five rules:

1. A request waits here, not at a replica: a replica is sent at most what its credit allows, the least burdened first.
2. Every request ends in exactly one outcome. What arrives later or twice is dropped and counted.
3. A request that has certainly not started is sent again, elsewhere first. One that may have run is sent again only
   if it is idempotent; otherwise its loss is told as ``Unavailable(maybe_executed=True)``. Both within a budget.
4. Nothing waits in vain: while no replica is ready a request waits `PATIENCE` seconds, then hears why; at once when
   all of them have refused us, because keys do not change by waiting.
5. Replicas come and go. One that is to go gets nothing more, and its connection is kept until it has answered.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Sequence

from zflow.errors import AuthError, Cancelled, PoisonRequest, ProtocolError, RemoteError, Unavailable
from zflow.roles.backlog import Backlog, Room
from zflow.roles.balancing import least_outstanding
from zflow.roles.call import RETRIES, Call, deadline_of
from zflow.roles.contract import GivenUp, Lasting, Link, Refusal, Step, Steps, failure
from zflow.roles.ejection import Ejection
from zflow.roles.isolation import MOST_SUSPECTS, TOGETHER, Isolation, is_poison, why_poison
from zflow.roles.liveness import LOST, READY, Neighbour, causes_of
from zflow.roles.misfortunes import ended, full, late, located, lost, too_large
from zflow.roles.pool import Pool
from zflow.roles.retry_budget import RetryBudget
from zflow.roles.timers import Timers
from zflow.wire.frames import weigh
from zflow.wire.header import IDEMPOTENT, MAYBE_EXECUTED, NOT_STARTED, Kind, Message
from zflow.wire.pieces import as_taken

PATIENCE = 3.0
_BACKOFF = 0.05


class Head:
    """The head role.

    node: the Executor's name in the Flow, for errors; name: what their texts call it, where that is not the same, as in
    ``encoder/shard-1``. links: the ways out, one per replica. new_id: makes 16-byte ids. retries: how often an
    idempotent request is sent again after it may have run. timeout: seconds that one call may take, None for no limit.
    nodes: the names of all Executors in the Flow. chance: a number in [0, 1), to spread retries. room: for what
    waits, shared with the other heads of its process.
    """

    def __init__(
        self,
        node: str,
        links: Sequence[str],
        *,
        new_id: Callable[[], bytes],
        retries: int | None = None,
        timeout: float | None = None,
        idempotent: bool = False,
        nodes: Sequence[str] = (),
        chance: Callable[[], float] = random.random,
        name: str = "",
        room: Room | None = None,
    ) -> None:
        self.node = node
        self.name = name or node
        self.is_idempotent = idempotent
        self.dropped = 0
        self._neighbours = Pool(self.name, links, new_id, nodes)
        self._retries = RETRIES if retries is None else retries
        self._timeout = timeout
        self._chance = chance
        self._calls: dict[bytes, Call] = {}
        self._queue = Backlog(room)
        self._isolation = Isolation()
        self._budget = RetryBudget()
        self._ejection = Ejection()
        self._is_in_vain = False  # every replica has been given up
        self._deadlines: Timers[Call] = Timers()
        self._delayed: Timers[Call] = Timers()

    @property
    def neighbours(self) -> Collection[Neighbour]:
        """The replicas."""
        return self._neighbours.values()

    @property
    def waiting(self) -> int:
        """How many requests no replica has yet."""
        return len(self._calls) - sum(len(neighbour.calls) for neighbour in self.neighbours)

    # -- the contract ------------------------------------------------------------------------------------------------

    def ways_out(self) -> Sequence[str]:
        return self._neighbours.ways_out()

    def receive(self, link: Link, message: Message, now: float) -> Steps:
        neighbour = self._neighbours.get(link) if isinstance(link, str) else None
        if neighbour is None:
            return self._from_caller(link, message, now)
        kind = message.kind
        if kind is Kind.REPLY or kind is Kind.FAILURE:
            return self._outcome(neighbour, message, now)
        if kind is Kind.PARTIAL:
            return self._partial(neighbour, message)
        if kind is Kind.READY:
            self._is_in_vain = False
            return self._assign(now) if neighbour.accept(message) else []
        if kind is Kind.CHALLENGE:
            proof = neighbour.prove(message)
            return [(neighbour.link, proof)] if proof is not None else []
        if kind is Kind.DRAIN:
            was_served = self._neighbours.is_served
            neighbour.retire()
            self._note_readiness(was_served, now)
            return [(neighbour.link, Message(Kind.DRAINED))]
        self.dropped += kind is not Kind.STATUS or bool(message.call_id)  # that of nothing looks whether we still wait
        return []

    def opened(self, link: str, now: float) -> Steps:
        return [(link, self._neighbours[link].greet(now))]

    def lost(self, link: Link, reason: str, now: float) -> Steps:
        """The connection to a replica, or a caller, is gone."""
        neighbour = self._neighbours.get(link) if isinstance(link, str) else None
        if neighbour is None:
            return self._caller_lost(link)
        steps: Steps = []
        was_served = self._neighbours.is_served
        was_ready = neighbour.state == READY
        calls = neighbour.lose(reason)
        is_paid = self._budget.covers(calls, neighbour, self.neighbours)
        for call in reversed(calls):  # each goes to the front of the queue
            steps += self._outlive(call, neighbour, now, is_suspect=len(calls) <= MOST_SUSPECTS, is_paid=is_paid)
        if calls and was_ready:
            self._ejection.failed(neighbour, self.neighbours, reason, now)
        if neighbour.is_done_with:
            del self._neighbours[neighbour.link]
        self._note_readiness(was_served, now)
        if isinstance(reason, Lasting):
            steps += self._end_in_vain()
        return steps + self._assign(now)

    def expire(self, now: float) -> Steps:
        steps: Steps = []
        if self._ejection.is_active:
            self._ejection.readmit(self.neighbours, now)
        for call in self._deadlines.due(now):
            steps += self._too_late(call, now)
        for call in self._delayed.due(now):
            self._isolation.add(call) if call.losses else self._queue.add(call)
            steps += self._end_in_vain()
        if self._queue or self._isolation.is_active:
            steps += self._assign(now) + self._lose_patience(now)
        return steps

    def next_deadline(self) -> float | None:
        due = self._deadlines.next()
        for when in (self._delayed.next(), self._ejection.next_due() if self._ejection.is_active else None):
            if when is not None and (due is None or when < due):
                due = when
        waiting = self._longest_waiting() if self._queue or self._isolation.is_active else None
        if waiting is not None and not self._neighbours.is_served:
            impatient = max(waiting.waiting_since, self._neighbours.none_ready_since) + PATIENCE
            due = impatient if due is None else min(due, impatient)
        return due

    def malformed(self, link: Link, error: RemoteError, now: float) -> Steps:
        """A replica sent what cannot be read. If it was an answer, its caller must hear of it."""
        neighbour = self._neighbours.get(link) if isinstance(link, str) else None
        if neighbour is None or error.call_id not in neighbour.calls:
            self.dropped += 1
            return []
        peer = neighbour.link
        nonsense = ProtocolError(f"{peer} answered nonsense: {error}", node=self.node, peer=peer, maybe_executed=True)
        steps = self._outcome(neighbour, failure(error.call_id, nonsense), now)
        return [(peer, Message(Kind.CANCEL, error.call_id)), *steps]  # it may have been a piece, with more to come

    def replicas(self, group: str, links: Sequence[str], now: float) -> Steps:
        if self._neighbours.has(group):
            was_served = self._neighbours.is_served
            self._is_in_vain = False
            self._neighbours.follow(group, links)
            self._note_readiness(was_served, now)
        return []

    def drain(self, now: float) -> Steps:
        return []

    def is_idle(self, now: float) -> bool:
        return all(call.origin is None for call in self._calls.values())

    @property
    def has_calls(self) -> bool:
        """Whether there is anything that could become due, or is to be cleared away."""
        return bool(self._calls or self._queue)

    # -- callers -----------------------------------------------------------------------------------------------------

    def _from_caller(self, origin: Link, message: Message, now: float) -> Steps:
        if message.kind is Kind.CANCEL:
            return self._cancel(origin, message.call_id)
        if message.kind is Kind.MORE:
            return self._more(origin, message)
        if message.kind is not Kind.REQUEST or message.call_id in self._calls:
            self.dropped += 1
            return []
        size, too_much = weigh(message.parts)
        if too_much:
            refused = too_large(self.name, self.node, too_much)
            return [(origin, failure(message.call_id, refused, not_started=True))]
        neighbour = None if self._queue else least_outstanding(self._neighbours.values())
        if neighbour is not None and not self._queue.may_leave(size, neighbour):
            neighbour = None
        steps: Steps = []
        if neighbour is None and self._queue.refusal(size):
            steps = self.expire(now)  # what is late makes room first
            if why := self._queue.refusal(size):
                return [*steps, (origin, failure(message.call_id, full(self.name, self.node, why), not_started=True))]
        deadline = deadline_of(message, self._timeout, now)
        call = Call(origin, message, deadline, now, size)
        if self.is_idempotent:
            message.flags |= IDEMPOTENT
        self._calls[call.call_id] = call
        if deadline is not None:
            self._deadlines.add(deadline, call)
            if deadline <= now:
                return steps  # expire, which is due now, tells it
        if neighbour is not None:
            return [self._send(call, message, neighbour, now)]
        self._queue.add(call)
        if self._is_in_vain:
            return steps + self._end_in_vain()
        return steps + self._assign(now) if steps else steps

    def _cancel(self, origin: Link, call_id: bytes) -> Steps:
        call = self._calls.get(call_id)
        if call is None or call.origin != origin:
            return []
        if call.neighbour is not None:  # its outcome, whatever it is, will be told as it comes
            call.given_up = True
            if call.request is not None:
                self._drop_payload(call)
                call.request.parts = ()
                call.request.extra.pop("partial", None)  # nor is any further piece of the answer
            return [(call.neighbour.link, Message(Kind.CANCEL, call_id))]
        return self._end(call, Cancelled(f"{self.name}: cancelled while it waited", node=self.node))

    def _more(self, origin: Link, message: Message) -> Steps:
        """The caller takes further PARTIALs."""
        call = self._calls.get(message.call_id)
        if call is None or call.origin != origin or call.neighbour is None:
            return []
        return [(call.neighbour.link, message)]

    def _caller_lost(self, link: Link) -> Steps:
        steps: Steps = []
        for call in [call for call in self._calls.values() if call.origin == link]:
            if call.neighbour is None:
                self._forget(call)
            else:
                steps.append(self._abandon(call, call.neighbour))
        return steps

    # -- replicas ----------------------------------------------------------------------------------------------------

    def _assign(self, now: float) -> Steps:
        """Send what waits, oldest first, as far as the replicas' credit goes."""
        steps = self._isolate(now) if self._isolation.is_active else []
        queue = self._queue
        while queue:
            call = queue[0]
            if call.request is None:
                queue.popleft()
                continue
            neighbour = least_outstanding(self._neighbours.values(), call.avoid)
            if neighbour is None or not queue.may_leave(call.size, neighbour):
                break
            queue.take()
            steps.append(self._send(call, call.request, neighbour, now))
        return steps

    def _send(self, call: Call, request: Message, neighbour: Neighbour, now: float) -> Step:
        call.sent += 1
        call.neighbour = neighbour
        self._queue.room.sent += call.size
        neighbour.calls[call.call_id] = call
        if neighbour.idempotent and neighbour.may_repeat(request.endpoint):
            request.flags |= IDEMPOTENT
        if call.deadline is not None:
            request.budget = max(0, int((call.deadline - now) * 1e6))
            request.extra["sent"] = int(now * 1e6)
        return neighbour.link, request

    def _outcome(self, neighbour: Neighbour, message: Message, now: float) -> Steps:
        call: Call | None = neighbour.calls.pop(message.call_id, None)
        if call is None:
            self.dropped += 1
            return []
        neighbour.done += 1
        neighbour.took += now - call.waiting_since
        steps: Steps = []
        if call.origin is None or call.request is None:
            self._forget(call)
        elif call.may_go_elsewhere(message) and self._may_retry(neighbour, message, now):
            self._wait(call, call.request, neighbour, now)
        else:
            if neighbour.failures and not message.flags & NOT_STARTED:
                neighbour.prove_well()
            if call.may_have_run and message.flags & NOT_STARTED:  # not this time, but an earlier one
                message.flags = message.flags & ~NOT_STARTED | MAYBE_EXECUTED
            steps.append((call.origin, located(message, call, self.name)))
            self._forget(call)
        return steps + self._assign(now) if self._queue or self._isolation.is_active else steps

    def _may_retry(self, neighbour: Neighbour, refusal: Message, now: float) -> bool:
        """Whether what a replica has handed back may be sent elsewhere. If it is just leaving, that is free."""
        if neighbour.state != READY:
            return True
        if refusal.extra.get("code") == Unavailable.code:
            self._ejection.failed(neighbour, self.neighbours, "it handed a request back", now)
        return self._budget.draw(self.neighbours, is_refusal=True)

    def _partial(self, neighbour: Neighbour, message: Message) -> Steps:
        """A piece of the answer. From now on nobody else may answer: the caller would hear the beginning twice."""
        call: Call | None = neighbour.calls.get(message.call_id)
        if call is None or call.origin is None or call.request is None or not call.request.extra.get("partial"):
            self.dropped += 1
            return []
        call.given_up = True
        return [(call.origin, piece) for piece in as_taken(message, call.request)]

    def _isolate(self, now: float) -> Steps:
        """Send a suspect to a replica of its own, if there is one now."""
        steps: Steps = []
        while taken := self._isolation.take(self.neighbours):
            call, neighbour = taken
            is_guilty = is_poison(call) if len(call.losses) > 1 else False
            if is_guilty is None and now < call.waiting_since + PATIENCE:
                self._delayed.add(now + _BACKOFF, call)  # whether they died is told when they are back
            elif is_guilty is False and call.request is not None:
                steps.append(self._send(call, call.request, neighbour, now))
            else:
                steps += self._end(call, PoisonRequest(f"{self.name}: {why_poison(call)}", node=self.node))
        return steps

    def _outlive(self, call: Call, neighbour: Neighbour, now: float, *, is_suspect: bool, is_paid: bool) -> Steps:
        """The replica that had `call` is gone with it. is_paid: whether there was a token for it to be sent again."""
        request, origin = call.request, call.origin
        if request is None or origin is None:
            self._forget(call)
            return []
        call.may_have_run = True
        may_repeat = call.may_repeat(neighbour) and call.sent <= self._retries and not call.given_up
        if may_repeat and is_paid:
            if is_suspect:
                call.losses += ((neighbour, neighbour.boot),)
                self._queue.release(call)
                call.release(neighbour, now)
                self._delayed.add(now + TOGETHER, call)
            else:
                self._wait(call, request, neighbour, now)
            return []
        self._forget(call)
        return [(origin, ended(call, self.name, lost(neighbour, self.node, is_unpaid=may_repeat)))]

    def _wait(self, call: Call, request: Message, neighbour: Neighbour, now: float) -> None:
        """Back into the queue: at once if another replica may take it, else after a while that grows."""
        self._queue.release(call)
        call.release(neighbour, now)
        if call.losses:
            self._isolation.add(call)
        elif len(self._neighbours) > 1 or neighbour.state == LOST:
            self._queue.add(call, first=True)
        else:
            self._delayed.add(now + _BACKOFF * 2**call.sent * self._chance(), call)

    # -- time --------------------------------------------------------------------------------------------------------

    def _too_late(self, call: Call, now: float) -> Steps:
        origin, neighbour = call.origin, call.neighbour
        steps: Steps = []
        if origin is not None:
            error = late(self.name, self.node, call, () if self._neighbours.is_served else self.neighbours)
            steps.append((origin, ended(call, self.name, error)))
        if neighbour is None:
            self._forget(call)
        else:
            steps.append(self._abandon(call, neighbour))
            self._ejection.failed(neighbour, self.neighbours, "a deadline passed while it had a request", now)
        return steps

    def _lose_patience(self, now: float) -> Steps:
        """Tell those who have waited long enough for a replica to become ready."""
        steps: Steps = []
        while not self._neighbours.is_served and (call := self._longest_waiting()) is not None:
            if max(call.waiting_since, self._neighbours.none_ready_since) + PATIENCE > now:
                break
            waited = f"{self.name} cannot be reached ({causes_of(self.neighbours)}); waited {PATIENCE:g} s"
            steps += self._end(call, Unavailable(waited, node=self.node))
        return steps

    def _longest_waiting(self) -> Call | None:
        """The next one that is to be sent."""
        return self._isolation.oldest or self._queue.oldest

    def _end_in_vain(self) -> Steps:
        """A replica will not be there soon: if none will, who waits hears it now."""
        causes = self._neighbours.lasting_causes()
        if not causes and self._neighbours:
            return []
        self._is_in_vain = all(isinstance(cause, GivenUp) for cause in causes)
        kind = AuthError if any(isinstance(cause, Refusal) for cause in causes) else Unavailable
        steps: Steps = []
        while (call := self._longest_waiting()) is not None:
            steps += self._end(call, kind(f"{self.name}: {'; '.join(causes)}", node=self.node))
        return steps

    def _note_readiness(self, was_served: bool, now: float) -> None:
        """The wait for a replica begins when the last ready one is gone; each failure to connect is no new wait."""
        if self._ejection.is_active:
            self._ejection.readmit(self.neighbours, now)
        if was_served and not self._neighbours.is_served:
            self._neighbours.none_ready_since = now

    def _abandon(self, call: Call, neighbour: Neighbour) -> Step:
        """Nobody waits for `call` any more; its place at the replica stays taken until the replica lets go of it."""
        self._drop_payload(call)
        call.origin = call.request = None
        return neighbour.link, Message(Kind.CANCEL, call.call_id)

    def _drop_payload(self, call: Call) -> None:
        """A replica has `call`, and it will not be sent again."""
        self._queue.release(call)
        call.size = 0

    def _end(self, call: Call, error: RemoteError) -> Steps:
        """No replica has `call`, and none will get it any more."""
        self._forget(call)
        if call.origin is None:
            return []
        error.maybe_executed = call.may_have_run
        return [(call.origin, ended(call, self.name, error))]

    def _forget(self, call: Call) -> None:
        self._queue.release(call)
        call.request = None
        del self._calls[call.call_id]
