"""A door before a server that holds back what the server says, so that tests meet a transfer in its middle."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

_PIECE = 64 << 10


class HoldingDoor:
    """Passes on what clients and `server` (host:port) say. What the server says is held once `most` bytes have passed.

    host: of the door. held: set when something is held. release: set it, and everything passes.
    """

    def __init__(self, server: str, most: int) -> None:
        address, _, port = server.rpartition(":")
        self._server = (address, int(port))
        self._left = most
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self.held, self.release = threading.Event(), threading.Event()
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = socket.create_connection(self._server)
                self._sockets += [client, server]
                for source, target, holds in ((client, server, False), (server, client, True)):
                    thread = threading.Thread(target=self._pass_on, args=(source, target, holds), daemon=True)
                    self._threads.append(thread)
                    thread.start()

    def _pass_on(self, source: socket.socket, target: socket.socket, holds: bool) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(_PIECE):
                if holds:
                    self._left -= len(piece)
                    if self._left < 0:
                        self.held.set()
                        self.release.wait()
                target.sendall(piece)
            target.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Nobody passes any more."""
        self.release.set()
        self._listening.shutdown(socket.SHUT_RDWR)
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        for each in (self._listening, *self._sockets):
            each.close()


@contextlib.contextmanager
def holding_door(server: str, most: int) -> Iterator[HoldingDoor]:
    """One that is open until the end of the block."""
    door = HoldingDoor(server, most)
    try:
        yield door
    finally:
        door.close()
