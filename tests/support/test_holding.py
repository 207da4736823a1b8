"""The door that holds back what a server says."""

from __future__ import annotations

import socket
import threading

from tests.support.holding import holding_door


def test_what_is_beyond_is_held_until_it_is_released() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_serve, args=(server,))
        thread.start()
        with holding_door(f"127.0.0.1:{server.getsockname()[1]}", 3) as door:
            host, _, port = door.host.rpartition(":")
            with socket.create_connection((host, int(port)), timeout=10) as client:
                client.sendall(b"ab")
                assert client.recv(10) == b"AB"
                client.sendall(b"cd")
                assert door.held.wait(10)
                door.release.set()
                assert client.recv(10) == b"CD"
        thread.join(10)


def _serve(server: socket.socket) -> None:
    connection, _ = server.accept()
    with connection:
        while piece := connection.recv(10):
            connection.sendall(piece.upper())
