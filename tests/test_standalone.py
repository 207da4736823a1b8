"""One Executor as files: what users know from `Executor`, and how it is reached."""

from __future__ import annotations

from pathlib import Path

import pytest

from zflow import ConfigError, Executor
from zflow.standalone import StandaloneExecutorType


def test_users_find_the_ways_to_reach_it_at_the_executor() -> None:
    assert Executor.StandaloneExecutorType is StandaloneExecutorType
    assert [kind.name for kind in StandaloneExecutorType] == ["EXTERNAL", "SHARED"]


def test_an_executor_has_the_methods(tmp_path: Path) -> None:
    Executor.to_kubernetes_yaml(
        output_base_path=tmp_path / "k8s",
        port_expose=8080,
        uses="jinaai+docker://jina-ai/DummyHubExecutor",
        executor_type=Executor.StandaloneExecutorType.EXTERNAL,
    )
    assert (tmp_path / "k8s" / "gateway" / "deployment.yml").exists()
    Executor.to_docker_compose_yaml(output_path=tmp_path / "dc.yml", port_expose=8080, uses="docker://me/x:1")
    assert "gateway" in (tmp_path / "dc.yml").read_text()
    with pytest.raises(ConfigError, match="uses='docker://image:tag'"):
        Executor.to_docker_compose_yaml(output_path=tmp_path / "dc.yml", uses="tests.exports.shapes:Echo")
    with pytest.raises(ConfigError, match="executor_type: expected one of"):
        Executor.to_k8s_yaml(uses="docker://x", output_base_path=tmp_path, executor_type="shared")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="unknown option .*replicsa"):
        Executor.to_k8s_yaml(uses="docker://x", output_base_path=tmp_path, replicsa=2)
