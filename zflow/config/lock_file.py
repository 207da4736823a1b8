"""``zflow.lock``: which package each ``hub://`` name of a folder means, so that it means the same everywhere, for good.

::

    {"version": 1, "executors": {"hub://me/encoder:1.0": "sha256:..."}}

It lies beside the YAML file that names them, or in the working directory. Where there is one, a name without a digest
must be in it: what a registry says of a tag is not asked. `zflow hub lock` writes it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zflow.config.references import DIGEST, Reference
from zflow.errors import ConfigError
from zflow.saving import saving

NAME = "zflow.lock"
_VERSION = 1
_SIZE = 1 << 20


def read_lock(folder: Path) -> dict[str, str] | None:
    """Reference without digest -> digest; None where there is no lock file. Raises ConfigError for a wrong one."""
    path = folder / NAME
    try:
        with open(path, "rb") as file:
            body = file.read(_SIZE + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    pins = _pins(body)
    if pins is None:
        raise ConfigError(f"{path} is no lock file of this version; write it again: zflow hub lock")
    return pins


def write_lock(folder: Path, pins: Mapping[str, str]) -> Path:
    """Let the lock file in `folder` hold `pins`. Raises WorkspaceError where the disk does not let it be."""
    value = {"version": _VERSION, "executors": dict(sorted(pins.items()))}
    with saving(folder / NAME, text=True) as file:
        file.write(json.dumps(value, indent=2) + "\n")
    return folder / NAME


def pinned(reference: Reference, folder: Path) -> Reference:
    """`reference` with the digest that the lock file in `folder` gives it. Raises ConfigError where it gives none."""
    if reference.digest:
        return reference
    pins = read_lock(folder)
    if pins is None:
        return reference
    if reference.key not in pins:
        told = f"{folder / NAME} does not hold {reference.key}, and what is locked is never guessed"
        raise ConfigError(f"{told}; add it: zflow hub lock FILE, or zflow hub lock {reference.key}")
    return reference._replace(digest=pins[reference.key])


def _pins(body: bytes) -> dict[str, str] | None:
    try:
        value: Any = json.loads(body) if len(body) <= _SIZE else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or value.get("version") != _VERSION or not isinstance(value.get("executors"), dict):
        return None
    pins = value["executors"]
    return pins if all(isinstance(pin, str) and DIGEST.fullmatch(pin) for pin in pins.values()) else None
