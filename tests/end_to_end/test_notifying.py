"""What systemd hears of processes that it has started: ready, alive, ending. What stands alone is found by peers."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.processes import read_until
from zflow import Client

EXECUTOR = """
import os, time
from zflow import Executor, requests
class Tell(Executor):
    @requests
    def tell(self, docs, **kwargs):
        for doc in docs:
            doc.text = f'{self.runtime_args.name} {os.environ.get("NOTIFY_SOCKET")}'
    @requests(on='/sleep')
    def sleep(self, docs, parameters, **kwargs):
        time.sleep(parameters['seconds'])
"""

Start = Callable[..., "subprocess.Popen[str]"]


class Manager:
    """systemd, as far as a process that it has started can tell."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(30)
        self._socket.bind(self._path)

    def environment(self, watchdog: float = 0.0) -> dict[str, str]:
        """What it gives to a process. Without a pid: it starts an interpreter, which starts nobody in its place."""
        return {
            **os.environ,
            "NOTIFY_SOCKET": self._path,
            **({"WATCHDOG_USEC": str(int(watchdog * 1_000_000))} if watchdog else {}),
        }

    def hear(self, wanted: str) -> None:
        """Listen until it is told `wanted`."""
        while wanted not in self._socket.recv(4096).decode().splitlines():
            pass

    def forget(self) -> int:
        """How many things it has been told that nobody has listened to yet."""
        self._socket.setblocking(False)
        for number in itertools.count():
            try:
                self._socket.recv(4096)
            except BlockingIOError:
                self._socket.settimeout(30)
                return number
        raise AssertionError

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path / "notify")
    yield made
    made.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tell.py").write_text(EXECUTOR)
    (tmp_path / "tell.yml").write_text("jtype: Tell\npy_modules: [tell.py]\n")
    (tmp_path / "flow.yml").write_text("jtype: Flow\nexecutors:\n- {name: tell, uses: tell.yml}\n")
    return tmp_path


@pytest.mark.parametrize(
    "words",
    [
        ("executor", "--uses", "tell.yml", "--port-in", "{port}"),
        ("executor", "--uses", "tell.yml", "--port-in", "{port}", "--replicas", "2"),
        ("flow", "--uses", "flow.yml", "--port", "{port}"),
    ],
    ids=["worker", "head with its processes", "flow"],
)
def test_systemd_hears_of_a_whole_life(
    words: tuple[str, ...], manager: Manager, folder: Path, start: Start, zflow_command, port: int
) -> None:
    command = [word.format(port=port) for word in words]
    process = start(*zflow_command, *command, cwd=folder, env=manager.environment(watchdog=0.3))
    manager.hear("READY=1")
    with Client(port=port) as client:
        assert client.post("/", [{}]).texts[0].endswith(" None")  # nobody else speaks in its name
    for _ in range(3):
        manager.hear("WATCHDOG=1")
    process.send_signal(signal.SIGTERM)
    manager.hear("STOPPING=1")
    assert process.wait(30) == 0
    assert manager.forget() == 0


def test_a_call_that_hangs_gives_no_sign_of_life(
    manager: Manager, folder: Path, start: Start, zflow_command, port: int
) -> None:
    process = start(
        *(*zflow_command, "executor", "--uses", "tell.yml", "--port-in", str(port)),
        cwd=folder,
        env=manager.environment(watchdog=0.3),
    )
    manager.hear("READY=1")
    manager.hear("WATCHDOG=1")
    with Client(port=port) as client:
        client.post("/", [{}])
        manager.forget()
        client.post("/sleep", [{}], parameters={"seconds": 2})
        assert manager.forget() < 10  # of the 20 that two seconds would have had
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0


def test_processes_that_systemd_starts_one_by_one_are_one_flow(
    manager: Manager, folder: Path, start: Start, zflow_command
) -> None:
    ports = _free_ports(4)
    for name, number, *options in (
        ("far", 0, "--shards", "2", "--shard-id", "0"),
        ("far", 1, "--shards", "2", "--shard-id", "1"),
        ("far_after", 2),
    ):
        words = ("executor", "--name", str(name), "--uses", "tell.yml", "--port-in", str(ports[int(number)]))
        start(*zflow_command, *words, *map(str, options), cwd=folder, env=manager.environment())
        manager.hear("READY=1")
    flow = f"""
jtype: Flow
with:
  peers:
    far/shard-0: ['127.0.0.1:{ports[0]}']
    far/shard-1: ['localhost:{ports[1]}']
    far/uses-after: ['localhost:{ports[2]}']
executors:
- {{name: far, shards: 2, polling: ALL, uses_after: Elsewhere}}
"""
    for command, text in (
        ("gateway", flow),
        ("head", flow.replace("Flow", "Deployment").partition("executors:")[0] + "  name: far\n  shards: 2\n"
         "  polling: ALL\n  uses_after: Elsewhere\n"),
    ):  # fmt: skip
        front = start(*zflow_command, command, "--uses", text, "--port", str(ports[3]), env=manager.environment())
        read_until(front, "serving at")
        manager.hear("READY=1")
        with Client(port=ports[3]) as client:
            assert client.post("/", [{}]).texts == ["far_after/rep-0 None"]
        front.send_signal(signal.SIGTERM)
        manager.hear("STOPPING=1")
        assert front.wait(30) == 0


def _free_ports(number: int) -> list[int]:
    """Ports that were free a moment ago."""
    probes = [socket.socket() for _ in range(number)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports
