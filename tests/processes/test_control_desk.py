"""Orders from this user's command line are carried out; whoever says nonsense, or nothing, stops nobody."""

from __future__ import annotations

import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from zflow.errors import ConfigError, StartError
from zflow.processes import control_desk
from zflow.processes.channel import Channel, Words
from zflow.processes.control_desk import ControlDesk, is_ours

ADDRESS = "tcp://127.0.0.1:5"


def scale(name: str, replicas: int, on_progress: Callable[..., None]) -> None:
    on_progress([name], [])
    if replicas > 9:
        raise ConfigError("replicas: too many")
    if replicas == 0:
        raise StartError("no such model", peer="a/rep-0", traceback="Traceback ...")


class Visitor:
    """Who comes to the desk at `path`."""

    def __init__(self, path: Path) -> None:
        end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        end.connect(str(path))
        end.setblocking(False)
        self.channel = Channel(end)

    def next(self) -> Words:
        assert self.channel.wait(10.0)
        [words] = self.channel.receive(most=1)
        return words

    def order(self, **words: Any) -> list[Words]:
        """All that is said to it."""
        self.channel.send(words)
        heard = [self.next()]
        while not {"done", "failed"} & set(heard[-1]):
            heard.append(self.next())
        return heard


@pytest.fixture
def path(ipc_directory: Path) -> Path:
    return ipc_directory / "control-5.sock"


@pytest.fixture
def desk(path: Path) -> Iterator[ControlDesk]:
    opened = ControlDesk(str(path), ADDRESS, {"scale": scale})
    yield opened
    opened.close()


@pytest.fixture
def visitor(desk: ControlDesk, path: Path) -> Iterator[Visitor]:
    came = Visitor(path)
    assert came.next() == {"address": ADDRESS}
    yield came
    came.channel.close()


def test_an_order_is_carried_out_and_its_progress_told(visitor):
    assert visitor.order(order="scale", name="a", replicas=2) == [{"waiting": ["a"], "ready": []}, {"done": True}]


def test_what_kept_it_from_that_is_told_with_its_traceback(visitor, path):
    [*_, told] = visitor.order(order="scale", name="a", replicas=0)
    assert told == {"failed": "StartError", "message": "no such model", "peer": "a/rep-0", "traceback": "Traceback ..."}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"order": "stop"}, "this version of zflow has no such order; it knows scale"),
        ({}, "has no such order"),
        ({"order": "scale", "name": "a", "replica": 2}, "does not know 'replica': did you mean 'replicas'?"),
        ({"order": "scale", "name": "a", "replicas": 10}, "replicas: too many"),
    ],
)
def test_what_cannot_be_carried_out_is_refused(visitor, words, told):
    [*_, last] = visitor.order(**words)
    assert last["failed"] == "ConfigError" and told in last["message"]


def test_several_are_served_at_once(desk, path):
    first, second = Visitor(path), Visitor(path)  # the first one says nothing
    assert second.next() == {"address": ADDRESS}
    assert second.order(order="scale", name="a", replicas=1)[-1] == {"done": True}
    for visitor in (first, second):
        visitor.channel.close()


def test_who_says_nothing_is_sent_away(desk, path, monkeypatch):
    monkeypatch.setattr(control_desk, "_HEARS_WITHIN", 0.05)
    silent = Visitor(path)
    assert silent.next() == {"address": ADDRESS}
    assert silent.channel.wait(10.0)
    with pytest.raises(EOFError):
        silent.channel.receive()
    silent.channel.close()


def test_who_leaves_has_the_order_given_up(path):
    gave_up = threading.Event()

    def wait(on_progress: Callable[..., None]) -> None:
        try:
            while True:
                on_progress(["a"], [])
        except EOFError:
            gave_up.set()
            raise

    desk = ControlDesk(str(path), ADDRESS, {"wait": wait})
    visitor = Visitor(path)
    visitor.next()
    visitor.channel.send({"order": "wait"})
    visitor.next()
    visitor.channel.close()
    assert gave_up.wait(10.0)
    desk.close()


def test_after_its_end_nobody_can_come(path):
    desk = ControlDesk(str(path), ADDRESS, {})
    assert stat.S_ISSOCK(os.stat(path).st_mode)
    desk.close()
    desk.close()
    assert not path.exists()


def test_another_user_is_not_ours(monkeypatch):
    here, there = socket.socketpair()
    with here, there:
        assert is_ours(here)
        monkeypatch.setattr(control_desk.os, "getuid", lambda: 12345)
        assert not is_ours(here)


def test_another_user_is_sent_away(desk, path, monkeypatch):
    monkeypatch.setattr(control_desk, "is_ours", lambda other: False)
    other = Visitor(path)
    assert other.channel.wait(10.0)
    with pytest.raises(EOFError):
        other.channel.receive()
    other.channel.close()
