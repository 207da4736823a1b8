"""Reads how a peer secures its connections from its greeting (ZMTP 3.1, ZeroMQ RFC 37), on a plain socket.

Where one side of a connection has keys and the other has not, both close it, and who is slower learns only that it was
closed: as when a peer dies, or a proxy has nobody behind it. Who has seen that a few times looks here for the reason.
"""

from __future__ import annotations

import contextlib
import socket

from zflow.config.kinds import split_host

NULL, CURVE = "NULL", "CURVE"

_PATIENCE = 0.2  # seconds; who waits for the answer does nothing else meanwhile
_BEGINNING = b"\xff" + bytes(8) + b"\x7f\x03"  # as much as makes a peer say all of its own, and no more
_LENGTH = 64
_MECHANISM = slice(12, 32)


def mechanism_of(address: str) -> str:
    """NULL, CURVE or another word of the peer at `address` (``tcp://host:port``); empty where there is no telling."""
    host, port = split_host(address.removeprefix("tcp://"))
    said = b""
    with contextlib.suppress(OSError), socket.create_connection((host, port or 0), _PATIENCE) as plain:
        plain.sendall(_BEGINNING)
        while len(said) < _LENGTH:
            piece = plain.recv(_LENGTH - len(said))
            if not piece:
                break
            said += piece
    if len(said) < _LENGTH or said[0] != 0xFF or said[9] != 0x7F:
        return ""
    return said[_MECHANISM].rstrip(b"\0").decode("ascii", "replace")
