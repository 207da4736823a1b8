"""kubectl reads what is exported for Kubernetes: every file, and nothing that it could not send.

It does so without a cluster, as far as that goes: it asks for the kinds that a version has, finds no objects there,
and tells what it would make. Whether fields are right is looked at in tests/exports, by the schemas of each version.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.exports.shapes import SHAPES, row, spec_of
from tests.exports.test_kubernetes import VERSIONS
from tests.support.cluster import Cluster, cluster
from zflow.exporting import to_kubernetes

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")


def apply(folder: Path, server: Cluster) -> subprocess.CompletedProcess[str]:
    """What it would do. --validate=false: for more it wants the schemas of a cluster."""
    words = ["--dry-run=client", "--validate=false", "--server", server.address, "--cache-dir", str(folder / ".cache")]
    return subprocess.run(
        ["kubectl", "apply", "-R", "-f", ".", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "KUBECONFIG": str(folder / "none"), "NO_PROXY": "127.0.0.1"},
    )


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("shape", SHAPES)
def test_kubectl_would_make_an_object_of_each_file(shape: Any, version: str, tmp_path: Path) -> None:
    folder = tmp_path / "k8s"
    options = {"max_replicas": {"encoder": 6}} if shape is row else {}
    to_kubernetes(spec_of(shape, tmp_path), folder, k8s_namespace="search", image="me/app:1", **options)
    with cluster(version) as server:
        done = apply(folder, server)
    assert done.returncode == 0, done.stderr
    made = done.stdout.splitlines()
    assert len(made) == len(list(folder.rglob("*.yml")))
    assert all(line.endswith("created (dry run)") for line in made)
    assert made[0].startswith("namespace/search ")
    assert {line.split()[0] for line in server.heard} == {"GET"}


def test_kubectl_would_not_take_a_kind_that_is_not_there(tmp_path: Path) -> None:
    text = "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaling\nmetadata: {name: x}\n"
    (tmp_path / "wrong.yml").write_text(text)
    with cluster(VERSIONS[0]) as server:
        done = apply(tmp_path, server)
    assert done.returncode != 0
    assert "HorizontalPodAutoscaling" in done.stderr
