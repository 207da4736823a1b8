"""Containers that are stopped under load, as an engine does it: row 53 of docs/reliability.md.

SIGTERM, and ten seconds later SIGKILL. What a cluster does to a pod is the same with thirty, and with a pause before
that the exported files ask for (tests/exports).
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.engine import docker, engine_fault, zflow_image
from tests.support.processes import wait_for
from tests.support.rush import Rush, runs
from zflow import Client, Flow
from zflow.errors import Unavailable, ZflowError
from zflow.probing import ping

pytestmark = [
    pytest.mark.skipif(bool(engine_fault()), reason=engine_fault()),
    pytest.mark.time_limit(120),  # the image may have to be made
]

EXECUTOR = """
import os, time
from pathlib import Path
from zflow import Executor, requests
class Worked(Executor):
    @requests
    def work(self, docs, **kwargs):
        for doc in docs:
            with open('/diary/runs', 'a') as diary:
                diary.write(doc.text + '\\n')
            time.sleep(0.005)
            doc.text = doc.text.upper()
    def close(self):
        print('closed', flush=True)
"""
FLOW = "jtype: Flow\nwith: {port: 5000, host: 0.0.0.0, insecure: true}\nexecutors: [{uses: config.yml, replicas: 2}]\n"
AT_5000 = ["--host", "0.0.0.0", "--insecure", "--port-in", "5000"]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        number: int = probe.getsockname()[1]
        return number


class Container:
    """One that was run, by the name that the engine gave it. port: of this host, by which its port 5000 is reached."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.port = int(docker("port", name, "5000").splitlines()[0].rpartition(":")[2])

    def stop(self) -> None:
        """As an engine does it. It must end well before it is killed."""
        docker("stop", self.name)
        assert docker("inspect", "--format={{.State.ExitCode}}", self.name) == "0", docker("logs", self.name)

    def start(self) -> None:
        """Once more, at the same port."""
        docker("start", self.name)


Run = Callable[..., Container]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Runs zflow in a container, with the words given, where an Executor is that keeps the diary."""
    tmp_path.chmod(0o755)
    (tmp_path / "diary").mkdir()
    (tmp_path / "diary").chmod(0o777)
    (tmp_path / "worked.py").write_text(EXECUTOR)
    (tmp_path / "config.yml").write_text("jtype: Worked\nmetas: {py_modules: [worked.py]}\n")
    (tmp_path / "flow.yml").write_text(FLOW)
    made: list[str] = []

    def begin(*words: str) -> Container:
        port = free_port()  # one that stays the same when it is stopped and started
        folders = [f"--volume={tmp_path}:/executor:ro", f"--volume={tmp_path}/diary:/diary"]
        made.append(docker("run", "--detach", f"--publish=127.0.0.1:{port}:5000", *folders, zflow_image(), *words))
        return Container(made[-1])

    yield begin
    for name in made:
        docker("rm", "--force", name)


@pytest.mark.parametrize(
    ("many", "every"), [(400, 100), pytest.param(10_000, 1000, marks=[pytest.mark.full, pytest.mark.time_limit(300)])]
)
def test_row_53_containers_are_stopped_and_started_in_turn_and_nothing_fails(
    run: Run, tmp_path: Path, many: int, every: int
) -> None:
    containers = [run("executor", "--uses", "config.yml", *AT_5000) for _ in range(2)]
    where = [f"127.0.0.1:{container.port}" for container in containers]
    stops = 0

    def stop_one() -> bool:
        nonlocal stops
        container = containers[stops % 2]
        container.stop()
        container.start()
        wait_until_served(container)
        stops += 1
        return True

    with Flow(quiet=True).add(host=where, external=True, name="worked") as flow, Client(port=flow.port) as client:
        for container in containers:
            wait_until_served(container)
        rush = Rush(client, many).run(every=every, deed=stop_one)
    print(rush.told(f"{stops} containers stopped"))
    rush.check()
    assert rush.errors == {}
    assert stops >= 3
    assert set(runs(tmp_path / "diary" / "runs").values()) == {1}


def test_row_53_a_flow_in_a_container_that_is_stopped_finishes_what_it_has(run: Run, tmp_path: Path) -> None:
    container = run("flow", "--uses", "flow.yml")
    wait_until_served(container)
    with Client(port=container.port) as client:
        stopping: list[threading.Thread] = []

        def stop() -> bool:
            if not stopping:
                stopping.append(threading.Thread(target=container.stop))
                stopping[0].start()
            return True

        rush = Rush(client, 200, outstanding=16).run(every=100, deed=stop)
    stopping[0].join(20)
    print(rush.told("the container stopped"))
    rush.check()
    assert len(rush.errors) < 100
    assert all(isinstance(error, Unavailable) and not error.maybe_executed for error in rush.errors.values())
    ran = runs(tmp_path / "diary" / "runs")
    assert set(ran.values()) == {1} and len(ran) == 200 - len(rush.errors)


def wait_until_served(container: Container) -> None:
    def answers() -> bool:
        with suppress(ZflowError):
            return bool(ping(f"tcp://127.0.0.1:{container.port}", timeout=1.0))
        return False

    wait_for(answers, "the container to serve")
