"""What the libzmq that is installed here can do: for `zflow doctor`."""

from __future__ import annotations

from typing import NamedTuple

import zmq

LEAST = (4, 2)  # from which heartbeats (ZMTP 3.1), by which a frozen peer is known


class Libzmq(NamedTuple):
    """version: of libzmq; pyzmq: of its Python binding. has_curve: whether connections can have keys. is_compiled:
    whether the binding is, which our sockets need to be quick."""

    version: str
    pyzmq: str
    is_new_enough: bool
    has_curve: bool
    has_ipc: bool
    has_draft: bool
    is_compiled: bool


def libzmq() -> Libzmq:
    """Ask it."""
    return Libzmq(
        zmq.zmq_version(),
        zmq.__version__,
        zmq.zmq_version_info()[:2] >= LEAST,
        bool(zmq.has("curve")),
        bool(zmq.has("ipc")),
        bool(zmq.has("draft")),
        "cython" in zmq.backend.Socket.__module__ or hasattr(zmq.backend.Socket, "__pyx_vtable__"),
    )
