"""One process through its incarnations, as its supervisor keeps track of it."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable

import pytest

from zflow.config.log_config import LogConfig
from zflow.config.plan import Plan, WorkerPlan
from zflow.executor import Executor
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
        "executor": b"",
        "may_join": False,
        "is_shared": False,
        "own_env": {},
        "cores": [],
        "oom_score_adj": 500,
        "name": "executor0/rep-0",
        "bind": "ipc:///a",
        "note": "",
        "env": {"WHO": "me"},
        "sys_path": sys.path,
        "argv": sys.argv,
        "addresses": {"x/rep-0": "ipc:///x"},
        "replicas": {},
        "level": "DEBUG",
        "log_folder": "",
        "voice": [True, True, LogConfig()._asdict()],
    }


class Loads(Executor):
    @classmethod
    def preload(cls) -> None: ...


def family_of(child: Child) -> tuple[str, str] | None:
    family = child.family(child.first_words("ipc:///a", {}, Log("Flow")))
    return family if family is None else family[:2]


def test_those_who_share_what_is_loaded_are_of_one_family(plan_of: Callable[..., Plan]) -> None:
    children = [Child(worker) for worker in plan_of(Loads, replicas=2).workers]
    families = {family_of(child) for child in children}
    assert len(families) == 1 and {child.preloads for child in children} == {"family"}
    [(node, _)] = [family for family in families if family is not None]
    assert node == "executor0"
    assert family_of(Child(plan_of(Loads).workers[0])) in families  # one that is added later
    for options in ({"uses_with": {"a": 1}}, {"env": {"MODE": "fast"}}):
        assert family_of(Child(plan_of(Loads, **options).workers[0])) not in families


def test_what_a_family_has_unpacked_already_travels_apart(plan_of: Callable[..., Plan]) -> None:
    child = Child(plan_of(Loads).workers[0])
    words = child.first_words("ipc:///a", {}, Log("Flow"))
    plan, description = parcel.unpack(words["plan"]), parcel.unpack(words["executor"])
    assert description.target is Loads and plan.description.target is Executor
    assert plan._replace(description=description) == child.plan


def test_who_has_no_family(plan_of: Callable[..., Plan]) -> None:
    for uses, options, where in (
        (None, {}, "alone"),
        (Loads, {"start_method": "spawn"}, "alone"),
        ("some.module:Class", {}, "unknown"),
    ):
        child = Child(plan_of(uses, **options).workers[0])
        assert child.preloads == where and family_of(child) is None
        assert child.first_words("ipc:///a", {}, Log("Flow"))["may_join"] is (where == "unknown")


@pytest.mark.parametrize("where", ["family", "alone"])
def test_it_may_say_that_it_must_be_born_elsewhere(plan_of: Callable[..., Plan], where: str) -> None:
    child = Child(plan_of("some.module:Class").workers[0])
    child.shall_come_again({"again": where, "because": ""})
    assert child.comes_again and child.preloads == where
    assert not child.first_words("ipc:///a", {}, Log("Flow"))["may_join"]


def test_who_attends_to_a_container_does_not_become_what_is_in_it(plan_of: Callable[..., Plan]) -> None:
    child = Child(plan_of("docker://me/x:1", env={"PATH": "/x", "PYTHONPATH": "/y"}, cpus=1).workers[0])
    words = child.first_words("ipc:///a", {}, Log("Flow"))
    assert words["env"] == child.env == {}
    assert words["own_env"]["OMP_NUM_THREADS"] == "1"  # for the container, with the cores
    assert len(words["cores"]) == 1
    assert (child.preload, child.preloads, child.plan.start_method) == ([], "alone", "warm")


def test_what_it_alone_has_is_told_apart(plan_of: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_TOTAL_DEVICES", "2")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    env = {"CUDA_VISIBLE_DEVICES": "RR", "WHO": "me"}
    child = Child(plan_of(Loads, replicas=2, env=env, cpus=1).workers[1])
    words = child.first_words("ipc:///a", {}, Log("Flow"))
    assert words["env"] == {"WHO": "me"}
    assert words["own_env"]["CUDA_VISIBLE_DEVICES"] == "1" and words["own_env"]["OMP_NUM_THREADS"] == "1"
    assert len(words["cores"]) == 1
    assert child.env == {**words["env"], **words["own_env"]}


def test_workers_share_a_numpy_and_the_gateway_does_not_wait_for_it(plan_of: Callable[..., Plan]) -> None:
    plan = plan_of(None)
    assert plan.gateway is not None
    assert Child(plan.workers[0]).preload == ["numpy"]
    assert Child(plan.gateway).preload == []


def test_paths_that_are_no_text_are_left_out(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, os])
    assert os not in child.first_words("ipc:///a", {}, Log("Flow"))["sys_path"]
