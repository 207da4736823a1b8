"""The kinds of values that options of an Executor take, where these are about its class and its place in a Flow."""

from __future__ import annotations

import os
from typing import Any

from zflow.batching import checked_batching
from zflow.config import keys as key_files
from zflow.config import shapes
from zflow.config.definition import Folder, checked_arguments, checked_modules, checked_uses
from zflow.config.kinds import TEXT, Kind, mapping, read_mapping
from zflow.config.places import Place
from zflow.executor import checked_metas, checked_requests

_HERE = Place()  # an option's own name says enough where Python gave it


def _checked_condition(value: Any) -> dict[str, Any]:
    """A condition as it arrives where it is applied: of plain values. Raises ConfigError."""
    from zflow.wire.conditions import encode_condition  # Documents take 40 ms, which the help of a command has not
    from zflow.wire.payload import decode_map

    return decode_map(encode_condition(mapping(value)))


def _checked_folder(value: Any) -> Any:
    return TEXT.check(os.fspath(value) if isinstance(value, os.PathLike) else value)


def _checked_server_keys(value: Any) -> str | tuple[str, ...]:
    if isinstance(value, (list, tuple)):
        return tuple(key_files.checked_key(item) for item in value)
    return "" if value == "" else key_files.checked_key(value)


def _whole_path(folder: str) -> str:
    """What it means here and now: processes may run elsewhere, and a program may change its directory."""
    return os.path.abspath(os.path.expanduser(folder)) if folder else ""


USES = Kind("CLASS|FILE|HUB|IMAGE", lambda value: checked_uses(value, Folder.current(), _HERE), str, shape=shapes.USES)
ARGUMENTS = Kind(
    "KEY=VALUE", lambda value: checked_arguments(value, _HERE), read_mapping, many=True, shape=shapes.ARGUMENTS
)
METAS = Kind("KEY=VALUE", lambda value: checked_metas(value, _HERE), read_mapping, many=True, shape=shapes.METAS)
REQUESTS = Kind(
    "/ENDPOINT=METHOD", lambda value: checked_requests(value, _HERE), read_mapping, many=True, shape=shapes.REQUESTS
)
BATCHING = Kind(
    "/ENDPOINT|METHOD=JSON",
    lambda value: checked_batching(value, _HERE),
    read_mapping,
    many=True,
    shape=shapes.BATCHING,
)
MODULES = Kind(
    "FILE|MODULE",
    lambda value: checked_modules(value, Folder.current(), _HERE),
    str,
    many=True,
    shape=shapes.MODULES,
)
WHEN = Kind("CONDITION", lambda value: _checked_condition(value), read_mapping, shape={"type": "object"})
SERVER_KEY = Kind(
    "KEY", lambda value: _checked_server_keys(value), str, shape=shapes.one_or_many({"type": "string"}, 0)
)
FOLDER = Kind("FOLDER", lambda value: _whole_path(_checked_folder(value)), str, shape=shapes.TEXT)
