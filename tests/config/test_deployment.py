"""What can be asked of a Deployment: options of an Executor and of what stands before it; and YAML, both ways."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from zflow.config.deployment import (
    OF_A_GRAPH,
    OF_THE_FRONT,
    DeploymentSpec,
    dump_deployment,
    is_deployment,
    load_deployment,
)
from zflow.config.options import Surface
from zflow.config.places import Place
from zflow.config.spec import ExecutorSpec, FlowSpec, options_of
from zflow.errors import ConfigError

FILE = """
!Deployment
with:
  uses: execs/indexer.yml
  uses_before: !Tagger {}
  py_modules: tagger.py
  shards: ${{ CONTEXT.n }}
  polling: {/x: all}
  port: 12345
  quiet: true
"""


def test_options_go_to_the_executor_or_to_what_stands_before_it() -> None:
    spec = DeploymentSpec.from_options(name="mine", replicas=2, port=5, prefetch=7, quiet_error=True, insecure=None)
    assert spec.executor == ExecutorSpec.from_options(name="mine", replicas=2, quiet_error=True)
    assert spec.front == FlowSpec.from_options(port=5, prefetch=7)
    assert (spec.name, spec.port, spec.host) == ("mine", 5, "127.0.0.1")


@pytest.mark.parametrize("options", [{"port": 5}, {"port_in": 5}, {"port_expose": 5}])
def test_a_port_is_a_port(options: dict[str, Any]) -> None:
    assert DeploymentSpec.from_options(**options).port == 5
    assert DeploymentSpec.from_options().port is None


def test_options_that_are_told_apart_are_declared_somewhere_and_only_once() -> None:
    of_executors = {item.name for item in options_of(ExecutorSpec)}
    assert set(OF_A_GRAPH) <= of_executors
    assert set(OF_THE_FRONT) <= {item.name for item in options_of(FlowSpec)} - of_executors


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"replica": 2}, "replica: unknown option \"replica\": did you mean 'replicas'?"),
        ({"prot": 2}, "prot: unknown option \"prot\": did you mean 'port'?"),
        ({"port": "x"}, "port: expected"),
        ({"replicas": "x"}, 'replicas: expected a whole number, got "x"'),
        ({"port": 1, "port_in": 2}, "port_in: port and port_in are one option"),
        ({"host": ["a", "b"]}, "host: several hosts"),
        *(({name: 1}, f"{name}: this is for an Executor in a Flow") for name in OF_A_GRAPH),
    ],
)
def test_a_wrong_option_is_refused_by_name(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        DeploymentSpec.from_options(**options)
    assert told in str(caught.value)


def test_other_options_win() -> None:
    spec = DeploymentSpec.from_options(name="mine", port_in=5, replicas=2, quiet=True)
    other = spec.override(Place("command line"), Surface.CLI, port=6, replicas=3)
    assert other == DeploymentSpec.from_options(name="mine", port=6, replicas=3, quiet=True)
    assert spec.override(Place(), Surface.CLI) == spec
    with pytest.raises(ConfigError, match="command line replicas: expected a whole number"):
        spec.override(Place("command line"), Surface.CLI, replicas="x")


# -- YAML --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "deployment.yml").write_text(FILE)
    return tmp_path / "deployment.yml"


def test_a_file_becomes_the_same_as_the_call(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    expected = DeploymentSpec.from_options(
        uses=file.parent / "execs/indexer.yml",
        uses_before={"jtype": "Tagger"},
        py_modules=f"{file.parent}/tagger.py",
        shards=3,
        polling={"/x": "ALL"},
        port=12345,
        quiet=True,
    )
    assert load_deployment(file, context={"n": 3}) == expected


def test_folders_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "d.yml").write_text(
        "jtype: Deployment\nwith: {workspace: data, keys: keys, log_config: {file: a.log}}\n"
    )
    monkeypatch.chdir("/")
    spec = load_deployment(tmp_path / "d.yml")
    assert (spec.executor.workspace, spec.front.keys) == (f"{tmp_path}/data", f"{tmp_path}/keys")
    assert spec.executor.log_config == {"file": f"{tmp_path}/a.log"}
    (tmp_path / "saved.yml").write_text(dump_deployment(spec, tmp_path))
    assert load_deployment(tmp_path / "saved.yml") == spec and str(tmp_path) not in (tmp_path / "saved.yml").read_text()


@pytest.mark.parametrize("text", ["jtype: Deployment", "!Deployment", "!Deployment {version: '1', with: }"])
def test_the_smallest_one(text: str) -> None:
    assert load_deployment(text) == load_deployment({"jtype": "Deployment"}) == DeploymentSpec.from_options()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("jtype: Flow", "1 jtype: expected 'jtype: Deployment', got \"Flow\""),
        ("jtype: Deployment\nwit: {}", "2 wit: unknown key \"wit\": did you mean 'with'?"),
        ("jtype: Deployment\nwith:\n  replicas: two", '3 with.replicas: expected a whole number, got "two"'),
        ("jtype: Deployment\nwith:\n  needs: gateway", "3 with.needs: this is for an Executor in a Flow"),
        ("jtype: Deployment\nwith: [1]", "with: expected a map"),
        ("jtype: Deployment\nversion: 2", "version"),
    ],
)
def test_faults_have_an_address(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "deployment.yml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_deployment(tmp_path / "deployment.yml")
    assert told in str(caught.value) and "deployment.yml" in str(caught.value)


def test_what_is_saved_is_loaded_equal(file: Path) -> None:
    spec = load_deployment(file, context={"n": 3})
    text = dump_deployment(spec, file.parent)
    assert "uses: execs/indexer.yml" in text and "py_modules" in text and "replicas" not in text
    (file.parent / "again.yml").write_text(text)
    assert load_deployment(file.parent / "again.yml") == spec
    assert "with" not in dump_deployment(DeploymentSpec.from_options())


def test_a_deployment_is_told_from_an_executor(file: Path) -> None:
    file.write_text(FILE.replace("${{ CONTEXT.n }}", "2"))
    assert is_deployment(file)
    for text in ("jtype: MyExecutor", "!MyExecutor\nmetas: {}", "[]"):
        file.write_text(text)
        assert not is_deployment(file)
