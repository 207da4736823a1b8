"""A YAML file is looked at, its classes included, and nothing is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from zflow.review import review

MODULE = """\
from zflow import Executor, requests
class Mine(Executor):
    @requests(on="/index")
    def index(self, docs, **kwargs): ...
"""
FLOW = """\
jtype: Flow
with: {port: 5}
executors:
  - {name: a, uses: mine.yml, replicas: 2, shards: 2, uses_after: mine.yml}
  - {name: b, external: true, host: localhost, port_in: 6}
  - {name: c, uses: mine.yml}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(MODULE)
    (tmp_path / "mine.yml").write_text("jtype: Mine\npy_modules: [mine.py]\n")
    (tmp_path / "flow.yml").write_text(FLOW)
    return tmp_path


def test_a_flow_without_faults_is_drawn_with_its_endpoints(folder: Path) -> None:
    reviewed = review(folder / "flow.yml")
    assert reviewed.faults == ()
    title, _, *lines = reviewed.drawn().splitlines()
    assert title.endswith("flow.yml: Flow of 3 Executors in 6 processes, no faults")
    assert "Mine (with an Executor after), 2 shards x 2 replicas  /index" in lines[1]


def test_the_same_for_programs(folder: Path) -> None:
    told = review(folder / "flow.yml").as_map()
    assert (told["kind"], told["faults"]) == ("flow", [])
    assert told["executors"][0] == {
        "name": "a",
        "needs": ["gateway"],
        "class": "Mine",
        "file": str(folder / "mine.py"),
        "endpoints": ["/index"],
        "shards": 2,
        "replicas": 2,
        "external": [],
    }
    assert told["executors"][1]["external"] == ["localhost:6"]


def test_a_class_that_is_missing_is_a_fault_with_a_place(folder: Path) -> None:
    (folder / "flow.yml").write_text(
        "jtype: Flow\nexecutors:\n- {uses: {jtype: Mina, py_modules: [mine.py]}}\n- {replicas: x}\n"
    )
    reviewed = review(folder / "flow.yml")
    first, second = map(str, reviewed.faults)
    assert first.startswith("flow.yml:3 executors[0].uses: Mina: no Executor class 'Mina'")
    assert second.startswith("flow.yml:4 executors[1].replicas: expected")
    assert reviewed.flow is None and reviewed.as_map()["executors"] == []
    assert reviewed.as_map()["faults"][1] == {
        "file": "flow.yml",
        "line": 4,
        "path": "executors[1].replicas",
        "message": 'expected a whole number, got "x"',
    }


def test_deployments_and_executors(folder: Path) -> None:
    (folder / "deployment.yml").write_text("jtype: Deployment\nwith: {uses: mine.yml, replicas: 2, port: 7}\n")
    drawn = review(folder / "deployment.yml").drawn()
    assert "deployment.yml: Deployment in 2 processes, no faults" in drawn and "port 7" in drawn
    assert "mine.yml: Executor in 1 process, no faults" in review(str(folder / "mine.yml")).drawn()


def test_variables_of_the_context(folder: Path) -> None:
    (folder / "flow.yml").write_text("jtype: Flow\nwith: {port: '${{ CONTEXT.port }}'}\n")
    assert "port 9" in review(folder / "flow.yml", {"port": 9}).drawn(is_plain=True)
