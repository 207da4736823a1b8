"""What a walk through the graph can do without: joins that do not wait for all, nodes that nobody waits for any more.

A join with a quorum or a time is *patient*: it begins when all of its needs have ended, or else as soon as enough of
them have (`quorum`, or one) and its time (`within`, or none at all) has passed since the first. Those that are not
there then are *missing*. A node is *spared* if everything that waits for it is a patient join or spared itself: its
failure makes it missing, and no more than that, as long as the join can still come to enough.

Floating nodes, which nobody waits for, play no part here.
"""

from __future__ import annotations

from enum import Enum

from zflow.topology import SKIP, Node, Topology
from zflow.wire.header import Message


class Verdict(Enum):
    """What a patient join does now."""

    WAIT = 0
    BEGIN = 1
    FAIL = 2


class Patience:
    """What follows from a graph, once for all walks.

    joins: the patient ones. spared: see above. skipped: the nodes that end without documents when a call to them takes
    too long. awaited: the nodes that are not floating, each before those that it needs.
    """

    def __init__(self, topology: Topology) -> None:
        awaited = [node for node in topology.in_order if not node.floating]
        self.joins = {node.name: node for node in awaited if node.is_patient}
        self.skipped = frozenset(node.name for node in awaited if node.on_timeout == SKIP)
        self.awaited = tuple(node.name for node in reversed(awaited))
        names = set(self.awaited)
        self.after = {
            name: tuple(after for after in topology.downstream[name] if after in names) for name in self.awaited
        }
        spared: set[str] = set()
        for name in self.awaited:
            if self.after[name] and all(after in self.joins or after in spared for after in self.after[name]):
                spared.add(name)
        self.spared = frozenset(spared)

    @property
    def is_needed(self) -> bool:
        """Whether any walk through the graph can do without anything."""
        return bool(self.joins or self.skipped)


class Progress:
    """How far one walk has come.

    open: the nodes that have neither ended nor are missing. missing: those without documents of their own. begun: the
    patient joins that have. overdue: those whose time has passed. timed: those whose time has begun to pass. cause: the
    last failure that was survived.
    """

    __slots__ = ("_patience", "open", "missing", "begun", "overdue", "timed", "cause")

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self.open = set(patience.awaited)
        self.missing: set[str] = set()
        self.begun: set[str] = set()
        self.overdue: set[str] = set()
        self.timed: set[str] = set()
        self.cause: Message | None = None

    def is_past(self, name: str) -> bool:
        """Whether `name` waits for nothing any more: it is a patient join that has begun, or a missing node."""
        return name in self.begun or name in self.missing

    def verdict(self, join: Node) -> Verdict:
        """What the patient join `join` does, as things are."""
        coming = sum(need in self.open for need in join.needs)
        there = sum(map(self._is_there, join.needs))
        enough = join.quorum or 1
        if there + coming < enough:
            return Verdict.FAIL
        if not coming or (there >= enough and (join.within is None or join.name in self.overdue)):
            return Verdict.BEGIN
        return Verdict.WAIT

    def starts_waiting(self, join: Node) -> bool:
        """Whether the time of `join` begins to pass now: the first of its needs has just ended."""
        if join.name in self.timed or not any(map(self._is_there, join.needs)):
            return False
        self.timed.add(join.name)
        return True

    def lose(self, name: str) -> list[Node]:
        """The spared node `name` is missing, and so is every node that cannot go on without it. Returns the patient
        joins that must look again."""
        waiting = [name]
        joins: dict[str, Node] = {}
        while waiting:
            name = waiting.pop()
            self.open.discard(name)
            self.missing.add(name)
            for after in self._patience.after[name]:
                join = self._patience.joins.get(after)
                if join is None and after in self.open:
                    waiting.append(after)
                elif join is not None and not self.is_past(after):
                    joins[after] = join
        return list(joins.values())

    def _is_there(self, need: str) -> bool:
        return need not in self.open and need not in self.missing

    def give_up(self) -> list[str]:
        """The open nodes that nobody waits for any more; they are missing from now on."""
        after = self._patience.after
        useless = []
        for name in self._patience.awaited:
            if name in self.open and after[name] and all(map(self.is_past, after[name])):
                self.open.discard(name)
                self.missing.add(name)
                useless.append(name)
        return useless
