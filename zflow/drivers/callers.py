"""By which connection each caller has come, so that one that does not read its answers can be cut off.

What a ROUTER has for such a caller it keeps as long as the connection lasts, up to its high-water mark, and it offers
no way to end one. The kernel does: libzmq tells by which descriptor a message came, and takes a connection that was
shut down there for one that broke. The caller hears of it as of any loss.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import Any

import zmq

_MOST = 65_536


class Callers:
    """The connections of one ROUTER. known: the descriptors, by identity; ask it before `note`, which costs more."""

    def __init__(self) -> None:
        self.known: dict[bytes, int] = {}
        self._latest: dict[int, bytes] = {}  # numbers of descriptors are used again

    def note(self, identity: bytes, frame: Any) -> None:
        """The first message of a caller is here; `frame` is one of it, as it came in."""
        descriptor = -1
        with suppress(zmq.ZMQError):  # of what speaks an old version of ZMTP nothing is told
            descriptor = frame.get(zmq.SRCFD)
        self.known[identity] = descriptor
        self._latest[descriptor] = identity
        if len(self.known) > _MOST:
            del self.known[next(iter(self.known))]

    def cut_off(self, identity: bytes) -> None:
        """End the connection of a caller, unless it has ended and its descriptor is another one's."""
        descriptor = self.known.pop(identity, None)
        if descriptor is None or descriptor < 0 or self._latest.get(descriptor) != identity:
            return
        del self._latest[descriptor]
        with suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as connection:
            connection.shutdown(socket.SHUT_RDWR)
