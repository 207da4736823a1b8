"""The folder of an Executor to a registry. Its tags come last, when all else is there: nobody ever finds a half."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from zflow.config.references import Reference, home_of
from zflow.errors import ConfigError
from zflow.hub.archive import Limits, allowed, pack
from zflow.hub.contents import Contents, contents_of
from zflow.hub.fetching import check_package, moving
from zflow.hub.images import check_dockerfile, dump_index, push_image
from zflow.hub.manifest import Blob, about, blob, dump_about, dump_manifest, package_in
from zflow.hub.registry import INDEX, MANIFEST, Missing, Registry, digest_of


class Pushed(NamedTuple):
    """reference: with its digest. new: its tag did not mean this package before. files, size: what was packed. image:
    the digest of its image, or empty."""

    reference: Reference
    new: bool
    files: int
    size: int
    image: str = ""


def push(
    folder: Path,
    reference: Reference,
    tags: Sequence[str] = (),
    *,
    limits: Limits | None = None,
    with_image: bool = False,
) -> Pushed:
    """Let the tag of `reference`, and these `tags`, be the Executor in `folder`.

    with_image: they also mean the image that its Dockerfile makes. Raises ConfigError for a folder that is no package,
    Unavailable, AuthError, and HubError for what the registry says.
    """
    check_package(reference)
    if reference.digest:
        raise ConfigError(f"{reference}: a digest follows from the files; give a tag or nothing in its place")
    contents = contents_of(folder, limits or allowed())
    if with_image:
        check_dockerfile(folder)
    told = about(contents)
    config = dump_about(told)
    home = home_of(reference)
    name = home.prefix + reference.name
    with tempfile.TemporaryDirectory(prefix="zflow-push-") as work, Registry(home) as registry:
        package = _packed(contents, Path(work, "package.tar"))
        Path(work, "config.json").write_bytes(config)
        body = dump_manifest(told, blob(config), package)
        digest = digest_of(body)
        new = _meant(registry, name, reference.tag) != digest
        with moving(f"push {name}", package.size) as tell:
            registry.put_blob(name, Path(work, "package.tar"), package.digest, package.size, tell)
        registry.put_blob(name, Path(work, "config.json"), *blob(config))
        kind, image = MANIFEST, ""
        if with_image:
            registry.put_manifest(name, digest, body)
            built = push_image(folder, home, reference, registry)
            kind, image, body = INDEX, built.manifest.digest, dump_index(blob(body), [built])
        for tag in dict.fromkeys((reference.tag, *tags)):
            registry.put_manifest(name, tag, body, kind)
    return Pushed(reference._replace(digest=digest), new, told.files, told.size, image)


def _packed(contents: Contents, path: Path) -> Blob:
    with open(path, "wb") as file:
        counted = _Counted(file)
        pack(contents.folder, contents.entries, counted)  # type: ignore[arg-type]
        return Blob(f"sha256:{counted.seen.hexdigest()}", file.tell())


class _Counted:
    """A file that computes the digest of what is written to it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.seen: Any = hashlib.sha256()

    def write(self, piece: bytes) -> int:
        self.seen.update(piece)
        return self._file.write(piece)


def _meant(registry: Registry, name: str, tag: str) -> str:
    """The digest of the package that the tag means so far."""
    try:
        body, digest = registry.manifest(name, tag)
        return package_in(body) or digest
    except Missing:
        return ""
