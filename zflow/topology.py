"""The graph of Executors: checked once, immutable, walked by the gateway.

Names must be identifiers, because they become parts of paths, link names and labels on the wire. ``gateway`` is the
caller's own input: every graph starts there. The reply is the last node's; a node that nothing needs still ends
before the reply is sent, unless it is floating: then nobody waits for it, and the reply is the last one's before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from zflow.errors import TopologyError, nearest

GATEWAY = "gateway"
FAIL, SKIP = "fail", "skip"  # what becomes of a request when a call to a node takes longer than the node's limit
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


class Node(NamedTuple):
    """One Executor of the graph. `needs` names what it waits for, in the order in which it sees their documents.

    floating: nobody waits for it. when: the condition that its documents meet, encoded; empty for none. on_timeout:
    FAIL or SKIP. quorum: how many of its needs are enough for a join, 0 for all. within: for how many seconds, from
    when the first of them has ended, it waits for more than that; None where it does not.
    """

    name: str
    needs: tuple[str, ...]
    no_reduce: bool = False
    floating: bool = False
    when: bytes = b""
    on_timeout: str = FAIL
    quorum: int = 0
    within: float | None = None

    @property
    def is_patient(self) -> bool:
        """Whether it is a join that can begin before everything that it needs has ended."""
        return self.quorum > 0 or self.within is not None


class Topology:
    """An immutable, checked graph. Raises TopologyError for unknown, duplicate or circular names.

    nodes: in the order in which they were added; in_order: each behind those that it needs. last: the node whose
    documents are the reply (``gateway`` for a graph without any that is awaited). downstream: for each name, who needs
    it.
    """

    __slots__ = ("nodes", "in_order", "by_name", "downstream", "last")

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = tuple(nodes)
        for _, fault in faults_of(self.nodes):
            raise fault
        self.by_name: dict[str, Node] = {node.name: node for node in self.nodes}
        downstream: dict[str, list[str]] = {name: [] for name in (GATEWAY, *self.by_name)}
        for node in self.nodes:
            for need in node.needs:
                downstream[need].append(node.name)
        self.downstream = {name: tuple(names) for name, names in downstream.items()}
        self.last = next((node.name for node in reversed(self.nodes) if not node.floating), GATEWAY)
        self.in_order = _in_order(self.by_name, self.downstream)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Topology) and self.nodes == other.nodes

    def __hash__(self) -> int:
        return hash(self.nodes)

    def __repr__(self) -> str:
        return "Topology(" + ", ".join(node.name + "<-" + "+".join(node.needs) for node in self.nodes) + ")"

    def __reduce__(self) -> tuple[type[Topology], tuple[tuple[Node, ...]]]:
        return Topology, (self.nodes,)

    @property
    def leaves(self) -> tuple[str, ...]:
        """The nodes that nothing needs."""
        return tuple(node.name for node in self.nodes if not self.downstream[node.name])


def faults_of(nodes: Sequence[Node]) -> Iterator[tuple[int, TopologyError]]:
    """What is wrong with each of `nodes` among the others, circles aside: its index, and the first fault."""
    by_name: dict[str, Node] = {}
    for node in nodes:
        by_name.setdefault(node.name, node)
    for index, node in enumerate(nodes):
        try:
            check_name(node.name)
            if by_name[node.name] is not node:
                raise TopologyError(f"two Executors are named {node.name!r}; give one of them another name")
            _check_needs(node, [GATEWAY, *by_name])
            _check_waiting(node, by_name)
        except TopologyError as fault:
            yield index, fault


def check_name(name: object) -> None:
    """Raise TopologyError unless `name` can be a node's."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise TopologyError(
            f"{name!r:.80} cannot name an Executor: use letters, digits and underscores, at most 64, not a digit first"
        )
    if name == GATEWAY:
        raise TopologyError(f"{GATEWAY!r} is the name of the Flow's own entrance; choose another for this Executor")


def _check_needs(node: Node, known: Sequence[str]) -> None:
    if not node.needs:
        raise TopologyError(f"{node.name!r} needs nothing; say needs={GATEWAY!r} to start a branch")
    for need in node.needs:
        if need == node.name:
            raise TopologyError(f"{node.name!r} needs itself")
        if need not in known:
            raise TopologyError(f"{node.name!r} needs {need!r}, which is not in the Flow: {nearest(need, known)}")
    if len(set(node.needs)) != len(node.needs):
        raise TopologyError(f"{node.name!r} names one of its needs twice: {', '.join(node.needs)}")


def _check_waiting(node: Node, by_name: dict[str, Node]) -> None:
    """Who waits for whom, and for how many."""
    if node.is_patient and len(node.needs) < 2:
        raise TopologyError(f"{node.name!r} needs only one; quorum and within are for an Executor that joins several")
    if node.quorum > len(node.needs):
        raise TopologyError(f"{node.name!r} has a quorum of {node.quorum}, but needs only {len(node.needs)}")
    if node.floating and (node.is_patient or node.on_timeout == SKIP):
        raise TopologyError(f"nobody waits for {node.name!r}, which is floating; remove quorum, within and on_timeout")
    for need in node.needs:
        if not node.floating and need in by_name and by_name[need].floating:
            raise TopologyError(
                f"{node.name!r} needs {need!r}, which is floating: nobody waits for it; remove floating there, or make "
                f"{node.name!r} floating as well"
            )


def _in_order(nodes: dict[str, Node], downstream: dict[str, tuple[str, ...]]) -> tuple[Node, ...]:
    """Each node behind those that it needs. Kahn's algorithm: what cannot be peeled off stands on a cycle."""
    missing = {name: len(node.needs) for name, node in nodes.items()}
    ready = [GATEWAY]
    peeled = []
    while ready:
        for name in downstream[ready.pop()]:
            missing[name] -= 1
            if not missing[name]:
                del missing[name]
                ready.append(name)
                peeled.append(nodes[name])
    if missing:
        raise TopologyError(f"these Executors need each other in a circle: {', '.join(missing)}")
    return tuple(peeled)
