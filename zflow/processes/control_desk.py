"""Where a running Flow takes orders from the command line of the same user on the same host.

The socket is in the Flow's private directory, which nobody else may enter: who may open it may scale. The protocol of
peers has no such word, so that whoever can send requests to a Flow, from here or elsewhere, cannot change it.

It says ``{"address": of the gateway}``, hears ``{"order": name, ...arguments}``, says ``{"waiting": [names],
"ready": [names]}`` at least once per `PULSE` (watch.py), and at last ``{"done": true}`` or ``{"failed": class,
"message", "peer", "traceback"}``. Who leaves before that has the order given up.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import socket
import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from zflow.errors import ConfigError, ZflowError, nearest
from zflow.processes.channel import Channel, Words

_HEARS_WITHIN = 5.0  # seconds for somebody who has come to say what is wanted
_AT_ONCE = 16  # who come; the others wait outside
_LAST_WORDS = 1.0
_CREDENTIALS = struct.Struct("3i")


class ControlDesk:
    """Listens at `path` until `close`. address: of the gateway. orders: by name; each is given its arguments and
    `on_progress`, and raises ZflowError."""

    def __init__(self, path: str, address: str, orders: Mapping[str, Callable[..., None]]) -> None:
        self._path = path
        self._address = address
        self._orders = orders
        self._owner = os.getpid()
        self._is_closed = False
        self._visits: list[threading.Thread] = []
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._listener.bind(path)
            self._listener.listen(_AT_ONCE)
        except BaseException:
            self._listener.close()
            raise
        self._thread = threading.Thread(target=self._listen, name="zflow-control", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Take no more orders, and let those who wait hear how theirs ended. In a forked copy it does nothing."""
        if os.getpid() != self._owner or self._is_closed:
            return
        self._is_closed = True
        with contextlib.suppress(OSError):
            os.unlink(self._path)
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # ends `accept`
        self._thread.join()
        self._listener.close()
        for visit in self._visits:
            visit.join(_LAST_WORDS)

    def _listen(self) -> None:
        while True:
            try:
                visitor, _ = self._listener.accept()
            except OSError:  # it was closed; or there are no descriptors left, and then there is nothing to be ordered
                return
            self._visits = [visit for visit in self._visits if visit.is_alive()]
            if len(self._visits) >= _AT_ONCE or not is_ours(visitor):
                visitor.close()
                continue
            visit = threading.Thread(target=self._serve, args=(Channel(visitor),), name="zflow-order", daemon=True)
            self._visits.append(visit)
            visit.start()

    def _serve(self, channel: Channel) -> None:
        try:
            channel.send({"address": self._address})
            channel.send(self._carry_out(_hear(channel), channel))
            channel.flush(_LAST_WORDS)
        except EOFError:
            pass  # who came has left
        finally:
            channel.close()

    def _carry_out(self, words: Words, channel: Channel) -> Words:
        """Do as told, and tell how it goes. Returns the last words. Raises EOFError when nobody listens any more."""

        def tell(waiting: Sequence[str], ready: Sequence[str]) -> None:
            channel.send({"waiting": list(waiting), "ready": list(ready)})
            channel.receive()

        try:
            order = self._orders.get(words.pop("order", None))
            if order is None:
                raise ConfigError(f"this version of zflow has no such order; it knows {', '.join(self._orders)}")
            order(**_arguments(order, words), on_progress=tell)
            return {"done": True}
        except ZflowError as error:
            return _failure(error)


def is_ours(other: socket.socket) -> bool:
    """Whether at the other end is a process of this user, as far as the system tells."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True  # the directory's mode must do
    told = other.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return bool(_CREDENTIALS.unpack(told)[1] == os.getuid())


def _hear(channel: Channel) -> Words:
    if not channel.wait(_HEARS_WITHIN):
        raise EOFError
    for words in channel.receive(most=1):
        return words
    raise EOFError


def _arguments(order: Callable[..., None], words: Words) -> dict[str, Any]:
    """What an older or newer command line says is refused, not half understood."""
    known = inspect.signature(order).parameters
    for name in words:
        if name not in known:
            raise ConfigError(f"the Flow's version of zflow does not know {name!r}: {nearest(name, known)}")
    return words


def _failure(error: ZflowError) -> Words:
    details = {"peer": getattr(error, "peer", ""), "traceback": getattr(error, "traceback", "")}
    return {"failed": type(error).__name__, "message": str(error.args[0]) if error.args else "", **details}
