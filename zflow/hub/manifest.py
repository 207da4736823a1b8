"""What stands for a package in a registry: a manifest (OCI image manifest 1.1) of two blobs of kinds of our own.

The config blob says in JSON what the Executor is called, what it is for, what it requires, and what its files weigh
together; the layer is the archive. Nothing in either depends on who packs, or when: the same files have one digest.
Labels of the manifest (its annotations) tell people and other programs the same in short.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from zflow.config.references import DIGEST
from zflow.errors import HubError
from zflow.hub.archive import Limits
from zflow.hub.contents import Contents
from zflow.hub.registry import MANIFEST, digest_of

ARTIFACT = "application/vnd.zflow.executor.v1"
CONFIG = "application/vnd.zflow.executor.config.v1+json"
PACKAGE = "application/vnd.zflow.executor.package.v1.tar"
CONFIG_SIZE = 256 << 10
_VERSION = 1


class Blob(NamedTuple):
    """A part of an artifact: what the manifest says of it."""

    digest: str
    size: int


class Manifest(NamedTuple):
    """config: what the Executor is. package: the archive of its files."""

    config: Blob
    package: Blob


class About(NamedTuple):
    """What the config blob says. files and size: of what will be unpacked."""

    name: str
    jtype: str
    description: str
    requirements: tuple[str, ...]
    files: int
    size: int


def about(contents: Contents) -> About:
    """What there is to say of a package."""
    return About(
        contents.name,
        contents.definition["jtype"],
        contents.description,
        contents.requirements,
        len(contents.entries),
        sum(entry.size for entry in contents.entries),
    )


def dump_about(told: About) -> bytes:
    """The config blob."""
    return _json({"version": _VERSION, **told._asdict(), "requirements": list(told.requirements)})


def load_about(body: bytes) -> About:
    """What a config blob says. Raises HubError for one that says something else."""
    value = _map(body, "its config")
    try:
        requirements = tuple(str(line) for line in value["requirements"])
        name, jtype, description = (str(value[key])[:1000] for key in ("name", "jtype", "description"))
        return About(name, jtype, description, requirements, int(value["files"]), int(value["size"]))
    except (KeyError, TypeError, ValueError, OverflowError):
        raise HubError(f"its config says not what an Executor is: {body[:100]!r}") from None


def dump_manifest(told: About, config: Blob, package: Blob) -> bytes:
    """The manifest of a package."""
    labels = {"org.opencontainers.image.title": told.name, "org.opencontainers.image.description": told.description}
    return _json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": ARTIFACT,
            "config": {"mediaType": CONFIG, **config._asdict()},
            "layers": [{"mediaType": PACKAGE, **package._asdict()}],
            "annotations": {key: text for key, text in labels.items() if text},
        }
    )


def load_manifest(body: bytes, limits: Limits) -> Manifest:
    """What a manifest says. Raises HubError for one of something else, or of more than is allowed."""
    value = _map(body, "its manifest")
    config, layers = value.get("config"), value.get("layers")
    if not isinstance(config, dict) or config.get("mediaType") != CONFIG:
        raise HubError(f"it is no Executor but {_kind(value)}{_hint(value)}")
    if not isinstance(layers, list) or len(layers) != 1 or not isinstance(layers[0], dict):
        raise HubError("its manifest has not the one layer that a package has")
    if layers[0].get("mediaType") != PACKAGE:
        raise HubError(f"its layer is of a kind that this version does not know: {layers[0].get('mediaType')!r:.100}")
    return Manifest(_blob(config, CONFIG_SIZE), _blob(layers[0], limits.size))


def package_in(body: bytes) -> str:
    """The digest of the package in an index, which holds its images as well; empty for what is no index of ours."""
    try:
        entries = json.loads(body)["manifests"]
        found = [entry["digest"] for entry in entries if entry.get("artifactType") == ARTIFACT]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ""
    return found[0] if len(found) == 1 and isinstance(found[0], str) and DIGEST.fullmatch(found[0]) else ""


def blob(body: bytes) -> Blob:
    """What a manifest says of these bytes."""
    return Blob(digest_of(body), len(body))


def _blob(value: dict[str, Any], most: int) -> Blob:
    digest, size = value.get("digest"), value.get("size")
    if not isinstance(digest, str) or not DIGEST.fullmatch(digest):
        raise HubError(f"its manifest names a blob by {digest!r:.100}, which is no digest")
    if type(size) is not int or size < 0:
        raise HubError(f"its manifest gives a blob the size {size!r:.100}")
    if size > most:
        raise HubError(f"it has {size} bytes, more than the {most} that are allowed")
    return Blob(digest, size)


def _kind(value: dict[str, Any]) -> str:
    config = value.get("config")
    inner = config.get("mediaType") if isinstance(config, dict) else None
    return f"{value.get('artifactType') or inner or value.get('mediaType') or 'nothing known'!s:.100}"


def _hint(value: dict[str, Any]) -> str:
    """An image can be run as well, by other words."""
    return "; hub+docker:// runs an image" if "image" in _kind(value) or "docker" in _kind(value) else ""


def _map(body: bytes, what: str) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise HubError(f"{what} is no JSON of a map: {body[:60]!r}")
    return value


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
