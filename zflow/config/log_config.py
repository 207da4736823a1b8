"""What a process tells of itself: how much, in which form, and where to.

`log_config` of a Flow or an Executor is ``plain``, ``json``, a map, or the path of a YAML file with the same keys::

    format: json             # plain, json, or a line of your own: "{time} {level} {name}@{pid} {text}"
    level: DEBUG             # of zflow, of self.logger and of every logger that levels does not name
    levels: {httpx: WARNING} # of other loggers, by name
    file: logs/search.log    # one file for all processes, instead of stderr; relative to the YAML file
    max_size: 10 MB          # then it becomes search.log.1, and so on; 0: never
    keep: 5                  # how many of these
    stderr: true             # besides the file
"""

from __future__ import annotations

import os
import re
import string
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from zflow.config import shapes
from zflow.config.environment import LOG_LEVELS
from zflow.config.kinds import Kind, read_mapping
from zflow.config.places import Place, shown
from zflow.config.plain_yaml import parse
from zflow.errors import ConfigError, nearest

FORMS = ("plain", "json")
FIELDS = ("time", "level", "letter", "name", "pid", "logger", "requests", "text")
KEYS = ("format", "level", "levels", "file", "max_size", "keep", "stderr")
_SUFFIXES = (".yml", ".yaml")
_SIZE = re.compile(r"([0-9]{1,12}) ?(|[kKMG]i?B|B)")
_UNITS = {"": 1, "B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "kiB": 1 << 10, "KiB": 1 << 10}
_UNITS |= {"MiB": 1 << 20, "GiB": 1 << 30}
_SIZES = "expected bytes, as a number or as in 10 MB; 0 for a file that grows for ever"


class LogConfig(NamedTuple):
    """A log_config that has been read. level: empty for that of ZFLOW_LOG_LEVEL. file: empty for none."""

    form: str = "plain"
    level: str = ""
    levels: Mapping[str, str] = {}
    file: str = ""
    max_size: int = 10_000_000
    keep: int = 5
    stderr: bool = True


class Voice(NamedTuple):
    """How a process of a plan tells of itself. quiet: not at all. quiet_error: exceptions without their details."""

    quiet: bool = False
    quiet_error: bool = False
    config: LogConfig = LogConfig()


class _Speaks(Protocol):
    """A spec, of a Flow or of an Executor."""

    @property
    def quiet(self) -> bool: ...

    @property
    def quiet_error(self) -> bool: ...

    @property
    def log_config(self) -> Any: ...


def voice_of(spec: _Speaks) -> Voice:
    """What `spec` says of logs. Raises ConfigError for a log_config that is a file, and wrong."""
    return Voice(spec.quiet, spec.quiet_error, read_log_config(spec.log_config))


def read_log_config(value: Any) -> LogConfig:
    """What `value`, as `checked_log_config` has left it, says. Raises ConfigError for a file that is wrong."""
    if isinstance(value, str) and value not in FORMS:
        parsed = parse(Path(value))
        return _read(parsed.value, Path(value).parent, parsed.place)
    return _read(value if isinstance(value, Mapping) else {"format": value}, Path.cwd(), Place())


def as_map(config: LogConfig) -> dict[str, Any]:
    """What stands in a file that says the same; only what is not usual."""
    usual = LogConfig(file="", stderr=not config.file)._asdict()
    told = {name: value for name, value in config._asdict().items() if value != usual[name]}
    return {"format" if name == "form" else name: value for name, value in told.items()}


def checked_log_config(value: Any, folder: Path, place: Place) -> str | dict[str, Any]:
    """`value` with absolute paths; what is relative is so to `folder`. Raises ConfigError for a wrong one."""
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, list) and len(value) == 1:
        [value] = value  # of the command line, which may repeat it
    if isinstance(value, Mapping):
        _read(value, folder, place)
        return {**value, "file": _absolute(value["file"], folder)} if value.get("file") else dict(value)
    if isinstance(value, str) and value in FORMS:
        return value
    if not isinstance(value, str) or not value.lower().endswith(_SUFFIXES):
        told = f"expected {', '.join(FORMS)}, a YAML file or a map with some of {', '.join(KEYS)}, got {shown(value)}"
        raise place.fault(f"{told}; for a file of log lines write file=PATH" if isinstance(value, str) else told)
    return _absolute(value, folder)


def _absolute(path: str, folder: Path) -> str:
    return os.path.normpath(folder.absolute() / os.path.expanduser(path))


def _read(value: Any, folder: Path, place: Place) -> LogConfig:
    if not isinstance(value, Mapping):
        raise place.fault(f"expected a map with some of {', '.join(KEYS)}, got {shown(value)}")
    for key in value:
        if key not in KEYS:
            raise place.down(key).fault(f"unknown key {shown(key)}: {nearest(str(key), KEYS)}")
    given = {key: item for key, item in value.items() if item is not None}
    file = given.get("file", "")
    if not isinstance(file, str) or "\0" in file or file.endswith("/"):
        raise place.down("file").fault(f"expected the path of a file, got {shown(file)}")
    usual = LogConfig()
    return LogConfig(
        form=_form(given.get("format", usual.form), place.down("format")),
        level=_level(given["level"], place.down("level")) if "level" in given else "",
        levels=_levels(given.get("levels", {}), place.down("levels")),
        file=_absolute(file, folder) if file else "",
        max_size=_size(given.get("max_size", usual.max_size), place.down("max_size")),
        keep=_count(given.get("keep", usual.keep), place.down("keep")),
        stderr=_flag(given.get("stderr", not file), place.down("stderr")),
    )


def _form(value: Any, place: Place) -> str:
    if value in FORMS:
        return str(value)
    if not isinstance(value, str) or "{" not in value:
        known = ", ".join(f"{{{name}}}" for name in FIELDS)
        raise place.fault(f"expected {', '.join(FORMS)}, or a line with some of {known}, got {shown(value)}")
    try:
        names = [name for _, name, _, _ in string.Formatter().parse(value) if name is not None]
        for name in names:
            if name not in FIELDS:
                raise place.fault(f"a log line has no {{{name}}}: {nearest(name, FIELDS)}")
        value.format(**dict.fromkeys(FIELDS, ""))
    except ValueError as error:
        if isinstance(error, ConfigError):
            raise
        raise place.fault(f"{shown(value)} is no pattern of a line: {error}") from None
    return value


def _level(value: Any, place: Place) -> str:
    level = value.upper() if isinstance(value, str) else value
    if level not in LOG_LEVELS:
        raise place.fault(f"expected one of {', '.join(LOG_LEVELS)}, got {shown(value)}")
    return str(level)


def _levels(value: Any, place: Place) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise place.fault(f"expected a map of loggers' names to levels, got {shown(value)}")
    for name in value:
        if not isinstance(name, str) or not name:
            raise place.down(name).fault(f"expected the name of a logger, got {shown(name)}")
    return {name: _level(level, place.down(name)) for name, level in value.items()}


def _size(value: Any, place: Place) -> int:
    found = _SIZE.fullmatch(str(value)) if isinstance(value, (str, int)) and not isinstance(value, bool) else None
    if found is None:
        raise place.fault(f"{_SIZES}, got {shown(value)}")
    return int(found[1]) * _UNITS[found[2]]


def _count(value: Any, place: Place) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 1000:
        raise place.fault(f"expected a whole number from 0 to 1000, got {shown(value)}")
    return value


def _flag(value: Any, place: Place) -> bool:
    if not isinstance(value, bool):
        raise place.fault(f"expected true or false, got {shown(value)}")
    return value


_LEVEL = {"type": "string", "pattern": f"^({'|'.join([*LOG_LEVELS, *map(str.lower, LOG_LEVELS)])})$"}
_SHAPE = {
    "anyOf": [
        {"enum": list(FORMS)},
        {"type": "string", "pattern": "\\.[yY][aA]?[mM][lL]$"},
        shapes.closed(
            format={"type": "string"},
            level=_LEVEL,
            levels=shapes.mapping(shapes.FILLED, _LEVEL),
            file=shapes.TEXT,
            max_size={"type": ["string", "integer"]},
            keep={"type": "integer", "minimum": 0, "maximum": 1000},
            stderr={"type": "boolean"},
        ),
    ]
}
LOG_CONFIG = Kind(
    f"{'|'.join(FORMS)}|FILE|KEY=VALUE",
    lambda value: checked_log_config(value, Path.cwd(), Place()),
    read_mapping,
    many=True,
    shape=_SHAPE,
)
