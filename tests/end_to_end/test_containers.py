"""Executors in containers of their own, beside local ones: started, asked, drained and gone, by a real engine."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Start
from tests.support.engine import base_image, build, docker, engine_fault, zflow_image
from zflow import (
    Client,
    DeadlineExceeded,
    Deployment,
    Document,
    DocumentArray,
    Executor,
    ExecutorError,
    Flow,
    StartError,
    Unavailable,
    probing,
)
from zflow import requests as endpoint

pytestmark = [
    pytest.mark.skipif(bool(engine_fault()), reason=engine_fault()),
    pytest.mark.time_limit(300),
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
    name = f"zflow-test-boxed:{_version()}"
    build(name, folder)
    return f"docker://{name}"


def _version() -> str:
    """Of zflow and of what is here: who tests other sources at the same time has other images."""
    return f"{zflow_image().partition(':')[2]}-{zlib.crc32(EXECUTOR.encode()):x}"


@pytest.fixture(autouse=True)
def no_container_is_left() -> Iterator[None]:
    """A test leaves none of the containers that it had."""
    yield
    until(lambda: not containers(), "a container is left")


def containers(node: str = "", of: int | None = None) -> set[str]:
    """Those of the Flows of a process (this one, or that with the number `of`), ended ones as well."""
    label = f"label=zflow={node}" if node else "label=zflow"
    name = f"name=zflow-{of or os.getpid()}-"
    return set(docker("ps", "--all", "--quiet", "--filter", label, "--filter", name).split())


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


def test_what_it_logs_is_told_at_the_port_of_its_flow(image: str) -> None:
    with Flow(quiet_error=True).add(uses=image, name="boxed") as flow:
        with pytest.raises(ExecutorError):
            flow.post("/raise", Document())
        limit = time.monotonic() + 5
        while True:  # it comes by the engine
            lines = probing.logs(f"tcp://127.0.0.1:{flow.port}", of="boxed/rep-0")["log"]["lines"]
            if any(line["level"] == "ERROR" and "NotImplementedError" in line["text"] for line in lines):
                break
            assert time.monotonic() < limit, lines
            time.sleep(0.05)


def test_one_that_cannot_start_ends_the_flow_with_its_traceback(image: str) -> None:
    flow = Flow().add(uses=image, name="boxed", uses_with={"word": "impossible"})
    with pytest.raises(StartError, match="boxed/rep-0 could not start: ValueError: this word cannot be") as caught:
        flow.start()
    assert "/executor/executor.py" in caught.value.traceback


def test_replicas_and_shards_are_containers_of_their_own(image: str) -> None:
    flow = Flow().add(uses=image, name="boxed", shards=2, replicas=2, polling="ALL", uses_before=image)
    with flow:
        assert len(containers()) == 5
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


def test_its_workspace_can_be_written_to_whatever_the_image_has_there(image: str, tmp_path: Path) -> None:
    closed = "USER root\nRUN chmod 755 /workspace\nUSER 65532\n"
    (tmp_path / "Dockerfile").write_text(f"FROM {image.removeprefix('docker://')}\n{closed}")
    name = f"zflow-test-closed:{_version()}"
    build(name, tmp_path)
    with Flow().add(uses=f"docker://{name}") as flow:
        assert flow.post("/keep", Document())[0].text == "/workspace/Boxed/0"


AS_A_USER = """
from zflow import Document, Flow
with Flow(workspace='kept').add(uses={image!r}) as flow:
    print(flow.post('/', Document())[0].tags['uid'], flow.post('/keep', Document())[0].text)
"""


def test_a_user_who_is_not_root_is_it_in_there_too_and_owns_what_it_writes(image: str) -> None:
    """The user is one of a container that may use the engine, and sees one folder by the same path as the engine."""
    program, engine = shutil.which("docker"), Path("/var/run/docker.sock")
    assert program is not None
    may_use = ["--user=1234:1234", f"--group-add={engine.stat().st_gid}", f"--volume={engine}:{engine}"]
    may_use.append(f"--volume={os.path.realpath(program)}:/usr/bin/docker:ro")
    asked = docker("run", "--rm", *may_use, "--entrypoint=docker", zflow_image(), "version", check=False)
    if "Server" not in asked:
        pytest.skip("the program docker does not run in the image of these tests")
    folder = Path(tempfile.mkdtemp(prefix="zt-user-", dir="/tmp"))
    folder.chmod(0o777)
    place = [f"--volume={folder}:{folder}", f"--env=TMPDIR={folder}", f"--workdir={folder}", "--entrypoint=python"]
    try:
        code = AS_A_USER.format(image=image)
        assert docker("run", "--rm", *may_use, *place, zflow_image(), "-c", code).endswith(
            "1234 /workspace/Boxed/0\nexecutor0/rep-0: closed in order"
        )
        assert (folder / "kept" / "Boxed" / "0" / "kept").stat().st_uid == 1234
        assert not list(folder.glob("zflow-*"))
    finally:
        shutil.rmtree(folder)


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
    until(lambda: bool(containers("zflow_test_boxed/rep-0", server.pid)), "no container has come")
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
    loud = f"zflow-test-loud:{_version()}"
    build(loud, folder, ZFLOW=zflow_image())
    with Flow().add(uses=f"docker://{loud}") as flow:
        assert flow.post("/shout", Document(text="hello"))[0].text == "HELLO!"
    safe = ["--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--publish=127.0.0.1::12345"]
    by_hand = docker("run", "--detach", "--rm", *safe, loud)
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


def test_a_method_that_never_ends_is_ended_as_in_a_process(image: str, capfd: pytest.CaptureFixture[str]) -> None:
    with Flow().add(uses=image, name="boxed") as flow:
        first = host_of(flow)
        with pytest.raises(DeadlineExceeded):
            flow.post("/hang", Document(), timeout=0.5)
        until(lambda: host_of(flow) not in (None, first), "it was not replaced")
    told = capfd.readouterr().err
    assert "was ended, because a method went on 5 s after the time of its request was over" in told


def test_another_tag_in_the_yaml_file_replaces_the_container(image: str, tmp_path: Path) -> None:
    name = image.removeprefix("docker://")
    docker("tag", name, f"{name}-later")
    file = tmp_path / "flow.yml"
    file.write_text(f"jtype: Flow\nwith: {{restart: true}}\nexecutors: [{{uses: '{image}', name: boxed}}]\n")
    with Flow.load_config(file) as flow:
        assert image_served(flow) == name
        file.write_text(file.read_text().replace(image, f"{image}-later"))
        until(lambda: image_served(flow) == f"{name}-later", "the old one still serves", 30)
    docker("rmi", f"{name}-later")


def image_served(flow: Flow) -> str:
    return docker("inspect", "--format={{.Config.Image}}", str(host_of(flow)), check=False)


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
    until(lambda: not containers(of=killed.pid), "containers have outlived their Flow", 10)
    until(lambda: not list(tmp_path.glob("zflow-*")), "a folder of sockets is left", 5)


def test_ctrl_c_lets_it_finish_what_it_has(image: str, start: Start, zflow_command: tuple[str, ...], port: int) -> None:
    server = start(*zflow_command, "executor", "--uses", image, "--port-in", str(port))
    _patient(Client(port=port))
    server.send_signal(signal.SIGINT)
    assert server.wait(20) == 0
    assert server.stdout is not None and "closed in order" in server.stdout.read()


def test_while_it_starts_it_can_be_given_up(image: str, start: Start, zflow_command: tuple[str, ...]) -> None:
    server = start(*zflow_command, "executor", "--uses", image, "--entrypoint", "sh -c 'sleep 100'")
    until(lambda: bool(containers(of=server.pid)), "no container has come")
    server.send_signal(signal.SIGINT)
    server.wait(20)
    until(lambda: not containers(of=server.pid), "the container is left")


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
    bare = f"zflow-test-bare:{_version()}"
    build(bare, tmp_path)
    assert "begin its Dockerfile with FROM zflow" in fault(f"docker://{bare}")
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
