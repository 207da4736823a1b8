"""A Flow and a Deployment write themselves as files; paths are relative to the file that they were read from."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from zflow import ConfigError, Deployment, Executor, Flow


class Here(Executor):
    """Code on this machine."""


def test_a_flow_and_a_deployment_are_written(tmp_path: Path) -> None:
    for made in (Flow().add(uses="docker://me/a:1", name="a"), Deployment(uses="docker://me/a:1", name="a")):
        made.to_docker_compose_yaml(tmp_path / "docker-compose.yml", "mine")
        document = yaml.safe_load((tmp_path / "docker-compose.yml").read_text())
        assert document["services"]["a"]["image"] == "me/a:1"
        assert document["networks"]["inside"]["name"] == "mine"
        made.to_kubernetes_yaml(tmp_path / "k8s", "search")
        assert yaml.safe_load((tmp_path / "k8s" / "00-namespace.yml").read_text())["metadata"]["name"] == "search"
        assert made.to_k8s_yaml.__func__ is type(made).to_kubernetes_yaml  # type: ignore[attr-defined]


def test_code_on_this_machine_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    flow = Flow().add(uses=Here, name="here")
    for write in (flow.to_docker_compose_yaml, flow.to_kubernetes_yaml):
        with pytest.raises(ConfigError, match="here: .*uses='docker://image:tag', or image='image:tag'"):
            write(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "e.yml").write_text("jtype: Here\n")
    (tmp_path / "flow.yml").write_text("jtype: Flow\nexecutors: [{name: a, uses: e.yml}]\n")
    flow = Flow.load_config(tmp_path / "flow.yml")
    flow.to_docker_compose_yaml(tmp_path / "dc.yml", image="me/app:1")
    command = yaml.safe_load((tmp_path / "dc.yml").read_text())["services"]["a"]["command"]
    assert command[command.index("--uses") + 1] == "e.yml"
    flow.to_systemd_units(tmp_path / "units", program="/opt/zflow")
    assert f"WorkingDirectory={tmp_path}\n" in (tmp_path / "units" / "flow-a.service").read_text()
    assert "--uses e.yml" in (tmp_path / "units" / "flow-a.service").read_text()
