"""Whatever can be read is told, by a poll over few sources and by an epoll over many alike."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import zmq

from zflow.drivers.waiting import MANY, Waiting, descriptor_of

LONG = 20.0  # seconds that nobody waits for in a test that passes


class Room:
    """Pairs of sockets, of which one is watched; `many` from the first source on, or never."""

    def __init__(self, is_told: bool) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.waiting = Waiting(1 if is_told else 1 << 31)
        self._sockets: list[Any] = []

    def pair(self) -> tuple[Any, Any]:
        here, there = self.context.socket(zmq.PAIR), self.context.socket(zmq.PAIR)
        self._sockets += [here, there]
        address = f"inproc://{id(here)}"
        here.bind(address)
        there.connect(address)
        self.waiting.watch(here)
        return here, there

    def close(self) -> None:
        self.waiting.close()
        for socket in self._sockets:
            socket.close(0)
        self.context.term()

    def read(self, socket: Any) -> bytes:
        self.waiting.touched.add(socket)
        message: bytes = socket.recv(zmq.NOBLOCK)
        return message


@pytest.fixture(params=[False, True], ids=["few", "many"])
def room(request: pytest.FixtureRequest) -> Iterator[Room]:
    opened = Room(request.param)
    yield opened
    opened.close()


def until_told(waiting: Waiting, seconds: float = LONG) -> list[Any]:
    """What can be read, once there is something: a sleep may end for nothing now and then."""
    for _ in range(100):
        if found := waiting.sleep(seconds):
            return found
    raise AssertionError("it never told of anything")


def test_with_nothing_to_watch_it_sleeps_all_the_same(monkeypatch):
    slept: list[float] = []
    monkeypatch.setattr("zflow.drivers.waiting.time.sleep", slept.append)
    assert Waiting().sleep(0.25) == []
    assert slept == [0.25]


def test_a_message_is_told_until_it_is_read(room):
    here, there = room.pair()
    there.send(b"1")
    assert until_told(room.waiting) == [here]
    room.waiting.touched.add(here)  # looked at, and left
    assert until_told(room.waiting) == [here]
    assert room.read(here) == b"1"
    assert room.waiting.sleep(0.0) == []


def test_what_was_there_before_it_was_watched_is_told(room):
    here, there = room.pair()
    room.waiting.unwatch(here)
    there.send(b"1")
    room.waiting.watch(here)
    assert until_told(room.waiting) == [here]


def test_of_several_messages_none_is_forgotten_when_one_is_read(room):
    """The descriptor is not readable any more once the first of them was taken."""
    here, there = room.pair()
    for number in range(5):
        there.send(b"%d" % number)
    got = []
    while len(got) < 5:
        assert until_told(room.waiting) == [here]
        got.append(room.read(here))
    assert got == [b"%d" % number for number in range(5)]
    assert room.waiting.sleep(0.0) == []


def test_what_comes_while_something_is_sent_is_told(room):
    """To send takes the signal from the descriptor as well."""
    here, there = room.pair()
    for _ in range(200):
        there.send(b"in")
        room.waiting.touched.add(here)
        here.send(b"out")
        assert until_told(room.waiting) == [here]
        assert (room.read(here), there.recv()) == (b"in", b"out")


def test_only_what_can_be_read_is_told(room):
    pairs = [room.pair() for _ in range(10)]
    pairs[3][1].send(b"1")
    pairs[7][1].send(b"2")
    told: set[Any] = set()
    while len(told) < 2:
        found = until_told(room.waiting)
        told.update(found)
        for socket in found:
            room.read(socket)
    assert told == {pairs[3][0], pairs[7][0]}


def test_plain_descriptors_are_told_beside_sockets(room):
    here, there = room.pair()
    reading, writing = os.pipe()
    room.waiting.watch(reading)
    os.write(writing, b"!")
    assert until_told(room.waiting) == [reading]
    os.read(reading, 1)
    there.send(b"1")
    assert until_told(room.waiting) == [here]
    room.waiting.unwatch(reading)
    os.write(writing, b"!")
    room.read(here)
    assert room.waiting.sleep(0.0) == []
    os.close(reading)
    os.close(writing)


def test_it_wakes_for_what_another_thread_does(room):
    reading, writing = os.pipe()
    room.pair()
    room.waiting.watch(reading)
    threading.Timer(0.05, os.write, (writing, b"!")).start()
    assert until_told(room.waiting) == [reading]
    os.close(reading)
    os.close(writing)


@pytest.mark.parametrize("seconds", [None, 1e5, 9e9])
def test_longer_than_the_kernel_can_count_is_slept_for_in_pieces(room, monkeypatch, seconds):
    asked: list[float] = []

    class Epoll:
        def poll(self, seconds: float) -> list[Any]:
            asked.append(seconds * 1000)
            return []

        def close(self) -> None: ...

    room.pair()
    monkeypatch.setattr("zflow.drivers.waiting.poll", lambda sources, timeout: asked.append(timeout) or [])
    if room.waiting._epoll is not None:
        room.waiting.sleep(0.0)
        room.waiting._epoll.close()
        room.waiting._epoll = Epoll()
    assert room.waiting.sleep(seconds) == []
    assert 0 < asked[0] < 2**31


def test_what_is_no_longer_watched_is_not_told(room):
    here, there = room.pair()
    room.pair()
    version = room.waiting.version
    room.waiting.unwatch(here)
    assert room.waiting.version > version
    there.send(b"1")
    assert room.waiting.sleep(0.0) == []


def test_the_kernel_tells_from_so_many_sources_on(room):
    room.waiting = waiting = Waiting()
    kinds = []
    sockets = []
    for _ in range(MANY + 1):
        sockets.append(room.pair()[0])
        kinds.append(waiting._epoll is not None)
    assert kinds == [False] * (MANY - 1) + [True] * 2
    assert set(waiting._by_descriptor) == set(map(descriptor_of, sockets))


def test_where_there_is_no_epoll_all_are_asked(room, monkeypatch):
    monkeypatch.delattr(select, "epoll")
    room.waiting = Waiting(1)
    room.pair()
    assert room.waiting.sleep(0.0) == []
    assert room.waiting._epoll is None
