"""One process through its incarnations, as its supervisor keeps track of it."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable

import pytest

from zflow.config.plan import Plan, WorkerPlan
from zflow.processes import parcel
from zflow.processes.channel import Channel
from zflow.processes.child import Child, ProcessStatus, State
from zflow.processes.logs import Log


@pytest.fixture
def child(plan_of: Callable[..., Plan]) -> Child:
    return Child(plan_of(None, timeout_ready=2000, env={"WHO": "me"}, quiet_error=True).workers[0])


def channel() -> Channel:
    ours, theirs = socket.socketpair()
    theirs.close()
    return Channel(ours)


def test_a_life(child: Child) -> None:
    assert child.status == ProcessStatus("executor0/rep-0", None, "starting", 0)
    child.born(channel(), "ipc:///some/path-1.sock", now=10.0)
    assert child.due == 12.0 and child.bound == "ipc:///some/path-1.sock"
    child.pid = 4711
    child.ready("ipc:///some/path-1.sock", now=11.0)
    assert child.due is None and child.status == ProcessStatus("executor0/rep-0", 4711, "ready", 0)
    ended = child.channel
    child.ended()
    assert child.channel is None and child.pid is None and child.address == ""
    assert ended is not None and ended.fileno() == -1
    assert child.bind is None  # a private path is never used twice
    child.ended()


def test_it_may_take_for_ever(plan_of: Callable[..., Plan]) -> None:
    child = Child(plan_of(None, timeout_ready=-1).workers[0])
    child.born(channel(), "ipc:///a", now=10.0)
    assert child.due is None
    child.ended()


def test_the_port_that_the_first_incarnation_got_is_the_next_ones(plan_of: Callable[..., Plan]) -> None:
    plan = plan_of(None)
    assert plan.gateway is not None
    gateway = Child(plan.gateway)
    assert gateway.bind == "tcp://127.0.0.1:0" and gateway.is_gateway and gateway.node == "gateway"
    gateway.born(channel(), gateway.bind, now=0.0)
    gateway.ready("tcp://127.0.0.1:54321", now=1.0)
    gateway.ended()
    assert gateway.bind == "tcp://127.0.0.1:54321"
    assert gateway.state is State.GONE


def test_what_it_is_told_when_it_is_born(child: Child) -> None:
    words = child.first_words("ipc:///a", {"x/rep-0": "ipc:///x"}, Log("Flow", level="DEBUG", quiet=True))
    plan = parcel.unpack(words.pop("plan"))
    assert isinstance(plan, WorkerPlan) and plan == child.plan
    assert words == {
        "name": "executor0/rep-0",
        "bind": "ipc:///a",
        "env": {"WHO": "me"},
        "sys_path": sys.path,
        "argv": sys.argv,
        "addresses": {"x/rep-0": "ipc:///x"},
        "level": "DEBUG",
        "quiet": True,
        "quiet_error": True,
    }


def test_workers_share_a_numpy_and_the_gateway_does_not_wait_for_it(plan_of: Callable[..., Plan]) -> None:
    plan = plan_of(None)
    assert plan.gateway is not None
    assert Child(plan.workers[0]).preload == ["numpy"]
    assert Child(plan.gateway).preload == []


def test_paths_that_are_no_text_are_left_out(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, os])
    assert os not in child.first_words("ipc:///a", {}, Log("Flow"))["sys_path"]
