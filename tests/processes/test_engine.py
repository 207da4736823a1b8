"""The words that Docker is told, and what its own words mean to who wants to serve an image."""

from __future__ import annotations

from pathlib import Path

import pytest

from zflow.config.container_options import Volume
from zflow.config.containers import ContainerPlan, container_of
from zflow.config.spec import ExecutorSpec
from zflow.processes.engine import explain, run_environment, run_words, why_not_here


def words(**options: object) -> list[str]:
    plan = container_of(ExecutorSpec.from_options(uses="docker://me/x:1", name="x", **options))
    assert plan is not None
    return run_words(plan, "zflow-1-x-rep-0-1", "x/rep-0", "/tmp/zflow-1/x.box", {"A": "1"}, [0, 2])


def test_by_default_it_may_do_nothing() -> None:
    told = words()
    assert told[:2] == ["docker", "run"]
    safe = ["--read-only=true", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--network=none"]
    assert set(safe + ["--pids-limit=256", "--init=true", "--rm", "--sig-proxy=false"]) <= set(told)
    assert {"--tmpfs=/tmp", "--cpuset-cpus=0,2", "--label=zflow=x/rep-0"} <= set(told)
    assert any(word.startswith("--user=") and not word.startswith("--user=0") for word in told)
    assert "type=bind,source=/tmp/zflow-1/x.box,target=/run/zflow" in told
    [user] = [word.partition("=")[2] for word in told if word.startswith("--user=")]
    assert "--tmpfs=/workspace:mode=1777,uid={},gid={}".format(*user.split(":")) in told
    assert "--entrypoint=zflow" in told
    image = told.index("me/x:1")
    assert told[image + 1 :] == ["executor", "--uses", "config.yml", "--attended", "/run/zflow/attendant"]
    assert not any("docker.sock" in word for word in told)


def test_what_is_loosened_takes_the_place_of_what_is_safe(tmp_path: Path) -> None:
    told = words(
        docker_kwargs={"network": "bridge", "read_only": False, "tmpfs": {"/tmp": "exec"}, "user": "0"},
        gpus="device=0,1",
        entrypoint="python -m zflow",
        workspace=str(tmp_path),
    )
    assert {"--network=bridge", "--read-only=false", "--tmpfs=/tmp:exec", "--user=0"} <= set(told)
    assert not {"--network=none", "--tmpfs=/tmp"} & set(told)
    assert not any(word.startswith("--tmpfs=/workspace") for word in told)
    assert "--tmpfs=/workspace:mode=1777" in words(docker_kwargs={"user": "app"})
    assert '--gpus="device=0,1"' in told
    assert "--entrypoint=python" in told
    assert told[told.index("me/x:1") + 1 :][:3] == ["-m", "zflow", "executor"]
    assert f"type=bind,source={tmp_path},target=/workspace" in told


def test_a_path_may_hold_what_separates_words() -> None:
    plan = ContainerPlan("x:1", {}, (Volume('/a,b "c"', "/data", True),))
    told = run_words(plan, "n", "x", "/b", {}, [])
    assert 'type=bind,"source=/a,b ""c""",target=/data,readonly' in told


def test_variables_that_the_program_reads_itself_are_spelled_out() -> None:
    env = {"PATH": "/x", "DOCKER_HOST": "x", "https_proxy": "p", "TOKEN": "t", "PATHS": "y"}
    assert run_environment(env) == {"TOKEN": "t", "PATHS": "y"}


@pytest.mark.parametrize(
    ("code", "said", "meaning"),
    [
        (125, "Got permission denied while trying to connect to the Docker daemon socket", "usermod -aG docker"),
        (126, "permission denied while trying to connect to the Docker daemon socket", "usermod -aG docker"),
        (125, "Cannot connect to the Docker daemon at unix:///var/run/docker.sock.", "systemctl start docker"),
        (125, "pull access denied for me/x, repository does not exist", "docker build -t me/x:1 ."),
        (125, "manifest unknown: manifest unknown", "no such tag"),
        (125, 'could not select device driver "" with capabilities: [[gpu]].', "NVIDIA Container Toolkit"),
        (125, "invalid mount config: bind source path does not exist: /x", "the same host"),
        (125, "something new", "Docker could not run it:\nsomething new"),
        (127, 'exec: "executor": executable file not found in $PATH', "begin its Dockerfile with FROM zflow"),
        (1, "exec /usr/bin/x: exec format error", "ended with exit code 1"),
        (2, "Error: No such option: --attended", "its zflow is older than this one"),
        (0, "", "it ended with exit code 0 before it reported"),
    ],
)
def test_what_docker_says_is_explained(code: int, said: str, meaning: str) -> None:
    told = explain("me/x:1", code, said.splitlines())
    assert told.startswith("image me/x:1: ")
    assert meaning in told
    assert told.endswith(said) or not said


def test_only_an_engine_of_this_host_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    assert why_not_here() == ""
    monkeypatch.setenv("DOCKER_HOST", "unix:///run/user/1000/docker.sock")
    assert why_not_here() == ""
    monkeypatch.setenv("DOCKER_HOST", "ssh://me@192.0.2.1")
    assert "on another host" in why_not_here()
