"""A head that is a peer of its own: the processes of one Executor behind one front door, from outside like a worker.

Four rules:

1. A REQUEST is handed on as it came, to a Head or to Shards, under a call id of its own: two callers may use the same.
   It keeps the name that its Executor has in the graph that asks, and the names of the others there.
2. What is granted to a connection is granted once, so nobody's greeting is answered before the workers have answered
   ours and told what they grant; but none waits longer than `GREETING` for that.
3. What it offers is what a worker says that it offers: no user code is imported here.
4. Waiting, retries and deadlines are the affair of the head behind the door.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from zflow.errors import ProtocolError, RemoteError, Unavailable
from zflow.roles.contract import Link, Steps, failure, group_of
from zflow.roles.front_door import PROBE, FrontDoor
from zflow.roles.head import Head
from zflow.roles.liveness import MAX_CREDIT, READY
from zflow.roles.repeating import shared
from zflow.roles.shards import Shards
from zflow.roles.standing import standing_of
from zflow.wire import frames
from zflow.wire.header import Kind, Message
from zflow.wire.payload import decode_map, encode_map

GREETING = 1.0
_USUAL_CREDIT = 4  # of a worker that has not told its own
_UP = "peer"  # the origin that the head inside answers to
_OFFERED = ("endpoints", "versions")


class _Call:
    """A request on its way. node: the name of the Executor in the graph that asks."""

    __slots__ = ("link", "call_id", "node")

    def __init__(self, link: Link, call_id: bytes, node: str) -> None:
        self.link = link
        self.call_id = call_id
        self.node = node


class HeadPeer:
    """The role of a head process. name: its own; the Executor's is that of `head`.

    described_by: the ways out to workers that know what is offered here. new_id: makes 16-byte ids.
    """

    def __init__(
        self,
        name: str,
        head: Head | Shards,
        *,
        described_by: Sequence[str],
        new_id: Callable[[], bytes],
        boot: bytes = bytes(16),
        new_nonce: Callable[[], bytes] | None = None,
    ) -> None:
        self.name = name
        self.dropped = 0
        self.door = FrontDoor(
            name,
            "head",
            boot=boot,
            credit=_USUAL_CREDIT,
            new_nonce=new_nonce,
            describe=lambda: self._offered or {},
            status=self._status,
        )
        self._head = head
        self._ways_out = set(head.ways_out())
        self._described_by = frozenset(map(group_of, described_by))
        self._new_id = new_id
        self._offered: dict[str, Any] | None = None
        self._early: dict[Link, Message] | None = {}  # greetings that wait; None once none has to any more
        self._greets_at: float | None = None
        self._calls: dict[bytes, _Call] = {}
        self._ids: dict[tuple[Link, bytes], bytes] = {}

    # -- the contract ------------------------------------------------------------------------------------------------

    def ways_out(self) -> Sequence[str]:
        return self._head.ways_out()

    def receive(self, link: Link, message: Message, now: float) -> Steps:
        if link in self._ways_out:
            return self._from_worker(str(link), message, now)
        if message.kind is Kind.HELLO:
            return self._greeted(link, message, now)
        answers = self.door.receive(link, message, now)
        if answers is not None:
            return answers
        if message.kind is Kind.REQUEST:
            return self._begin(link, message, now)
        call_id = self._ids.get((link, message.call_id))
        if call_id is None:
            return []
        return self._follow(self._head.receive(_UP, Message(message.kind, call_id, extra=message.extra), now))

    def opened(self, link: str, now: float) -> Steps:
        return self._head.opened(link, now)

    def lost(self, link: Link, reason: str, now: float) -> Steps:
        if link in self._ways_out:
            steps = self._head.lost(link, reason, now)
            self._ways_out = set(self._head.ways_out())
            return self._follow(steps)
        self.door.forget(link)
        if self._early is not None:
            self._early.pop(link, None)
        steps = []
        for call_id in [call_id for call_id, call in self._calls.items() if call.link == link]:
            self._forget(call_id)
            steps += self._head.receive(_UP, Message(Kind.CANCEL, call_id), now)
        return self._follow(steps)

    def malformed(self, link: Link, error: RemoteError, now: float) -> Steps:
        if link in self._ways_out:
            return self._follow(self._head.malformed(link, error, now))
        return self.door.malformed(link, error)

    def expire(self, now: float) -> Steps:
        self.door.expire(now)
        steps = self.door.probe((call.link for call in self._calls.values()), now)
        if self._greets_at is not None and now >= self._greets_at:
            steps += self._greet_all(now)
        return steps + self._follow(self._head.expire(now))

    def next_deadline(self) -> float | None:
        due = self._head.next_deadline()
        for when in (self.door.leaves_at, self.door.probes_at, self._greets_at):
            if when is not None and (due is None or when < due):
                due = when
        return due

    def replicas(self, group: str, links: Sequence[str], now: float) -> Steps:
        steps = self._head.replicas(group, links, now)
        self._ways_out.update(links)
        return self._follow(steps)

    def drain(self, now: float) -> Steps:
        return self.door.drain(now)

    def is_idle(self, now: float) -> bool:
        return not self._calls and self.door.is_left(now)

    # -- calls -------------------------------------------------------------------------------------------------------

    def _begin(self, link: Link, message: Message, now: float) -> Steps:
        key = (link, message.call_id)
        if key in self._ids:
            self.dropped += 1
            return []
        if self.door.draining:
            leaving = Unavailable(f"{self.name} is shutting down", peer=self.name)
            return [(link, failure(message.call_id, leaving, not_started=True))]
        deadline = self.door.deadline(link, message, now)
        if deadline is not None:
            message.budget = max(0, int((deadline - now) * 1e6))
        extra = message.extra
        extra.pop("sent", None)  # by a clock that is not ours
        node = extra.setdefault("node", self._head.node)
        if "nodes" not in extra and (nodes := self.door.nodes(link)):
            extra["nodes"] = nodes
        if self.door.probes_at is None and (self.door.probes_all or "partial" in extra):
            self.door.probes_at = now + PROBE
        call_id = self._ids[key] = self._new_id()
        self._calls[call_id] = _Call(link, message.call_id, node)
        message.call_id = call_id
        return self._follow(self._head.receive(_UP, message, now))

    def _follow(self, steps: Steps) -> Steps:
        """What the head inside answers goes to who asked; everything else leaves as it is."""
        leaving: Steps = []
        for step in steps:
            if step[0] == _UP:
                leaving += self._told(step[1])
            else:
                leaving.append(step)
        return leaving

    def _told(self, message: Message) -> Steps:
        call = self._calls.get(message.call_id)
        if call is None:
            self.dropped += 1  # of a call whose caller is gone
            return []
        if message.kind is not Kind.PARTIAL:
            self._forget(message.call_id)
        if message.kind is Kind.FAILURE:
            message.extra = {**message.extra, "final": True}
        if call.node != self._head.node:
            _rename(message, self._head.node, call.node)
        message.call_id = call.call_id
        return [(call.link, message)]

    def _forget(self, call_id: bytes) -> None:
        call = self._calls.pop(call_id)
        del self._ids[call.link, call.call_id]

    # -- greetings, and what it tells of itself ------------------------------------------------------------------------

    def _from_worker(self, link: str, message: Message, now: float) -> Steps:
        if message.kind is Kind.DESCRIPTION:
            self._offered = _read_offer(message)
            steps: Steps = []
        else:
            steps = self._follow(self._head.receive(link, message, now))
            if message.kind is Kind.READY and group_of(link) in self._described_by:
                steps.append((link, Message(Kind.DESCRIBE, self._new_id())))
        if self._early is not None and self._knows_workers():
            steps += self._greet_all(now)
        return steps

    def _greeted(self, link: Link, message: Message, now: float) -> Steps:
        if self._early is not None:
            self._early[link] = message
            if self._greets_at is None:
                self._greets_at = now + GREETING
            return []
        return self._greet(link, message, now)

    def _greet_all(self, now: float) -> Steps:
        early, self._early, self._greets_at = self._early or {}, None, None
        return [step for link, message in early.items() for step in self._greet(link, message, now)]

    def _greet(self, link: Link, message: Message, now: float) -> Steps:
        neighbours = self._head.neighbours
        credit = sum(neighbour.credit or _USUAL_CREDIT for neighbour in neighbours)
        self.door.announce(min(credit, MAX_CREDIT), shared(item.idempotent for item in neighbours))
        return self.door.receive(link, message, now) or []

    def _knows_workers(self) -> bool:
        return self._offered is not None and all(neighbour.state == READY for neighbour in self._head.neighbours)

    def _status(self) -> dict[str, Any]:
        replicas = {neighbour.link: neighbour.state for neighbour in self._head.neighbours}
        nodes = {self._head.node: standing_of(self._head)}
        return {"inflight": len(self._calls), "queued": self._head.waiting, "replicas": replicas, "nodes": nodes}


def _read_offer(description: Message) -> dict[str, Any]:
    """What a worker says that it offers; nothing where that cannot be read."""
    try:
        told = decode_map(description.parts[0].buffers()[0]) if description.parts else {}
    except ProtocolError:
        return {}
    return {key: told[key] for key in _OFFERED if key in told}


def _rename(outcome: Message, own: str, node: str) -> None:
    """What is told from here, a FAILURE or which shards are missing, names the Executor as the graph that asks does."""
    if "missing" in outcome.extra:
        missing = {_renamed(name, own, node): code for name, code in outcome.extra["missing"].items()}
        outcome.extra = {**outcome.extra, "missing": missing}
    if outcome.kind is not Kind.FAILURE or not outcome.parts or outcome.parts[0].label != own:
        return
    try:
        details = decode_map(outcome.parts[0].buffers()[0])
    except ProtocolError:
        return  # a worker of another make has called itself so
    outcome.parts = [frames.part(frames.DETAILS, node, [encode_map({**details, "node": node})]), *outcome.parts[1:]]


def _renamed(name: Any, own: str, node: str) -> Any:
    return f"{node}{name[len(own) :]}" if isinstance(name, str) and name.startswith(f"{own}/") else name
