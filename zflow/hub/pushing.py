"""The folder of an Executor to a registry. Its tags come last, when all else is there: nobody ever finds a half."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from zflow.config.references import Reference, home_of
from zflow.errors import ConfigError
from zflow.hub.archive import Limits, pack
from zflow.hub.contents import Contents, contents_of
from zflow.hub.fetching import moving
from zflow.hub.manifest import Blob, about, blob, dump_about, dump_manifest
from zflow.hub.registry import Missing, Registry, digest_of


class Pushed(NamedTuple):
    """reference: with its digest. new: no tag meant this digest before. files, size: what was packed."""

    reference: Reference
    new: bool
    files: int
    size: int


def push(folder: Path, reference: Reference, tags: Sequence[str] = (), limits: Limits | None = None) -> Pushed:
    """Let the tag of `reference`, and these `tags`, be the Executor in `folder`.

    Raises ConfigError for a folder that is none, Unavailable, AuthError, and HubError for what the registry says.
    """
    if reference.digest:
        raise ConfigError(f"{reference}: a digest follows from the files; give a tag or nothing in its place")
    contents = contents_of(folder, limits or Limits())
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
        for tag in dict.fromkeys((reference.tag, *tags)):
            registry.put_manifest(name, tag, body)
    return Pushed(reference._replace(digest=digest), new, told.files, told.size)


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
    """The digest of what the tag means so far."""
    try:
        return registry.manifest(name, tag)[1]
    except Missing:
        return ""
