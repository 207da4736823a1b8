"""The life that a Flow and a Deployment have in common: opened once, closed once, and what a closed one says."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from zflow.config.plan import Plan, plan_flow
from zflow.config.spec import FlowSpec
from zflow.drivers.assembly import gateway_role
from zflow.drivers.directory import Directory
from zflow.errors import ConfigError, StartError
from zflow.executor import Executor
from zflow.processes.logs import Log
from zflow.processes.supervisor import Supervisor
from zflow.service import Service


class Broken(Executor):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        raise RuntimeError("on purpose")


class Small(Service):
    """The least that a Service can be: a gateway without Executors, or with those that are given."""

    def __init__(self, spec: FlowSpec | None = None) -> None:
        super().__init__(Log("Small", quiet=True))
        self.spec = spec or FlowSpec()
        self.told: list[str] = []

    @property
    def host(self) -> str:
        return self.spec.host

    def _plan(self) -> Plan:
        return plan_flow(self.spec)

    def _way_in(self, plan: Plan, supervisor: Supervisor, directory: Directory):
        return (lambda: gateway_role(plan.topology, plan.nodes)), directory

    def _planned_port(self) -> int | None:
        return self.spec.port

    def _tell_ready(self, address: str) -> None:
        self.told.append(address)


def test_it_is_opened_asked_and_closed() -> None:
    service = Small()
    with service:
        assert service.told == [f"tcp://127.0.0.1:{service.port}"]
        assert service.post("/", [{"text": "a"}]).texts == ["a"]
        assert [status.name for status in service.status()] == ["gateway"]
        with pytest.raises(ConfigError, match="this Small is open already"):
            service.start()
        service.block(_set())
    service.close()
    with service:  # and again
        assert service.post("/", [{"text": "b"}]).texts == ["b"]


def _set() -> threading.Event:
    event = threading.Event()
    event.set()
    return event


@pytest.mark.parametrize("use", [Small.post, Small.block, Small.status, Small.search], ids=lambda use: use.__name__)
def test_what_is_not_open_says_how_to_open_it(use: Callable[[Small], object]) -> None:
    with pytest.raises(ConfigError, match=r"this Small is not open: use it inside `with small:`, or call start\(\)"):
        use(Small())


def test_a_port_is_known_before_only_if_it_was_given() -> None:
    assert Small(FlowSpec.from_options(port=12345)).port == 12345
    with pytest.raises(ConfigError, match="the Small has no port before it is open"):
        _ = Small().port


def test_one_that_cannot_start_is_not_open() -> None:
    service = Small(FlowSpec().add(uses=Broken, name="broken"))
    with pytest.raises(StartError, match="on purpose"):
        service.start()
    with pytest.raises(ConfigError, match="is not open"):
        service.status()
    assert service.told == []
