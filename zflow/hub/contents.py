"""Which files of a folder make the package of an Executor, and what its config.yml says of it.

Everything below the folder belongs to it but what is hidden (a name that begins with a dot: .git, .venv, .env), what
Python makes of sources, and environments of Python. A link or a device is refused: it would mean something else
elsewhere. A secret key is refused, too: whoever wants it packed would not want what comes of it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from zflow.config.definition import Definition
from zflow.config.keys import SECRET
from zflow.errors import ConfigError
from zflow.hub.archive import Entry, Limits, clash_of, fault_of_name, packed_size
from zflow.loading import REQUIREMENTS, read_definition

CONFIG = "config.yml"
_ENVIRONMENT = "pyvenv.cfg"  # what Python marks one of its environments by
_MADE = ("__pycache__",)
_MADE_SUFFIXES = (".pyc", ".pyo")


class Contents(NamedTuple):
    """entries: its files, by name. definition: what config.yml says. requirements: lines of requirements.txt."""

    folder: Path
    entries: tuple[Entry, ...]
    definition: Definition
    requirements: tuple[str, ...]

    @property
    def name(self) -> str:
        """In the metas, else the class's."""
        return str(self.definition.get("metas", {}).get("name") or self.definition["jtype"])

    @property
    def description(self) -> str:
        """In the metas."""
        return str(self.definition.get("metas", {}).get("description") or "")


def contents_of(folder: Path, limits: Limits) -> Contents:
    """The package in `folder`. Raises ConfigError for what could not be unpacked, or not be served, elsewhere."""
    if not folder.is_dir():
        raise ConfigError(f"{folder} is no folder; name the one that holds the {CONFIG} of an Executor")
    entries = sorted(_entries_below(folder, ""), key=lambda entry: entry.name.encode())
    if clash := clash_of(entry.name for entry in entries):
        raise ConfigError(f"{folder}: {clash}")
    if len(entries) > limits.files or packed_size(entries) > limits.size:
        told = f"{folder} has {len(entries)} files and {packed_size(entries)} bytes"
        raise ConfigError(
            f"{told}, more than {limits.files} files or {limits.size} bytes; let the Executor fetch what is large, "
            "or allow more: ZFLOW_HUB_SIZE"
        )
    definition = checked_config(folder)
    return Contents(folder, tuple(entries), definition, requirements_of(folder))


def checked_config(folder: Path) -> Definition:
    """What config.yml of a package says. Raises ConfigError where it says nothing, or names what is not there."""
    if not (folder / CONFIG).is_file():
        raise ConfigError(f"{folder} has no {CONFIG}; `zflow hub new NAME` writes one")
    definition = read_definition(folder / CONFIG)
    for module in definition.get("metas", {}).get("py_modules", ()):
        if os.path.isabs(module) and not Path(module).exists():
            raise ConfigError(f"{folder / CONFIG} py_modules: {Path(module).relative_to(folder)} is not there")
    return definition


def requirements_of(folder: Path) -> tuple[str, ...]:
    """What its requirements.txt asks for, without comments."""
    try:
        text = (folder / REQUIREMENTS).read_text("utf-8")
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{folder / REQUIREMENTS} cannot be read: {error}") from error
    lines = (line.split(" #")[0].strip() for line in text.replace("\\\n", " ").splitlines())
    return tuple(line for line in lines if line and not line.startswith("#"))


def _entries_below(folder: Path, below: str) -> Iterator[Entry]:
    with os.scandir(folder) as found:
        for item in found:
            if item.name.startswith(".") or item.name in _MADE or item.name.endswith(_MADE_SUFFIXES):
                continue
            name = f"{below}{item.name}"
            about = item.stat(follow_symlinks=False)
            if stat.S_ISDIR(about.st_mode):
                if Path(item.path, _ENVIRONMENT).exists():
                    continue
                yield from _entries_below(Path(item.path), f"{name}/")
            elif item.name == SECRET:
                raise ConfigError(f"{item.path} is a secret key, which nobody else may have; move it elsewhere")
            elif not stat.S_ISREG(about.st_mode):
                raise ConfigError(f"{item.path} is a link or no regular file; put the file itself there, or hide it")
            elif fault := fault_of_name(name):
                raise ConfigError(f"the name {name!r} {fault}; rename it")
            else:
                yield Entry(name, about.st_size, bool(about.st_mode & 0o100))
