"""By which connection each caller has come, so that one that does not read its answers can be cut off.

What a ROUTER has for such a caller it keeps as long as the connection lasts, up to its high-water mark, and it offers
no way to end one. The kernel does: libzmq tells by which descriptor a message came, and takes a connection that was
shut down there for one that broke. The caller hears of it as of any loss.

A high-water mark counts messages, of which one may have a GiB, and of which a thousand may be what the caller wants:
the pieces of answers, as many as it has granted. So what leaves for a caller is counted in bytes and in outcomes, and
the kernel is asked how much has arrived, each time that as much as may be left unread has been sent since.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import zmq

from zflow.wire.frames import Buffer

UNREAD = 1 << 30  # bytes
OUTCOMES = 500  # of which twice as many are never left unread; a gateway lets a connection have 256 calls
_MOST = 65_536
_TCP_INFO = getattr(socket, "TCP_INFO", None)  # Linux has it
_ACKED = slice(120, 128)  # tcpi_bytes_acked in struct tcp_info, from Linux 4.1 on


class Caller:
    """One of them. sent: bytes, as far as they may not have arrived; ask_at: when they are so many, look how many have.
    outcomes: sent since the kernel was asked, when `sent_then` bytes had been.

    What ZMTP and CURVE add on the way is not counted, so that more may seem to have arrived than was sent.
    """

    __slots__ = ("descriptor", "sent", "ask_at", "outcomes", "sent_then")

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.sent = 0
        self.ask_at = UNREAD
        self.outcomes = 0
        self.sent_then = 0


class Callers:
    """The connections of one ROUTER. known: the callers, by identity; ask it before `note`, which costs more."""

    def __init__(self) -> None:
        self.known: dict[bytes, Caller] = {}
        self._latest: dict[int, bytes] = {}  # numbers of descriptors are used again

    def note(self, identity: bytes, frame: Any) -> None:
        """The first message of a caller is here; `frame` is one of it, as it came in."""
        descriptor = -1
        with suppress(zmq.ZMQError):  # of what speaks an old version of ZMTP nothing is told
            descriptor = frame.get(zmq.SRCFD)
        self.known[identity] = Caller(descriptor)
        self._latest[descriptor] = identity
        if len(self.known) > _MOST:
            del self.known[next(iter(self.known))]

    def leaves_unread(self, identity: bytes, frames: Sequence[Buffer], *, is_piece: bool = False) -> bool:
        """`frames` are sent to a caller. Whether too much from before has not reached it, by TCP: `UNREAD` bytes, or
        `OUTCOMES` messages that are no pieces of an answer.

        What was sent just now does not count yet: no limit here must keep out what an answer may be.
        """
        caller = self.known.get(identity)
        if caller is None:
            return False
        if (caller.sent > caller.ask_at or caller.outcomes == OUTCOMES) and self._is_far_behind(caller, identity):
            return True
        caller.outcomes += not is_piece
        for frame in frames:
            caller.sent += len(frame)
        return False

    def cut_off(self, identity: bytes) -> None:
        """End the connection of a caller, unless it has ended and its descriptor is another one's."""
        caller = self.known.pop(identity, None)
        if caller is None or not self._is_still(caller, identity):
            return
        del self._latest[caller.descriptor]
        with suppress(OSError), socket.socket(fileno=os.dup(caller.descriptor)) as connection:
            connection.shutdown(socket.SHUT_RDWR)

    def _is_far_behind(self, caller: Caller, identity: bytes) -> bool:
        arrived = _arrived_at(caller.descriptor) if self._is_still(caller, identity) else None
        if arrived is None:
            arrived = caller.sent
        reads_nothing = caller.outcomes == OUTCOMES and arrived < caller.sent_then
        caller.sent = caller.sent_then = max(caller.sent, arrived)
        caller.outcomes = 0
        caller.ask_at = arrived + UNREAD
        return reads_nothing or caller.sent > caller.ask_at

    def _is_still(self, caller: Caller, identity: bytes) -> bool:
        """Whether the descriptor of a caller is its own, as far as is known."""
        return caller.descriptor >= 0 and self._latest.get(caller.descriptor) == identity


def _arrived_at(descriptor: int) -> int | None:
    """How many bytes the other end of a TCP connection has confirmed; None where nobody can tell."""
    if _TCP_INFO is None:
        return None
    with suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as connection:
        told = connection.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _ACKED.stop)
        return int.from_bytes(told[_ACKED], sys.byteorder) if len(told) == _ACKED.stop else None
    return None
