"""A package from its registry to this machine: asked for, checked, unpacked, kept. Nothing of it is run.

What has a digest and is here already is not asked for at all. A tag is always asked for: it may mean another package
today. The manifest is checked before a blob is fetched, the archive as a whole before a file of it is written.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from zflow.config.references import Home, Reference, home_of
from zflow.errors import AuthError, ConfigError, HubError, Unavailable, nearest
from zflow.hub.archive import Limits, allowed, entries_of, unpack
from zflow.hub.cache import Cache
from zflow.hub.contents import checked_config
from zflow.hub.manifest import CONFIG_SIZE, About, Manifest, load_about, load_manifest, package_in
from zflow.hub.registry import Missing, Registry
from zflow.progress import Progress

_LARGE = 1 << 20  # bytes from which on people are shown how it goes
_MANIFEST, _ABOUT, _FILES = "manifest.json", "about.json", "package"


class Package(NamedTuple):
    """folder: its files. about: what it is. came: it was fetched just now."""

    folder: Path
    digest: str
    about: About
    came: bool


class Found(NamedTuple):
    """What a registry has: the manifest and its bytes, and what the package is."""

    digest: str
    manifest: Manifest
    body: bytes
    about: About


def fetch(reference: Reference, *, limits: Limits | None = None, cache: Cache | None = None) -> Package:
    """The package that `reference` names, on this machine.

    Raises ConfigError for what the registry does not have, naming the nearest that it has; Unavailable, AuthError, and
    HubError for what is no package, damaged or hostile. Nothing is left of it then.
    """
    check_package(reference)
    limits, cache = limits or allowed(), cache or Cache()
    if reference.digest and (place := cache.find(reference.digest)) is not None:
        return _package(place, reference.digest, came=False)
    home = home_of(reference)
    with _told_of(reference), Registry(home) as registry:
        found = _look_up(registry, reference, limits)
        came: list[bool] = []

        def fill(work: Path) -> None:
            came.append(True)
            _fill(work, registry, home.prefix + reference.name, found, limits)

        place = cache.keep(found.digest, fill)
    return _package(place, found.digest, came=bool(came))


def copy_out(package: Package, folder: Path) -> None:
    """Copy its files to `folder`, which is there whole or not at all. Raises ConfigError where something is already."""
    unfinished = folder.with_name(f".{folder.name[:40]}.{os.urandom(6).hex()}.unfinished")
    try:
        shutil.copytree(package.folder, unfinished, ignore=shutil.ignore_patterns("__pycache__"))
        if folder.exists():
            raise ConfigError(f"{folder} is there already; nothing was written. Give another folder")
        os.rename(unfinished, folder)
    except (OSError, shutil.Error) as error:
        raise ConfigError(f"{folder} cannot be written: {getattr(error, 'strerror', None) or error}") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def look_up(reference: Reference, limits: Limits | None = None) -> Found:
    """What the registry has under `reference`, without fetching the files. Raises as `fetch` does."""
    check_package(reference)
    with _told_of(reference), Registry(home_of(reference)) as registry:
        return _look_up(registry, reference, limits or allowed())


def meaning(reference: Reference) -> str:
    """The digest of what the tag of `reference` means now: of the package, or of the image, or of its index.

    Raises as `fetch` does.
    """
    if not reference.image:
        return look_up(reference._replace(digest="")).digest
    home = home_of(reference)
    with _told_of(reference), Registry(home) as registry:
        try:
            return registry.manifest(home.prefix + reference.name, reference.tag)[1]
        except Missing:
            raise _unknown(registry, reference) from None


@contextmanager
def moving(title: str, size: int) -> Iterator[Callable[[int], object]]:
    """What is to be told how many bytes more have moved; for large ones people see it."""
    if size < _LARGE:
        yield lambda count: None
        return
    begun: list[Progress] = []

    def tell(count: int) -> None:
        if not begun:
            begun.append(Progress(title, size, unit="bytes"))
        begun[0].advance(count)

    try:
        yield tell
    finally:
        for progress in begun:
            progress.close()


def check_package(reference: Reference) -> None:
    """Raise ConfigError for what names an image."""
    if reference.image:
        told = f"{reference} names an image, which is for an engine to fetch"
        raise ConfigError(f"{told}; its package is {reference._replace(image=False)}")


def _look_up(registry: Registry, reference: Reference, limits: Limits) -> Found:
    name = registry.home.prefix + reference.name
    try:
        body, digest = registry.manifest(name, reference.digest or reference.tag)
        if inner := package_in(body):
            body, digest = registry.manifest(name, inner)
    except Missing:
        raise _unknown(registry, reference) from None
    manifest = load_manifest(body, limits)
    return Found(digest, manifest, body, load_about(_small_blob(registry, name, manifest)))


def _small_blob(registry: Registry, name: str, manifest: Manifest) -> bytes:
    from io import BytesIO

    held = BytesIO()
    with _no_part_missing():
        registry.blob(name, manifest.config.digest, manifest.config.size, held)
    return held.getvalue()[:CONFIG_SIZE]


def _fill(work: Path, registry: Registry, name: str, found: Found, limits: Limits) -> None:
    """Make `work` what the cache keeps of a package."""
    package, path = found.manifest.package, work / "package.tar"
    with open(path, "w+b") as archive:
        with moving(f"fetch {name}", package.size) as tell, _no_part_missing():
            registry.blob(name, package.digest, package.size, archive, tell)
        entries = entries_of(archive, limits)
        (work / _FILES).mkdir()
        unpack(archive, entries, work / _FILES)
    path.unlink()
    try:
        checked_config(work / _FILES)
    except ConfigError as error:
        raise HubError(f"it serves nothing: {error}") from error
    (work / _MANIFEST).write_bytes(found.body)
    (work / _ABOUT).write_bytes(_small_blob(registry, name, found.manifest))


def _package(place: Path, digest: str, *, came: bool) -> Package:
    try:
        about = load_about((place / _ABOUT).read_bytes())
    except (OSError, HubError) as error:
        raise ConfigError(f"{place} is damaged ({error}); remove it, and it is fetched again") from error
    return Package(place / _FILES, digest, about, came)


def _unknown(registry: Registry, reference: Reference) -> ConfigError:
    """The nearest tag of the name, or the nearest name that the registry lists."""
    home, asked = registry.home, reference.digest or reference.tag
    try:
        tags = registry.tags(home.prefix + reference.name)
    except Missing:
        tags = []
    if tags and reference.digest:
        return ConfigError(f"{home.host} has {reference.name}, but nothing with the digest {asked} in it")
    if tags:
        return ConfigError(f"{home.host} has no {reference.name} with the tag {asked!r}: {nearest(asked, tags)}")
    told = f"{home.host} has no {reference.name!r}"
    try:
        names = _below(home, registry.names())
    except (Missing, HubError, AuthError, Unavailable):
        return ConfigError(f"{told}, and does not tell what it has")
    return ConfigError(f"{told}: {nearest(reference.name, names)}")


def _below(home: Home, names: list[str]) -> list[str]:
    return [name.removeprefix(home.prefix) for name in names if name.startswith(home.prefix)]


@contextmanager
def _no_part_missing() -> Iterator[None]:
    try:
        yield
    except Missing:
        raise HubError("the registry lacks a part of it; push it again") from None


@contextmanager
def _told_of(reference: Reference) -> Iterator[None]:
    try:
        yield
    except HubError as error:
        raise HubError(f"{reference}: {error}. Nothing of it was run, and nothing is left of it here") from error
