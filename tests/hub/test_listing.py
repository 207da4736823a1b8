"""What a registry has, and how one package stands."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from tests.support.registry import RegistryServer, push_image
from zflow.config.lock_file import write_lock
from zflow.config.references import parse_reference
from zflow.errors import ConfigError
from zflow.hub.fetching import fetch
from zflow.hub.listing import names_in, standing_of, versions_of
from zflow.hub.pushing import push


def test_names_are_listed_without_the_prefix_of_the_environment(
    server: RegistryServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(folder, parse_reference(f"hub://{server.host}/team/b"))
    push(folder, parse_reference(f"hub://{server.host}/team/a"))
    assert {"team/a", "team/b"} <= set(names_in(server.host))
    monkeypatch.setenv("ZFLOW_HUB", f"{server.host}/team")
    assert names_in() == ["a", "b"]


def test_one_that_lists_nothing_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="names no registry"):
        names_in()


def test_the_tags_of_a_name_say_what_they_mean_and_an_image_is_no_executor(
    server: RegistryServer, folder: Path, tmp_path: Path
) -> None:
    reference = parse_reference(f"hub://{server.host}/versions:1")
    pushed = push(folder, reference, ["2"])
    push_image(server, "versions", tmp_path)
    versions = list(versions_of(reference))
    assert [tag for tag, _ in versions] == ["1", "2", "image"]
    assert [found.digest if found else "" for _, found in versions] == [pushed.reference.digest] * 2 + [""]
    with pytest.raises(ConfigError, match="did you mean 'versions'"):
        list(versions_of(reference._replace(name="version")))


def test_how_a_package_stands(server: RegistryServer, folder: Path, tmp_path: Path) -> None:
    (folder / "requirements.txt").write_text("numpy>=1.23\nno-such-thing==1\n./local\n")
    reference = push(folder, parse_reference(f"hub://{server.host}/stands:1")).reference
    stands = standing_of(reference._replace(digest=""), tmp_path)
    assert (stands.found.digest, stands.folder, stands.locked) == (reference.digest, None, "")
    assert [tuple(line) for line in stands.requirements] == [
        ("numpy>=1.23", metadata.version("numpy")),
        ("no-such-thing==1", ""),
        ("./local", ""),
    ]
    fetch(reference)
    write_lock(tmp_path, {reference.key: reference.digest})
    stands = standing_of(reference._replace(digest=""), tmp_path)
    assert stands.folder is not None and stands.locked == reference.digest
