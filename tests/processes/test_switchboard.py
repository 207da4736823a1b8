"""One thread that listens to many."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from zflow.processes.channel import Channel
from zflow.processes.switchboard import Switchboard


@pytest.fixture
def switchboard() -> Iterator[Switchboard]:
    board = Switchboard()
    yield board
    board.close()


@pytest.fixture
def pair() -> Iterator[tuple[Channel, Channel]]:
    ends = socket.socketpair()
    channels = Channel(ends[0]), Channel(ends[1])
    yield channels
    for channel in channels:
        channel.close()


def test_it_hears_its_channels(switchboard: Switchboard, pair: tuple[Channel, Channel]) -> None:
    here, there = pair
    heard: list[object] = []
    switchboard.listen(here, lambda: heard.extend(here.receive()))
    switchboard.turn(0.0)
    assert heard == []
    there.send({"word": 1})
    switchboard.turn(5.0)
    assert heard == [{"word": 1}]


def test_who_is_forgotten_is_not_heard(switchboard: Switchboard, pair: tuple[Channel, Channel]) -> None:
    here, there = pair
    switchboard.listen(here, lambda: pytest.fail("heard"))
    switchboard.forget(here)
    switchboard.forget(here)
    there.send({"word": 1})
    switchboard.turn(0.0)


def test_who_is_forgotten_by_another_in_the_same_turn_is_not_heard(switchboard: Switchboard) -> None:
    pairs = [socket.socketpair() for _ in range(2)]
    channels = [Channel(pair[0]) for pair in pairs]
    heard: list[int] = []

    def hear(number: int) -> None:
        heard.append(number)
        switchboard.forget(channels[1 - number])

    for number, channel in enumerate(channels):
        switchboard.listen(channel, lambda number=number: hear(number))  # type: ignore[misc]
    for _, end in pairs:
        end.close()
    switchboard.turn(5.0)
    assert len(heard) == 1
    for channel in channels:
        channel.close()


def test_what_does_not_fit_leaves_when_the_reader_has_room(
    switchboard: Switchboard, pair: tuple[Channel, Channel]
) -> None:
    here, there = pair
    switchboard.listen(here, lambda: None)
    switchboard.say(here, {"large": bytes(3_000_000)})
    got: list[dict[str, object]] = []
    until = time.monotonic() + 10.0
    while not got and time.monotonic() < until:
        switchboard.turn(1.0)
        got += there.receive()
    assert got == [{"large": bytes(3_000_000)}]
    began = time.monotonic()
    switchboard.turn(0.05)  # nothing more to write: it sleeps
    assert time.monotonic() - began >= 0.04


def test_what_waited_before_it_was_listened_to_leaves_too(
    switchboard: Switchboard, pair: tuple[Channel, Channel]
) -> None:
    here, there = pair
    here.send({"large": bytes(3_000_000)})
    switchboard.listen(here, lambda: None)
    got: list[dict[str, object]] = []
    until = time.monotonic() + 10.0
    while not got and time.monotonic() < until:
        switchboard.turn(1.0)
        got += there.receive()
    assert len(got) == 1


def test_other_threads_wake_it_and_their_wishes_are_carried_out_here(switchboard: Switchboard) -> None:
    done: list[str] = []
    asking = threading.Thread(target=lambda: switchboard.ask(lambda: done.append(threading.current_thread().name)))
    asking.start()
    switchboard.turn(5.0)
    asking.join()
    assert done == [threading.current_thread().name]


def test_a_thousand_wishes_do_not_block_who_has_them(switchboard: Switchboard) -> None:
    done: list[int] = []
    for number in range(100_000):
        switchboard.ask(lambda number=number: done.append(number))  # type: ignore[misc]
    switchboard.turn(0.0)
    assert done == list(range(100_000))
