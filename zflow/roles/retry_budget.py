"""How many retries a head may spend: a share of what goes well, so that trouble is not multiplied by asking again.

A retry costs a token. Every outcome earns a part of one, up to a few in store. The loss of a connection costs one,
however many calls were on it: they are not sent again until there is another connection. Work that a draining peer
hands back costs none: that is no trouble, it is a rolling update.

Nothing is counted while all goes well: what was earned follows from the numbers of outcomes that replicas keep anyway.
"""

from __future__ import annotations

from collections.abc import Iterable

from zflow.roles.call import Call
from zflow.roles.liveness import Neighbour

STORE = 10.0
EARNED = 0.1


class RetryBudget:
    """The tokens of one head. It begins with a full store."""

    __slots__ = ("_tokens", "_seen", "_refused")

    def __init__(self) -> None:
        self._tokens = STORE
        self._seen = 0
        self._refused = 0

    def draw(self, neighbours: Iterable[Neighbour], *, is_refusal: bool) -> bool:
        """Whether there is a token for one more retry; it is spent. neighbours: all replicas.

        is_refusal: the reason is itself one of the outcomes of a replica, and earns nothing.
        """
        self._refused += is_refusal
        earning = sum(neighbour.done for neighbour in neighbours) - self._refused
        if earning > self._seen:
            self._tokens = min(STORE, self._tokens + (earning - self._seen) * EARNED)
        self._seen = earning  # it also shrinks: a replica that leaves takes its number with it
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def covers(self, calls: Iterable[Call], lost: Neighbour, neighbours: Iterable[Neighbour]) -> bool:
        """Whether those of `calls` that may be repeated will be, now that `lost` is gone: one token for all."""
        return not any(call.may_repeat(lost) for call in calls) or self.draw(neighbours, is_refusal=False)
