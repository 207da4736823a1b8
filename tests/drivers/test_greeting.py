"""The greeting of a peer tells whether it has keys, and nothing else tells anything."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
import zmq

from zflow.drivers import greeting, sockets
from zflow.drivers.greeting import mechanism_of


@pytest.fixture
def context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    made: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    yield made
    made.destroy(linger=0)


def test_a_peer_without_keys(context):
    front, address = sockets.bind(context, "tcp://127.0.0.1:0")
    assert mechanism_of(address) == greeting.NULL
    front.close()


def test_a_peer_with_keys(context):
    front, address = sockets.bind(context, "tcp://127.0.0.1:0", sockets.new_identity())
    assert mechanism_of(address) == greeting.CURVE
    front.close()


def test_nobody_there():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert mechanism_of(f"tcp://127.0.0.1:{port}") == ""


@pytest.mark.parametrize("said", [b"", b"\xff", b"HTTP/1.1 400 Bad Request\r\n" + b" " * 60, b"\xff" + bytes(70)])
def test_what_is_no_greeting_tells_nothing(said):
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            talking, _ = listening.accept()
            with talking:
                talking.sendall(said)

        thread = threading.Thread(target=answer)
        thread.start()
        assert mechanism_of(f"tcp://127.0.0.1:{listening.getsockname()[1]}") == ""
        thread.join()


def test_who_says_nothing_is_not_waited_for_long(monkeypatch):
    monkeypatch.setattr(greeting, "_PATIENCE", 0.01)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        assert mechanism_of(f"tcp://127.0.0.1:{listening.getsockname()[1]}") == ""
