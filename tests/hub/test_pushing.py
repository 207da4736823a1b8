"""A folder goes to a real registry: the same digest each time, everything but the tag before the tag."""

from __future__ import annotations

import io
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.registry import RegistryServer
from zflow.config.references import parse_reference
from zflow.errors import ConfigError
from zflow.hub import pushing
from zflow.hub.archive import Limits
from zflow.hub.fetching import fetch, look_up
from zflow.hub.pushing import push
from zflow.hub.registry import Registry


def test_the_same_folder_pushed_twice_has_one_digest(server: RegistryServer, folder: Path) -> None:
    reference = parse_reference(f"hub://{server.host}/twice:1")
    first = push(folder, reference)
    for path in folder.rglob("*"):
        os.utime(path, (1, 1))
    second = push(folder, reference)
    assert first.reference == second.reference and first.reference.digest.startswith("sha256:")
    assert (first.new, second.new) == (True, False)
    assert (first.files, first.size) == (4, sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()))
    (folder / "executor.py").write_text("# other\n")
    assert push(folder, reference).reference.digest != first.reference.digest


def test_it_is_pushed_by_several_tags_at_once(server: RegistryServer, folder: Path) -> None:
    reference = parse_reference(f"hub://{server.host}/team/tagged:1.0")
    pushed = push(folder, reference, ["latest", "1"])
    found = {look_up(reference._replace(tag=tag)).digest for tag in ("1.0", "latest", "1")}
    assert found == {pushed.reference.digest}


def test_the_registry_of_the_environment_is_the_one_without_a_name(
    server: RegistryServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZFLOW_HUB", f"{server.host}/prefix")
    push(folder, parse_reference("hub://Mine"))
    assert look_up(parse_reference(f"hub://{server.host}/prefix/mine")).about.name == "shout"


def test_what_the_registry_has_is_an_artifact_of_our_own_kind(server: RegistryServer, folder: Path) -> None:
    found = look_up(push(folder, parse_reference(f"hub://{server.host}/kind")).reference)
    value = json.loads(server.blob(found.digest).read_bytes())
    assert value["artifactType"] == "application/vnd.zflow.executor.v1"
    assert server.blob(found.manifest.package.digest).stat().st_size == found.manifest.package.size


def test_large_files_go_in_pieces(server: RegistryServer, folder: Path, screen: io.StringIO) -> None:
    (folder / "large.bin").write_bytes(os.urandom(9 << 20))
    reference = push(folder, parse_reference(f"hub://{server.host}/large")).reference
    assert "push large: [########################]" in screen.getvalue()
    assert look_up(reference).about.size > 9 << 20


def test_a_push_that_is_interrupted_changes_no_tag_and_leaves_nothing_here(
    server: RegistryServer, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = parse_reference(f"hub://{server.host}/interrupted")
    before = push(folder, reference).reference.digest
    (folder / "executor.py").write_text("# other\n")
    monkeypatch.setattr(pushing.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(Registry, "put_manifest", _interrupt)
    here = set(tmp_path.iterdir())
    with pytest.raises(KeyboardInterrupt):
        push(folder, reference)
    assert look_up(reference).digest == before
    assert set(tmp_path.iterdir()) == here


def _interrupt(*words: object) -> None:
    raise KeyboardInterrupt


def test_of_two_pushes_at_once_the_tag_means_the_one_or_the_other_and_both_are_whole(
    server: RegistryServer, folder: Path, tmp_path: Path
) -> None:
    reference = parse_reference(f"hub://{server.host}/both:1")
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    (other / "executor.py").write_text("# other\n")
    with ThreadPoolExecutor() as threads:
        pushed = list(threads.map(lambda path: push(path, reference).reference, (folder, other)))
    assert len({each.digest for each in pushed}) == 2
    assert look_up(reference).digest in {each.digest for each in pushed}
    for each in pushed:
        assert fetch(each).digest == each.digest


def test_a_digest_cannot_be_pushed_to(folder: Path) -> None:
    with pytest.raises(ConfigError, match="a digest follows from the files; give a tag"):
        push(folder, parse_reference("hub://localhost:1/x@sha256:" + "0" * 64))


def test_nothing_is_sent_of_a_folder_that_is_no_package(folder: Path) -> None:
    reference = parse_reference("hub://localhost:1/x")  # where nobody is
    with pytest.raises(ConfigError, match="more than 1 files"):
        push(folder, reference, limits=Limits(files=1))
    (folder / "config.yml").unlink()
    with pytest.raises(ConfigError, match="has no config.yml"):
        push(folder, reference)
