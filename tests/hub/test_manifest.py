"""What stands for a package in a registry is the same for the same files, and anything else is told from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zflow.errors import HubError
from zflow.hub.archive import Limits
from zflow.hub.contents import contents_of
from zflow.hub.manifest import (
    ARTIFACT,
    CONFIG,
    PACKAGE,
    Blob,
    about,
    blob,
    dump_about,
    dump_manifest,
    load_about,
    load_manifest,
)

CONFIG_BLOB, PACKAGE_BLOB = Blob("sha256:" + "1" * 64, 10), Blob("sha256:" + "2" * 64, 2048)


def test_what_is_said_of_a_package_is_understood_again(folder: Path) -> None:
    told = about(contents_of(folder, Limits()))
    assert (told.name, told.jtype, told.description, told.requirements) == ("shout", "Shout", "loud", ("numpy>=1.23",))
    assert told.files == 4
    assert load_about(dump_about(told)) == told
    body = dump_manifest(told, CONFIG_BLOB, PACKAGE_BLOB)
    found = load_manifest(body, Limits())
    assert (found.config, found.package) == (CONFIG_BLOB, PACKAGE_BLOB)
    assert body == dump_manifest(load_about(dump_about(told)), CONFIG_BLOB, PACKAGE_BLOB)


def test_the_media_types_are_our_own(folder: Path) -> None:
    told = about(contents_of(folder, Limits()))
    value = json.loads(dump_manifest(told, CONFIG_BLOB, PACKAGE_BLOB))
    assert value["artifactType"] == ARTIFACT == "application/vnd.zflow.executor.v1"
    assert value["config"]["mediaType"] == "application/vnd.zflow.executor.config.v1+json"
    assert [layer["mediaType"] for layer in value["layers"]] == ["application/vnd.zflow.executor.package.v1.tar"]
    assert value["annotations"]["org.opencontainers.image.title"] == "shout"


def test_a_blob_is_named_by_its_bytes() -> None:
    assert blob(b"") == ("sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", 0)


def manifest(**changes: Any) -> bytes:
    value: dict[str, Any] = {
        "schemaVersion": 2,
        "config": {"mediaType": CONFIG, **CONFIG_BLOB._asdict()},
        "layers": [{"mediaType": PACKAGE, **PACKAGE_BLOB._asdict()}],
    }
    for place, change in changes.items():
        if place in ("config", "layers") and isinstance(change, dict):
            target = value["config"] if place == "config" else value["layers"][0]
            target.update(change)
        else:
            value[place] = change
    return json.dumps(value).encode()


IMAGE = "application/vnd.oci.image.config.v1+json"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "is no JSON of a map"),
        (b"[" * 100_000, "is no JSON of a map"),
        (b"[]", "is no JSON of a map"),
        (b"\xff", "is no JSON of a map"),
        (b"{}", "it is no Executor but nothing known"),
        (manifest(config={"mediaType": IMAGE}), r"it is no Executor but .*image.config.*hub\+docker:// runs an image"),
        (manifest(config=3), "it is no Executor"),
        (manifest(artifactType="application/vnd.helm", config="x"), "it is no Executor but application/vnd.helm$"),
        (manifest(layers=[]), "not the one layer"),
        (manifest(layers=[{}, {}]), "not the one layer"),
        (manifest(layers=["x"]), "not the one layer"),
        (manifest(layers={"mediaType": "application/zip"}), "of a kind that this version does not know"),
        (manifest(layers={"digest": "sha256:12"}), "which is no digest"),
        (manifest(layers={"digest": "../../x"}), "which is no digest"),
        (manifest(layers={"size": -1}), "gives a blob the size -1"),
        (manifest(layers={"size": True}), "gives a blob the size True"),
        (manifest(layers={"size": 1e9}), "gives a blob the size"),
        (manifest(layers={"size": 1 << 40}), "more than the 524288000 that are allowed"),
        (manifest(config={"size": 1 << 20}), "more than the 262144 that are allowed"),
    ],
)
def test_a_manifest_of_something_else_is_refused(body: bytes, told: str) -> None:
    with pytest.raises(HubError, match=told):
        load_manifest(body, Limits())


@pytest.mark.parametrize(
    "body",
    [b"[]", b"{}", b'{"name": "a", "jtype": "A", "description": "", "requirements": 3, "files": 1, "size": 1}'],
)
def test_a_config_of_something_else_is_refused(body: bytes) -> None:
    with pytest.raises(HubError, match="its config"):
        load_about(body)


@given(st.recursive(st.none() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner) | st.dictionaries(
    st.sampled_from(["config", "layers", "mediaType", "digest", "size", "name", "files"]), inner
), max_leaves=10))  # fmt: skip
def test_any_json_is_refused_in_our_words(value: object) -> None:
    for load in (lambda body: load_manifest(body, Limits()), load_about):
        with pytest.raises(HubError):
            load(json.dumps(value).encode())
