"""`zflow export`: what a YAML file describes, written for others; unknown words are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from zflow.cli import main

FLOW = """
jtype: Flow
with: {name: small, port: 12345}
executors:
- {name: a, uses: "docker://me/a:1"}
- {name: b, uses: "${{ CONTEXT.uses }}"}
"""


def export(*words: str) -> Result:
    return CliRunner().invoke(main, ["export", *words])


@pytest.fixture
def flow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flow.yml").write_text(FLOW)
    (tmp_path / "deployment.yml").write_text("jtype: Deployment\nwith: {name: d, uses: 'docker://me/d:1', shards: 2}\n")
    return tmp_path


def test_compose(flow: Path) -> None:
    words = ("--context", "uses=docker://me/b:1", "--network_name", "mine", "--gpus", "a=1", "--not-internal")
    done = export("docker-compose", "flow.yml", "out.yml", *words)
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "out.yml\n")
    document = yaml.safe_load((flow / "out.yml").read_text())
    assert list(document["services"]) == ["a", "b", "gateway"]
    assert document["networks"]["inside"] == {"name": "mine", "internal": False}
    assert "deploy" in document["services"]["a"]
    assert "deploy" not in document["services"]["b"]


def test_kubernetes(flow: Path) -> None:
    words = ("--k8s-namespace", "search", "--memory", "1Gi", "--no-network-policy", "--no-gateway")
    done = export("kubernetes", "flow.yml", "k8s", "--context", "uses=docker://me/b:1", *words)
    assert done.exit_code == 0, done.output
    assert {str(path.relative_to(flow / "k8s")) for path in (flow / "k8s").rglob("*.yml")} == {
        *("00-namespace.yml", "a/deployment.yml", "a/service.yml", "b/deployment.yml", "b/service.yml"),
    }


def test_systemd(flow: Path) -> None:
    (flow / "e.yml").write_text("jtype: E\n")
    done = export("systemd", "flow.yml", "units", "--context", "uses=e.yml")
    assert done.exit_code == 2
    assert "a: docker://me/a:1 is an image, and programs are wanted" in done.stderr
    (flow / "flow.yml").write_text("jtype: Flow\nexecutors: [{name: a, uses: e.yml}]\n")
    done = export("systemd", "flow.yml", "units", "--folder", "/opt/app", "--first-port", "20000")
    assert done.exit_code == 0, done.output
    assert "WorkingDirectory=/opt/app\n" in (flow / "units" / "flow-a.service").read_text()


def test_a_deployment(flow: Path) -> None:
    assert export("docker-compose", "deployment.yml", "out.yml").exit_code == 0
    services = yaml.safe_load((flow / "out.yml").read_text())["services"]
    assert list(services) == ["d-shard-0", "d-shard-1", "d-head"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("composer",), "no command 'composer': did you mean 'docker-compose'?"),
        (("kubernetes", "flow.yml", "k8s", "--namespace", "x"), "No such option"),
        (("docker-compose", "flow.yml", "x.yml", "--storage", "1Gi"), "No such option"),
        (("kubernetes", "deployment.yml", "k8s", "--gpus", "1", "--gpus", "d=2"), "--gpus: give one value for all"),
        (("kubernetes", "deployment.yml", "k8s", "--gpus", "x=2"), "gpus: there is no Executor 'x'"),
        (("kubernetes", "nowhere.yml", "k8s"), "nowhere.yml"),
        (("kubernetes", "deployment.yml", "k8s", "--no-gateway"), "include_gateway: a Deployment has no gateway"),
    ],
)
def test_wrong_words_are_refused(words: tuple[str, ...], told: str, flow: Path) -> None:
    done = export(*words)
    assert done.exit_code != 0
    assert told in done.stderr
    assert not (flow / "k8s").exists()
