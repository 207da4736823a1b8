"""Every fault of a description instead of the first: what a check refuses when it is given one value at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from zflow.config.places import Place
from zflow.errors import ConfigError


def faults_of(check: Callable[[Any], object], given: Any, place: Place | None = None) -> list[ConfigError]:
    """What `check`, which raises at the first fault, refuses in `given`. It must not depend on several values at once.

    Of a map each value is tried by itself, and of maps in it as well. Where all are right by themselves, the fault of
    the whole is told. place: of faults that name none themselves.
    """
    try:
        check(given)
        return []
    except ConfigError as fault:
        whole = fault if fault.problem or place is None else place.fault(str(fault), type(fault))
    parts = list(_parts(given))
    found = [fault for part in parts for fault in faults_of(check, part, place)] if len(parts) > 1 else []
    return found or [whole]


def _parts(given: Any) -> Iterator[Any]:
    """Maps of one value each that make up `given`, or the same for the only value that it has."""
    if not isinstance(given, Mapping) or not given:
        yield given
    elif len(given) > 1:
        yield from ({key: item} for key, item in given.items())
    else:
        [(key, item)] = given.items()
        yield from ({key: part} for part in _parts(item))
