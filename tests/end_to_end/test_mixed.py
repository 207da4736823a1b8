"""One Flow whose Executors are where they happen to be: a process, a container, a process and a whole Flow elsewhere.

The hosts are network namespaces that this test makes. The Flow runs on one of them, beside its container; on the other
one are an Executor and a Flow that somebody else has started, with keys.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.engine import build, docker, engine_fault, zflow_image
from tests.support.hosts import THERE, Hosts
from tests.support.processes import read_until
from zflow.config import keys
from zflow.drivers.sockets import new_identity

EXECUTOR = """
from zflow import Executor, requests
class Mark(Executor):
    def __init__(self, mark='', **kwargs):
        super().__init__(**kwargs)
        self.mark = mark
    @requests(idempotent=True)
    def tell(self, docs, **kwargs):
        docs.texts = [text + self.mark for text in docs.texts]
"""
FAR_FLOW = """
jtype: Flow
with: {host: 0.0.0.0, port: 12346}
executors:
- {uses: mark.yml, uses_with: {mark: Flow}}
"""
FLOW = """
jtype: Flow
with: {keys: KEYS}
executors:
- {name: process, uses: mark.yml, uses_with: {mark: 'process '}}
- {name: container, uses: 'docker://IMAGE', uses_with: {mark: 'container '}, replicas: 2}
- {name: elsewhere, external: true, host: HOST, port_in: 12345, server_key: 'SERVER'}
- {name: flow, external: true, host: HOST, port_in: 12346, server_key: 'SERVER'}
"""
ALL = "heard process container elsewhere Flow"
# Each line of its input is a round, in which it asks until it is answered by everybody.
ASK = """
import sys, time
from zflow import Document, Flow
from zflow.errors import Unavailable
with Flow.load_config('flow.yml', quiet=True) as flow:
    print('ready', flush=True)
    for line in sys.stdin:
        until = time.monotonic() + 30
        while True:
            try:
                parts = flow.post('/', [Document(text='') for _ in range(20)], request_size=1, timeout=20)
                break
            except Unavailable:
                assert time.monotonic() < until
        print('heard', *sorted(set(parts.texts)), flush=True)
print('over', flush=True)
"""

Start = Callable[..., "subprocess.Popen[str]"]

pytestmark = [
    pytest.mark.skipif(bool(engine_fault()), reason=engine_fault()),
    pytest.mark.time_limit(900),  # whoever comes first makes the image, and a mirror may be slow
]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """zflow's image, with the Executor where it starts."""
    folder, name = tmp_path_factory.mktemp("image"), f"zflow-test-mark:{os.getpid()}"
    (folder / "Dockerfile").write_text(f"FROM {zflow_image()}\nCOPY . .\n")
    write_executor(folder, "config.yml")
    build(name, folder)
    yield name
    docker("rmi", "--force", name)


def write_executor(folder: Path, name: str) -> None:
    (folder / "mark.py").write_text(EXECUTOR)
    (folder / name).write_text("jtype: Mark\nmetas: {py_modules: [mark.py]}\n")


@pytest.fixture
def folder(image: str, tmp_path: Path) -> Path:
    """The files of both hosts, and the keys of each."""
    ours, theirs = new_identity(), new_identity()
    keys.create(tmp_path / "ours", ours)
    keys.create(tmp_path / "theirs", theirs)
    keys.allow(tmp_path / "theirs", "us", ours.public)
    write_executor(tmp_path, "mark.yml")
    (tmp_path / "far.yml").write_text(FAR_FLOW)
    words = {"KEYS": str(tmp_path / "ours"), "IMAGE": image, "HOST": THERE, "SERVER": theirs.public}
    text = FLOW
    for word, value in words.items():
        text = text.replace(word, value)
    (tmp_path / "flow.yml").write_text(text)
    return tmp_path


def test_executors_of_all_kinds_are_one_flow(
    hosts: Hosts, folder: Path, start: Start, zflow_command: tuple[str, ...]
) -> None:
    """Each comes back by itself when it has died, and what others have started goes on when the Flow has ended."""
    there = ["ip", "netns", "exec", hosts.there, *zflow_command]

    def start_worker() -> subprocess.Popen[str]:
        words = ["--uses", "mark.yml", "--uses-with", "mark=elsewhere ", "--host", "0.0.0.0", "--port-in", "12345"]
        worker = start(*there, "executor", *words, "--keys", "theirs", cwd=folder)
        read_until(worker, "serving at")
        return worker

    worker = start_worker()
    far = start(*there, "flow", "--uses", "far.yml", "--keys", "theirs", cwd=folder)
    read_until(far, "ready to use")
    flow = start(
        *("ip", "netns", "exec", hosts.here, sys.executable, "-c", ASK), cwd=folder, stdin=subprocess.PIPE
    )  # fmt: skip
    read_until(flow, "^ready")

    def asked() -> str:
        assert flow.stdin is not None
        print("", file=flow.stdin, flush=True)
        return read_until(flow, "^heard").splitlines()[-1]

    assert asked() == ALL
    worker.kill()
    worker.wait()
    worker = start_worker()
    assert asked() == ALL
    os.kill(int(docker("inspect", "--format={{.State.Pid}}", containers()[0])), signal.SIGKILL)
    assert asked() == ALL
    flow.stdin.close()
    read_until(flow, "^over")
    assert flow.wait(20) == 0
    assert containers() == []
    assert (worker.poll(), far.poll()) == (None, None)


def containers() -> list[str]:
    return docker("ps", "--quiet", "--filter", f"ancestor=zflow-test-mark:{os.getpid()}").split()
