"""Which endpoints may run more than once for one call, where several peers have a say in it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Protocol

from zflow.roles.liveness import Neighbour

EVERY = "*"


class Spreading(Protocol):
    """A head, or a role that has several. is_idempotent: whatever its replicas say, every endpoint may run again."""

    @property
    def is_idempotent(self) -> bool: ...

    @property
    def neighbours(self) -> Collection[Neighbour]: ...


def shared(said: Iterable[Collection[str]]) -> list[str]:
    """The endpoints that all of them name; ``*`` where all of them name every one. Where nobody says anything, none."""
    everybody = list(said)
    limited = [frozenset(endpoints) for endpoints in everybody if EVERY not in endpoints]
    if not limited:
        return [EVERY] if everybody else []
    return sorted(frozenset.intersection(*limited))


def repeatable(heads: Iterable[Spreading]) -> list[str]:
    """The endpoints that may run more than once at all nodes, as far as replicas have been heard of."""
    return shared(_of_node(head) for head in heads)


def _of_node(head: Spreading) -> list[str]:
    if head.is_idempotent:
        return [EVERY]
    return shared(neighbour.idempotent for neighbour in head.neighbours if neighbour.boot)
