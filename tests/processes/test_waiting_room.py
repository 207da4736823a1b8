"""Who waits to be born is answered for; what was said to it stays to be heard."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.support.processes import wait_for
from zflow.processes import waiting_room
from zflow.processes.channel import Channel, Words
from zflow.processes.waiting_room import Unborn, WaitingRoom


class Outside:
    """The warm parent, and the supervisor behind it. over: set when the process would have ended."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self.control = Channel(ours)
        self.room = WaitingRoom(Channel(theirs))
        self.over = threading.Event()
        self.is_closed = False
        self._channels: list[Channel] = []

    def ask_for(self, name: str, *words: Words) -> Channel:
        """The supervisor's end of its channel, by which `words` have been said."""
        ours, theirs = socket.socketpair()
        channel = Channel(ours)
        self._channels.append(channel)
        for each in words:
            channel.send(each)
        self.control.send({"child": name}, [theirs.detach()])
        return channel

    def close_room(self) -> list[Unborn]:
        self.is_closed = True
        return self.room.close()

    def close(self) -> None:
        if not self.is_closed:
            self.close_room()
        for unborn in self.room.waiting:
            unborn.channel.close()
        for channel in (*self._channels, self.control, self.room._control):
            channel.close()


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> Iterator[Outside]:
    made = Outside()

    def end() -> None:
        made.over.set()
        made.room._is_open = False

    monkeypatch.setattr(waiting_room, "_end", end)
    yield made
    made.close()


def hear(channel: Channel) -> Words:
    assert channel.wait(10.0), "nothing was said"
    [words] = channel.receive()
    return words


def test_the_first_words_are_seen_and_stay(outside: Outside) -> None:
    outside.ask_for("a", {"name": "a", "plan": b"x" * 50_000})
    assert outside.room.first_words()["name"] == "a"
    [unborn] = outside.close_room()
    assert unborn.name == "a" and unborn.asked == {"child": "a"}
    assert unborn.channel.receive()[0]["name"] == "a"


def test_more_may_be_asked_for_while_it_listens(outside: Outside) -> None:
    outside.ask_for("a", {"name": "a"})
    outside.room.first_words()
    outside.room.open()
    channels = [outside.ask_for(name, {"name": name}) for name in "bc"]
    wait_for(lambda: len(outside.room.waiting) == 3, "both to be in the room")
    waiting = outside.close_room()
    assert [unborn.name for unborn in waiting] == ["a", "b", "c"]
    assert not outside.room._thread.is_alive()
    waiting[1].channel.send({"ready": True})
    assert hear(channels[0]) == {"ready": True}


def test_it_tells_what_the_main_thread_is_doing(outside: Outside) -> None:
    outside.ask_for("a", {"name": "a"})
    outside.room.first_words()
    outside.room.open()
    channel = outside.ask_for("b", {"name": "b"})
    channel.send({"where": True})
    told = hear(channel)["where"]
    assert "test_it_tells_what_the_main_thread_is_doing" in told
    channel.send({"where": True})
    assert "where" in hear(channel)


def test_who_is_not_wanted_any_more_is_given_up(outside: Outside) -> None:
    stopped = outside.ask_for("a", {"name": "a"})
    outside.room.first_words()
    outside.room.open()
    closed = outside.ask_for("b", {"name": "b"})
    outside.ask_for("c", {"name": "c"})
    wait_for(lambda: len(outside.room.waiting) == 3, "them to be in the room")
    stopped.send({"stop": 1.0})
    assert hear(outside.control) == {"child": "a", "because": "nobody wanted it any more"}
    closed.close()
    assert hear(outside.control)["child"] == "b"
    assert [unborn.name for unborn in outside.room.waiting] == ["c"]
    assert not outside.over.is_set()


def test_when_nobody_is_wanted_any_more_the_process_ends(outside: Outside) -> None:
    channel = outside.ask_for("a", {"name": "a"})
    outside.room.first_words()
    outside.room.open()
    channel.send({"stop": 1.0})
    assert outside.over.wait(10.0)
    assert hear(outside.control)["child"] == "a"


def test_when_who_asks_is_gone_the_process_ends(outside: Outside) -> None:
    outside.ask_for("a", {"name": "a"})
    outside.room.first_words()
    outside.room.open()
    outside.control.close()
    assert outside.over.wait(10.0)


def test_the_process_really_ends() -> None:
    pid = os.fork()
    if not pid:
        waiting_room._end()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_one_whose_supervisor_is_gone_has_no_first_words(outside: Outside) -> None:
    outside.ask_for("a").close()
    outside.ask_for("b", {"name": "b"})
    assert outside.room.first_words() == {"name": "b"}
    assert [unborn.name for unborn in outside.close_room()] == ["b"]
