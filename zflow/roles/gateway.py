"""Walks each request through the topology: fan out, join, fail, finish.

The rules of a walk:

1. A node is ready when everything it needs has ended. Its request carries the documents of its needs, in the order
   in which it names them, labelled with the names of those who made them; they are handed on unopened.
2. The walk ends when every node has ended: the reply carries the documents of the last node and the results of all.
3. One failure ends the walk at once: it is passed to the caller, and what runs in other branches is cancelled. What
   those branches still answer is dropped.
4. Deadlines are the heads' business: each step carries what is left of the caller's budget.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from zflow.errors import Cancelled, InvalidRequest, RemoteError, Unavailable
from zflow.roles.contract import Link, Role, Steps, failure
from zflow.roles.front_door import FrontDoor
from zflow.topology import GATEWAY, Node, Topology
from zflow.wire.frames import DOCUMENTS, PARAMETERS, RESULTS, Part
from zflow.wire.header import MAYBE_EXECUTED, NO_REDUCE, NOT_STARTED, Kind, Message

_UP = "gateway"  # the origin that a head inside this gateway answers to
_MAX_MISSING = 512  # more names would not fit into a header
_NO_JOINS: dict[str, int] = {}  # shared by the walks through a graph without any
_TARGET = re.compile(r"[A-Za-z0-9_|.*^$-]{1,256}")  # no groups: a name of 64 letters cannot make such a pattern slow


class _Walk:
    """One request on its way through the graph.

    missing: per join, how many of its needs have not ended. made: per node, its documents, as long as somebody may
    need them. running: the steps that have no outcome yet, by call id. left: how many nodes have not ended. lacking:
    the shards that nodes have answered without, and the code of each one's error.
    """

    __slots__ = (
        "origin",
        "request",
        "parameters",
        "target",
        "deadline",
        "missing",
        "made",
        "results",
        "running",
        "left",
        "lacking",
    )

    def __init__(
        self, origin: Link, request: Message, deadline: float | None, missing: dict[str, int], left: int
    ) -> None:
        self.origin = origin
        self.request = request
        self.parameters = [part for part in request.parts if part.kind == PARAMETERS]
        self.target: re.Pattern[str] | None = None
        self.deadline = deadline
        self.missing = missing
        self.made: dict[str, list[Part]] = {}
        self.results: list[Part] = []
        self.running: dict[bytes, str] = {}
        self.left = left
        self.lacking: dict[str, Any] | None = None


class Gateway:
    """The gateway role. heads: a Head, or Shards, per node of `topology`, by name; new_id: makes 16-byte ids."""

    def __init__(
        self,
        topology: Topology,
        heads: Mapping[str, Role],
        *,
        new_id: Callable[[], bytes],
        name: str = "gateway",
        boot: bytes = bytes(16),
        credit: int = 256,
        new_nonce: Callable[[], bytes] | None = None,
    ) -> None:
        self.topology = topology
        self.name = name
        self.dropped = 0
        self.door = FrontDoor(
            name,
            "gateway",
            boot=boot,
            credit=credit,
            new_nonce=new_nonce,
            describe=self._description,
            status=self._status,
        )
        self._heads = dict(heads)
        self._head_of = {link: head for head in heads.values() for link in head.ways_out()}
        self._new_id = new_id
        self._joins = {node.name: len(node.needs) for node in topology.nodes if len(node.needs) > 1}
        before_joins = {need for node in topology.nodes if len(node.needs) > 1 for need in node.needs}
        self._kept = before_joins | {topology.last}  # whose documents must outlive the step that takes them next
        self._walks: dict[tuple[Link, bytes], _Walk] = {}
        self._steps: dict[bytes, _Walk] = {}

    # -- the contract ------------------------------------------------------------------------------------------------

    def ways_out(self) -> Sequence[str]:
        return list(self._head_of)

    def receive(self, link: Link, message: Message, now: float) -> Steps:
        head = self._head_of.get(link) if isinstance(link, str) else None
        if head is not None:
            return self._follow(head.receive(link, message, now), now)
        answers = self.door.receive(link, message, now)
        if answers is not None:
            return answers
        if message.kind is Kind.CANCEL:
            return self._follow(self._cancel(link, message.call_id, now), now)
        return self._begin(link, message, now)

    def opened(self, link: str, now: float) -> Steps:
        return self._head_of[link].opened(link, now)

    def lost(self, link: Link, reason: str, now: float) -> Steps:
        head = self._head_of.get(link) if isinstance(link, str) else None
        if head is not None:
            return self._follow(head.lost(link, reason, now), now)
        self.door.forget(link)
        steps: Steps = []
        for walk in [walk for walk in self._walks.values() if walk.origin == link]:
            steps += self._stop(walk, now)
        return self._follow(steps, now)

    def expire(self, now: float) -> Steps:
        self.door.expire(now)
        steps: Steps = []
        for head in self._heads.values():
            steps += head.expire(now)
        return self._follow(steps, now) if steps else steps

    def next_deadline(self) -> float | None:
        due = self.door.leaves_at
        for head in self._heads.values():
            when = head.next_deadline()
            if when is not None and (due is None or when < due):
                due = when
        return due

    def malformed(self, link: Link, error: RemoteError, now: float) -> Steps:
        head = self._head_of.get(link) if isinstance(link, str) else None
        if head is not None:
            return self._follow(head.malformed(link, error, now), now)
        return self.door.malformed(link, error)

    def drain(self, now: float) -> Steps:
        return self.door.drain(now)

    def is_idle(self, now: float) -> bool:
        return not self._walks and self.door.is_left(now)

    # -- a walk ------------------------------------------------------------------------------------------------------

    def _begin(self, link: Link, message: Message, now: float) -> Steps:
        key = (link, message.call_id)
        if key in self._walks:
            self.dropped += 1
            return []
        if self.door.draining:
            leaving = Unavailable(f"{self.name} is shutting down", peer=self.name)
            return [(link, failure(message.call_id, leaving, not_started=True))]
        deadline = self.door.deadline(link, message, now)
        walk = _Walk(
            link, message, deadline, self._joins.copy() if self._joins else _NO_JOINS, len(self.topology.nodes)
        )
        target = message.extra.get("!target")
        if target is not None:
            try:
                walk.target = _checked_target(target)
            except InvalidRequest as error:
                return [(link, failure(message.call_id, error, not_started=True))]
        self._walks[key] = walk
        documents = [_labelled(part, GATEWAY) for part in message.parts if part.kind == DOCUMENTS]
        return self._follow(self._ended(walk, GATEWAY, documents, now), now)

    def _ended(self, walk: _Walk, name: str, documents: list[Part], now: float) -> Steps:
        """`name` has made `documents`: go on to those who need it, or finish."""
        steps: Steps = []
        downstream = self.topology.downstream[name]
        if name in self._kept:
            walk.made[name] = documents
        for after in downstream:
            node = self.topology.by_name[after]
            if after in walk.missing:
                walk.missing[after] -= 1
                if walk.missing[after]:
                    continue
                inputs = [part for need in node.needs for part in walk.made[need]]
            else:
                inputs = documents
            steps += self._step(walk, node, inputs, now)
        if walk.left == 0:
            walk.left = -1  # a node that was left out may have finished the walk further in
            steps += self._finish(walk)
        return steps

    def _step(self, walk: _Walk, node: Node, inputs: list[Part], now: float) -> Steps:
        """Send `node` its request, unless the caller left it out."""
        if walk.target is not None and walk.target.match(node.name) is None:
            walk.left -= 1
            return self._ended(walk, node.name, inputs, now)
        call_id = self._new_id()
        walk.running[call_id] = node.name
        self._steps[call_id] = walk
        asked = walk.request
        budget = None if walk.deadline is None else max(0, int((walk.deadline - now) * 1e6))
        flags = asked.flags | NO_REDUCE if node.no_reduce else asked.flags
        request = Message(
            Kind.REQUEST, call_id, asked.endpoint, budget, flags, inputs + walk.parameters, {"node": node.name}
        )
        return self._heads[node.name].receive(_UP, request, now)

    def _follow(self, steps: Steps, now: float) -> Steps:
        """Take out what heads answer to this gateway and go on with it, until only what leaves remains."""
        leaving: Steps = []
        for step in steps:  # which grows while it is walked
            if step[0] == _UP:
                steps += self._settle(step[1], now)
            else:
                leaving.append(step)
        return leaving

    def _settle(self, outcome: Message, now: float) -> Steps:
        walk = self._steps.pop(outcome.call_id, None)
        if walk is None:
            self.dropped += 1  # of a branch that was given up
            return []
        name = walk.running.pop(outcome.call_id)
        if outcome.kind is Kind.FAILURE:
            return self._fail(walk, outcome, now)
        walk.left -= 1
        missing = outcome.extra.get("missing")
        if missing:
            walk.lacking = dict([*(walk.lacking or {}).items(), *missing.items()][:_MAX_MISSING])
        documents = []
        for part in outcome.parts:
            if part.kind == DOCUMENTS:
                documents.append(_labelled(part, name))
            elif part.kind == RESULTS:
                walk.results.append(part)
        return self._ended(walk, name, documents, now)

    def _finish(self, walk: _Walk) -> Steps:
        del self._walks[walk.origin, walk.request.call_id]
        parts = walk.made[self.topology.last] + walk.results
        extra = None if walk.lacking is None else {"missing": walk.lacking}
        return [(walk.origin, Message(Kind.REPLY, walk.request.call_id, parts=parts, extra=extra))]

    def _fail(self, walk: _Walk, outcome: Message, now: float) -> Steps:
        flags = outcome.flags
        if walk.left < len(self.topology.nodes) or walk.running:  # others have run, or may have
            flags = flags & ~NOT_STARTED | MAYBE_EXECUTED
        told = Message(
            Kind.FAILURE,
            walk.request.call_id,
            flags=flags,
            parts=outcome.parts,
            extra={"code": outcome.extra.get("code", 0), "final": True},
        )
        return [*self._stop(walk, now), (walk.origin, told)]

    def _cancel(self, link: Link, call_id: bytes, now: float) -> Steps:
        walk = self._walks.get((link, call_id))
        if walk is None:
            return []
        gone = Cancelled(f"{self.name}: cancelled by the caller", peer=self.name, maybe_executed=True)
        return [*self._stop(walk, now), (link, failure(call_id, gone))]

    def _stop(self, walk: _Walk, now: float) -> Steps:
        """Nobody waits for `walk` any more: cancel what runs, drop what it will still answer."""
        del self._walks[walk.origin, walk.request.call_id]
        steps: Steps = []
        for call_id, name in walk.running.items():
            del self._steps[call_id]
            steps += self._heads[name].receive(_UP, Message(Kind.CANCEL, call_id), now)
        walk.running.clear()
        return steps

    # -- what it tells -----------------------------------------------------------------------------------------------

    def _description(self) -> dict[str, Any]:
        return {"nodes": [{"name": node.name, "needs": list(node.needs)} for node in self.topology.nodes]}

    def _status(self) -> dict[str, Any]:
        return {"inflight": len(self._walks), "queued": 0}


def _labelled(part: Part, label: str) -> Part:
    return part if part.label == label else Part(part.kind, label, part.shard, part.sizes, part.frames)


def _checked_target(pattern: Any) -> re.Pattern[str]:
    """The regular expression that names the Executors a request is meant for; raises InvalidRequest."""
    if not isinstance(pattern, str) or not _TARGET.fullmatch(pattern) or pattern.count("*") > 3:
        raise InvalidRequest(
            f"target_executor {pattern!r:.80} is not a simple pattern: letters, digits, _ | . ^ $ - and at most three *"
        )
    try:
        return re.compile(pattern)
    except re.error as error:
        raise InvalidRequest(f"target_executor {pattern!r}: {error}") from None
