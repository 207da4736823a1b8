"""Plain functions that choose a replica among neighbours."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from zflow.roles.liveness import Neighbour


def least_outstanding(neighbours: Iterable[Neighbour], avoid: Collection[str] = ()) -> Neighbour | None:
    """The neighbour with room and the least outstanding work; one of `avoid` only when no other has room.

    Among equals the first wins: an idle deployment keeps one replica's caches warm instead of waking them all.
    """
    chosen = None
    chosen_rank = (True, 0)
    for neighbour in neighbours:
        if neighbour.has_room:
            rank = (neighbour.link in avoid, len(neighbour.calls))
            if rank == (False, 0):
                return neighbour  # none can be better: the others need not be looked at
            if chosen is None or rank < chosen_rank:
                chosen, chosen_rank = neighbour, rank
    return chosen
