"""An Executor goes to a registry, and is served on another machine (a clean cache) by its name there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import read_until
from tests.support.registry import RegistryServer, registry
from zflow import Deployment, Document, DocumentArray, Executor, Flow
from zflow.config.references import parse_reference
from zflow.errors import AuthError, ConfigError, Unavailable
from zflow.hub.pushing import push

EXECUTOR = """from pathlib import Path

from other import ending
from zflow import Executor, requests


class Shout(Executor):
    def __init__(self, times=1, **kwargs):
        super().__init__(**kwargs)
        self.times = times

    @requests(on="/shout")
    def shout(self, docs, **kwargs):
        for doc in docs:
            doc.text = doc.text.upper() + ending() * self.times
            doc.tags["weights"] = Path(__file__).with_name("model").joinpath("weights.bin").stat().st_size
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    with registry(tmp_path_factory.mktemp("registry")) as started:
        yield started


@pytest.fixture(autouse=True)
def clean_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZFLOW_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "shout"
    (made / "model").mkdir(parents=True)
    (made / "model" / "weights.bin").write_bytes(bytes(1234))
    (made / "config.yml").write_text(
        "jtype: Shout\nwith: {times: 2}\nmetas: {name: shout, py_modules: [executor.py]}\n"
    )
    (made / "executor.py").write_text(EXECUTOR)
    (made / "other.py").write_text("def ending():\n    return '!'\n")
    return made


@pytest.fixture
def uses(server: RegistryServer, folder: Path, request: pytest.FixtureRequest) -> str:
    name = f"hub://{server.host}/{request.node.name.partition('[')[0].replace('test_', '')}"
    push(folder, parse_reference(name))
    return name


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)


def serve(processes: list[subprocess.Popen[str]], *words: str) -> int:
    """The port at which `zflow executor` serves, started as a user would."""
    command = [sys.executable, "-m", "zflow", "executor", *words, "--port-in", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    processes.append(process)
    told = read_until(process, r"127\.0\.0\.1:\d+")
    return int(told.rpartition("127.0.0.1:")[2].split()[0].strip(",.;)"))


def test_the_command_line_serves_it_and_a_flow_taps_it(uses: str, processes: list[subprocess.Popen[str]]) -> None:
    port = serve(processes, "--uses", uses, "--uses-with", "times=3")
    with Flow().add(host="127.0.0.1", port_in=port, external=True) as flow:
        [doc] = flow.post("/shout", Document(text="hello"))
    assert (doc.text, doc.tags["weights"]) == ("HELLO!!!", 1234)


def test_a_flow_serves_it_by_all_of_its_replicas(uses: str) -> None:
    with Flow().add(uses=uses, replicas=2) as flow:
        texts = flow.post("/shout", DocumentArray([Document(text="a"), Document(text="b")]), request_size=1).texts
    assert sorted(texts) == ["A!!", "B!!"]


def test_yaml_and_deployments_serve_it(uses: str, tmp_path: Path) -> None:
    (tmp_path / "flow.yml").write_text(f"jtype: Flow\nexecutors:\n- uses: {uses}\n  uses_with: {{times: 1}}\n")
    with Flow.load_config(tmp_path / "flow.yml") as flow:
        assert flow.post("/shout", Document(text="a")).texts == ["A!"]
    with Deployment(uses=uses, shards=2) as deployment:
        assert deployment.post("/shout", Document(text="a")).texts == ["A!!"]


def test_a_script_makes_an_instance_of_it(uses: str) -> None:
    docs = DocumentArray([Document(text="a")])
    executor = Executor.load_config(uses)
    executor.shout(docs)  # type: ignore[attr-defined]
    assert docs.texts == ["A!!"]


def test_other_spellings_serve_it(server: RegistryServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZFLOW_HUB", server.host)
    push(folder, parse_reference("hub://spelled:v1"))
    push(folder, parse_reference("hub://me/spelled"))
    for uses in ("jinahub://Spelled/v1", "jinahub://Spelled:v1", "jinaai://me/Spelled"):
        with Flow().add(uses=uses) as flow:
            assert flow.post("/shout", Document(text="a")).texts == ["A!!"]


def test_what_is_locked_is_served_when_the_tag_means_something_else_and_when_the_registry_is_gone(
    folder: Path, tmp_path: Path
) -> None:
    from zflow.config.lock_file import write_lock

    with registry(tmp_path / "own") as own:
        reference = parse_reference(f"hub://{own.host}/locked:1")
        pushed = push(folder, reference).reference
        (tmp_path / "flow.yml").write_text(f"jtype: Flow\nexecutors:\n- uses: {reference}\n")
        write_lock(tmp_path, {reference.key: pushed.digest})
        (folder / "other.py").write_text("def ending():\n    return '?'\n")
        push(folder, reference)
        with Flow.load_config(tmp_path / "flow.yml") as flow:
            assert flow.post("/shout", Document(text="a")).texts == ["A!!"]
        with Flow().add(uses=str(reference)) as flow:
            assert flow.post("/shout", Document(text="a")).texts == ["A??"]
    with Flow.load_config(tmp_path / "flow.yml") as flow:
        assert flow.post("/shout", Document(text="a")).texts == ["A!!"]
    with pytest.raises(Unavailable, match="cannot be reached"), Flow().add(uses=str(reference)):
        pass


def test_what_cannot_be_had_ends_the_command_with_its_code_and_leaves_nothing(
    server: RegistryServer, uses: str, tmp_path: Path
) -> None:
    def ended(name: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "zflow", "executor", "--uses", name, "--port-in", "0"],
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, "ZFLOW_HUB": ""},
        )
        return done.returncode, done.stderr

    code, told = ended(uses[:-1])
    assert code == ConfigError.exit_code and f"did you mean '{uses.rpartition('/')[2]}'?" in told
    code, told = ended("hub://127.0.0.1:1/x")
    assert code == Unavailable.exit_code and "127.0.0.1:1 cannot be reached" in told
    code, told = ended("hub://x")
    assert code == ConfigError.exit_code and "set ZFLOW_HUB" in told
    assert not (tmp_path / "cache").exists() and AuthError.exit_code == 77


def test_a_module_that_is_missing_is_told_with_the_remedy(folder: Path, server: RegistryServer) -> None:
    (folder / "other.py").write_text("import no_such_module_anywhere\n")
    (folder / "requirements.txt").write_text("no-such-module-anywhere\n")
    name = f"hub://{server.host}/lacking"
    push(folder, parse_reference(name))
    with pytest.raises(ConfigError, match="requirements.txt asks for, or let zflow do that: --install-requirements"):
        Executor.load_config(name)
