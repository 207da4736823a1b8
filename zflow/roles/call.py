"""A request on its way through a head: who waits for it, who has it, and whether it may be sent again."""

from __future__ import annotations

from zflow.errors import ResourceExhausted, Unavailable
from zflow.roles.contract import Link
from zflow.roles.liveness import Neighbour
from zflow.wire.header import IDEMPOTENT, NOT_STARTED, Kind, Message

RETRIES = 2
_RETRYABLE = (Unavailable.code, ResourceExhausted.code)  # no set: a foreign code may be something unhashable


class Call:
    """A request on its way.

    size: bytes of its payload, as long as that is kept. origin: who waits for its outcome; None when nobody does any
    more, though a replica may still work on it.
    request: None once an outcome was told: neither a far deadline nor a busy replica must keep its payload.
    sent: how often it was sent to a replica. may_have_run: whether one of those is not known to have left it alone.
    given_up: whether it must not be sent again, because its caller has cancelled it or has got a part of the answer.
    neighbour: the replica that has it; None while it waits here. losses: the replicas that were lost while they had it,
    each with its incarnation.
    """

    __slots__ = (
        *("origin", "call_id", "request", "size", "deadline", "sent"),
        *("may_have_run", "given_up", "avoid", "neighbour", "waiting_since", "losses"),
    )

    def __init__(self, origin: Link, request: Message, deadline: float | None, now: float, size: int = 0) -> None:
        self.origin: Link | None = origin
        self.call_id = request.call_id
        self.request: Message | None = request
        self.size = size
        self.deadline = deadline
        self.sent = 0
        self.may_have_run = False
        self.given_up = False
        self.avoid: tuple[str, ...] = ()
        self.neighbour: Neighbour | None = None
        self.waiting_since = now
        self.losses: tuple[tuple[Neighbour, bytes], ...] = ()

    def release(self, neighbour: Neighbour, now: float) -> None:
        """No replica has it now; rather another than `neighbour` shall get it."""
        self.neighbour = None
        self.avoid = (neighbour.link,)
        self.waiting_since = now

    def may_repeat(self, neighbour: Neighbour) -> bool:
        """Whether it may run once more although `neighbour` may have run it."""
        request = self.request
        return request is not None and (bool(request.flags & IDEMPOTENT) or neighbour.may_repeat(request.endpoint))

    def may_go_elsewhere(self, outcome: Message) -> bool:
        """Whether `outcome` is no reason to give up: it has not been started, and another replica may have room."""
        if outcome.kind is not Kind.FAILURE or not outcome.flags & NOT_STARTED or self.given_up:
            return False
        if outcome.extra.get("final"):  # the peer itself has waited and tried others
            return False
        return outcome.extra.get("code") in _RETRYABLE and self.sent <= RETRIES


def deadline_of(request: Message, timeout: float | None, now: float) -> float | None:
    """When `request` must have ended: what its caller gives it, or `timeout` seconds if that is less."""
    given = None if request.budget is None else now + request.budget / 1e6
    if timeout is None:
        return given
    return now + timeout if given is None else min(given, now + timeout)
