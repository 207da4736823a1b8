"""A Flow as services of Compose: by its structure, by the text of a small one, and by Compose itself where it is."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.exports.shapes import IMAGES, SHAPES, application_of, one, row, safe, shards
from zflow.config.deployment import DeploymentSpec
from zflow.config.plain_yaml import dump
from zflow.exports.compose import ComposeWishes, compose_document, escaped
from zflow.exports.parts import parts_of_deployment

EXPECTED = Path(__file__).parent / "expected"
WISHES = ComposeWishes()


def document(shape: Any, folder: Path, wishes: ComposeWishes = WISHES) -> dict[str, Any]:
    return compose_document(application_of(shape, folder), wishes)


def test_a_small_flow_is_this_text(tmp_path: Path) -> None:
    assert dump(document(one, tmp_path)) == (EXPECTED / "docker-compose.yml").read_text()


@pytest.mark.parametrize("shape", SHAPES)
def test_the_same_flow_is_the_same_text(shape: Any, tmp_path: Path) -> None:
    text = dump(document(shape, tmp_path))
    assert text == dump(document(shape, tmp_path))
    assert yaml.safe_load(text) == document(shape, tmp_path)


@pytest.mark.parametrize("shape", SHAPES)
def test_no_container_can_do_more_than_it_must(shape: Any, tmp_path: Path) -> None:
    for service in document(shape, tmp_path)["services"].values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["user"] == "65532:65532"
        assert service["init"] is True
        assert "privileged" not in service
        assert not any("docker.sock" in volume for volume in service.get("volumes", ()))


@pytest.mark.parametrize("shape", SHAPES)
def test_nothing_is_left_to_a_shell_or_an_interpreter(shape: Any, tmp_path: Path) -> None:
    for service in document(shape, tmp_path)["services"].values():
        assert service["entrypoint"] == ["zflow"]
        assert all(isinstance(word, str) for word in service["command"])
        kind, *words = service["healthcheck"]["test"]
        assert (kind, words[0]) == ("CMD", "grep")


@pytest.mark.parametrize("shape", SHAPES)
def test_only_the_gateway_is_reached_from_outside(shape: Any, tmp_path: Path) -> None:
    made = document(shape, tmp_path)
    assert [name for name, service in made["services"].items() if "ports" in service] == ["gateway"]
    [port] = made["services"]["gateway"]["ports"]
    assert port.startswith("127.0.0.1:")
    assert made["networks"]["inside"]["internal"] is True
    workers = {name for name in made["services"] if name != "gateway"}
    assert all(made["services"][name]["networks"] == ["inside"] for name in workers)
    waits = made["services"]["gateway"]["depends_on"]
    assert waits == {name: {"condition": "service_healthy"} for name in workers}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_service_ends_within_its_grace_and_comes_back(shape: Any, tmp_path: Path) -> None:
    for service in document(shape, tmp_path)["services"].values():
        assert service["stop_grace_period"] == "30s"
        assert service["restart"] == "unless-stopped"
        assert service["shm_size"] == "64m"


def test_replicas_share_a_name_and_shards_have_their_own(tmp_path: Path) -> None:
    services = document(shards, tmp_path)["services"]
    assert [(name, service.get("scale")) for name, service in services.items()] == [
        ("my-indexer-shard-0", 2),
        ("my-indexer-shard-1", 2),
        ("my-indexer-before", None),
        ("my-indexer-after", None),
        ("gateway", None),
    ]
    assert services["my-indexer-shard-0"]["volumes"] == ["my-indexer-shard-0-workspace:/workspace"]
    assert services["my-indexer-shard-0"]["healthcheck"]["start_period"] == "86400s"


def test_variables_are_not_put_in_and_secrets_not_written(tmp_path: Path) -> None:
    text = dump(document(row, tmp_path))
    assert "s3cr3t-value" not in text
    service = yaml.safe_load(text)["services"]["ranker"]
    assert service["environment"]["API_TOKEN"].startswith("${API_TOKEN:?")
    assert service["environment"]["MODE"] == "a$$b %h"
    assert (service["cpus"], service["environment"]["OMP_NUM_THREADS"]) == (2.0, "2")
    assert escaped("$X") == "$$X"


def test_keys_are_secrets(tmp_path: Path) -> None:
    made = document(safe, tmp_path)
    assert made["secrets"]["zflow-secret-key"] == {"file": str(tmp_path / "keys" / "secret.key")}
    for service in made["services"].values():
        assert service["secrets"] == [
            {"source": "zflow-secret-key", "target": "secret.key"},
            {"source": "zflow-allowed", "target": "allowed"},
        ]
        assert service["command"][-2:] == ["--keys", "/run/secrets"]
    secret = (tmp_path / "keys" / "secret.key").read_text().rpartition("secret:")[2].strip()
    assert secret not in dump(made)


def test_wishes_reach_their_places(tmp_path: Path) -> None:
    wishes = ComposeWishes(network="jina-network", user="1000:1000", gpus={"encoder": 2}, internal=False, shm_size="1g")
    made = document(one, tmp_path, wishes)
    assert made["networks"]["inside"] == {"name": "jina-network", "internal": False}
    service = made["services"]["encoder"]
    assert (service["user"], service["shm_size"]) == ("1000:1000", "1g")
    [device] = service["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": 2, "capabilities": ["gpu"]}
    assert "deploy" not in made["services"]["gateway"]


def test_what_a_container_is_given_here_it_is_given_there(tmp_path: Path) -> None:
    options = {"volumes": [f"{tmp_path}/mo$el:/models:ro", str(tmp_path)], "gpus": "device=0,1"}
    spec = DeploymentSpec.from_options(
        name="encoder", uses="docker://me/encoder:1", entrypoint="python -m zflow", replicas=2, workspace="d", **options
    )
    made = compose_document(parts_of_deployment(spec, IMAGES), WISHES)
    service, head = made["services"]["encoder"], made["services"]["encoder-head"]
    assert (service["entrypoint"], head["entrypoint"]) == (["python", "-m", "zflow"], ["zflow"])
    own, *volumes = service["volumes"]
    assert own == "encoder-workspace:/workspace"
    models = {"type": "bind", "source": f"{tmp_path}/mo$$el", "target": "/models", "read_only": True}
    assert volumes == [models, {**models, "source": f"{tmp_path}", "target": f"/{tmp_path.name}", "read_only": False}]
    [device] = service["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "device_ids": ["0", "1"], "capabilities": ["gpu"]}
    assert "volumes" not in head and "deploy" not in head
    made = compose_document(parts_of_deployment(spec, IMAGES), ComposeWishes(gpus={"encoder": 0}))
    assert "deploy" not in made["services"]["encoder"]


def test_a_folder_of_this_machine_may_be_the_workspace(tmp_path: Path) -> None:
    uses = {"uses": "docker://me/encoder:1", "volumes": f"{tmp_path}:/workspace", "gpus": "all"}
    spec = DeploymentSpec.from_options(name="encoder", workspace="data", **uses)
    made = compose_document(parts_of_deployment(spec, IMAGES), WISHES)
    service = made["services"]["encoder"]
    assert [volume["target"] for volume in service["volumes"]] == ["/workspace"]
    assert service["tmpfs"] == ["/tmp"]
    assert "volumes" not in made
    assert service["deploy"]["resources"]["reservations"]["devices"][0]["count"] == "all"


def test_one_executor_alone_is_reached_itself() -> None:
    spec = DeploymentSpec.from_options(name="encoder", uses="docker://me/encoder:1", port=9000)
    made = compose_document(parts_of_deployment(spec, IMAGES), WISHES)
    assert made["services"]["encoder"]["ports"] == ["127.0.0.1:9000:9000"]


def _compose() -> list[str]:
    if shutil.which("docker") and subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0:
        return ["docker", "compose"]
    return ["docker-compose"] if shutil.which("docker-compose") else []


@pytest.mark.skipif(not _compose(), reason="neither `docker compose` nor docker-compose is installed")
@pytest.mark.parametrize("shape", SHAPES)
def test_compose_itself_takes_it(shape: Any, tmp_path: Path) -> None:
    (tmp_path / "docker-compose.yml").write_text(dump(document(shape, tmp_path)))
    done = subprocess.run(
        [*_compose(), "-f", "docker-compose.yml", "config"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "API_TOKEN": "from outside"},
    )
    assert done.returncode == 0, done.stderr
    services = yaml.safe_load(done.stdout)["services"]
    assert set(services) == set(document(shape, tmp_path)["services"])
    if shape is row:
        assert services["encoder"]["environment"]["API_TOKEN"] == "from outside"
        [arguments] = [word for word in services["encoder"]["command"] if "model" in word]
        assert "it's $(HOME)" in arguments.replace("$$", "$")
