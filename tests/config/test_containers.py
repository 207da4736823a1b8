"""From an Executor that names an image to its container: safe unless told otherwise, and plain enough to travel."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from zflow.config.containers import NOBODY, ContainerPlan, container_of
from zflow.config.spec import ExecutorSpec, FlowSpec
from zflow.errors import ConfigError
from zflow.executor import Executor


def planned(**options: Any) -> ContainerPlan:
    made = container_of(ExecutorSpec.from_options(name="boxed", uses="docker://me/boxed:1", **options))
    assert made is not None
    return made


def test_only_an_image_needs_one() -> None:
    assert container_of(ExecutorSpec.from_options(uses=Executor)) is None
    assert planned().image == "me/boxed:1"


def test_it_is_safe_by_default() -> None:
    options = planned().options
    assert (options["network"], options["cap_drop"], options["read_only"]) == ("none", ["ALL"], True)
    assert options["security_opt"] == ["no-new-privileges"]


def test_it_is_nobody_or_its_user_but_never_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 0)
    assert planned().options["user"] == f"{NOBODY}:{NOBODY}"
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    monkeypatch.setattr(os, "getgid", lambda: 100)
    assert planned().options["user"] == "1000:100"
    assert planned(docker_kwargs={"user": 0}).options["user"] == "0"


def test_its_arguments_must_be_able_to_travel() -> None:
    assert planned(uses_with={"a": [1, {"b": "c"}]}).arguments["uses_with"] == {"a": [1, {"b": "c"}]}
    with pytest.raises(ConfigError, match="boxed: uses_with cannot travel into a container: .*; give text, numbers"):
        planned(uses_with={"a": object()})


def test_a_volume_must_be_there_and_a_workspace_will_be(tmp_path: Path) -> None:
    made = planned(volumes=str(tmp_path), workspace=str(tmp_path / "later"))
    assert [(volume.source, volume.target) for volume in made.volumes] == [(str(tmp_path), f"/{tmp_path.name}")]
    assert made.workspace == str(tmp_path / "later")
    with pytest.raises(ConfigError, match="boxed: volumes: .*missing does not exist"):
        planned(volumes=str(tmp_path / "missing"))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"reload": True}, "reload is not for a container: its code is in the image: build that anew"),
        ({"py_modules": "x.py"}, "py_modules is not for a container: its code is in the image"),
        ({"install_requirements": True}, "install_requirements is not for a container: what it requires is in"),
        ({"start_method": "spawn"}, "start_method is not for a container"),
    ],
)
def test_what_is_about_code_here_is_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=f"boxed: {told}"):
        planned(**options)


def test_what_a_flow_says_for_all_does_not_concern_it() -> None:
    spec = FlowSpec.from_options(reload=True, start_method="spawn").add(uses="docker://x:1")
    assert container_of(spec.executors[0]) is not None


def test_an_executor_around_shards_has_one_of_its_own_whatever_these_are() -> None:
    spec = ExecutorSpec.from_options(uses=Executor, uses_before="docker://x:1", reload=True, gpus="all")
    assert container_of(spec) is None


def test_what_is_for_containers_is_refused_where_there_is_none() -> None:
    for name, value in {"volumes": "/tmp", "gpus": "all", "entrypoint": "x", "docker_kwargs": {"init": True}}.items():
        with pytest.raises(ConfigError, match=f"{name}: this is for a container; name an image in uses"):
            ExecutorSpec.from_options(uses=Executor, **{name: value})
        with pytest.raises(ConfigError, match="external Executor runs already"):
            ExecutorSpec.from_options(external=True, port_in=1, uses_before="docker://x:1", **{name: value})
