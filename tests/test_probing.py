"""Asking peers about themselves: a real worker in a thread, and nobody."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from zflow.drivers.identity import new_id
from zflow.drivers.reactor import Reactor
from zflow.errors import Unavailable, UnsupportedRequest
from zflow.probing import describe, logs, ping
from zflow.roles.worker import Worker


@pytest.fixture
def address() -> Iterator[str]:
    worker = Worker("echo/rep-0", boot=new_id(), new_nonce=new_id, describe=lambda: {"endpoints": ["/a"]})
    reactor = Reactor(worker, bind="tcp://127.0.0.1:0")
    thread = threading.Thread(target=reactor.run)
    thread.start()
    yield reactor.address
    reactor.stop()
    thread.join(10)


def test_ping_tells_who_it_is_and_what_it_does(address: str) -> None:
    status = ping(address)
    assert (status["name"], status["role"], status["state"]) == ("echo/rep-0", "worker", "serving")
    assert (status["inflight"], status["queued"]) == (0, 0)
    assert 0 < status["took"] < 3


def test_logs_of_a_peer_that_keeps_none_are_said_not_to_be_told(address: str) -> None:
    with pytest.raises(UnsupportedRequest, match=r"tcp://.* \(zflow/.*\) does not tell what its processes log"):
        logs(address)


def test_logs_tell_the_latest_lines_and_where_to_go_on() -> None:
    worker = Worker("echo/rep-0", boot=new_id(), new_nonce=new_id)
    worker.door.tell_log = lambda asked: {"log": dict(asked)}
    reactor = Reactor(worker, bind="tcp://127.0.0.1:0")
    thread = threading.Thread(target=reactor.run)
    thread.start()
    try:
        assert logs(reactor.address)["log"] == {"logs": 100}
        told = logs(reactor.address, most=3, of="echo", after="x")
        assert (told["name"], told["log"]) == ("echo/rep-0", {"logs": 3, "of": "echo", "after": "x"})
    finally:
        reactor.stop()
        thread.join(10)


def test_describe_tells_what_it_offers(address: str) -> None:
    assert describe(address)["endpoints"] == ["/a"]


def test_nobody_there_is_told_in_time(port: int) -> None:
    with pytest.raises(Unavailable, match=f"127.0.0.1:{port} did not answer within 0.3 s: .*nobody listens"):
        ping(f"tcp://127.0.0.1:{port}", timeout=0.3)


@pytest.fixture
def port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number
