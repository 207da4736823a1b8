"""The help of every command has an example, and every example works as it is typed.

The commands are found in the tree of click's. Each example is run by a shell, in a folder that has the files which it
names, and beside a Flow that serves at the port which it names. A new command needs a line here only if its example
needs more than that: files (FILES), something done before (FIRST), or to be ended when it serves (SERVING). A registry
of containers is there for those of `zflow hub`.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from tests.support.processes import read_until
from tests.support.registry import RegistryServer, registry
from tests.support.terminals import commands_in
from zflow import Executor, Flow, requests
from zflow.cli import main
from zflow.probing import ping

ROOT = Path(__file__).parents[2]
PORT = "12345"
SERVING = {"executor", "deployment", "flow", "gateway", "head"}  # until a signal comes
UNTIL_CTRL_C = {"top", "logs"}
FREE_PORT = {"doctor"}  # the port of its example shall be nobody's
FETCHING = {"bundle"}  # packages, from wherever pip has them
REGISTRY = "localhost:5000"
_PUSHED = "zflow hub new Shout && zflow hub push Shout hub://localhost:5000/me/shout:1.0"
FIRST = {
    "keys allow": "zflow keygen",
    "keys revoke": "zflow keygen && zflow keys allow robot 'fh4Z:Zp.tA)oKy.c%aKae#wjMTU%DUImL(>w#wVN'",
    "keys list": "zflow keygen",
    "keys": "zflow keygen --keys robot-keys",
    "hub": "zflow hub new Shout",
    "hub push": "zflow hub new Shout",
    **dict.fromkeys(("hub pull", "hub list", "hub status"), _PUSHED),
    "hub lock": f"{_PUSHED} && sed -i s,my-exec.yml,hub://localhost:5000/me/shout:1.0, flow.yml",
}
_EXECUTOR = """\
from zflow import Executor, requests


class Mine(Executor):
    @requests
    def anything(self, docs, **kwargs):
        pass
"""
FILES = {
    "mine.py": _EXECUTOR,
    "my-exec.yml": "jtype: Mine\nmetas: {py_modules: [mine.py]}\n",
    "flow.yml": "jtype: Flow\nexecutors: [{name: encoder, uses: my-exec.yml}]\n",
    "deployment.yml": "jtype: Deployment\nwith: {name: encoder, uses: my-exec.yml, replicas: 2}\n",
}
OTHER_FILES = {  # those who serve what runs already need to be told where
    "gateway": {
        "flow.yml": "jtype: Flow\nexecutors: [{name: encoder, host: localhost, port_in: %s, external: true}]\n"
    },
    "head": {"deployment.yml": "jtype: Deployment\nwith: {name: encoder, peers: {encoder: 'localhost:%s'}}\n"},
}


def walk(command: click.Command, path: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command below, by the words that call it; the one that all stand under has none."""
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        if not inner.hidden:
            yield from walk(inner, f"{path} {name}".strip())


COMMANDS = dict(walk(main))


def example_of(path: str) -> str:
    found = re.search(r"Example: (.+)$", COMMANDS[path].epilog or "")
    assert found, f"zflow {path} --help has no example"
    return found[1]


class Encoder(Executor):
    """What the examples call."""

    def __init__(self, model: str = "large-1", **kwargs):
        super().__init__(**kwargs)
        self.logger.info("made with %s", model)

    @requests
    def anything(self, **kwargs):
        pass

    @requests(on="/tell")
    def tell(self, docs, **kwargs):
        yield from docs


@pytest.fixture(scope="module")
def flow() -> Iterator[Flow]:
    with Flow().add(uses=Encoder, name="encoder") as served:
        yield served


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    with registry(tmp_path_factory.mktemp("registry")) as started:
        yield started


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.fixture
def shell(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What runs a line, in `folder`, with our `zflow`, and without the user's own keys."""
    monkeypatch.setenv("PATH", f"{commands_in(folder)}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("HOME", str(folder))
    for name in ("ZFLOW_KEYS", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "ZFLOW_HUB", "ZFLOW_HUB_CACHE", "DOCKER_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(folder)
    found = shutil.which("bash")
    if not found:
        pytest.skip("there is no bash")
    return [found, "-c"]


def do(shell: list[str], line: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([*shell, line], capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    return done


@pytest.mark.parametrize("path", [pytest.param(path, id=path or "zflow") for path in COMMANDS])
def test_the_help_has_an_example_in_one_line_of_that_command(path: str, shell: list[str]) -> None:
    example = example_of(path)
    told = do(shell, f"COLUMNS=60 zflow {path} --help").stdout
    assert f"Example: {example}" in [line.strip() for line in told.splitlines()]
    assert f"zflow {path}" in example


def lines_of(path: str) -> list[str]:
    """What is done first, if anything, and the example."""
    return [*([FIRST[path]] if path in FIRST else []), example_of(path)]


ENDING = sorted(COMMANDS.keys() - SERVING - UNTIL_CTRL_C - FETCHING)
WITH_REGISTRY = [path for path in ENDING if any(REGISTRY in line for line in lines_of(path))]


@pytest.mark.parametrize("path", [path for path in ENDING if path not in WITH_REGISTRY])
def test_the_example_works(path: str, shell: list[str], flow: Flow, port: int) -> None:
    for line in lines_of(path):
        do(shell, line.replace(PORT, str(port if path in FREE_PORT else flow.port)))


@pytest.mark.parametrize("path", WITH_REGISTRY)
def test_the_example_works_with_a_registry(path: str, shell: list[str], server: RegistryServer) -> None:
    for line in lines_of(path):
        do(shell, line.replace(REGISTRY, server.host))


@pytest.mark.full
@pytest.mark.time_limit(120)
@pytest.mark.parametrize("path", sorted(FETCHING))
def test_the_example_fetches(path: str, shell: list[str]) -> None:
    do(shell, example_of(path))


@pytest.mark.parametrize("path", sorted(SERVING))
def test_the_example_serves(path: str, shell: list[str], folder: Path, flow: Flow, port: int, start) -> None:
    for name, text in OTHER_FILES.get(path, {}).items():
        (folder / name).write_text(text % flow.port)
    serving = start(*shell, f"exec {example_of(path).replace(PORT, str(port))}", stderr=subprocess.STDOUT)
    read_until(serving, f"127.0.0.1:{port}")
    assert ping(f"tcp://127.0.0.1:{port}")["state"] == "serving"
    serving.send_signal(signal.SIGTERM)
    told, _ = serving.communicate(timeout=20)
    assert serving.returncode in (0, 128 + signal.SIGTERM), told


@pytest.mark.parametrize("path", sorted(UNTIL_CTRL_C))
def test_the_example_goes_on_until_ctrl_c(path: str, shell: list[str], flow: Flow, start) -> None:
    going = start(*shell, f"exec {example_of(path).replace(PORT, str(flow.port))}")
    assert going.stdout.readline()
    going.send_signal(signal.SIGINT)
    assert going.wait(10) == 0


@pytest.mark.parametrize("path", sorted(path for path in COMMANDS if path))
def test_a_letter_left_out_of_any_command_is_known(path: str) -> None:
    result = CliRunner().invoke(main, [*path.split()[:-1], path.split()[-1][:-1]])
    assert result.exit_code == 2
    assert f"did you mean {path.split()[-1]!r}?" in result.output
