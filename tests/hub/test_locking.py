"""The lock file is written from YAML files and names, all of it or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.registry import RegistryServer, push_image
from zflow.config.images import image_of
from zflow.config.lock_file import read_lock, write_lock
from zflow.config.references import parse_reference
from zflow.config.yaml_file import load_flow
from zflow.errors import ConfigError
from zflow.hub.locking import lock, references_in
from zflow.hub.pushing import push

OTHER = "sha256:" + "2" * 64


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_every_name_of_a_flow_is_found_wherever_it_stands(tmp_path: Path) -> None:
    digest = "@sha256:" + "0" * 64
    (tmp_path / "flow.yml").write_text(
        f"!Flow\nexecutors:\n- {{uses: 'hub://a.org/x:1', uses_before: jinahub://B/2}}\n- uses: hub://c{digest}\n"
        "- {uses: 'hub+docker://d', uses_after: '${{ CONTEXT.e }}'}\n- uses: {jtype: Executor}\n"
    )
    found = references_in(tmp_path / "flow.yml", {"e": "hub://e"})
    assert [reference.key for reference in found] == [
        *("hub://a.org/x:1", "hub://b:2", "hub+docker://d:latest", "hub://e:latest"),
    ]
    (tmp_path / "deployment.yml").write_text("!Deployment\nwith: {uses: hub://x}\n")
    assert [reference.key for reference in references_in(tmp_path / "deployment.yml")] == ["hub://x:latest"]


def test_an_image_is_pinned_by_the_digest_that_an_engine_knows(
    server: RegistryServer, folder: Path, tmp_path: Path
) -> None:
    digest = push_image(server, "boxed", tmp_path)
    (tmp_path / "flow.yml").write_text(f"jtype: Flow\nexecutors:\n- uses: hub+docker://{server.host}/boxed:image\n")
    lock(["flow.yml"])
    assert read_lock(tmp_path) == {f"hub+docker://{server.host}/boxed:image": digest}
    [executor] = load_flow(tmp_path / "flow.yml").executors
    assert image_of(str(executor.uses)) == f"{server.host}/boxed@{digest}"
    with pytest.raises(ConfigError, match="has no 'bxed': did you mean 'boxed'?"):
        lock([f"hub+docker://{server.host}/bxed:image"])


def test_a_file_that_names_nothing_is_told(tmp_path: Path) -> None:
    (tmp_path / "flow.yml").write_text("jtype: Flow\nexecutors: []\n")
    with pytest.raises(ConfigError, match="flow.yml.*names nothing in a registry"):
        lock(["flow.yml"])


def test_it_is_written_beside_the_file_and_here_and_again_when_a_tag_has_moved(
    server: RegistryServer, folder: Path, tmp_path: Path
) -> None:
    reference = parse_reference(f"hub://{server.host}/pinned:1")
    first = push(folder, reference).reference.digest
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "flow.yml").write_text(f"jtype: Flow\nexecutors:\n- uses: {reference}\n")
    write_lock(tmp_path, {"hub://kept:1": OTHER})
    pins = lock(["below/flow.yml", str(reference)])
    assert [(pin.reference.digest, pin.before) for pin in pins] == [(first, ""), (first, "")]
    assert read_lock(tmp_path / "below") == {reference.key: first}
    assert read_lock(tmp_path) == {reference.key: first, "hub://kept:1": OTHER}
    (folder / "executor.py").write_text("# other\n")
    second = push(folder, reference).reference.digest
    [pin] = lock(["below/flow.yml"])
    assert (pin.reference.digest, pin.before) == (second, first)
    assert read_lock(tmp_path / "below") == {reference.key: second}


def test_nothing_is_written_when_one_name_is_unknown(server: RegistryServer, folder: Path, tmp_path: Path) -> None:
    reference = push(folder, parse_reference(f"hub://{server.host}/known:1")).reference._replace(digest="")
    with pytest.raises(ConfigError, match="did you mean 'known'"):
        lock([str(reference), f"hub://{server.host}/knwn"])
    assert read_lock(tmp_path) is None


def test_a_lock_file_that_is_wrong_is_written_anew(server: RegistryServer, folder: Path, tmp_path: Path) -> None:
    reference = push(folder, parse_reference(f"hub://{server.host}/anew:1")).reference
    (tmp_path / "zflow.lock").write_text("{")
    lock([str(reference)])
    assert read_lock(tmp_path) == {reference.key: reference.digest}
