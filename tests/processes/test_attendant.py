"""A process that attends to a container: what the worker in there says and prints arrives, and both end together."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.support.fake_docker import install
from zflow import Document, ExecutorError, Flow, StartError, Unavailable

WORKER = """
import os
from zflow import Executor, requests
class Inside(Executor):
    def __init__(self, word="", **kwargs):
        super().__init__(**kwargs)
        print("inside", word)
        assert word != "wrong", "this word is wrong"
    @requests
    def tell(self, docs, **kwargs):
        docs[0].tags = {"pid": os.getpid(), "name": self.runtime_args.name}
    @requests(on="/fail")
    def fail(self, docs, **kwargs):
        raise ValueError("not this")
    def close(self):
        print("closed in order")
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the words lie that the engine was told; images `serves:1`, `exits:1` and so on are known to it."""
    (tmp_path / "inside.py").write_text(WORKER)
    (tmp_path / "config.yml").write_text("jtype: Inside\nmetas: {py_modules: [inside.py]}\n")
    monkeypatch.setenv("FAKE_CONFIG", str(tmp_path / "config.yml"))
    return install(tmp_path, monkeypatch)


def flow_of(image: str, **options: object) -> Flow:
    return Flow().add(uses=f"docker://{image}:1", name="inside", **options)  # type: ignore[arg-type]


def fault(image: str, **options: object) -> str:
    with pytest.raises(StartError) as caught:
        flow_of(image, **options).start()
    return str(caught.value)


def until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + 25
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.02)


def pid_of_the_worker(flow: Flow) -> int | None:
    """None while it is being started again."""
    with contextlib.suppress(Unavailable):
        return int(flow.post("/", Document(), timeout=10)[0].tags["pid"])
    return None


def test_what_it_prints_is_told_under_its_name_and_it_closes_in_order(
    fake: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with flow_of("serves", uses_with={"word": "hello"}) as flow:
        assert flow.post("/", Document())[0].tags["name"] == "inside/rep-0"
    told = capfd.readouterr().out
    assert "inside/rep-0: inside hello\n" in told
    assert "inside/rep-0: closed in order\n" in told


def test_its_log_goes_where_the_log_of_a_process_goes(fake: Path, capfd: pytest.CaptureFixture[str]) -> None:
    config = {"format": "json", "file": str(fake / "flow.log")}
    with flow_of("serves", log_config=config) as flow, pytest.raises(ExecutorError):
        flow.post("/fail", Document())
    told = [json.loads(line) for line in (fake / "flow.log").read_text().splitlines() if line.startswith("{")]
    assert [line["text"] for line in told if line["name"] == "inside/rep-0"] == ["ValueError('not this')"]
    assert "not this" not in capfd.readouterr().err


def test_why_it_cannot_start_is_told_with_its_traceback(fake: Path) -> None:
    told = fault("serves", uses_with={"word": "wrong"})
    assert "inside/rep-0 could not start: AssertionError: this word is wrong" in told
    assert "inside.py" in told


def test_one_that_is_killed_is_started_again_and_known_by_its_signal(
    fake: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with flow_of("serves", idempotent=True) as flow:
        first = int(flow.post("/", Document())[0].tags["pid"])
        os.kill(first, signal.SIGKILL)
        until(lambda: pid_of_the_worker(flow) not in (None, first))
    assert "was killed by SIGKILL; it is started again" in capfd.readouterr().err


def test_when_the_attendant_is_killed_its_container_ends_too(fake: Path) -> None:
    with flow_of("serves", idempotent=True) as flow:
        first = int(flow.post("/", Document())[0].tags["pid"])
        [attendant] = [child.pid for child in flow.status() if child.name == "inside/rep-0"]
        assert attendant is not None
        os.kill(attendant, signal.SIGKILL)
        until(lambda: not Path(f"/proc/{first}/cmdline").exists() or not Path(f"/proc/{first}/cmdline").read_bytes())
        until(lambda: pid_of_the_worker(flow) not in (None, first))


def test_an_image_that_speaks_another_version_is_refused_with_both(fake: Path) -> None:
    told = fault("old")
    assert "image old:1: its zflow (zflow 99.0) speaks version 99 of the protocol" in told
    assert "build it anew" in told


def test_what_is_no_message_is_not_believed(fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zflow.processes.attendant._LEAVING", 0.1)
    assert "image liar:1: it ended with exit code 137 before it reported" in fault("liar")


def test_a_link_to_the_socket_of_somebody_else_is_not_followed(fake: Path) -> None:
    assert "image thief:1: it says that it is ready, and has bound no socket" in fault("thief")


def test_one_that_says_nothing_is_too_late_with_its_last_lines(fake: Path) -> None:
    told = fault("silent", timeout_ready=4000)
    assert "was not ready within 4 s" in told
    assert "no worker in its container has reported yet" in told
    assert "looking around" in told


def test_what_docker_says_is_told_with_the_remedy(fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_SAYS", "docker: Error response from daemon: No such image: exits:1.")
    monkeypatch.setenv("FAKE_CODE", "125")
    told = fault("exits")
    assert "image exits:1: it is not here: build it (`docker build -t exits:1 .`)" in told
    assert "Error response from daemon" in told
    assert guards() == []  # dismissed before anybody heard of the end


def guards() -> list[int]:
    """Of this session."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            ours = process.environ().get("TESTS_OF_ZFLOW") == os.environ["TESTS_OF_ZFLOW"]
            if ours and "zflow-guard" in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found


def test_without_docker_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "there is no program `docker` here: install Docker Engine" in fault("serves")


def test_an_engine_on_another_host_is_told_apart(fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://192.0.2.1:2375")
    assert "that engine is on another host" in fault("serves")


def test_variables_reach_the_container_and_not_the_list_of_processes(fake: Path) -> None:
    with flow_of("serves", env={"TOKEN": "secret", "PATH": "/opt/bin"}):
        words = json.loads((fake / "run.json").read_text())
    assert "TOKEN" in words
    assert "PATH=/opt/bin" in words  # the program itself needs another one
    assert not any("secret" in word for word in words)


def test_a_workspace_is_made_for_who_is_in_there_and_one_that_is_closed_to_him_is_told(
    fake: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with flow_of("serves", workspace=str(fake / "new"), docker_kwargs={"user": f"{os.getuid() or 77}:77"}):
        assert (fake / "new").stat().st_uid == (os.getuid() or 77)
    (fake / "closed").mkdir(mode=0o755)
    with flow_of("serves", workspace=str(fake / "closed"), docker_kwargs={"user": "78:78"}):
        pass
    told = capfd.readouterr().err
    assert f"workspace {fake}/closed: who is 78:78 in the container may not write there: chown it" in told
    assert "/new" not in told
