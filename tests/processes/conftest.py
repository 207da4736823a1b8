"""What the tests of processes share: small plans, and supervisors that are closed after the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from zflow.client import Client
from zflow.config.plan import Plan, plan_flow
from zflow.config.spec import FlowSpec
from zflow.drivers.directory import Directory
from zflow.executor import Executor
from zflow.processes.logs import Log
from zflow.processes.supervisor import Supervisor

Supervise = Callable[..., Supervisor]


@pytest.fixture
def plan_of() -> Callable[..., Plan]:
    """The plan of a Flow with one Executor; options of the Flow begin with ``flow_``."""

    def make(uses: type[Executor] | str | None, **options: Any) -> Plan:
        of_flow = {name.removeprefix("flow_"): options.pop(name) for name in list(options) if name.startswith("flow_")}
        return plan_flow(FlowSpec.from_options(**of_flow).add(uses=uses, **options))

    return make


@pytest.fixture
def supervise(plan_of: Callable[..., Plan]) -> Iterator[Supervise]:
    """Start the processes of one Executor and a gateway."""
    supervisors: list[Supervisor] = []

    def start(uses: type[Executor] | str | None, *, on_progress: Any = None, log: Log | None = None, **options: Any):
        directory = Directory()
        supervisor = Supervisor(
            plan_of(uses, **options), directory=directory, on_progress=on_progress, log=log or Log("Flow")
        )
        supervisors.append(supervisor)
        supervisor.start()
        return supervisor

    yield start
    for supervisor in supervisors:
        supervisor.close(2.0)


@pytest.fixture
def ask() -> Iterator[Callable[..., Any]]:
    """Ask the gateway of a supervisor, or the peer at an address; returns the results."""
    clients: list[Client] = []

    def post(peer: Supervisor | str, on: str = "/", **options: Any) -> dict[str, Any]:
        address = peer if isinstance(peer, str) else peer.gateway_address
        client = Client(port=int(address.rpartition(":")[2]))
        clients.append(client)
        [response] = client.post(on, return_responses=True, **options)
        results: dict[str, Any] = response.to_dict()["parameters"].get("__results__", {})
        return results

    yield post
    for client in clients:
        client.close()


@pytest.fixture
def logged(capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """All that this process has logged so far."""
    heard: list[str] = []

    def so_far() -> str:
        heard.append(capsys.readouterr().err)
        return "".join(heard)

    return so_far
