"""What Compose, Kubernetes and systemd are told to start is a Flow that answers: their commands, run here as they are.

Containers are played by loopback addresses of their own, their names by a list of hosts that only the gateway sees.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from tests.end_to_end.test_names import can_make_mounts
from tests.support.processes import read_until
from zflow import Client, Flow
from zflow.config import keys
from zflow.drivers.sockets import new_identity

EXECUTOR = """
from zflow import Executor, requests
class Mark(Executor):
    def __init__(self, mark='', **kwargs):
        super().__init__(**kwargs)
        self.mark = mark
    @requests
    def tell(self, docs, **kwargs):
        for doc in docs:
            doc.text += self.mark
        return {'workspace': self.workspace, 'shard': self.runtime_args.shard_id}
"""
FLOW = """
jtype: Flow
with: {name: marks}
executors:
- {name: first, uses: mark.yml, uses_with: {mark: "it's $HOME %h \\"1\\""}}
- {name: second, uses: mark.yml, shards: 2, replicas: 2, polling: ALL, workspace: data, uses_before: before.yml}
"""
MARK = """it's $HOME %h "1"!"""

Start = Callable[..., "subprocess.Popen[str]"]


class Container(NamedTuple):
    """What an engine is told to start. service: the name by which others find it."""

    service: str
    replicas: int
    words: list[str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mark.py").write_text(EXECUTOR)
    (tmp_path / "mark.yml").write_text("jtype: Mark\nmetas: {py_modules: [mark.py]}\n")
    (tmp_path / "before.yml").write_text("jtype: Mark\nwith: {mark: '!'}\nmetas: {py_modules: [mark.py]}\n")
    (tmp_path / "flow.yml").write_text(FLOW)
    return tmp_path


def in_compose(folder: Path) -> Iterator[Container]:
    Flow.load_config(folder / "flow.yml").to_docker_compose_yaml(folder / "dc.yml", image="me/app:1", user="1:1")
    for name, service in yaml.safe_load((folder / "dc.yml").read_text())["services"].items():
        words = [word.replace("$$", "$") for word in service["command"]]
        yield Container(name, service.get("scale", 1), words)


def in_kubernetes(folder: Path) -> Iterator[Container]:
    Flow.load_config(folder / "flow.yml").to_kubernetes_yaml(folder / "k8s", image="me/app:1")
    manifests = [yaml.safe_load(path.read_text()) for path in sorted((folder / "k8s").rglob("*.yml"))]
    for manifest in manifests:
        if manifest["kind"] == "ConfigMap":
            (folder / "config.yml").write_text(manifest["data"]["flow.yml"])
        if manifest["kind"] in ("Deployment", "StatefulSet"):
            [container] = manifest["spec"]["template"]["spec"]["containers"]
            words = [word.replace("$$(", "$(") for word in container["args"]]
            words = [word.replace("/etc/zflow/config/flow.yml", str(folder / "config.yml")) for word in words]
            yield Container(manifest["metadata"]["name"], manifest["spec"]["replicas"], words)


@pytest.mark.time_limit(60)
@pytest.mark.parametrize("export", [in_compose, in_kubernetes])
def test_the_containers_of_an_engine_are_a_flow(
    export: Callable[[Path], Iterator[Container]], folder: Path, start: Start, zflow_command, port: int
) -> None:
    if reason := can_make_mounts():
        pytest.skip(reason)
    containers = sorted(export(folder), key=lambda container: container.service == "gateway")
    for config in folder.glob("config.yml"):
        config.write_text(config.read_text().replace("8080", str(port)))
    names, numbers = "127.0.0.1 localhost\n", count(2)
    for container in containers:
        for _ in range(container.replicas):
            address = f"127.0.0.{next(numbers)}"
            names += f"{address} {container.service}\n"
            words = [word.replace("0.0.0.0", address).replace("8080", str(port)) for word in container.words]
            words = [word.replace("/workspace", str(folder / "data" / container.service)) for word in words]
            if container.service != "gateway":
                read_until(start(*zflow_command, *words, cwd=folder), "serving at")
    (folder / "hosts").write_text(names)
    mounted = 'mount --bind "$0" /etc/hosts && exec "$@"'
    gateway = start("unshare", "--mount", "sh", "-c", mounted, str(folder / "hosts"), *zflow_command, *words)
    read_until(gateway, "serving at")
    with Client(f"{address}:{port}") as client:
        ask_and_compare(client)


def test_compose_sees_without_python_who_listens(folder: Path, start: Start, zflow_command, port: int) -> None:
    list(in_compose(folder))
    service = yaml.safe_load((folder / "dc.yml").read_text())["services"]["first"]
    kind, *words = service["healthcheck"]["test"]
    looks = [word.replace(f"{8080:04X}", f"{port:04X}") for word in words]
    assert (kind, subprocess.run(looks).returncode) == ("CMD", 1)
    process = start(*zflow_command, "executor", "--uses", "mark.yml", "--port-in", str(port), cwd=folder)
    read_until(process, "serving at")
    assert subprocess.run(looks).returncode == 0


def ask_and_compare(client: Client) -> None:
    """Each document passes one of the first, what is before the shards, and both of these."""
    [response] = client.post("/", [{"text": ""}], return_responses=True)
    assert response.docs.texts == [MARK]
    told = {name: result for name, result in response.results.items() if name.startswith("second/shard")}
    assert sorted(result["shard"] for result in told.values()) == [0, 1]
    assert len({result["workspace"] for result in told.values()}) == 2


def row_of_free_ports(many: int) -> int:
    """The first of so many, one after the other, below those that the kernel gives to whoever asks for any."""
    for first in random.sample(range(20_000, 30_000), 100):
        with contextlib.ExitStack() as probes, contextlib.suppress(OSError):
            for number in range(first, first + many):
                probes.enter_context(socket.socket()).bind(("127.0.0.1", number))
            return first
    raise AssertionError(f"no {many} free ports in a row")


class Unit(NamedTuple):
    """A service of systemd, as far as it says what is started."""

    words: list[str]
    environment: dict[str, str]
    after: Sequence[str]


def unit_of(path: Path, credentials: str) -> Unit:
    lines = [line.partition("=") for line in path.read_text().splitlines() if not line.startswith("#")]
    values = {name: value for name, _, value in lines}
    [line] = [value for name, _, value in lines if name == "ExecStart"]
    said = shlex.split(line.replace("${CREDENTIALS_DIRECTORY}", credentials))
    words = [word.replace("%%", "%").replace("$$", "$") for word in said]
    pairs = [shlex.split(value)[0].partition("=") for name, _, value in lines if name == "Environment"]
    return Unit(words, {name: value for name, _, value in pairs}, values["After"].split())


@pytest.mark.time_limit(60)
@pytest.mark.parametrize("has_keys", [False, True])
def test_the_units_of_systemd_are_a_flow(has_keys: bool, folder: Path, start: Start, port: int, monkeypatch) -> None:
    monkeypatch.delenv("ZFLOW_KEYS", raising=False)
    identity = new_identity()
    options = {"keys": str(folder / "keys")} if has_keys else {}
    if has_keys:
        keys.create(folder / "keys", identity)
    program = folder / "zflow"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m zflow "$@"\n')
    program.chmod(0o755)
    flow = Flow.load_config(folder / "flow.yml", port=port, **options)
    first = row_of_free_ports(6)
    flow.to_systemd_units(folder / "units", program=str(program), config=str(folder / "units"), first_port=first)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.settimeout(30)
    listener.bind(str(folder / "notify"))
    units = {path.name: unit_of(path, str(folder / "keys")) for path in (folder / "units").glob("*.service")}
    assert len(units) == 7
    started: list[str] = []
    while len(started) < len(units):
        there = {"network.target", *started}
        name = next(name for name in units if name not in there and there.issuperset(units[name].after))
        environment = {**units[name].environment, "NOTIFY_SOCKET": str(folder / "notify")}
        environment["ZFLOW_WORKSPACE"] = str(folder / "state")
        words = [re.sub("^/var/lib/zflow", str(folder / "state"), word) for word in units[name].words]
        process = start(*words, cwd=folder, env={**os.environ, **environment})
        assert listener.recv(4096).startswith(b"READY=1"), name
        started.append(name)
    listener.close()
    assert started[-1] == "marks-gateway.service"
    way = {"keys": str(folder / "keys"), "server_key": identity.public} if has_keys else {}
    with Client(port=port, **way) as client:
        ask_and_compare(client)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
