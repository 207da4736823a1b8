"""A caller that is cut off hears that its connection broke; nobody else does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from zflow.drivers import callers as module
from zflow.drivers.callers import Callers

MEGA = 1 << 20


class Port:
    """A ROUTER, and who has called it."""

    def __init__(self, context: zmq.Context[Any], address: str) -> None:
        self._context = context
        self.socket = context.socket(zmq.ROUTER)
        self.socket.bind(address)
        self.address = self.socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self.callers = Callers()
        self.opened: list[zmq.Socket[Any]] = [self.socket]

    def call(self) -> tuple[bytes, zmq.Socket[Any], zmq.Socket[Any]]:
        """A new caller, of whom a message has been read: its identity, its socket, what tells that it is cut off."""
        dealer = self._context.socket(zmq.DEALER)
        dealer.setsockopt(zmq.RECONNECT_IVL, -1)
        dealer.setsockopt(zmq.RCVHWM, 1)
        monitor = dealer.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        self.opened += [monitor, dealer]
        dealer.connect(self.address)
        dealer.send(b"here I am")
        assert self.socket.poll(5000)
        frame = self.socket.recv_multipart(copy=False)[0]
        self.callers.note(frame.bytes, frame)
        return frame.bytes, dealer, monitor


@pytest.fixture(params=["tcp", "ipc"])
def port(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Port]:
    context: zmq.Context[Any] = zmq.Context()
    made = Port(context, "tcp://127.0.0.1:0" if request.param == "tcp" else f"ipc://{tmp_path}/p")
    yield made
    for opened in made.opened:
        opened.close(0)
    context.term()


def test_one_that_is_cut_off_hears_it_and_the_others_do_not(port: Port) -> None:
    first, _, told_first = port.call()
    second, dealer, told_second = port.call()
    port.callers.cut_off(first)
    assert told_first.poll(5000)
    port.socket.send_multipart([second, b"still there"])
    assert dealer.poll(5000) and dealer.recv() == b"still there"
    assert not told_second.poll(0)
    assert list(port.callers.known) == [second]


def test_a_descriptor_that_is_anothers_now_is_left_alone(port: Port) -> None:
    former, _, _ = port.call()
    latter, _, told = port.call()
    port.callers.known[former] = port.callers.known[latter]  # as if its number had been used again
    port.callers.cut_off(former)
    port.callers.cut_off(b"somebody unknown")
    port.socket.send_multipart([latter, b"x"])
    assert not told.poll(50)


def test_one_that_reads_nothing_is_told_from_one_that_reads(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "UNREAD", 32 * MEGA)
    reader, reading, _ = port.call()
    silent, _, _ = port.call()
    answer = [b"header", bytes(MEGA)]
    is_tcp = port.address.startswith("tcp://")

    def send(identity: bytes) -> bool:
        port.socket.send_multipart([identity, *answer], copy=False)
        return port.callers.leaves_unread(identity, answer)

    for number in range(200):
        assert not send(reader), f"it has read {number} answers"
        assert reading.poll(5000)
        reading.recv_multipart(copy=False)
    unread = next((number for number in range(200) if send(silent)), None)
    if is_tcp:
        assert unread is not None and 32 <= unread <= 32 + 20, "what the kernel keeps for it has left"
    else:
        assert unread is None, "of what is no TCP nobody tells"


def test_outcomes_that_nobody_reads_are_counted_and_pieces_are_not(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader has read before, and does not get beyond what the kernel keeps for it."""
    monkeypatch.setattr(module, "OUTCOMES", 50)
    identity, reading, _ = port.call()
    answer = [b"header", bytes(MEGA)]

    def send(is_piece: bool) -> bool:
        port.socket.send_multipart([identity, *answer], copy=False)
        return port.callers.leaves_unread(identity, answer, is_piece=is_piece)

    for _ in range(120):
        assert not send(False)
        assert reading.poll(5000)
        reading.recv_multipart(copy=False)
    assert not any(send(True) for _ in range(300)), "it has asked for them"
    unread = next((number for number in range(300) if send(False)), None)
    assert (unread is not None and unread <= 2 * 50) if port.address.startswith("tcp://") else unread is None


def test_an_answer_larger_than_what_may_be_left_unread_is_no_reason(
    port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "UNREAD", MEGA)
    identity, _, _ = port.call()
    assert not port.callers.leaves_unread(identity, [bytes(16 * MEGA)])
    assert not port.callers.leaves_unread(b"somebody unknown", [bytes(16 * MEGA)])


def test_what_is_known_of_those_who_left_does_not_grow(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST", 2)
    identities = [port.call()[0] for _ in range(4)]
    assert list(port.callers.known) == identities[2:]
