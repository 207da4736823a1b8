"""The lock file of a folder: what the tags in its YAML files mean in the registry now, written down for good."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from zflow.config.definition import is_file
from zflow.config.lock_file import read_lock, write_lock
from zflow.config.plain_yaml import parse
from zflow.config.references import Reference, is_image_reference, is_reference, parse_reference
from zflow.config.yaml_file import USES
from zflow.errors import ConfigError
from zflow.hub.fetching import meaning


class Pin(NamedTuple):
    """A name in a lock file. before: its digest so far, or empty."""

    reference: Reference
    before: str
    path: Path


def lock(sources: Sequence[str], context: Mapping[str, Any] | None = None) -> list[Pin]:
    """Pin what `sources` name: YAML files, each in the lock file beside it, and references, in the one here.

    What else a lock file holds stays. Nothing is written unless all of it can be looked up. Raises ConfigError for a
    file that names nothing in a registry, and what looking up raises.
    """
    wanted: dict[Path, dict[str, Reference]] = {}
    for source in sources:
        folder = Path(source).parent if is_file(source) else Path()
        for reference in references_in(Path(source), context) if is_file(source) else [parse_reference(source)]:
            wanted.setdefault(folder, {})[reference.key] = reference
    found = {
        folder: {key: meaning(reference) for key, reference in references.items()}
        for folder, references in wanted.items()
    }
    pins = []
    for folder, digests in found.items():
        before = _readable_lock(folder)
        path = write_lock(folder, {**before, **digests})
        pins += [
            Pin(wanted[folder][key]._replace(digest=digest), before.get(key, ""), path)
            for key, digest in digests.items()
        ]
    return pins


def references_in(path: Path, context: Mapping[str, Any] | None = None) -> list[Reference]:
    """What the YAML file of a Flow or Deployment names in registries, without a digest of its own."""
    value, place = parse(path, context=context, class_allowed=lambda path: True)
    names = [uses for uses in _uses_in(value) if is_reference(uses) or is_image_reference(uses)]
    if not names:
        raise place.fault("names nothing in a registry: no uses begins with hub:// or hub+docker://")
    return [reference for reference in map(parse_reference, names) if not reference.digest]


def _readable_lock(folder: Path) -> dict[str, str]:
    """Whoever writes it anew need not mind one that is wrong."""
    try:
        return read_lock(folder) or {}
    except ConfigError:
        return {}


def _uses_in(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if key in USES:
                yield inner
            yield from _uses_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _uses_in(inner)
