"""Callers that come in crowds, and processes that find no descriptor left: rows 43 and 44 of docs/reliability.md."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from collections.abc import Callable, Iterator

import pytest

from tests.support.processes import wait_for
from zflow import Client, Document, Flow
from zflow.errors import DeadlineExceeded, Unavailable
from zflow.probing import ping

Replicated = Callable[..., Flow]


def gateway(flow: Flow) -> int:
    [pid] = [status.pid for status in flow.status() if status.name == "gateway"]
    assert pid is not None
    return pid


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


@pytest.mark.parametrize(
    ("crowd", "cycles"), [(50, 100), pytest.param(1_000, 10_000, marks=[pytest.mark.full, pytest.mark.time_limit(600)])]
)
def test_row_43_a_crowd_connects_at_once_and_many_come_and_go_and_no_descriptor_is_left(
    replicated: Replicated, crowd: int, cycles: int
) -> None:
    with replicated(replicas=1) as flow, Client(port=flow.port) as client:
        assert client.post("/", Document(text="first")).texts == ["FIRST"]
        before = descriptors(gateway(flow)), descriptors(os.getpid())
        with contextlib.ExitStack() as all_of_them:
            crowded = [all_of_them.enter_context(Client(port=flow.port)) for _ in range(crowd)]
            for number, one in enumerate(crowded):
                assert one.post("/", Document(text=f"crowd {number}")).texts == [f"CROWD {number}"]
            assert descriptors(gateway(flow)) >= before[0] + crowd
        for number in range(cycles):
            with Client(port=flow.port) as one:
                assert one.post("/", Document(text=f"cycle {number}")).texts == [f"CYCLE {number}"]
        wait_for(lambda: descriptors(gateway(flow)) <= before[0], "the gateway's descriptors to be free")
        wait_for(lambda: descriptors(os.getpid()) <= before[1], "our own descriptors to be free")


@contextlib.contextmanager
def few_descriptors(pid: int, more: int) -> Iterator[None]:
    """The process may open only so many descriptors more."""
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (descriptors(pid) + more, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


def test_row_44_a_gateway_without_descriptors_serves_who_is_there_and_takes_the_others_later(
    replicated: Replicated,
) -> None:
    with replicated(replicas=1) as flow, Client(port=flow.port) as known, contextlib.ExitStack() as others:
        assert known.post("/", Document(text="first")).texts == ["FIRST"]
        pid = gateway(flow)
        waiting = [others.enter_context(Client(port=flow.port)) for _ in range(4)]
        with few_descriptors(pid, 0):
            for one in waiting:
                with pytest.raises((Unavailable, DeadlineExceeded)) as raised:
                    one.post("/", Document(text="too many"), timeout=0.5)
                assert not raised.value.maybe_executed
            assert known.post("/", Document(text="known")).texts == ["KNOWN"]
        for one in waiting:
            assert one.post("/", Document(text="later")).texts == ["LATER"]


def is_replaced(flow: Flow) -> bool:
    """Whether one has died, and its successor is in service."""
    processes = flow.status()
    return sum(status.restarts for status in processes) == 1 and all(one.state == "ready" for one in processes)


def test_row_44_a_head_without_descriptors_reaches_its_replica_again_when_it_has_some(replicated: Replicated) -> None:
    with replicated(replicas=2) as flow, Client(port=flow.port) as client:
        assert client.post("/", Document(text="first")).texts == ["FIRST"]
        [victim, _] = [status.pid for status in flow.status() if "/rep-" in status.name]
        assert victim is not None
        with few_descriptors(gateway(flow), 0):
            os.kill(victim, signal.SIGKILL)
            wait_for(lambda: is_replaced(flow), "its successor")
            assert client.post("/", Document(text="meanwhile"), timeout=5).texts == ["MEANWHILE"]
        link = "diarist/rep-0"
        where = f"tcp://127.0.0.1:{flow.port}"
        wait_for(lambda: ping(where)["nodes"]["diarist"]["replicas"][link]["state"] == "ready", "it to be reached")
