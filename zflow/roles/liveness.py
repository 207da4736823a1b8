"""One neighbour at the far end of a way out: greeted, ready with credit, draining, lost and why, or left by us.

That a silent neighbour is dead is found out below (ZMTP heartbeats, a closed connection) and arrives as `lost`; what
is decided here is only who may be sent work. A connection is greeted once; its loss ends everything it granted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from zflow.wire.header import Kind, Message

LOST = "lost"
GREETED = "greeted"
READY = "ready"
DRAINING = "draining"
LEFT = "left"

MAX_CREDIT = 65_536


class Neighbour:
    """The peer at the far end of `link`.

    calls: what it is working on, by call id; its length is the outstanding work. credit: how much of it the peer
    takes. idempotent: the endpoints that it may run more than once, ``*`` for all. cause: why it is not ready, for
    people. done, took: how many outcomes have come from it, and the seconds that their calls took, waiting included.
    failures: how many in a row; ejections: how often it was given nothing for a while for that (ejection.py).
    nodes: the names in our Flow, by which the peer tells which parameters are meant for others.
    """

    __slots__ = (
        *("link", "state", "credit", "boot", "peer", "idempotent", "calls", "cause"),
        *("done", "took", "failures", "ejections", "_granted", "_most", "_why_ejected", "_deaths"),
        *("_is_lent", "_greeting", "_new_id"),
    )

    def __init__(self, link: str, new_id: Callable[[], bytes], nodes: Sequence[str] = ()) -> None:
        self.link = link
        self.state = LOST
        self.credit = 0
        self.boot = b""
        self.peer = ""
        self.idempotent: frozenset[str] = frozenset()
        self.calls: dict[bytes, Any] = {}
        self.cause = "no answer to HELLO; is it a zflow peer?"
        self.done = 0
        self.took = 0.0
        self.failures = 0
        self.ejections = 0
        self._granted = 0
        self._most: int | None = None  # more than this it gets in no case: 0 while it is ejected, 1 on probation
        self._why_ejected = ""
        self._deaths: frozenset[bytes] | None = None  # the calls that the incarnation before died with, if it tells
        self._is_lent = False
        self._greeting: dict[str, Any] = {"nodes": list(nodes)} if nodes else {}
        self._new_id = new_id

    def greet(self, now: float) -> Message:
        """A fresh connection is being made: the HELLO that opens it."""
        self.state = GREETED
        self._greeting.update(conn=self._new_id(), sent=int(now * 1e6))
        return Message(Kind.HELLO, extra=dict(self._greeting))

    def prove(self, challenge: Message) -> Message | None:
        """The HELLO that answers `challenge`, or None for one without a nonce."""
        nonce = challenge.extra.get("nonce")
        if type(nonce) is not bytes or self.state != GREETED:
            return None
        return Message(Kind.HELLO, extra={**self._greeting, "nonce": nonce})

    def accept(self, ready: Message) -> bool:
        """The peer is READY. False when what it grants makes no sense."""
        credit, boot = ready.extra.get("credit"), ready.extra.get("boot")
        if self.state == LEFT:
            return False
        if type(credit) is not int or not 1 <= credit <= MAX_CREDIT or type(boot) is not bytes:
            self.cause = f"it granted a credit of {credit!r:.40}"
            return False
        self.state = READY
        self._granted = credit
        self._limit_credit()
        self.boot = boot
        self.peer = str(ready.extra.get("name", ""))
        deaths = ready.extra.get("deaths")
        self._deaths = None if deaths is None else frozenset(item for item in deaths if isinstance(item, bytes))
        self.idempotent = frozenset(name for name in ready.extra.get("idempotent", ()) if isinstance(name, str))
        self.cause = self._why_ejected if self.is_ejected else ""
        return True

    def lend(self, is_lent: bool) -> None:
        """Whether it takes nothing from now on but what it is given past its credit, one at a time."""
        self._is_lent = is_lent
        self._limit_credit()

    def eject(self, cause: str) -> None:
        """It gets nothing until further notice, however ready it is."""
        self._most = 0
        self._why_ejected = cause
        if self.state == READY:
            self.cause = cause
        self._limit_credit()

    def put_on_probation(self) -> None:
        """It was ejected, and gets one request at a time until one goes well."""
        self._most = 1
        if self.state == READY:
            self.cause = ""
        self._limit_credit()

    def prove_well(self) -> None:
        """Something went well after failures."""
        self.failures = 0
        if self.on_probation:
            self.ejections = 0
            self._most = None
            self._limit_credit()

    @property
    def is_ejected(self) -> bool:
        """Whether it gets nothing for its failures."""
        return self._most == 0

    @property
    def on_probation(self) -> bool:
        """Whether it was ejected and has not proven itself since."""
        return self._most == 1

    def _limit_credit(self) -> None:
        if self._is_lent or self.state != READY:
            self.credit = 0
        else:
            self.credit = self._granted if self._most is None else min(self._granted, self._most)

    def has_died_with(self, call_id: bytes, boot: bytes) -> bool | None:
        """Whether the incarnation `boot` of the peer, which had a call, has died, and maybe of it; None while that is
        not known. One that comes back may tell what it ran: it did not die of what was waiting, nor of another's.
        """
        if self.state == READY:
            return self.boot != boot and (self._deaths is None or call_id in self._deaths)
        return True if self.state == LEFT else None

    def retire(self) -> None:
        """The peer takes no more work; what it has it will finish."""
        if self.state == READY:
            self.state = DRAINING
            self.cause = "it is shutting down"

    def leave(self) -> None:
        """We give the peer no more work, whatever it says from now on; what it has it may finish."""
        self.state = LEFT
        self.cause = "it is a replica no longer"

    def lose(self, cause: str) -> list[Any]:
        """The connection is gone: whatever was outstanding on it, oldest first."""
        self.state = LEFT if self.state == LEFT else LOST
        self.credit = 0
        self.cause = cause
        calls = list(self.calls.values())
        self.calls.clear()
        return calls

    def may_repeat(self, endpoint: str) -> bool:
        """Whether the peer has said that it may run `endpoint` more than once for one call."""
        return not self.idempotent.isdisjoint((endpoint, "*"))

    @property
    def is_done_with(self) -> bool:
        """Whether it is a replica no longer and has nothing of ours any more: its connection may be closed."""
        return self.state == LEFT and not self.calls

    @property
    def has_room(self) -> bool:
        """Whether it may be sent one more request."""
        return self.state == READY and len(self.calls) < self.credit


def causes_of(neighbours: Iterable[Neighbour]) -> str:
    """Why none of them is ready."""
    return "; ".join(f"{neighbour.link}: {neighbour.cause}" for neighbour in neighbours) or "it has no replicas"
