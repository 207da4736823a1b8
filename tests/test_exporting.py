"""Files as they are written: the same input makes the same bytes, what is gone goes, and wrong options are refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.exports.shapes import SHAPES, one, row, safe, spec_of
from zflow import ConfigError, Executor
from zflow.config.spec import FlowSpec
from zflow.exporting import export_executor, split_options, to_docker_compose, to_kubernetes, to_systemd

Kind = Executor.StandaloneExecutorType


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("shape", SHAPES)
def test_written_twice_it_is_the_same_bytes(shape: Any, tmp_path: Path) -> None:
    written = []
    for _ in range(2):
        spec = spec_of(shape, tmp_path)
        to_docker_compose(spec, tmp_path / "docker-compose.yml", user="1000:1000")
        to_kubernetes(spec, tmp_path / "k8s", k8s_namespace="search")
        written.append((tree(tmp_path / "k8s"), (tmp_path / "docker-compose.yml").read_bytes()))
    assert written[0] == written[1]
    for path in (tmp_path / "k8s").rglob("*.yml"):
        assert yaml.safe_load(path.read_text())["kind"].lower() in path.name


def test_what_an_earlier_export_had_is_removed_and_nothing_else(tmp_path: Path) -> None:
    to_kubernetes(row(), tmp_path)
    (tmp_path / "mine.yml").write_text("kind: Mine\n")
    to_kubernetes(one(), tmp_path)
    assert {name for name in tree(tmp_path) if name.endswith(".yml")} == {
        *("encoder/deployment.yml", "encoder/networkpolicy.yml", "encoder/service.yml", "mine.yml"),
        *("gateway/configmap.yml", "gateway/deployment.yml", "gateway/service.yml"),
    }


def test_one_value_is_for_all_and_a_map_for_some(tmp_path: Path) -> None:
    def gpus(**options: Any) -> list[str]:
        to_kubernetes(row(), tmp_path, **options)
        texts = {name: (tmp_path / name / "deployment.yml").read_text() for name in ("encoder", "ranker", "gateway")}
        return [name for name, text in texts.items() if "nvidia.com/gpu" in text]

    assert gpus(gpus=1) == gpus(gpus="1") == ["encoder", "ranker"]
    assert gpus(gpus={"ranker": 2}) == ["ranker"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"gpus": {"rankr": 1}}, "gpus: there is no Executor 'rankr' to start: .*ranker"),
        ({"gpus": "many"}, "gpus: encoder: expected a whole number, got 'many'"),
        ({"image": {"rankr": "me/x:1"}}, "image: there is no Executor 'rankr' to start: .*ranker"),
        ({"k8s_namespace": "Not_one"}, "k8s_namespace: 'Not_one' is no name"),
        ({"gateway_image": "NO IMAGE"}, "is no image"),
        ({"cpu": "two"}, "cpu: encoder: 'two' is no quantity"),
        ({"storage": "1 GB"}, "storage: '1 GB' is no quantity"),
        ({"env_secret": "Not_one"}, "env_secret: 'Not_one' is no name"),
        ({"keys_secret": "a b"}, "keys_secret: 'a b' is no name"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=told):
        to_kubernetes(row(), tmp_path / "k8s", **options)
    assert not (tmp_path / "k8s").exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"user": "me"}, "user: 'me': write UID:GID"),
        ({"user": "0:0"}, "no container shall run as root"),
        ({"shm_size": "much"}, "shm_size: 'much' is no size"),
        ({"network_name": "a b"}, "network_name: 'a b' is no name"),
    ],
)
def test_wrong_options_of_compose_are_refused(options: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=told):
        to_docker_compose(row(), tmp_path / "dc.yml", **options)
    assert not (tmp_path / "dc.yml").exists()


def test_a_port_is_open_to_others_only_with_keys_or_when_that_was_said(tmp_path: Path) -> None:
    def ports(spec: FlowSpec) -> list[str]:
        to_docker_compose(spec, tmp_path / "dc.yml", user="1000:1000")
        return list(yaml.safe_load((tmp_path / "dc.yml").read_text())["services"]["gateway"]["ports"])

    def flow(**options: Any) -> FlowSpec:
        return FlowSpec.from_options(**options).add(uses="docker://x")

    assert ports(flow()) == ["127.0.0.1:8080:8080"]
    assert ports(flow(host="0.0.0.0", insecure=True)) == ["0.0.0.0:8080:8080"]
    assert ports(safe(tmp_path)) == ["0.0.0.0:7000:8080"]
    with pytest.raises(ConfigError, match="host: 0.0.0.0 would let everybody .* give keys .* or say insecure=True"):
        ports(flow(host="0.0.0.0"))


def test_containers_run_as_who_owns_the_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, real = safe(tmp_path), os.stat

    class About:
        st_uid, st_gid, st_mode = 1000, 1001, 0o100600

    monkeypatch.setattr(os, "stat", lambda path, **k: About if str(path).endswith("secret.key") else real(path, **k))
    to_docker_compose(spec, tmp_path / "dc.yml")
    assert yaml.safe_load((tmp_path / "dc.yml").read_text())["services"]["store"]["user"] == "1000:1001"
    About.st_uid = 0
    About.st_gid = 0
    with pytest.raises(ConfigError, match="belongs to root, as whom no container shall run; chown -R 65532:65532"):
        to_docker_compose(spec, tmp_path / "dc.yml")


@pytest.mark.parametrize("export", [to_docker_compose, to_kubernetes])
def test_an_executor_is_behind_a_gateway_unless_it_is_shared(export: Any, tmp_path: Path) -> None:
    def parts(kind: Kind) -> str:
        path = tmp_path / kind.name
        export_executor(
            export, path, "docker://me/x:1", kind, {"port_expose": 9000, "name": "x", "uses_with": {"a": 1}}
        )
        return path.read_text() if path.is_file() else "".join(str(text) for text in tree(path).items())

    external, shared = parts(Kind.EXTERNAL), parts(Kind.SHARED)
    assert "gateway" in external
    assert "gateway" not in shared
    assert "9000" in external
    assert "9000" in shared
    assert '{"a": 1}' in external.replace("\\", "")


def test_options_are_divided() -> None:
    assert split_options(to_kubernetes, {"gpus": 1, "replicas": 2}) == ({"gpus": 1}, {"replicas": 2})


def test_units_are_written_with_notes(tmp_path: Path) -> None:
    spec = FlowSpec.from_options(name="small").add(name="echo", uses="tests.exports.shapes:Echo")
    to_systemd(spec, tmp_path, program="/opt/zflow", directory="/opt/app", first_port=20000)
    assert set(tree(tmp_path)) == {
        *("NOTES.txt", "small.target", "small-flow.yml", "small-echo.service", "small-gateway.service"),
    }
    text = (tmp_path / "small-echo.service").read_text()
    assert "--port-in 20000" in text
    assert "WorkingDirectory=/opt/app" in text
    with pytest.raises(ConfigError, match="is an image, and programs are wanted"):
        to_systemd(one(), tmp_path)


def test_units_bind_another_address_only_with_keys_or_when_that_is_said(tmp_path: Path) -> None:
    spec = FlowSpec.from_options(name="small", host="0.0.0.0").add(name="echo", uses="tests.exports.shapes:Echo")
    with pytest.raises(ConfigError, match="host: 0.0.0.0 would let everybody"):
        to_systemd(spec, tmp_path)
    to_systemd(spec, tmp_path, keys_directory="/etc/zflow/small-keys")
    text = (tmp_path / "small-gateway.service").read_text()
    assert "--host 0.0.0.0" in text
    assert "LoadCredential=secret.key:/etc/zflow/small-keys/secret.key" in text


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"config": "/etc/x\nExecStartPre=/bin/evil"}, "config: .*a unit cannot name this path"),
        ({"directory": "/opt/%h"}, "directory: .*a unit cannot name this path"),
        ({"program": '/opt/"x'}, "program: .*a unit cannot name this path"),
        ({"first_port": 65_534}, "first_port: 65534: there are no 2 ports from there on"),
        ({"gpus": {"nobody": 1}}, "gpus: there is no Executor 'nobody'"),
    ],
)
def test_wrong_options_of_systemd_are_refused(options: dict[str, Any], told: str, tmp_path: Path) -> None:
    spec = FlowSpec.from_options(name="small").add(name="echo", uses="tests.exports.shapes:Echo")
    with pytest.raises(ConfigError, match=told):
        to_systemd(spec, tmp_path / "units", **options)
    assert not (tmp_path / "units").exists()
