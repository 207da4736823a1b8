"""A way out by name: what is known of its connection, and how long to wait before the next one is tried."""

from __future__ import annotations

from collections.abc import Sequence

import zmq

from zflow.drivers.sockets import Curve, Suspicion
from zflow.roles.contract import Refusal
from zflow.wire.header import Kind, Message
from zflow.wire.pieces import Gathering

LONGEST_PAUSE = 1.0
_FIRST_PAUSE = 0.01
_PAUSE_AFTER_REFUSAL = 0.5  # whoever asks meanwhile waits for the next refusal; who lets nobody in has little to do
_SUSPICIOUS = 3  # connections that broke as they do when keys do not fit, until somebody looks whether that is why


class WayOut:
    """Its socket and monitor while there is a connection, when to dial again while there is none.

    heard: whether the peer has said anything on this connection. failures, suspect: connections in a row that ended
    before it did, and those of them that ended as they do when keys do not fit.
    """

    __slots__ = (
        "link",
        "address",
        "socket",
        "monitor",
        "over_tcp",
        "curve",
        "heard",
        "failures",
        "suspect",
        "dial_at",
        "_gathering",
    )

    def __init__(self, link: str) -> None:
        self.link = link
        self.address = ""
        self.socket: zmq.Socket[bytes] | None = None
        self.monitor: zmq.Socket[bytes] | None = None
        self.over_tcp = False
        self.curve: Curve | None = None
        self.heard = False
        self.failures = 0
        self.suspect = 0
        self.dial_at = 0.0
        self._gathering: Gathering | None = None

    def has_heard(self) -> None:
        """The peer has said something: it is there, and lets us in."""
        self.heard = True
        self.failures = self.suspect = 0

    def take(self, message: Message) -> Sequence[Message]:
        """What is to be handed over now that `message` came. A piece of an answer is not: more may wait behind it."""
        gathering = self._gathering
        is_piece = message.kind is Kind.PARTIAL
        if gathering is None and not is_piece:
            return (message,)
        if gathering is not None and gathering.takes(message):
            return ()
        self._gathering = Gathering(message) if is_piece else None
        before = () if gathering is None else (gathering.whole(),)
        return before if is_piece else (*before, message)

    def let_go(self) -> Sequence[Message]:
        """What was not handed over yet: nothing more waits."""
        gathering, self._gathering = self._gathering, None
        return () if gathering is None else (gathering.whole(),)

    def is_suspicious_of(self, reason: str) -> bool:
        """Whether it is time to look if keys are what ends its connections, this one for `reason`."""
        if isinstance(reason, Suspicion):
            self.suspect += 1
            return self.suspect >= _SUSPICIOUS
        if isinstance(reason, Refusal):
            self.suspect = _SUSPICIOUS  # the next time the peer may be quicker to close it, for the same reason
        return False

    def pause_after(self, reason: str) -> float:
        """Seconds to wait at most before it is dialled again: more with each connection that was good for nothing."""
        longest = _PAUSE_AFTER_REFUSAL if isinstance(reason, Refusal) else LONGEST_PAUSE
        pause: float = _FIRST_PAUSE * 2 ** min(self.failures, 10)
        self.failures += 1
        return min(longest, pause)
