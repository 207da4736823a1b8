"""What may be asked of a container, in the one form that all have it in; what zflow must decide itself is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from zflow.config.container_options import (
    DOCKER_KWARGS,
    ENTRYPOINT,
    GPUS,
    VOLUMES,
    Volume,
    checked_volumes,
    relative_volumes,
)
from zflow.config.kinds import Kind
from zflow.config.places import Place
from zflow.errors import ConfigError


def fault(kind: Kind, value: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        kind.checked(value, Place("x"))
    return str(caught.value)


def test_a_volume_is_a_whole_path_here_and_a_place_there(tmp_path: Path) -> None:
    home = str(Path.home())
    assert checked_volumes(["data", "./d/../e:/in:ro", "~/x:/y", "/a:/b:rw"], tmp_path) == (
        *(f"{tmp_path}/data:/data", f"{tmp_path}/e:/in:ro", f"{home}/x:/y", "/a:/b"),
    )
    assert checked_volumes(tmp_path / "data", Path("/")) == (f"{tmp_path}/data:/data",)
    assert Volume.of("/a:/b:ro") == Volume("/a", "/b", True)
    assert Volume.of("/a:/b") == Volume("/a", "/b", False)


@pytest.mark.parametrize("value", [":/x", "a:b", "a:/", "a:/b:x", "a:/b:ro:x", "", "/", 3, [3], {"a": "b"}, "a\0b"])
def test_what_is_no_volume_is_refused(value: Any) -> None:
    assert fault(VOLUMES, value).startswith("x: ")


def test_a_file_names_what_lies_beside_it_from_there(tmp_path: Path) -> None:
    volumes = (f"{tmp_path}/data:/data:ro", "/elsewhere:/x")
    assert relative_volumes(volumes, tmp_path) == ["data:/data:ro", "/elsewhere:/x"]
    assert checked_volumes(relative_volumes(volumes, tmp_path), tmp_path) == volumes


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        ("all", "all"),
        (2, "2"),
        ("2", "2"),
        ("device=0,1", "device=0,1"),
        ([0, 1], "device=0,1"),
        (["GPU-a"], "device=GPU-a"),
    ],
)
def test_gpus_are_all_some_or_named(value: Any, meant: str) -> None:
    assert GPUS.checked(value, Place()) == meant


@pytest.mark.parametrize("value", ["", "some", 0, -1, True, "device=", [], "device=0;x", None, 1.5])
def test_what_names_no_gpus_is_refused(value: Any) -> None:
    assert "expected all, how many, or which: device=0,1" in fault(GPUS, value)


def test_an_entrypoint_is_words() -> None:
    assert ENTRYPOINT.checked("python -m 'my zflow'", Place()) == ("python", "-m", "my zflow")
    assert ENTRYPOINT.checked(["a b", "c"], Place()) == ("a b", "c")
    for wrong in ("", "'", [], [1], [""], 3, ["a\0"]):
        assert fault(ENTRYPOINT, wrong).startswith("x: ")


def test_what_docker_run_knows_is_known_by_either_name() -> None:
    given = {
        "mem_limit": "2g",
        "network": "bridge",
        "cap_add": "SYS_NICE",
        "extra_hosts": {"me": "10.0.0.1"},
        "tmpfs": {"/cache": "size=1g", "/run": ""},
        "pids_limit": 100,
        "read_only": False,
        "labels": {"a": 1},
    }
    assert DOCKER_KWARGS.checked(given, Place()) == {
        "memory": "2g",
        "network": "bridge",
        "cap_add": ["SYS_NICE"],
        "add_host": ["me:10.0.0.1"],
        "tmpfs": ["/cache:size=1g", "/run"],
        "pids_limit": "100",
        "read_only": False,
        "label": ["a=1"],
    }


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"netwrok": "x"}, "did you mean 'network'?"),
        ({"environment": {}}, "give env to the Executor"),
        ({"volumes": []}, "give volumes to the Executor"),
        ({"ports": {}}, "no port leads into the container"),
        ({"name": "x"}, "named after the Executor"),
        ({"read_only": "yes"}, "expected true or false"),
        ({"memory": None}, "expected text or a number"),
        ({"memory": ["1"]}, "expected text or a number"),
        ({"cap_add": {"A": "B"}}, "expected text or a list"),
        ({"mem_limit": "1g", "memory": "2g"}, "one option"),
        ("x", "expected a map"),
    ],
)
def test_what_it_does_not_know_or_must_not_have_is_refused_with_what_to_do(given: Any, told: str) -> None:
    assert told in fault(DOCKER_KWARGS, given)
