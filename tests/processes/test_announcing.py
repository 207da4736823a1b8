"""Who is told where workers are, and when one that was left out may end."""

from __future__ import annotations

from typing import Any

import pytest

from zflow.drivers.directory import Directory
from zflow.processes.announcing import CONFIRMATION, Announcer


class Room:
    """A directory, a gateway that may not be there, and what was gone on with."""

    def __init__(self) -> None:
        self.directory = Directory({"a/rep-0": "ipc:///0"})
        self.has_gateway = True
        self.said: list[dict[str, Any]] = []
        self.gone_on: list[str] = []
        self.announcer = Announcer(self.directory, self._say)

    def _say(self, words: dict[str, Any]) -> bool:
        if self.has_gateway:
            self.said.append(words)
        return self.has_gateway

    def change(self, name: str, now: float = 0.0) -> None:
        then = lambda: self.gone_on.append(name)  # noqa: E731
        self.announcer.replicas("a", ["a/rep-1"], {"a/rep-1": "ipc:///1"}, then, now)


@pytest.fixture
def room() -> Room:
    return Room()


def test_an_address_is_told_here_and_to_the_gateway(room):
    room.announcer.address("b/rep-0", "ipc:///b")
    room.announcer.address("a/rep-0", None)
    assert room.directory.all() == {"b/rep-0": "ipc:///b"}
    assert room.said == [{"address": ["b/rep-0", "ipc:///b"]}, {"address": ["a/rep-0", None]}]


def test_why_one_was_given_up_is_told_in_one_line(room):
    room.announcer.given_up("a/rep-0", "it ended\nTraceback of many lines")
    why = "it has failed too often, and is given up for now: it ended"
    assert room.directory.given_up() == {"a/rep-0": why}
    assert room.directory.get("a/rep-0") is None
    assert room.said == [{"given up": ["a/rep-0", why]}]


def test_one_that_was_left_out_may_end_when_the_gateway_has_seen_it(room):
    room.change("first")
    assert room.directory.replicas() == {"a": ("a/rep-1",)}
    assert room.directory.get("a/rep-1") == "ipc:///1"
    assert room.said == [{"replicas": ["a", ["a/rep-1"], {"a/rep-1": "ipc:///1"}], "number": 1}]
    assert room.gone_on == []
    room.announcer.seen(1)
    assert room.gone_on == ["first"]
    room.announcer.seen(1)  # what comes twice, or late, changes nothing
    room.announcer.seen(7)
    assert room.gone_on == ["first"]


def test_without_a_gateway_nobody_is_waited_for(room):
    room.has_gateway = False
    room.change("first")
    assert room.gone_on == ["first"] and room.announcer.due is None


def test_a_gateway_that_does_not_answer_is_waited_for_no_longer_than_its_time(room):
    room.change("first", now=0.0)
    room.change("second", now=1.0)
    assert room.announcer.due == CONFIRMATION
    room.announcer.expire(CONFIRMATION - 0.1)
    assert room.gone_on == []
    room.announcer.expire(CONFIRMATION)
    assert room.gone_on == ["first"] and room.announcer.due == 1.0 + CONFIRMATION


def test_the_end_of_the_gateway_is_an_answer(room):
    room.change("first")
    room.change("second")
    room.announcer.lost_gateway()
    assert room.gone_on == ["first", "second"] and room.announcer.due is None
