"""What a process does with what it is told while it serves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from zflow.drivers.directory import Directory
from zflow.errors import PortInUse
from zflow.processes.hearing import Hearing
from zflow.processes.logs import Log


class Mouth:
    """The channel to the supervisor."""

    def __init__(self) -> None:
        self.said: list[dict[str, Any]] = []

    def send(self, words: dict[str, Any]) -> None:
        self.said.append(words)


class Loop:
    """A reactor that does what it is asked when a test says so."""

    def __init__(self) -> None:
        self.asked: list[Callable[[], None]] = []
        self.taken: str | None = None

    def ask(self, what: Callable[[], None]) -> None:
        self.asked.append(what)

    def bind(self, address: str) -> str:
        if self.taken:
            raise PortInUse(self.taken)
        return address.replace(":0", ":5")


@pytest.fixture
def room() -> tuple[Hearing, Directory, Mouth, Loop]:
    directory, mouth, loop = Directory(), Mouth(), Loop()
    hearing = Hearing(mouth, directory, Log("a/rep-0"))  # type: ignore[arg-type]
    hearing.reactor = loop  # type: ignore[assignment]
    return hearing, directory, mouth, loop


def test_addresses_come_and_go(room):
    hearing, directory, mouth, _ = room
    hearing.hear({"address": ["a/rep-0", "ipc:///0"]})
    assert directory.all() == {"a/rep-0": "ipc:///0"}
    hearing.hear({"address": ["a/rep-0", None]})
    assert directory.all() == {} and mouth.said == []


def test_one_that_is_given_up_is_gone_until_it_has_an_address_again(room):
    hearing, directory, mouth, _ = room
    hearing.hear({"address": ["a/rep-0", "ipc:///0"]})
    hearing.hear({"given up": ["a/rep-0", "it failed"]})
    assert (directory.all(), directory.given_up(), mouth.said) == ({}, {"a/rep-0": "it failed"}, [])
    hearing.hear({"address": ["a/rep-0", "ipc:///1"]})
    assert directory.given_up() == {}


def test_a_change_of_replicas_is_confirmed_once_the_loop_has_acted_on_it(room):
    hearing, directory, mouth, loop = room
    hearing.hear({"replicas": ["a", ["a/rep-1"], {"a/rep-1": "ipc:///1"}], "number": 3})
    assert directory.replicas() == {"a": ("a/rep-1",)} and directory.get("a/rep-1") == "ipc:///1"
    assert mouth.said == []
    loop.asked.pop()()
    assert mouth.said == [{"seen": 3}]


def test_before_it_serves_it_sends_nothing_to_anybody(room):
    hearing, directory, mouth, _ = room
    hearing.reactor = None
    hearing.hear({"replicas": ["a", ["a/rep-1"], {}], "number": 3})
    assert mouth.said == [{"seen": 3}]
    hearing.hear({"bind": "tcp://127.0.0.1:0"})
    assert mouth.said == [{"seen": 3}]


def test_it_binds_as_well_and_says_where_or_why_not(room):
    hearing, _, mouth, loop = room
    hearing.hear({"bind": "tcp://127.0.0.1:0"})
    loop.asked.pop()()
    loop.taken = "port 5 is in use"
    hearing.hear({"bind": "tcp://127.0.0.1:5"})
    loop.asked.pop()()
    assert mouth.said == [{"bound": "tcp://127.0.0.1:5"}, {"not bound": "port 5 is in use"}]


def test_what_it_is_told_to_log_is_logged(room, capsys):
    room[0].hear({"log": "100 % news"})
    assert "[I]:100 % news\n" in capsys.readouterr().err
