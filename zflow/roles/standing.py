"""How a node stands, as a STATUS tells it: what waits for it, and what each of its replicas has and has done."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Protocol

from zflow.roles.liveness import Neighbour


class Spreading(Protocol):
    """A head, or a role that has several."""

    dropped: int

    @property
    def neighbours(self) -> Collection[Neighbour]:
        """The replicas."""

    @property
    def waiting(self) -> int:
        """How many requests no replica has yet."""


def standing_of(head: Spreading) -> dict[str, Any]:
    """For the details of a STATUS: see SPEC.md, PING."""
    return {
        "queued": head.waiting,
        "dropped": head.dropped,
        "replicas": {neighbour.link: _replica(neighbour) for neighbour in head.neighbours},
    }


def _replica(neighbour: Neighbour) -> dict[str, Any]:
    told = {
        "state": neighbour.state,
        "credit": neighbour.credit,
        "inflight": len(neighbour.calls),
        "done": neighbour.done,
        "took": int(neighbour.took * 1e6),
    }
    return {**told, "cause": neighbour.cause[:256]} if neighbour.cause else told
