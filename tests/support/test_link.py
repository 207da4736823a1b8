"""A link carries what it is given, both ways; late, slowly or not at all, as it is told."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.support.link import HOST, Link


@pytest.fixture
def echoing() -> Iterator[int]:
    """The port of who sends back what it gets, to one caller after another, until none comes any more."""
    with socket.create_server((HOST, 0)) as listening:

        def echo() -> None:
            while True:
                caller, _ = listening.accept()
                with caller, suppress(ConnectionResetError):
                    while heard := caller.recv(65536):
                        if heard == b"end":
                            return
                        caller.sendall(heard)

        thread = threading.Thread(target=echo)
        thread.start()
        port: int = listening.getsockname()[1]
        yield port
        with call(port) as caller:
            caller.sendall(b"end")
            thread.join(5)
        assert not thread.is_alive()


def call(port: int) -> socket.socket:
    return socket.create_connection((HOST, port), timeout=10)


def hear(caller: socket.socket, count: int) -> bytes:
    heard = b""
    while len(heard) < count:
        more = caller.recv(65536)
        assert more, "it ended"
        heard += more
    return heard


def test_what_is_sent_arrives_in_order(echoing: int) -> None:
    sent = bytes(range(256)) * 4096
    with Link(echoing, delay=0.01, jitter=0.01) as link, call(link.port) as caller:
        sending = threading.Thread(target=caller.sendall, args=(sent,))
        sending.start()
        assert hear(caller, len(sent)) == sent
        sending.join()
    assert link.made == 1 and link.broken == 0


def test_a_long_one_takes_its_time_each_way(echoing: int) -> None:
    with Link(echoing, delay=0.1, jitter=0.02) as link, call(link.port) as caller:
        began = time.monotonic()
        caller.sendall(b"there and back")
        hear(caller, 14)
        assert time.monotonic() - began > 2 * (0.1 - 0.02)


def test_a_slow_one_carries_no_more_than_its_rate(echoing: int) -> None:
    with Link(echoing, rate=1e6) as link, call(link.port) as caller:
        began = time.monotonic()
        caller.sendall(bytes(300_000))
        hear(caller, 300_000)
        assert time.monotonic() - began > 0.2


def test_one_that_breaks_resets_both_ends(echoing: int) -> None:
    with Link(echoing, breaks=1.0) as link, call(link.port) as caller:
        caller.sendall(b"lost")
        with pytest.raises(ConnectionResetError):
            hear(caller, 1)
        assert link.broken == 1
        with call(echoing) as other:  # whose echo serves the next one, so that it has let go of the first
            other.sendall(b"next")
            assert hear(other, 4) == b"next"


def test_who_calls_nobody_is_reset(echoing: int) -> None:
    with socket.create_server((HOST, 0)) as probe:
        nobody: int = probe.getsockname()[1]
    with Link(nobody) as link, pytest.raises(ConnectionResetError), call(link.port) as caller:
        hear(caller, 1)
