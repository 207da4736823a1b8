"""The warm parent's record of those who bear for it."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator

import pytest

from zflow.processes.channel import Channel, Words
from zflow.processes.families import Families, Family, FamilyName

OLD = FamilyName("encoder", "1")
NEW = FamilyName("encoder", "2")


class Record:
    """Families whose parents are played by the test, by the other ends of their channels."""

    def __init__(self) -> None:
        self.told: list[Words] = []
        self.families = Families(self.told.append)
        self.ends: dict[int, Channel] = {}

    def found(self, name: FamilyName, pid: int) -> Family:
        ours, theirs = socket.socketpair()
        self.ends[pid] = Channel(theirs)
        return self.families.found(name, pid, Channel(ours))

    def ask(self, family: Family, name: str) -> None:
        self.families.ask(family, {"child": name, "fork": True, "family": list(family.name)}, os.open("/dev/null", 0))

    def say(self, pid: int, *words: Words) -> None:
        for each in words:
            self.ends[pid].send(each)
        self.families.hear()


@pytest.fixture
def record() -> Iterator[Record]:
    made = Record()
    yield made
    made.families.close()
    for end in made.ends.values():
        end.close()


def is_closed(end: Channel) -> bool:
    try:
        end.receive()
        return False
    except EOFError:
        return True


def test_children_are_asked_for_and_their_births_and_deaths_passed_on(record: Record) -> None:
    family = record.found(OLD, 10)
    assert record.families.find(OLD) is family and record.families.find(NEW) is None
    record.ask(family, "a")
    [asked] = record.ends[10].receive()
    assert asked == {"child": "a", "fork": True, "family": None}  # for whoever hears it it is the last stop
    os.close(record.ends[10].received_fd())
    born, ended = {"child": "a", "pid": 11, "because": ""}, {"ended": 11, "status": 0}
    record.say(10, born)
    assert family.children == {11} and family.waiting == []
    record.say(10, ended)
    assert family.children == set() and record.told == [born, ended]


def test_only_its_own_parent_kills_a_child(record: Record) -> None:
    family = record.found(OLD, 10)
    record.found(FamilyName("other", "1"), 20)
    family.children.add(11)
    record.families.kill(11)
    record.families.kill(99)
    assert record.ends[10].receive() == [{"kill": 11}] and record.ends[20].receive() == []


def test_when_a_parent_ends_its_children_end_with_it(record: Record) -> None:
    family = record.found(OLD, 10)
    record.ask(family, "b")
    record.ask(family, "c")
    child = os.fork()
    if not child:
        signal.pause()
        os._exit(0)
    record.ends[10].send({"child": "b", "pid": child, "because": ""})
    record.ends[10].close()
    assert record.families.ended(10, -9)
    assert record.told == [
        {"child": "b", "pid": child, "because": ""},  # its last words are heard
        {"child": "c", "because": "the process in which its preload() runs ended with status -9"},
        {"ended": child, "status": -9},
    ]
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert record.families.find(OLD) is None and record.families.pids == []


def test_who_takes_too_long_is_ended_unless_others_have_come_of_it(
    record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: killed.append((pid, number)))
    slow, quick = record.found(OLD, 10), record.found(FamilyName("other", "1"), 20)
    record.ask(slow, "a")
    record.ask(quick, "b")
    quick.children.add(21)
    for name in ("b", "unknown", "a"):
        record.families.give_up(name)
    assert killed == [(10, signal.SIGKILL)]
    quick.children.clear()


def test_others_who_end_are_none_of_its_business(record: Record) -> None:
    record.found(OLD, 10)
    assert not record.families.ended(11, 0)


def test_a_node_may_have_several_of_different_classes(record: Record) -> None:
    families = [record.found(OLD, 10), record.found(NEW, 20)]
    assert [record.families.find(name) for name in (OLD, NEW)] == families


def test_one_that_is_superseded_ends_with_its_last_child(record: Record) -> None:
    old = record.found(OLD, 10)
    record.say(10, {"child": "a", "pid": 11, "because": ""})
    record.families.supersede("encoder")
    new = record.found(OLD, 20)
    assert record.families.find(OLD) is new
    assert not is_closed(record.ends[10])
    record.say(10, {"ended": 11, "status": 0})
    assert is_closed(record.ends[10])
    assert record.families.channels() == [new.channel]
    assert record.families.ended(10, 0) and record.told[-1] == {"ended": 11, "status": 0}
    assert old.is_superseded


def test_a_node_can_be_asked_to_load_anew(record: Record) -> None:
    family = record.found(OLD, 10)
    other = record.found(FamilyName("other", "1"), 20)
    record.ask(family, "a")
    record.families.supersede("encoder")
    assert record.families.find(OLD) is None and record.families.find(other.name) is other
    assert record.families.channels() == [family.channel, other.channel]  # somebody still waits there
    record.say(10, {"child": "a", "because": "no memory"})
    assert record.families.channels() == [other.channel]


def test_one_that_has_gone_silent_is_listened_to_no_more(record: Record) -> None:
    record.found(OLD, 10)
    record.ends[10].close()
    record.families.hear()
    record.families.hear()
    assert record.families.channels() == [] and record.families.pids == [10]


def test_closing_ends_all(record: Record) -> None:
    record.found(OLD, 10)
    record.found(FamilyName("other", "1"), 20)
    record.families.close()
    assert is_closed(record.ends[10]) and is_closed(record.ends[20])
