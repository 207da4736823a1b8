"""The front door that worker, head and gateway share: greetings, pings, descriptions, and the way they say goodbye.

A connection is known once its HELLO was answered with READY. Where strangers can reach the port (tcp without keys)
the door answers a first HELLO with a CHALLENGE and hears nothing else from that connection until the nonce comes
back: bytes that a web page makes a browser post to a loopback port can be well-formed, but cannot know a nonce.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from zflow.errors import RemoteError, Unavailable
from zflow.roles.contract import Link, Route, Steps, failure
from zflow.version import SOFTWARE
from zflow.wire import frames
from zflow.wire.header import Kind, Message
from zflow.wire.payload import encode_map

MAX_CONNECTIONS = 65_536
_DRIFT = 1e-3  # seconds per second by which two clocks may drift apart; quartz does a tenth of that
PROBE = 1.0  # seconds between two looks whether those who wait for an outcome are still there
FAREWELL = 0.2  # seconds; callers that are asleep between two requests never answer a DRAIN


class FrontDoor:
    """Who has greeted us, and what everybody may ask without being a caller.

    name, role: who we are. boot: 16 bytes, of this incarnation. credit: what one connection may have outstanding.
    new_nonce: makes nonces where the port demands them, else None. idempotent: the endpoints that may run more than
    once for one call, ``*`` for all. deaths: the calls that the incarnation before died with; None where nobody knows.
    describe, status: what to tell. tell_log: the latest log lines, by the extra of the PING that asks for them;
    whoever has some puts it here.
    """

    def __init__(
        self,
        name: str,
        role: str,
        *,
        boot: bytes,
        credit: int,
        new_nonce: Callable[[], bytes] | None = None,
        idempotent: Sequence[str] = (),
        deaths: Sequence[bytes] | None = None,
        describe: Callable[[], Mapping[str, Any]],
        status: Callable[[], Mapping[str, Any]],
    ) -> None:
        self.name = name
        self.role = role
        self.greeted: dict[Link, _Session] = {}  # oldest first
        self.draining = False
        self.leaves_at: float | None = None
        self.probes_at: float | None = None
        self.dropped = 0
        self._ready: dict[str, Any] = {"boot": boot, "name": name, "role": role, "software": SOFTWARE}
        if deaths is not None:
            self._ready["deaths"] = list(deaths)
        self.announce(credit, idempotent)
        self._new_nonce = new_nonce
        self._challenged: dict[Route, bytes] = {}
        self._describe = describe
        self._status = status
        self.tell_log: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None

    def announce(self, credit: int, idempotent: Sequence[str]) -> None:
        """What is granted to those who greet from now on."""
        self.credit = self._ready["credit"] = credit
        self._ready.pop("idempotent", None)
        if idempotent:
            self._ready["idempotent"] = list(idempotent)

    def announce_again(self, idempotent: Sequence[str]) -> Steps:
        """Tell those who have greeted already, too, if there are other endpoints now that may run more than once."""
        if self._ready.get("idempotent", []) == idempotent:
            return []
        self.announce(self.credit, idempotent)
        return [] if self.draining else [(link, Message(Kind.READY, extra=dict(self._ready))) for link in self.greeted]

    def receive(self, link: Link, message: Message, now: float) -> Steps | None:
        """What to answer; None when it is for the role behind the door: a REQUEST, a CANCEL or a MORE of a caller."""
        kind = message.kind
        if isinstance(link, str) or link in self.greeted:
            if kind is Kind.REQUEST or kind is Kind.CANCEL or kind is Kind.MORE:
                return None
        elif self.draining and (kind is Kind.CANCEL or kind is Kind.MORE):
            return None  # who has said DRAINED still waits for what is here; a role lets nobody meddle with another's
        elif self._new_nonce is not None and kind is not Kind.HELLO:
            self.dropped += 1
            return []
        elif kind is Kind.REQUEST:
            refusal = Unavailable("this connection has not said HELLO", peer=self.name)
            return [(link, failure(message.call_id, refusal, not_started=True))]
        answer = self._answers.get(kind)
        if answer is None or isinstance(link, str):
            self.dropped += 1
            return []
        return answer(self, link, message, now)

    def nodes(self, link: Link) -> list[str]:
        """The names of the Executors in the Flow that asks by `link`, as far as it told them."""
        session = self.greeted.get(link)
        return session.nodes if session is not None else []

    def deadline(self, link: Link, request: Message, now: float) -> float | None:
        """When the time given to `request`, read at `now`, is over; None for no limit.

        The budget was counted when it was sent. What it spent since then in sockets and on the way is not known, but
        what it spent more than the quickest message of its connection is, although the clocks differ.
        """
        if request.budget is None:
            return None
        session, sent = self.greeted.get(link), request.extra.get("sent")
        late = session.lateness(sent, now) if session is not None and type(sent) is int else 0.0
        return now + request.budget / 1e6 - late

    def forget(self, link: Link) -> None:
        """The connection by `link` is gone."""
        if not isinstance(link, str):
            self.greeted.pop(link, None)
            self._challenged.pop(link, None)

    def malformed(self, link: Link, error: RemoteError) -> Steps:
        """Refuse what cannot be read, if we know the caller and which call it was."""
        if error.call_id and (link in self.greeted or self._new_nonce is None):
            return [(link, failure(error.call_id, error, not_started=True))]
        self.dropped += 1
        return []

    def probe(self, waiting: Iterable[Link], now: float) -> Steps:
        """Say something to each of `waiting`, if it is time to (`probes_at`): a caller's death shows only when it is
        sent to, and a stream that waits for its reader sends nothing. What is said was not asked for: callers drop it.
        """
        if self.probes_at is None or now < self.probes_at:
            return []
        steps: Steps = []
        for link in dict.fromkeys(waiting):
            if not isinstance(link, str):
                steps.append((link, self._details(Kind.STATUS, _UNASKED, {"name": self.name, "role": self.role})))
        self.probes_at = now + PROBE if steps else None
        return steps

    def drain(self, now: float) -> Steps:
        """Tell every caller to send no more, and give those who listen a moment to promise it."""
        if self.draining:
            return []
        self.draining = True
        self.leaves_at = now + FAREWELL
        return [(link, Message(Kind.DRAIN)) for link in self.greeted]

    def expire(self, now: float) -> None:
        """Stop waiting for goodbyes once the time for them is over: a deadline that stays due would spin the driver."""
        if self.leaves_at is not None and now >= self.leaves_at:
            self.leaves_at = None

    def is_left(self, now: float) -> bool:
        """Whether nothing can follow any more: every caller has said goodbye, or had the time to."""
        return not self.greeted or (self.draining and (self.leaves_at is None or now >= self.leaves_at))

    def _hello(self, link: Route, message: Message, now: float) -> Steps:
        if self._new_nonce is not None and link not in self.greeted:
            nonce = self._challenged.get(link)
            if nonce is None:
                nonce = self._challenged[link] = self._new_nonce()
                _forget_oldest(self._challenged)
            if message.extra.get("nonce") != nonce:
                return [(link, Message(Kind.CHALLENGE, extra={"nonce": nonce}))]
            del self._challenged[link]
        self.greeted[link] = _Session(message, now)
        _forget_oldest(self.greeted)
        steps: Steps = [(link, Message(Kind.READY, extra=dict(self._ready)))]
        if self.draining:
            steps.append((link, Message(Kind.DRAIN)))
        return steps

    def _ping(self, link: Route, message: Message, now: float) -> Steps:
        told = {"name": self.name, "role": self.role, "state": "draining" if self.draining else "serving"}
        log = self.tell_log(message.extra) if self.tell_log is not None and "logs" in message.extra else {}
        return [(link, self._details(Kind.STATUS, message, {**told, "software": SOFTWARE, **self._status(), **log}))]

    def _description(self, link: Route, message: Message, now: float) -> Steps:
        told = {"name": self.name, "role": self.role, "software": SOFTWARE, **self._describe()}
        return [(link, self._details(Kind.DESCRIPTION, message, told))]

    def _details(self, kind: Kind, asked: Message, told: Mapping[str, Any]) -> Message:
        return Message(kind, asked.call_id, parts=[frames.part(frames.DETAILS, self.name, [encode_map(told)])])

    def _goodbye(self, link: Route, message: Message, now: float) -> Steps:
        self.forget(link)
        return []

    _answers = {Kind.HELLO: _hello, Kind.PING: _ping, Kind.DESCRIBE: _description, Kind.DRAINED: _goodbye}


_UNASKED = Message(Kind.PING)


class _Session:
    """A greeted connection: what its HELLO told.

    nodes: the Executors of the Flow that asks. _offset: the least difference seen between our clock and the caller's.
    """

    __slots__ = ("nodes", "_offset", "_heard_at")

    def __init__(self, hello: Message, now: float) -> None:
        nodes, sent = hello.extra.get("nodes"), hello.extra.get("sent")
        self.nodes = [str(name) for name in nodes] if isinstance(nodes, list) else []
        self._offset = now - sent / 1e6 if type(sent) is int else math.inf
        self._heard_at = now

    def lateness(self, sent: int, now: float) -> float:
        """How many seconds longer than the quickest one a message was under way that was sent at `sent` us."""
        difference = now - sent / 1e6
        self._offset = min(self._offset + (now - self._heard_at) * _DRIFT, difference)
        self._heard_at = now
        return difference - self._offset


def _forget_oldest(known: dict[Any, Any]) -> None:
    """Those who leave without a goodbye, and strangers who never answer, must not pin memory for ever."""
    if len(known) > MAX_CONNECTIONS:
        del known[next(iter(known))]
