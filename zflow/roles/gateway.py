"""Walks each request through the topology: fan out, join, fail, finish.

The rules of a walk:

1. A node is ready when everything it needs has ended; a patient join may be ready before (patience.py). Its request
   carries the documents of its needs, in the order in which it names them, labelled with the names of those who made
   them; they are handed on unopened, with the conditions that they must meet.
2. The walk ends when every node has ended: the reply carries the documents of the last node and the results of all.
   Floating nodes are not waited for, neither do they end with the walk.
3. The last node's step may answer in pieces, where the caller takes them; they are handed on as they come. What any
   other node makes is whole when the next one begins.
4. One failure ends the walk at once: it is passed to the caller, and what runs in other branches is cancelled. What
   those branches still answer is dropped. A walk survives a failure where a patient join can do without that branch,
   and where a node that takes too long is to be skipped.
5. Deadlines are the heads' business: each step carries what is left of the caller's budget.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from zflow.documents.limits import MAX_CONDITIONS
from zflow.errors import Cancelled, DeadlineExceeded, InvalidRequest, RemoteError, Unavailable, UnsupportedRequest
from zflow.roles.contract import Link, Steps, failure, group_of
from zflow.roles.front_door import PROBE, FrontDoor
from zflow.roles.head import Head
from zflow.roles.patience import Patience, Progress, Verdict
from zflow.roles.repeating import repeatable
from zflow.roles.shards import Shards
from zflow.roles.standing import standing_of
from zflow.roles.timers import Timers
from zflow.roles.walk import Wait, Walk
from zflow.topology import GATEWAY, Node, Topology
from zflow.wire.conditions import WHEN
from zflow.wire.frames import DOCUMENTS, RESULTS, Part
from zflow.wire.header import MAYBE_EXECUTED, NO_REDUCE, NOT_STARTED, Kind, Message
from zflow.wire.pieces import ASKS_FOR_PIECES

_UP = "gateway"  # the origin that a head inside this gateway answers to
_NO_JOINS: dict[str, int] = {}  # shared by the walks through a graph without any


class Gateway:
    """The gateway role. heads: a Head, or Shards, per node of `topology`, by name; new_id: makes 16-byte ids.

    on_floating_failure: is told the node and the FAILURE that nobody waits for.
    """

    def __init__(
        self,
        topology: Topology,
        heads: Mapping[str, Head | Shards],
        *,
        new_id: Callable[[], bytes],
        name: str = "gateway",
        boot: bytes = bytes(16),
        credit: int = 256,
        new_nonce: Callable[[], bytes] | None = None,
        on_floating_failure: Callable[[str, Message], None] | None = None,
    ) -> None:
        self.topology = topology
        self.name = name
        self.dropped = 0
        self.floating_failed = 0
        self.survived = 0
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
        self._head_of_group = {**heads, **{group_of(link): head for link, head in self._head_of.items()}}
        self._busy: dict[str, Head | Shards] = {}  # those that have calls, by node; of 64 in a row it is one
        self._new_id = new_id
        patience = Patience(topology)
        self._patience = patience if patience.is_needed else None
        self._joins = {
            node.name: len(node.needs) for node in topology.nodes if len(node.needs) > 1 and not node.is_patient
        }
        before_joins = {need for node in topology.nodes if len(node.needs) > 1 for need in node.needs}
        self._kept = before_joins | {topology.last}  # whose documents must outlive the step that takes them next
        self._awaited = sum(not node.floating for node in topology.nodes)
        self._has_floating = self._awaited < len(topology.nodes)
        self._filters = any(node.when for node in topology.nodes)
        self._room = MAX_CONDITIONS - max((len(node.when) for node in topology.nodes), default=0)
        self._walks: dict[tuple[Link, bytes], Walk] = {}
        self._steps: dict[bytes, Walk] = {}
        self._floating: dict[bytes, tuple[Walk, str]] = {}
        self._waits: Timers[Wait] | None = Timers() if any(node.within for node in topology.nodes) else None
        self._on_floating_failure = on_floating_failure

    # -- the contract ------------------------------------------------------------------------------------------------

    def ways_out(self) -> Sequence[str]:
        return [link for head in self._heads.values() for link in head.ways_out()]

    def receive(self, link: Link, message: Message, now: float) -> Steps:
        head = self._head_of.get(link) if isinstance(link, str) else None
        if head is not None:
            steps = self._follow(head.receive(link, message, now), now)
            return steps + self._announce() if message.kind is Kind.READY else steps
        answers = self.door.receive(link, message, now)
        if answers is not None:
            return answers
        if message.kind is Kind.REQUEST:
            return self._begin(link, message, now)
        if message.kind is Kind.CANCEL:
            return self._follow(self._cancel(link, message.call_id, now), now)
        return self._follow(self._more(link, message, now), now)

    def opened(self, link: str, now: float) -> Steps:
        return self._head_of[link].opened(link, now)

    def lost(self, link: Link, reason: str, now: float) -> Steps:
        head = self._head_of.get(link) if isinstance(link, str) else None
        if head is not None:
            steps = head.lost(link, reason, now)
            if link not in head.ways_out():  # it was a replica no longer
                del self._head_of[str(link)]
            return self._follow(steps, now)
        self.door.forget(link)
        steps = []
        for walk in [walk for walk in self._walks.values() if walk.origin == link]:
            steps += self._stop(walk, now)
        return self._follow(steps, now)

    def expire(self, now: float) -> Steps:
        self.door.expire(now)
        steps: Steps = self.door.probe((walk.origin for walk in self._walks.values()), now)
        for head in list(self._busy.values()):
            steps += head.expire(now)
        if self._waits is not None:
            for wait in self._waits.due(now):
                steps += self._overdue(wait, now)
        return self._follow(steps, now) if steps else steps

    def next_deadline(self) -> float | None:
        due, probes_at = self.door.leaves_at, self.door.probes_at
        if probes_at is not None and (due is None or probes_at < due):
            due = probes_at
        for name, head in list(self._busy.items()):
            if not head.has_calls:
                del self._busy[name]
                continue
            when = head.next_deadline()
            if when is not None and (due is None or when < due):
                due = when
        if self._waits is not None:
            when = self._waits.next()
            if when is not None and (due is None or when < due):
                due = when
        return due

    def malformed(self, link: Link, error: RemoteError, now: float) -> Steps:
        head = self._head_of.get(link) if isinstance(link, str) else None
        if head is not None:
            return self._follow(head.malformed(link, error, now), now)
        return self.door.malformed(link, error)

    def replicas(self, group: str, links: Sequence[str], now: float) -> Steps:
        head = self._head_of_group.get(group)
        if head is None:
            return []
        steps = head.replicas(group, links, now)
        self._head_of.update(dict.fromkeys(links, head))
        return self._follow(steps, now)

    def drain(self, now: float) -> Steps:
        return self.door.drain(now)

    def is_idle(self, now: float) -> bool:
        return not self._walks and not self._floating and self.door.is_left(now)

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
        walk = Walk(
            link,
            message,
            deadline,
            self._joins.copy() if self._joins else _NO_JOINS,
            self._awaited,
            self._filters,
            Progress(self._patience) if self._patience is not None else None,
        )
        documents = [_labelled(part, GATEWAY) for part in message.parts if part.kind == DOCUMENTS]
        if "!target" in message.extra or WHEN in message.extra:
            try:
                walk.narrow(len(documents), self._room)
            except (InvalidRequest, UnsupportedRequest) as error:
                return [(link, failure(message.call_id, error, not_started=True))]
        self._walks[key] = walk
        if self.door.probes_at is None and "partial" in message.extra:
            self.door.probes_at = now + PROBE
        return self._follow(self._ended(walk, GATEWAY, documents, now), now)

    def _ended(self, walk: Walk, name: str, documents: list[Part], now: float) -> Steps:
        """`name` has made `documents`: go on to those who need it, or finish."""
        steps: Steps = []
        downstream = self.topology.downstream[name]
        if name in self._kept:
            walk.made[name] = documents
        for after in downstream:
            node = self.topology.by_name[after]
            if walk.progress is not None and not node.floating:
                if node.is_patient:
                    steps += self._look_again(walk, node, now)
                    continue
                if walk.left < 0 or walk.progress.is_past(after):
                    continue
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

    def _step(self, walk: Walk, node: Node, inputs: list[Part], now: float) -> Steps:
        """Send `node` its request, unless the caller left it out."""
        if walk.target is not None and walk.target.match(node.name) is None:
            if not node.floating:
                _note_end(walk, node.name)
            return self._ended(walk, node.name, inputs, now)
        call_id = self._new_id()
        asked = walk.request
        budget = None
        if node.floating:
            self._floating[call_id] = walk, node.name
        else:
            walk.running[call_id] = node.name
            self._steps[call_id] = walk
            if walk.deadline is not None:
                budget = max(0, int((walk.deadline - now) * 1e6))
        flags = asked.flags | NO_REDUCE if node.no_reduce else asked.flags
        extra: dict[str, Any] = {"node": node.name, "request": asked.extra.get("request", asked.call_id)}
        if "partial" in asked.extra and node.name == self.topology.last:
            extra.update({key: asked.extra[key] for key in ASKS_FOR_PIECES if key in asked.extra})
        if (node.when or walk.conditions) and (conditions := walk.conditions_for(node)):
            extra[WHEN] = conditions
        request = Message(Kind.REQUEST, call_id, asked.endpoint, budget, flags, inputs + walk.parameters, extra)
        head = self._busy[node.name] = self._heads[node.name]
        return head.receive(_UP, request, now)

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
        if outcome.kind is Kind.PARTIAL:
            return self._partial(outcome)
        walk = self._steps.pop(outcome.call_id, None)
        if walk is None:
            return self._settle_floating(outcome, now)
        name = walk.running.pop(outcome.call_id)
        if outcome.kind is Kind.FAILURE:
            return self._failed(walk, name, outcome, now)
        walk.left -= 1
        if walk.progress is not None:
            walk.progress.open.discard(name)
        if outcome.extra:
            walk.note(outcome.extra)
        documents = []
        for part in outcome.parts:
            if part.kind == DOCUMENTS:
                documents.append(_labelled(part, name))
            elif part.kind == RESULTS:
                walk.results.append(part)
        return self._ended(walk, name, documents, now)

    def _settle_floating(self, outcome: Message, now: float) -> Steps:
        walk, name = self._floating.pop(outcome.call_id, (None, ""))
        if walk is None:
            self.dropped += 1  # of a branch that was given up
            return []
        if outcome.kind is Kind.FAILURE:
            self.floating_failed += 1
            if self._on_floating_failure is not None:
                self._on_floating_failure(name, outcome)
            return []
        return self._ended(walk, name, [_labelled(part, name) for part in outcome.parts if part.kind == DOCUMENTS], now)

    def _finish(self, walk: Walk) -> Steps:
        del self._walks[walk.origin, walk.request.call_id]
        parts = walk.made[self.topology.last] + walk.results
        extra: dict[str, Any] | None = {"filtered": True} if walk.filtered else None
        if walk.lacking is not None:
            extra = {**(extra or {}), "missing": walk.lacking}
        return [(walk.origin, Message(Kind.REPLY, walk.request.call_id, parts=parts, extra=extra))]

    def _failed(self, walk: Walk, name: str, outcome: Message, now: float) -> Steps:
        """A step of `walk` came to a FAILURE: the walk ends with it, unless it can do without `name`."""
        progress, patience = walk.progress, self._patience
        if progress is None or patience is None or (walk.deadline is not None and now >= walk.deadline):
            return self._fail(walk, outcome, now)
        is_skipped = name in patience.skipped and outcome.extra.get("code") == DeadlineExceeded.code
        if name not in patience.spared and not is_skipped:
            return self._fail(walk, outcome, now)
        progress.cause = outcome
        self.survived += 1
        if name not in patience.spared:
            progress.missing.add(name)
            _note_end(walk, name)
            return self._ended(walk, name, [], now)
        steps: Steps = []
        joins = progress.lose(name)
        walk.left = len(progress.open)
        for join in joins:
            steps += self._look_again(walk, join, now)
        return steps + self._give_up(walk, now)

    def _fail(self, walk: Walk, outcome: Message, now: float) -> Steps:
        flags = outcome.flags
        if walk.left < self._awaited or walk.running or self._has_floating:  # others have run, or may have
            flags = flags & ~NOT_STARTED | MAYBE_EXECUTED
        told = Message(
            Kind.FAILURE,
            walk.request.call_id,
            flags=flags,
            parts=outcome.parts,
            extra={"code": outcome.extra.get("code", 0), "final": True, "path": outcome.extra.get("path", [])},
        )
        return [*self._stop(walk, now), (walk.origin, told)]

    def _partial(self, piece: Message) -> Steps:
        walk = self._steps.get(piece.call_id)
        if walk is None:
            self.dropped += 1
            return []
        name = self.topology.last
        parts = [_labelled(part, name) if part.kind == DOCUMENTS else part for part in piece.parts]
        return [(walk.origin, Message(Kind.PARTIAL, walk.request.call_id, parts=parts, extra=piece.extra))]

    def _more(self, link: Link, message: Message, now: float) -> Steps:
        """The caller takes further pieces of what the last node makes."""
        walk = self._walks.get((link, message.call_id))
        steps: Steps = []
        for call_id, name in walk.running.items() if walk is not None else ():
            if name == self.topology.last:
                steps += self._heads[name].receive(_UP, Message(Kind.MORE, call_id, extra=message.extra), now)
        return steps

    def _cancel(self, link: Link, call_id: bytes, now: float) -> Steps:
        walk = self._walks.get((link, call_id))
        if walk is None:
            return []
        gone = Cancelled(f"{self.name}: cancelled by the caller", peer=self.name, maybe_executed=True)
        return [*self._stop(walk, now), (link, failure(call_id, gone))]

    def _stop(self, walk: Walk, now: float) -> Steps:
        """Nobody waits for `walk` any more: cancel what runs, drop what it will still answer."""
        del self._walks[walk.origin, walk.request.call_id]
        walk.left = -1
        return self._cancel_steps(walk, list(walk.running), now)

    def _cancel_steps(self, walk: Walk, call_ids: list[bytes], now: float) -> Steps:
        steps: Steps = []
        for call_id in call_ids:
            name = walk.running.pop(call_id)
            del self._steps[call_id]
            steps += self._heads[name].receive(_UP, Message(Kind.CANCEL, call_id), now)
        return steps

    # -- patient joins -----------------------------------------------------------------------------------------------

    def _look_again(self, walk: Walk, join: Node, now: float) -> Steps:
        """One of the needs of `join` has ended or is missing, or its time has passed: begin, wait on, or fail."""
        progress = walk.progress
        if progress is None or walk.left < 0 or progress.is_past(join.name):
            return []
        verdict = progress.verdict(join)
        if verdict is Verdict.FAIL and progress.cause is not None:
            self.survived -= 1
            return self._fail(walk, progress.cause, now)
        if verdict is Verdict.BEGIN:
            progress.begun.add(join.name)
            inputs = [part for need in join.needs for part in walk.made.get(need, ())]
            return self._give_up(walk, now) + self._step(walk, join, inputs, now)
        if join.within is not None and self._waits is not None and progress.starts_waiting(join):
            self._waits.add(now + join.within, Wait(walk, join))
        return []

    def _overdue(self, wait: Wait, now: float) -> Steps:
        if wait.walk.progress is not None:
            wait.walk.progress.overdue.add(wait.join.name)
        return self._look_again(wait.walk, wait.join, now)

    def _give_up(self, walk: Walk, now: float) -> Steps:
        """Cancel what runs only for those who wait no more."""
        if walk.progress is None or walk.left < 0:
            return []
        useless = walk.progress.give_up()
        walk.left = len(walk.progress.open)
        return self._cancel_steps(walk, [call_id for call_id, name in walk.running.items() if name in useless], now)

    # -- what it tells -----------------------------------------------------------------------------------------------

    def _announce(self) -> Steps:
        """A replica is READY: callers hear of it where other endpoints may run more than once now."""
        return self.door.announce_again(repeatable(self._heads.values()))

    def _description(self) -> dict[str, Any]:
        return {"nodes": [{"name": node.name, "needs": list(node.needs)} for node in self.topology.nodes]}

    def _status(self) -> dict[str, Any]:
        nodes = {name: standing_of(head) for name, head in self._heads.items()}
        told: dict[str, Any] = {"inflight": len(self._walks), "queued": 0, "nodes": nodes}
        if self._has_floating:
            told.update(floating=len(self._floating), floating_failed=self.floating_failed)
        if self._patience is not None:
            told["survived"] = self.survived
        return told


def _note_end(walk: Walk, name: str) -> None:
    """One of the nodes that are waited for has ended."""
    walk.left -= 1
    if walk.progress is not None:
        walk.progress.open.discard(name)


def _labelled(part: Part, label: str) -> Part:
    return part if part.label == label else Part(part.kind, label, part.shard, part.sizes, part.frames)
