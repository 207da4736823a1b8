"""A file that zflow wrote, brought up by Compose with a real engine: called from outside, wounded under load, ended.

The Flow has keys, an Executor that keeps nothing, and one of two shards of two replicas that keeps its data.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.engine import build, docker, engine_fault, zflow_image
from tests.support.processes import wait_for
from tests.support.rush import Rush
from zflow import Client
from zflow.config import keys
from zflow.drivers.sockets import new_identity
from zflow.exports.compose import USER

EXECUTOR = """
import os, time
from pathlib import Path
from zflow import Executor, requests
class Store(Executor):
    @requests(on=['/', '/again'], idempotent=True)
    def work(self, docs, **kwargs):
        time.sleep(0.002)
        docs.texts = [text.upper() for text in docs.texts]
        Path(self.workspace, 'seen').write_text('x')
        return {'host': os.uname().nodename, 'shard': self.runtime_args.shard_id}
    def close(self):
        print('closed', flush=True)
"""
FLOW = """
jtype: Flow
with: {name: stock, port: PORT}
executors:
- {name: plain, uses: store.yml}
- {name: store, uses: store.yml, shards: 2, replicas: 2, polling: ALL, workspace: data}
"""
DEPLOYMENT = """
jtype: Deployment
with: {name: store, port: PORT, uses: store.yml, shards: 2, replicas: 2, polling: ALL, workspace: data}
"""
DOCKERFILE = f"""
FROM {{image}}
USER 0:0
RUN chown {USER} /workspace && chmod 755 /workspace
USER {USER}
COPY . .
"""


def _fault() -> str:
    """Why Compose cannot be tried here; empty where it can."""
    return engine_fault() if shutil.which("docker-compose") else "docker-compose is not installed"


pytestmark = [
    pytest.mark.skipif(bool(_fault()), reason=_fault()),
    pytest.mark.time_limit(900),  # whoever comes first makes the image, and a mirror may be slow
]


class Project:
    """What `docker-compose -f FILE` says and does. port: on this host. way: how a Client proves who it is."""

    def __init__(self, folder: Path, port: int, way: dict[str, str]) -> None:
        self.name = folder.name.replace("_", "").lower()
        self.port = port
        self.way = way
        self._folder = folder

    def __call__(self, *words: str) -> str:
        done = subprocess.run(
            ["docker-compose", "--project-name", self.name, "-f", "dc.yml", *words],
            cwd=self._folder,
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, "COMPOSE_INTERACTIVE_NO_CLI": "1"},
        )
        assert done.returncode == 0, f"docker-compose {' '.join(words)}: {done.stdout}{done.stderr}"
        return done.stdout

    def containers(self, service: str = "") -> list[str]:
        return self("ps", "--quiet", *([service] if service else [])).split()

    def left(self) -> str:
        """Whatever the engine still has of this project."""
        label = f"label=com.docker.compose.project={self.name}"
        kinds = (["ps", "--all"], ["network", "ls"], ["volume", "ls"])
        return "".join(docker(*words, "--quiet", "--filter", label) for words in kinds)

    def client(self) -> Client:
        return Client(port=self.port, **self.way)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """zflow's image, with the Executor where it starts."""
    folder, name = tmp_path_factory.mktemp("image"), f"zflow-test-store:{os.getpid()}"
    (folder / "Dockerfile").write_text(DOCKERFILE.format(image=zflow_image()))
    _write_executor(folder)
    build(name, folder)
    yield name
    docker("rmi", "--force", name)


def _write_executor(folder: Path) -> None:
    (folder / "store.py").write_text(EXECUTOR)
    (folder / "store.yml").write_text("jtype: Store\nmetas: {py_modules: [store.py]}\n")


@pytest.fixture(params=[FLOW, DEPLOYMENT], ids=["flow", "deployment"])
def project(request: pytest.FixtureRequest, tmp_path: Path, image: str, port: int) -> Iterator[Project]:
    """The file is written by the command line; nothing runs yet."""
    _write_executor(tmp_path)
    (tmp_path / "what.yml").write_text(request.param.replace("PORT", str(port)))
    way = _keys(tmp_path)
    words = ["what.yml", "dc.yml", "--image", image, "--keys", str(tmp_path / "theirs")]
    exported = subprocess.run(
        [sys.executable, "-m", "zflow", "export", "docker-compose", *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert exported.returncode == 0, exported.stderr
    made = Project(tmp_path, port, way)
    yield made
    made("down", "--volumes", "--timeout", "0")
    assert made.left() == ""


def _keys(folder: Path) -> dict[str, str]:
    """Those of the containers, owned by whom they run as, and ours, which are on their list."""
    ours, theirs = new_identity(), new_identity()
    keys.create(folder / "ours", ours)
    keys.create(folder / "theirs", theirs)
    keys.allow(folder / "theirs", "tester", ours.public)
    uid, gid = map(int, USER.split(":"))
    for path in (folder / "theirs", *(folder / "theirs").iterdir()):
        os.chown(path, uid, gid)
    return {"keys": str(folder / "ours"), "server_key": theirs.public}


def test_what_compose_brings_up_is_called_from_outside_wounded_and_ended(project: Project) -> None:
    project("up", "--detach")
    seen_healthy_without_python(project)
    with project.client() as client:
        wait_for(lambda: client.post("/", [{"text": "a"}], timeout=10).texts == ["A"], "an answer", 30)
        nothing_is_lost_while_containers_are_killed(project, client)
        all_hosts_are_asked(client, 4)  # also those that came back
        project("up", "--detach", "--no-recreate", "--scale", "store-shard-0=3")
        all_hosts_are_asked(client, 5)
    ended_in_time_and_closed(project)


def seen_healthy_without_python(project: Project) -> None:
    """Compose has waited for the Executors before it started the front, and the front is seen as well."""
    for container in project.containers():
        checked = docker("inspect", "--format={{json .Config.Healthcheck.Test}}", container)
        assert json.loads(checked)[:2] == ["CMD", "grep"]
        wait_for(lambda container=container: _state(container)["Health"]["Status"] == "healthy", container, 30)
    assert len(project.containers("store-shard-0")) == len(project.containers("store-shard-1")) == 2


def nothing_is_lost_while_containers_are_killed(project: Project, client: Client) -> None:
    """One of each shard, by the death of its first process: what `docker kill` ends, an engine does not restart."""
    victims = [project.containers(f"store-shard-{shard}")[0] for shard in (0, 1)]
    killed = []

    def kill() -> bool:
        if len(killed) < len(victims):
            os.kill(_state(victims[len(killed)])["Pid"], signal.SIGKILL)
            killed.append(victims[len(killed)])
        return True

    rush = Rush(client, 1500, on="/again", outstanding=16).run(every=500, deed=kill)
    print(rush.told("a container of each shard killed"))
    rush.check()
    assert rush.errors == {}
    assert len(killed) == 2
    for container in victims:
        wait_for(lambda container=container: _state(container)["Health"]["Status"] == "healthy", container, 60)
        assert docker("inspect", "--format={{.RestartCount}}", container) == "1"


def all_hosts_are_asked(client: Client, many: int) -> None:
    heard: set[tuple[int, str]] = set()

    def all_have_answered() -> bool:
        for response in client.post("/", [{"text": "a"}] * 16, request_size=1, return_responses=True):
            shards = [result for name, result in response.results.items() if "shard" in name]
            heard.update((result["shard"], result["host"]) for result in shards)
        return len(heard) == many

    wait_for(all_have_answered, "an answer of each replica", 30)


def ended_in_time_and_closed(project: Project) -> None:
    """Nobody was killed for being late."""
    workers = [*project.containers("store-shard-0"), *project.containers("store-shard-1")]
    everybody, began = project.containers(), time.monotonic()
    project("stop")
    print(f"stopped in {time.monotonic() - began:.1f} s")
    assert {container: _state(container)["ExitCode"] for container in everybody} == dict.fromkeys(everybody, 0)
    assert ["closed" in docker("logs", container) for container in workers] == [True] * 5


def _state(container: str) -> dict[str, Any]:
    state: dict[str, Any] = json.loads(docker("inspect", "--format={{json .State}}", container))
    return state
