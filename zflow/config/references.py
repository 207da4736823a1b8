"""What ``hub://[registry/]name[:tag|@sha256:...]`` names: an Executor in a registry; with ``hub+docker://`` an image.

``jinahub://Name``, ``jinahub://Name/tag``, ``jinaai://user/Name:tag``, and these with ``+docker``, are other spellings.
Names are small letters in every registry, so that Name is name. Without a registry it is the one of ZFLOW_HUB.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from zflow.config import environment
from zflow.config.kinds import is_loopback, split_host
from zflow.errors import ConfigError

LATEST = "latest"
_SCHEME = re.compile(r"(?P<scheme>hub|jinahub|jinaai)(?P<docker>\+docker)?://")
_REGISTRY = re.compile(r"(\[[0-9a-f:]+\]|[a-z0-9]([a-z0-9.-]*[a-z0-9])?)(:[0-9]{1,5})?")
_PART = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"(?=.{{1,200}}$){_PART}(?:/{_PART})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class Reference(NamedTuple):
    """registry: host[:port], empty for the one of ZFLOW_HUB. tag and digest: at least one of them is not empty. image:
    it names the image, not the package."""

    registry: str
    name: str
    tag: str = LATEST
    digest: str = ""
    image: bool = False

    @property
    def key(self) -> str:
        """It without its digest: what a lock file calls it."""
        return f"{self._path}:{self.tag or LATEST}"

    @property
    def pinned(self) -> str:
        """It with its digest alone, which says everything."""
        return f"{self._path}@{self.digest}"

    @property
    def _path(self) -> str:
        path = f"{self.registry}/{self.name}" if self.registry else self.name
        return f"hub+docker://{path}" if self.image else f"hub://{path}"

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self._path}{tag}{'@' + self.digest if self.digest else ''}"


class Home(NamedTuple):
    """Where a registry is. prefix: what comes before every name in it. secure: it is asked by HTTPS."""

    host: str
    prefix: str
    secure: bool


def is_reference(uses: object) -> bool:
    """Whether `uses` names an Executor in a registry that shall run natively."""
    found = _SCHEME.match(uses) if isinstance(uses, str) else None
    return found is not None and not found["docker"]


def is_image_reference(uses: object) -> bool:
    """Whether `uses` names an Executor in a registry that shall run in a container."""
    found = _SCHEME.match(uses) if isinstance(uses, str) else None
    return found is not None and found["docker"] is not None


def parse_reference(uses: str) -> Reference:
    """What `uses` names, whether natively or as an image. Raises ConfigError that says what is wrong with it."""
    found = _SCHEME.match(uses)
    if not found:
        return parse_reference(f"hub://{uses}")
    rest, _, digest = uses[found.end() :].partition("@")
    first, slash, behind = rest.partition("/")
    registry = first.lower() if slash and _is_registry(first) else ""
    path = behind if registry else rest
    name, colon, tag = path.partition(":")
    if found["scheme"] == "jinahub" and not registry and not colon and path.count("/") == 1:
        name, colon, tag = path.partition("/")
    reference = Reference(registry, name.lower(), tag or ("" if digest else LATEST), digest, bool(found["docker"]))
    if fault := _fault_of(reference):
        raise ConfigError(f"{uses!r:.200}: {fault}; write hub://registry/name:tag, or name@sha256:... in place of :tag")
    return reference


def home_of(reference: Reference) -> Home:
    """Where it is. Raises ConfigError where neither it nor ZFLOW_HUB names a registry.

    A registry on loopback, or one that ZFLOW_HUB names by ``http://``, is asked without TLS.
    """
    told = environment.variable("ZFLOW_HUB") or ""
    scheme, _, rest = told.rpartition("://")
    host, _, prefix = rest.strip("/").lower().partition("/")
    if told and (scheme not in ("", "http", "https") or not _REGISTRY.fullmatch(host)):
        raise ConfigError(f"ZFLOW_HUB: expected registry, registry/path or http://registry, got {told!r:.200}")
    if not reference.registry and not host:
        raise ConfigError(f"{reference} names no registry; write hub://registry/{reference.name}, or set ZFLOW_HUB")
    asked = reference.registry or host
    if scheme and asked == host:
        secure = scheme == "https"
    else:
        secure = not is_loopback(split_host(asked)[0])
    return Home(asked, "" if reference.registry or not prefix else f"{prefix}/", secure)


def everywhere(reference: Reference) -> Reference:
    """The same for machines on which ZFLOW_HUB is something else. Raises ConfigError as `home_of` does."""
    home = home_of(reference)
    return reference._replace(registry=home.host, name=home.prefix + reference.name)


def _is_registry(text: str) -> bool:
    return text.lower() == "localhost" or "." in text or ":" in text


def _fault_of(reference: Reference) -> str:
    if reference.registry and not _REGISTRY.fullmatch(reference.registry):
        return f"{reference.registry!r} is no host, with ':' and a port or without"
    if not _NAME.fullmatch(reference.name):
        return f"{reference.name!r} is no name in a registry (letters, digits, and '.', '_' or '-' between them)"
    if reference.tag and not _TAG.fullmatch(reference.tag):
        return f"{reference.tag!r} is no tag"
    if reference.digest and not DIGEST.fullmatch(reference.digest):
        return f"{reference.digest!r} is no digest (sha256: and 64 digits)"
    return ""
