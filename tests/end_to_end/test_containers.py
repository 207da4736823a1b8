"""Executors in containers of their own, beside local ones: started, asked, drained and gone, by a real engine."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Start
from tests.support.engine import base_image, build, docker, engine_fault, zflow_image
from zflow import Client, Deployment, Document, DocumentArray, Executor, ExecutorError, Flow, StartError, Unavailable
from zflow import requests as endpoint

pytestmark = [
    pytest.mark.skipif(bool(engine_fault()), reason=engine_fault()),
    pytest.mark.time_limit(120),
]

EXECUTOR = '''
import os
import socket
import sys
from pathlib import Path
from zflow import Executor, requests


class Boxed(Executor):
    """Tells what it can see and do from where it is."""

    def __init__(self, word="", **kwargs):
        super().__init__(**kwargs)
        self.word = word
        print("made with", word)
        if word == "impossible":
            raise ValueError("this word cannot be")

    @requests
    def tell(self, docs, **kwargs):
        args = self.runtime_args
        own = {"word": self.word, "name": args.name, "shard": args.shard_id, "greeting": os.environ.get("GREETING")}
        for doc in docs:
            doc.tags = {**doc.tags, **own, "uid": os.getuid(), "host": socket.gethostname()}

    @requests(on="/rights")
    def rights(self, docs, **kwargs):
        may_write = [path for path in ("/", "/executor", "/tmp", self.workspace) if os.access(path, os.W_OK)]
        status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines())
        docs[0].tags = {
            "may_write": may_write,
            "interfaces": os.listdir("/sys/class/net"),
            "privileges": status["CapBnd"],
            "may_get_more": status["NoNewPrivs"] == "0",
            "most_processes": Path("/sys/fs/cgroup/pids/pids.max").read_text().strip()
            if Path("/sys/fs/cgroup/pids").exists() else Path("/sys/fs/cgroup/pids.max").read_text().strip(),
        }

    @requests(on="/keep")
    def keep(self, docs, **kwargs):
        with self.saving("kept") as file:
            file.write(b"kept")
        docs[0].text = self.workspace

    @requests(on="/read")
    def read(self, docs, **kwargs):
        docs[0].text = Path(docs[0].text).read_text()

    @requests(on="/raise")
    def fail(self, docs, **kwargs):
        raise NotImplementedError("no time for it")

    @requests(on="/hang")
    def hang(self, docs, **kwargs):
        __import__("time").sleep(60)

    def close(self):
        print("closed in order")
'''


class Local(Executor):
    """Runs in a process beside the container."""

    @endpoint
    def mark(self, docs: DocumentArray, **kwargs: object) -> None:
        docs.texts = ["local"] * len(docs)


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An Executor on the image of zflow."""
    folder = tmp_path_factory.mktemp("image")
    (folder / "executor.py").write_text(EXECUTOR)
    (folder / "config.yml").write_text("jtype: Boxed\nmetas: {py_modules: [executor.py]}\n")
    (folder / "Dockerfile").write_text(f"FROM {zflow_image()}\nCOPY . .\n")
    build("zflow-test-boxed:1", folder)
    return "docker://zflow-test-boxed:1"


@pytest.fixture(autouse=True)
def no_container_is_left() -> Iterator[None]:
    """A test leaves none of the containers that it had."""
    before = containers()
    yield
    until(lambda: containers() <= before, "a container is left")


def containers(node: str = "") -> set[str]:
    """Those of Flows, ended ones as well."""
    label = f"label=zflow={node}" if node else "label=zflow"
    return set(docker("ps", "--all", "--quiet", "--filter", label).split())


def until(condition: Callable[[], bool], told: str, seconds: float = 20.0) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, told
        time.sleep(0.05)


def tags(flow: Flow | Deployment, on: str = "/", **options: object) -> dict[str, object]:
    return dict(flow.post(on, Document(), **options)[0].tags)  # type: ignore[arg-type]


def test_a_container_serves_beside_a_process_and_leaves_with_the_flow(
    image: str, capfd: pytest.CaptureFixture[str]
) -> None:
    flow = (
        Flow()
        .add(uses=Local, name="local")
        .add(uses=image, name="boxed", uses_with={"word": "hello"}, env={"GREETING": "good day\nto you"})
    )
    with flow:
        [answered] = flow.post("/", Document())
        assert answered.text == "local"
        assert answered.tags["word"] == "hello"
        assert answered.tags["name"] == "boxed/rep-0"
        assert answered.tags["greeting"] == "good day\nto you"
        assert answered.tags["uid"] == 65532
        assert Client(port=flow.port).post("/", Document())[0].tags["host"] == answered.tags["host"]
        [container] = containers("boxed/rep-0")
        assert container == answered.tags["host"]
    assert not containers("boxed/rep-0")
    told = capfd.readouterr().out
    assert "boxed/rep-0: made with hello\n" in told
    assert "boxed/rep-0: closed in order\n" in told


def test_it_may_do_nothing_but_answer_unless_that_is_loosened(image: str) -> None:
    with Flow().add(uses=image) as flow:
        rights = tags(flow, "/rights")
    assert rights["may_write"] == ["/tmp", "/workspace/Boxed/0"]
    assert rights["interfaces"] == ["lo"]
    assert int(str(rights["privileges"]), 16) == 0
    assert rights["may_get_more"] is False
    assert rights["most_processes"] == "256"
    loose = {"network": "bridge", "pids_limit": 100, "cap_add": ["NET_ADMIN"], "user": "0:0", "mem_limit": "256m"}
    with Flow().add(uses=image, docker_kwargs=loose) as flow:
        rights = tags(flow, "/rights")
        assert tags(flow)["uid"] == 0
    assert "eth0" in rights["interfaces"]  # type: ignore[operator]
    assert int(str(rights["privileges"]), 16) == 1 << 12
    assert rights["most_processes"] == "100"


def test_its_errors_arrive_with_its_own_traceback(image: str) -> None:
    with Flow(quiet_error=True).add(uses=image, name="boxed") as flow:
        with pytest.raises(ExecutorError) as caught:
            flow.post("/raise", Document())
        assert caught.value.name == "NotImplementedError"
        assert '/executor/executor.py", line' in caught.value.traceback
        assert tags(flow)["name"] == "boxed/rep-0"


def test_one_that_cannot_start_ends_the_flow_with_its_traceback(image: str) -> None:
    flow = Flow().add(uses=image, name="boxed", uses_with={"word": "impossible"})
    with pytest.raises(StartError, match="boxed/rep-0 could not start: ValueError: this word cannot be") as caught:
        flow.start()
    assert "/executor/executor.py" in caught.value.traceback


def test_replicas_and_shards_are_containers_of_their_own(image: str) -> None:
    flow = Flow().add(uses=image, name="boxed", shards=2, replicas=2, polling="ALL")
    with flow:
        assert len(containers()) == 4
        answered = [flow.post("/", Document(), timeout=10)[0].tags["name"] for _ in range(6)]
        assert set(answered) <= {f"boxed/shard-{shard}/rep-{replica}" for shard in (0, 1) for replica in (0, 1)}


def test_a_workspace_is_a_folder_of_this_machine_and_a_volume_another(image: str, tmp_path: Path) -> None:
    workspace, data = tmp_path / "kept, here", tmp_path / "data"
    data.mkdir()
    (data / "told").write_text("from outside")
    flow = Flow(workspace=str(workspace)).add(uses=image, name="boxed", volumes=f"{data}:/data:ro")
    with flow:
        assert flow.post("/keep", Document())[0].text == "/workspace/Boxed/0"
        assert flow.post("/read", Document(text="/data/told"))[0].text == "from outside"
    assert (workspace / "Boxed" / "0" / "kept").read_bytes() == b"kept"
    assert (workspace / "Boxed" / "0" / "kept").stat().st_uid == (os.getuid() or 65532)


def test_yaml_names_volumes_from_its_own_folder(image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "told").write_text("from beside the file")
    entry = f"{{uses: '{image}', name: boxed, volumes: [./data], docker_kwargs: {{memory: 200m}}}}"
    (tmp_path / "flow.yml").write_text(f"jtype: Flow\nexecutors: [{entry}]\n")
    monkeypatch.chdir("/")
    with Flow.load_config(tmp_path / "flow.yml") as flow:
        assert flow.post("/read", Document(text="/data/told"))[0].text == "from beside the file"


def test_the_command_line_serves_one_at_a_port(
    image: str, start: Start, zflow_command: tuple[str, ...], port: int
) -> None:
    server = start(*zflow_command, "executor", "--uses", image, "--port-in", str(port), "--uses-with", "word=cli")
    assert server.stdout is not None
    until(lambda: bool(containers()), "no container has come")
    answered = _patient(Client(port=port))
    assert answered.tags["word"] == "cli"
    assert answered.tags["name"] == "zflow_test_boxed/rep-0"
    with Flow().add(host="127.0.0.1", port_in=port, external=True) as flow:
        assert tags(flow)["word"] == "cli"
    server.send_signal(signal.SIGTERM)
    assert server.wait(20) == 0
    assert "closed in order" in server.stdout.read()


def _patient(client: Client) -> Document:
    """The answer of a server that is just starting."""
    limit = time.monotonic() + 30
    while True:
        try:
            return client.post("/", Document(), timeout=5)[0]
        except Exception:
            assert time.monotonic() < limit
            time.sleep(0.1)


def test_more_of_them_come_and_go_and_are_renewed_while_they_serve(image: str) -> None:
    with Deployment(uses=image, name="boxed", uses_with={"word": "old"}) as deployment:
        deployment.scale(replicas=2)
        assert len(containers()) == 2
        deployment.rolling_update(uses_with={"word": "new"})
        assert tags(deployment)["word"] == "new"
        deployment.scale(replicas=1)
        until(lambda: len(containers()) == 1, "one was to leave")


def test_what_new_writes_becomes_an_image_that_serves_here_and_by_hand(
    tmp_path: Path, start: Start, zflow_command: tuple[str, ...]
) -> None:
    folder = tmp_path / "loud"
    assert start(*zflow_command, "new", "executor", "Loud", "--dir", str(folder), "--dockerfile").wait(30) == 0
    build("zflow-test-loud:1", folder, ZFLOW=zflow_image())
    with Flow().add(uses="docker://zflow-test-loud:1") as flow:
        assert flow.post("/shout", Document(text="hello"))[0].text == "HELLO!"
    safe = ["--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--publish=127.0.0.1::12345"]
    by_hand = docker("run", "--detach", "--rm", *safe, "zflow-test-loud:1")
    try:
        port = int(docker("port", by_hand, "12345").rpartition(":")[2])
        assert Client(port=port).post("/shout", Document(text="hello"), timeout=30)[0].text == "HELLO!"
    finally:
        docker("rm", "--force", by_hand)


# -- when something goes wrong -----------------------------------------------------------------------------------------


def host_of(flow: Flow | Deployment) -> object:
    """Which container answers; None while it is being started again."""
    with contextlib.suppress(Unavailable):
        return tags(flow, timeout=10)["host"]
    return None


def test_a_container_that_is_killed_is_started_again(image: str, capfd: pytest.CaptureFixture[str]) -> None:
    with Flow().add(uses=image, name="boxed", idempotent=True) as flow:
        first = host_of(flow)
        docker("kill", str(first))
        until(lambda: host_of(flow) not in (None, first), "no other container has come")
        [status] = [child for child in flow.status() if child.name == "boxed/rep-0"]
        assert status.restarts == 1
    assert "was killed by SIGKILL; it is started again" in capfd.readouterr().err


def test_with_two_replicas_no_idempotent_request_fails_when_one_is_killed(image: str) -> None:
    with Flow().add(uses=image, name="boxed", replicas=2, idempotent=True) as flow:
        docker("kill", str(host_of(flow)))
        assert all(host_of(flow) for _ in range(20))


def test_one_that_hangs_in_code_that_hears_nothing_ends_with_its_attendant(image: str) -> None:
    with Flow().add(uses=image, name="boxed", idempotent=True) as flow:
        first = host_of(flow)
        [attendant] = [child.pid for child in flow.status() if child.name == "boxed/rep-0"]
        docker("pause", str(first))
        assert attendant is not None
        os.kill(attendant, signal.SIGKILL)
        until(lambda: str(first) not in containers(), "the paused container is still there")
        until(lambda: host_of(flow) not in (None, first), "no other container has come")


ORPHAN = """
import os, signal, sys
from zflow import Document, Flow
with Flow().add(uses={image!r}, name='boxed', replicas=2) as flow:
    flow.post('/', Document())
    print('serving', flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_when_the_flow_is_killed_no_container_and_no_folder_is_left(image: str, start: Start, tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    killed = start(sys.executable, "-c", ORPHAN.format(image=image), env=environment)
    assert killed.wait(60) == -signal.SIGKILL
    assert killed.stdout is not None and "serving" in killed.stdout.read()
    until(lambda: not containers(), "containers have outlived their Flow", 5)
    until(lambda: not list(tmp_path.glob("zflow-*")), "a folder of sockets is left", 5)


def test_ctrl_c_lets_it_finish_what_it_has(image: str, start: Start, zflow_command: tuple[str, ...], port: int) -> None:
    server = start(*zflow_command, "executor", "--uses", image, "--port-in", str(port))
    _patient(Client(port=port))
    server.send_signal(signal.SIGINT)
    assert server.wait(20) == 0
    assert server.stdout is not None and "closed in order" in server.stdout.read()


def test_while_it_starts_it_can_be_given_up(image: str, start: Start, zflow_command: tuple[str, ...]) -> None:
    server = start(*zflow_command, "executor", "--uses", image, "--entrypoint", "sh -c 'sleep 100'")
    until(lambda: bool(containers()), "no container has come")
    server.send_signal(signal.SIGINT)
    server.wait(20)
    until(lambda: not containers(), "the container is left")


@pytest.fixture
def fault(image: str) -> Callable[..., str]:
    """What is told of a container that cannot be had."""

    def told(uses: str = image, **options: object) -> str:
        with pytest.raises(StartError) as caught:
            Flow().add(uses=uses, name="boxed", **options).start()  # type: ignore[arg-type]
        return str(caught.value)

    return told


def test_what_cannot_be_run_is_told_with_the_remedy(fault: Callable[..., str], tmp_path: Path) -> None:
    missing = fault("docker://localhost:1/nowhere:1")
    assert "image localhost:1/nowhere:1: it is not here" in missing
    assert "docker build -t localhost:1/nowhere:1 ." in missing
    (tmp_path / "Dockerfile").write_text(f"FROM {base_image()}\n")
    build("zflow-test-bare:1", tmp_path)
    assert "begin its Dockerfile with FROM zflow" in fault("docker://zflow-test-bare:1")
    assert "ended with exit code 3 before it reported" in fault(entrypoint=["sh", "-c", "echo what; exit 3"])
    assert "the engine has no GPUs to give" in fault(gpus="all")
    assert "boxed/rep-0 was not ready within 2 s" in fault(entrypoint=["sh", "-c", "sleep 60"], timeout_ready=2000)
    assert "config.yml" in fault(f"docker://{zflow_image()}")  # no Executor is in it


def test_an_engine_that_does_not_run_is_told(fault: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    assert "no engine runs here: start it" in fault()


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is not installed")
def test_who_may_not_use_the_engine_is_told(
    fault: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    as_nobody = tmp_path / "docker"
    as_nobody.write_text(f'#!/bin/sh\nexec setpriv --reuid=65533 --clear-groups {shutil.which("docker")} "$@"\n')
    as_nobody.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("HOME", "/nonexistent")
    assert "this user may not use the engine: `sudo usermod -aG docker $USER`" in fault()
