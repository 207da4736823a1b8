"""Pods that come and go behind the names of a cluster, under load: the gateway follows within 2 s, and nothing is lost.

What runs in the pods are the very commands that are exported for Kubernetes; the test plays the cluster's part. It says
which addresses a name has, and ends pods as a cluster does: first out of the name, then the pause of preStop, then
SIGTERM. Answers tell which pods they come from.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from tests.end_to_end.test_names import can_make_mounts
from tests.support.hosts import can_make_hosts
from tests.support.pods import Pods, pods
from tests.support.processes import wait_for
from zflow import Flow

FOLLOWED_WITHIN = 2.0  # seconds
SILENCE = 5.0  # seconds in which everybody may wait for a pod that nobody knows to be off
EXECUTOR = """
import os, time
from zflow import Executor, requests
class Where(Executor):
    @requests
    def once(self, docs, **kwargs):
        time.sleep(0.002)
        return {'pod': os.environ['POD']}
    @requests(on='/again', idempotent=True)
    def again(self, docs, **kwargs):
        return self.once(docs)
"""
FLOW = """
jtype: Flow
with: {name: pods}
executors:
- {name: encoder, uses: where.yml, shards: 2, replicas: 2, polling: ALL}
"""
LOAD = """
import json, os, sys, time
from zflow import Client, Document
on, notes, over = sys.argv[1:]
def documents():
    while not os.path.exists(over):
        yield Document()
with Client('gateway', 8080, insecure=True) as client, open(notes, 'a', 1) as file:
    def note(response, error):
        pods = [result['pod'] for result in response.results.values()] if error is None else []
        print(json.dumps([time.monotonic(), pods, repr(error) if error else '']), file=file)
    client.post(on, documents(), request_size=1, prefetch=8, timeout=20, on_always=note, on_error=lambda: None)
"""

Start = Callable[..., "subprocess.Popen[str]"]


class Answer(NamedTuple):
    """When it came, from which pods, and what went wrong."""

    time: float
    pods: list[str]
    error: str


class Cluster:
    """The pods of a Flow, and somebody who asks it all the time."""

    def __init__(self, made: Pods, folder: Path, start: Start, command: tuple[str, ...]) -> None:
        self._pods = made
        self._folder = folder
        self._start = start
        self._command = command
        self._running: dict[str, subprocess.Popen[str]] = {}
        self._behind: dict[int, list[str]] = {0: [], 1: []}
        Flow.load_config(folder / "flow.yml").to_kubernetes_yaml(folder / "k8s", image="me/app:1")
        [config] = [each for each in self._manifests() if each["kind"] == "ConfigMap"]
        (folder / "config.yml").write_text(config["data"]["flow.yml"])

    def _manifests(self) -> Iterator[dict]:
        for path in sorted((self._folder / "k8s").rglob("*.yml")):
            yield yaml.safe_load(path.read_text())

    def _workload(self, name: str) -> dict:
        [found] = [
            each for each in self._manifests() if each["kind"] == "Deployment" and each["metadata"]["name"] == name
        ]
        return found["spec"]["template"]["spec"]["containers"][0]

    def begin(self, name: str) -> str:
        """Start a pod of that Deployment, and wait until it is ready; its address."""
        address = self._pods.make()
        container = self._workload(name)
        environment = {each["name"]: each["value"] for each in container["env"]}
        environment |= {"ZFLOW_WORKSPACE": str(self._folder / "workspace"), "POD": address}
        config = str(self._folder / "config.yml")
        words = [word.replace("/etc/zflow/config/flow.yml", config) for word in container["args"]]
        command = self._pods.command(address, *self._command, *words)
        self._running[address] = self._start(*command, cwd=self._folder, env={**os.environ, **environment})
        self._pods.listens(address, container["ports"][0]["containerPort"])
        return address

    def enter(self, shard: int) -> tuple[str, float]:
        """A new pod of the shard is found by its name; its address, and when it was."""
        address = self.begin(f"encoder-shard-{shard}")
        self._behind[shard].append(address)
        return address, self._tell(shard)

    def leave(self, shard: int, address: str) -> float:
        """The pod ends as a cluster has it end. When its name ceased to stand for it."""
        self._behind[shard].remove(address)
        told = self._tell(shard)
        pause = self._workload(f"encoder-shard-{shard}")["lifecycle"]["preStop"]["exec"]["command"]
        subprocess.run(pause, check=True)
        process = self._running.pop(address)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        return told

    def cut(self, address: str) -> float:
        """The host of the pod is off: it says good-bye to nobody, and its name still stands for it. When it was."""
        self._pods.cut(address)
        return time.monotonic()

    def forget(self, shard: int, address: str) -> None:
        """The cluster has noticed as well."""
        self._behind[shard].remove(address)
        self._tell(shard)

    def _tell(self, shard: int) -> float:
        self._pods.name(**{f"encoder_shard_{shard}": self._behind[shard]})
        return time.monotonic()

    def open_gateway(self) -> None:
        """It is found by its name, too."""
        self._pods.name(gateway=[self.begin("gateway")])

    def ask(self, on: str) -> Load:
        """Somebody in a pod of its own asks, until he is stopped."""
        notes = self._folder / f"notes{on.replace('/', '-')}"
        words = [sys.executable, "-c", LOAD, on, str(notes), str(notes) + ".over"]
        return Load(notes, self._start(*self._pods.command(self._pods.make(), *words)))


class Load:
    """Requests without a pause, and their answers."""

    def __init__(self, notes: Path, process: subprocess.Popen[str]) -> None:
        self._notes = notes
        self._process = process

    def answers(self) -> list[Answer]:
        lines = self._notes.read_text().splitlines(True) if self._notes.exists() else []
        return [Answer(*json.loads(line)) for line in lines if line.endswith("\n")]

    def hears(self, address: str) -> float:
        """When the first answer of that pod came."""
        wait_for(lambda: any(address in answer.pods for answer in self.answers()), f"an answer of {address}", 10)
        return next(answer.time for answer in self.answers() if address in answer.pods)

    def last_of(self, address: str) -> float:
        return [answer.time for answer in self.answers() if address in answer.pods][-1]

    def goes_on(self, many: int = 50) -> None:
        """So many more answers arrive."""
        before = len(self.answers())
        wait_for(lambda: len(self.answers()) >= before + many, f"{many} more answers", 20)

    def stop(self) -> list[Answer]:
        """Everything that was asked has been answered."""
        Path(f"{self._notes}.over").touch()
        assert self._process.wait(30) == 0, self._process.stdout and self._process.stdout.read()
        return self.answers()


@pytest.fixture
def cluster(tmp_path: Path, start: Start, zflow_command: tuple[str, ...]) -> Iterator[Cluster]:
    """Two pods of each of two shards, and a gateway before them."""
    if reason := can_make_hosts() or can_make_mounts():
        pytest.skip(reason)
    (tmp_path / "where.py").write_text(EXECUTOR)
    (tmp_path / "where.yml").write_text("jtype: Where\nmetas: {py_modules: [where.py]}\n")
    (tmp_path / "flow.yml").write_text(FLOW)
    with pods(tmp_path) as made:
        yield Cluster(made, tmp_path, start, zflow_command)


@pytest.mark.time_limit(180)
def test_pods_come_and_go_and_nothing_is_lost(cluster: Cluster) -> None:
    """Scaled up, scaled down, and each pod replaced by a newer one: requests need not be idempotent for that."""
    old = {shard: [cluster.enter(shard)[0] for _ in range(2)] for shard in (0, 1)}
    cluster.open_gateway()
    load, took = cluster.ask("/"), []
    for address in old[0] + old[1]:
        load.hears(address)
    extra, told = cluster.enter(0)
    took.append(load.hears(extra) - told)
    for shard in (0, 1):
        for address in old[shard]:
            newer, told = cluster.enter(shard)
            took.append(load.hears(newer) - told)
            left = cluster.leave(shard, address)
            took.append(load.last_of(address) - left)
            load.goes_on()
    left = cluster.leave(0, extra)
    took.append(load.last_of(extra) - left)
    answers = load.stop()
    print(f"{len(answers)} requests; followed after {[round(seconds, 2) for seconds in took]} s")
    assert [answer.error for answer in answers if answer.error] == []
    assert max(took) < FOLLOWED_WITHIN
    assert all(len(answer.pods) == 2 for answer in answers)


@pytest.mark.time_limit(120)
def test_a_pod_whose_host_is_off_costs_nobody_an_answer(cluster: Cluster) -> None:
    """Before the cluster takes it out of the name. Requests are idempotent: what was there runs elsewhere."""
    first = {shard: [cluster.enter(shard)[0] for _ in range(2)] for shard in (0, 1)}
    cluster.open_gateway()
    load = cluster.ask("/again")
    for address in first[0] + first[1]:
        load.hears(address)
    off = cluster.cut(first[1][0])
    load.goes_on(500)
    newer, _ = cluster.enter(1)
    cluster.forget(1, first[1][0])
    load.hears(newer)
    answers = load.stop()
    times = [answer.time for answer in answers if answer.time > off]
    silence = max(later - earlier for earlier, later in zip([off, *times], times))
    print(f"{len(answers)} requests; the longest silence took {silence:.2f} s")
    assert [answer.error for answer in answers if answer.error] == []
    assert silence < SILENCE
