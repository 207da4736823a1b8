"""What a registry has, and how one package stands: there, here, in the lock file, and with what it requires."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from zflow.config.lock_file import read_lock
from zflow.config.references import Home, Reference, home_of
from zflow.errors import AuthError, ConfigError, HubError
from zflow.hub.archive import Limits
from zflow.hub.cache import Cache
from zflow.hub.fetching import Found, look_up
from zflow.hub.registry import Missing, Registry

_PROJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Version(NamedTuple):
    """A tag. found: what it means; None for what is no Executor, or damaged."""

    tag: str
    found: Found | None


class Requirement(NamedTuple):
    """A line of requirements.txt. installed: the version that is here; empty for none."""

    line: str
    installed: str


class Standing(NamedTuple):
    """found: what the registry has. folder: where it is here. locked: the digest in the lock file, or empty."""

    found: Found
    folder: Path | None
    locked: str
    requirements: tuple[Requirement, ...]


def names_in(registry: str = "") -> list[str]:
    """What the registry (of ZFLOW_HUB, unless one is named) lists, Executors and images alike.

    Raises ConfigError for one that lists nothing to us; Unavailable.
    """
    home = _home(registry)
    with Registry(home) as opened:
        try:
            names = opened.names()
        except (Missing, AuthError, HubError) as error:
            told = f"{home.host} does not list what it has"
            raise ConfigError(f"{told} ({error}); name one: zflow hub list NAME") from error
    return sorted(name.removeprefix(home.prefix) for name in names if name.startswith(home.prefix))


def versions_of(reference: Reference) -> Iterator[Version]:
    """Each tag of a name, and what it means. Raises ConfigError for a name that the registry does not have."""
    home = home_of(reference)
    with Registry(home) as registry:
        try:
            tags = registry.tags(home.prefix + reference.name)
        except Missing:
            tags = []
    if not tags:
        look_up(reference)  # which tells the nearest
    for tag in sorted(tags):
        try:
            yield Version(tag, look_up(reference._replace(tag=tag, digest="")))
        except HubError:
            yield Version(tag, None)


def standing_of(reference: Reference, folder: Path, limits: Limits | None = None) -> Standing:
    """How a package stands. folder: where the lock file would be. Raises as `look_up` does."""
    found = look_up(reference, limits)
    locked = (read_lock(folder) or {}).get(reference.key, "")
    requirements = tuple(Requirement(line, _installed(line)) for line in found.about.requirements)
    return Standing(found, Cache().find(found.digest), locked, requirements)


def _home(registry: str) -> Home:
    return home_of(Reference(registry.lower(), "names"))


def _installed(line: str) -> str:
    project = _PROJECT.match(line)
    try:
        return metadata.version(project[0]) if project else ""
    except metadata.PackageNotFoundError:
        return ""
