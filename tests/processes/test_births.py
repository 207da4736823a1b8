"""Children are born by a real warm parent, named to who asked for them, and another one is taken when it is gone."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.processes import is_alive, wait_for
from zflow.config.plan import plan_flow
from zflow.config.spec import FlowSpec
from zflow.processes.births import Births
from zflow.processes.child import Child
from zflow.processes.logs import Log
from zflow.processes.roster import Roster
from zflow.processes.socket_directory import SocketDirectory
from zflow.processes.switchboard import Switchboard

PATIENCE = 20.0


class Ward:
    """What a supervisor does with those who are born: it hears them, and notes how they end."""

    def __init__(self) -> None:
        self.roster = Roster(plan_flow(FlowSpec.from_options().add(uses=None, name="a", replicas=2)))
        self.switchboard = Switchboard()
        self.sockets = SocketDirectory()
        self.heard: list[tuple[str, str]] = []
        self.ended: list[tuple[str, str]] = []
        self.births = Births(
            self.roster, self.switchboard, self.sockets, Log("test", quiet=True), hear=self._hear, ended=self._ended
        )

    def _hear(self, child: Child) -> None:
        try:
            for words in child.channel.receive() if child.channel is not None else ():
                self.heard += [(child.link, key) for key in words]
        except EOFError:
            if child.channel is not None:
                self.switchboard.forget(child.channel)

    def _ended(self, child: Child, how: str) -> None:
        if child.channel is not None:
            self.switchboard.forget(child.channel)
        child.ended()
        self.ended.append((child.link, how))

    def until(self, condition: Callable[[], Any]) -> None:
        for _ in range(200):
            if condition():
                return
            self.switchboard.turn(PATIENCE / 200)
        raise AssertionError("it did not come to that")

    def close(self) -> None:
        self.births.close()
        for child in self.roster.children:
            child.ended()
        self.sockets.close()
        self.switchboard.close()


@pytest.fixture
def ward() -> Iterator[Ward]:
    opened = Ward()
    yield opened
    opened.close()


@pytest.fixture
def born(ward: Ward) -> Child:
    """A child that is ready."""
    child = ward.roster.workers[0]
    ward.births.give(child)
    ward.until(lambda: (child.link, "ready") in ward.heard)
    return child


def test_a_child_is_born_and_becomes_ready(ward, born):
    assert born.pid is not None and is_alive(born.pid)
    assert born.bound.startswith("ipc://")
    assert ward.ended == []


def test_a_child_that_is_killed_is_told_to_have_ended(ward, born):
    pid = born.pid
    ward.births.kill(born)
    ward.until(lambda: ward.ended)
    assert ward.ended == [("a/rep-0", "was killed by SIGKILL")]
    assert not is_alive(pid)


def test_each_incarnation_is_bound_elsewhere(ward, born):
    before = born.bound
    ward.births.kill(born)
    ward.until(lambda: ward.ended)
    ward.heard.clear()
    ward.births.give(born)
    ward.until(lambda: (born.link, "ready") in ward.heard)
    assert born.bound != before


def test_all_incarnations_of_one_note_what_they_run_in_one_place(ward, born):
    assert os.listdir(ward.sockets.path).count("a-rep-0.note") == 1
    ward.births.kill(born)
    ward.until(lambda: ward.ended)
    assert os.path.exists(ward.sockets.note_path(born.link)), "it was killed, and its successor reads it"


def test_the_end_of_the_warm_parent_is_that_of_its_children_and_the_next_birth_takes_another(ward, born):
    parent, pid = ward.births.nursery.pid, born.pid
    os.kill(parent, signal.SIGKILL)
    ward.until(lambda: ward.ended)
    [(link, how)] = ward.ended
    assert link == "a/rep-0" and "its parent was killed by SIGKILL" in how
    wait_for(lambda: not is_alive(pid), "the child to end with its parent")
    ward.heard.clear()
    ward.births.give(born)
    ward.until(lambda: (born.link, "ready") in ward.heard)
    assert ward.births.nursery.pid != parent


def test_a_warm_parent_that_does_not_kill_when_told_is_given_up(ward, born, monkeypatch):
    monkeypatch.setattr("zflow.processes.nursery._FAREWELL", 0.2)
    pid = born.pid
    os.kill(ward.births.nursery.pid, signal.SIGSTOP)
    for _ in range(5):
        assert ward.ended == []
        ward.births.kill(born)
    [(_, how)] = ward.ended
    assert "did not answer" in how and ward.births.nursery is None
    wait_for(lambda: not is_alive(pid), "the orphan to end")


def test_words_about_somebody_who_has_left_are_nobodys(ward, born):
    ward.roster.remove(ward.roster.workers[1])
    ward.births._obey({"child": "a/rep-1", "pid": 1, "because": ""})
    ward.births._obey({"ended": 1, "status": 0})
    assert ward.ended == []


def test_renewing_with_nobody_born_is_no_matter(ward):
    ward.births.renew("a")
    assert ward.births.nursery is None
