"""The image of an Executor, built from the Dockerfile in its folder, beside its package under one and the same tag.

The tag means an index (OCI image index) of both: an engine that is asked for it takes the image for its machine, and
zflow takes the package. Building and pushing is the business of `docker`, which knows its engine and who we are.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from zflow.config.images import checked_image
from zflow.config.references import Home, Reference
from zflow.errors import ConfigError, HubError
from zflow.hub.manifest import ARTIFACT, Blob
from zflow.hub.registry import INDEX, MANIFEST, Missing, Registry
from zflow.processes.errand import run

DOCKERFILE = "Dockerfile"
_PATIENCE = 3600.0  # seconds; large ones are downloaded and compiled
_NOWHERE = {"architecture": "unknown", "os": "unknown"}  # no engine takes it for its own


class Image(NamedTuple):
    """An entry of an index: where it runs, and what kind of manifest it is."""

    manifest: Blob
    kind: str
    platform: dict[str, str]


def check_dockerfile(folder: Path) -> None:
    """Raise ConfigError where there is none."""
    if not (folder / DOCKERFILE).is_file():
        raise ConfigError(f"{folder} has no {DOCKERFILE}; `zflow hub new NAME --dockerfile` writes one")


def push_image(folder: Path, home: Home, reference: Reference, registry: Registry) -> Image:
    """Build what the Dockerfile in `folder` says, and push it. What docker tells is shown on stderr.

    Raises ConfigError where docker fails.
    """
    check_dockerfile(folder)
    name, tag = home.prefix + reference.name, f"{reference.tag}-image"
    image = checked_image(f"{home.host}/{name}:{tag}")
    _docker("build", "--tag", image, str(folder))
    _docker("push", image)
    told = run(["docker", "image", "inspect", "--format", "{{json .}}", image], patience=60.0)
    about = json.loads(told.out)
    platform = {"architecture": str(about["Architecture"]), "os": str(about["Os"])}
    try:
        body, digest = registry.manifest(name, tag)
    except Missing:
        raise HubError(f"docker pushed {image}, and {home.host} does not have it") from None
    return Image(Blob(digest, len(body)), str(json.loads(body).get("mediaType") or MANIFEST), platform)


def dump_index(package: Blob, images: Sequence[Image]) -> bytes:
    """The index of a package and its images."""
    entries: list[dict[str, Any]] = [
        {"mediaType": image.kind, **image.manifest._asdict(), "platform": image.platform} for image in images
    ]
    own = {"mediaType": MANIFEST, "artifactType": ARTIFACT, **package._asdict(), "platform": _NOWHERE}
    value = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [*entries, own]}
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _docker(*words: str) -> None:
    if run(["docker", *words], patience=_PATIENCE, show=True).code != 0:
        raise ConfigError(f"docker {words[0]} failed, and has said why")
