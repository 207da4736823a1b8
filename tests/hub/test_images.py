"""One tag means the package and the image of an Executor: zflow takes the one, an engine the other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.engine import docker, engine_fault
from tests.support.registry import RegistryServer
from zflow.config.images import image_of
from zflow.config.references import Reference, parse_reference
from zflow.errors import ConfigError
from zflow.hub.fetching import fetch, look_up
from zflow.hub.images import Image, check_dockerfile, dump_index
from zflow.hub.listing import versions_of
from zflow.hub.manifest import ARTIFACT, Blob, package_in
from zflow.hub.pushing import push

PACKAGE = Blob("sha256:" + "1" * 64, 500)
IMAGE = Image(Blob("sha256:" + "2" * 64, 700), "application/vnd.oci.image.manifest.v1+json", {"os": "linux"})

with_engine = pytest.mark.skipif(bool(engine_fault()), reason=engine_fault())


def test_an_index_holds_both_and_the_package_is_for_no_machine() -> None:
    body = dump_index(PACKAGE, [IMAGE])
    image, package = json.loads(body)["manifests"]
    assert (image["digest"], image["platform"]) == (IMAGE.manifest.digest, {"os": "linux"})
    assert (package["artifactType"], package["platform"]["os"]) == (ARTIFACT, "unknown")
    assert package_in(body) == PACKAGE.digest


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"manifests": 3}',
        b'{"manifests": [3]}',
        b'{"manifests": [{"artifactType": "x"}]}',
        b'{"manifests": [{"artifactType": "%s", "digest": "../x"}]}' % ARTIFACT.encode(),
        json.dumps({"manifests": [{"artifactType": ARTIFACT, "digest": PACKAGE.digest}] * 2}).encode(),
    ],
)
def test_what_is_no_index_of_ours_holds_none(body: bytes) -> None:
    assert package_in(body) == ""


def test_a_folder_without_a_dockerfile_makes_no_image_and_nothing_is_sent(folder: Path) -> None:
    with pytest.raises(ConfigError, match="has no Dockerfile; `zflow hub new NAME --dockerfile` writes one"):
        check_dockerfile(folder)
    with pytest.raises(ConfigError, match="has no Dockerfile"):
        push(folder, parse_reference("hub://localhost:1/x"), with_image=True)


# -- with an engine ----------------------------------------------------------------------------------------------------


@pytest.fixture
def reference(server: RegistryServer, request: pytest.FixtureRequest) -> Iterator[Reference]:
    made = parse_reference(f"hub://{server.host}/{request.node.name.replace('test_', '')[:30].strip('_')}:1")
    yield made
    for image in (f"{made.registry}/{made.name}:{tag}" for tag in ("1", "1-image", "latest")):
        docker("rmi", "--force", image, check=False)


@with_engine
@pytest.mark.time_limit(120)
def test_pushed_with_its_image_zflow_finds_the_package_and_the_engine_the_image(
    folder: Path, reference: Reference, capfd: pytest.CaptureFixture[str]
) -> None:
    (folder / "Dockerfile").write_text('FROM scratch\nCOPY config.yml /config.yml\nCMD ["/none"]\n')
    plain = push(folder, reference)
    both = push(folder, reference, ["latest"], with_image=True)
    assert both.reference == plain.reference and not both.new
    assert look_up(reference).digest == fetch(reference).digest == plain.reference.digest
    docker("rmi", "--force", f"{reference.registry}/{reference.name}:1-image")
    for tag in ("1", "latest"):
        image = image_of(f"hub+docker://{reference.registry}/{reference.name}:{tag}")
        docker("pull", image)
        assert docker("image", "inspect", "--format={{json .Config.Cmd}}", image) == '["/none"]'
    found = {tag: version and version.digest for tag, version in versions_of(reference)}
    assert found == {"1": plain.reference.digest, "latest": plain.reference.digest, "1-image": None}


@with_engine
@pytest.mark.time_limit(120)
def test_a_dockerfile_that_fails_changes_no_tag(
    folder: Path, reference: Reference, capfd: pytest.CaptureFixture[str]
) -> None:
    before = push(folder, reference).reference.digest
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY absent /\n")
    with pytest.raises(ConfigError, match="docker build failed, and has said why"):
        push(folder, reference, with_image=True)
    assert "absent" in capfd.readouterr().err
    assert look_up(reference).digest == before
