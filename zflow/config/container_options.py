"""What may be asked of the container of an Executor: the kinds of its options, and what Docker calls them.

``docker_kwargs`` are options of ``docker run`` with underscores, or what Docker's library for Python calls them. What
only zflow can decide, because it starts and ends the container, is refused with the option of zflow that does it.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from zflow.config import shapes
from zflow.config.kinds import Kind, Unfit, mapping, read_mapping
from zflow.config.places import shown
from zflow.errors import ConfigError, nearest

_GPUS = re.compile(r"all|[1-9][0-9]{0,3}|device=[A-Za-z0-9][A-Za-z0-9-]*(,[A-Za-z0-9][A-Za-z0-9-]*)*")

_WHICH_GPUS = "all, how many, or which: device=0,1"

# What a value may be, and what joins the two halves of an entry of a map.
_TEXT, _SWITCH, _MANY = "text", "switch", "many"
_KWARGS: dict[str, tuple[str, str]] = {
    "add_host": (_MANY, ":"),
    "cap_add": (_MANY, ""),
    "cap_drop": (_MANY, ""),
    "cpus": (_TEXT, ""),
    "cpu_shares": (_TEXT, ""),
    "device": (_MANY, ""),
    "dns": (_MANY, ""),
    "group_add": (_MANY, ""),
    "hostname": (_TEXT, ""),
    "init": (_SWITCH, ""),
    "ipc": (_TEXT, ""),
    "label": (_MANY, "="),
    "log_driver": (_TEXT, ""),
    "log_opt": (_MANY, "="),
    "memory": (_TEXT, ""),
    "memory_swap": (_TEXT, ""),
    "mount": (_MANY, ""),
    "network": (_TEXT, ""),
    "pid": (_TEXT, ""),
    "pids_limit": (_TEXT, ""),
    "platform": (_TEXT, ""),
    "privileged": (_SWITCH, ""),
    "pull": (_TEXT, ""),
    "read_only": (_SWITCH, ""),
    "runtime": (_TEXT, ""),
    "security_opt": (_MANY, ""),
    "shm_size": (_TEXT, ""),
    "sysctl": (_MANY, "="),
    "tmpfs": (_MANY, ":"),
    "ulimit": (_MANY, "="),
    "user": (_TEXT, ""),
    "userns": (_TEXT, ""),
    "workdir": (_TEXT, ""),
}
_OTHER_NAMES = {
    "devices": "device",
    "extra_hosts": "add_host",
    "ipc_mode": "ipc",
    "labels": "label",
    "mem_limit": "memory",
    "memswap_limit": "memory_swap",
    "network_mode": "network",
    "pid_mode": "pid",
    "sysctls": "sysctl",
    "ulimits": "ulimit",
    "userns_mode": "userns",
    "working_dir": "workdir",
}
_NOT_HERE = {
    "command": "zflow tells the container what to serve; give uses_with, and entrypoint for the program",
    "cpuset_cpus": "give cpus=[0, 1] to the Executor",
    "detach": "zflow watches its containers itself",
    "device_requests": "give gpus to the Executor",
    "entrypoint": "give entrypoint to the Executor",
    "env": "give env to the Executor",
    "environment": "give env to the Executor",
    "gpus": "give gpus to the Executor",
    "image": "give it in uses: docker://image:tag",
    "name": "containers are named after the Executor and its Flow",
    "ports": "no port leads into the container; give the Flow port, or the Deployment port_in",
    "publish": "no port leads into the container; give the Flow port, or the Deployment port_in",
    "remove": "zflow leaves no container behind",
    "restart": "zflow starts it again itself",
    "restart_policy": "zflow starts it again itself",
    "rm": "zflow leaves no container behind",
    "volume": "give volumes to the Executor",
    "volumes": "give volumes to the Executor",
}


class Volume(NamedTuple):
    """A folder or file of this machine, and where it is in the container."""

    source: str
    target: str
    read_only: bool

    @classmethod
    def of(cls, text: str) -> Volume:
        """What `checked_volumes` has made."""
        source, target, *mode = text.split(":")
        return cls(source, target, mode == ["ro"])


def checked_volumes(value: Any, folder: Path) -> tuple[str, ...]:
    """``SOURCE:/in/the/container``, with ``:ro`` or without, each with its whole path here.

    A source alone lies in the root of the container, by its own name. folder: what relative sources are relative to.
    """
    given = (value,) if isinstance(value, (str, os.PathLike)) else value
    if not isinstance(given, Sequence):
        raise Unfit("a folder, folder:/in/the/container or a list of them")
    return tuple(_checked_volume(item, folder) for item in given)


def _checked_volume(value: Any, folder: Path) -> str:
    text = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(text, str) or not text or "\0" in text:
        raise Unfit("a folder, folder:/in/the/container or a list of them")
    source, *rest = text.split(":")
    if not source or len(rest) > 2 or (len(rest) == 2 and rest[1] not in ("ro", "rw")):
        raise ConfigError(f"{shown(text)}: write FOLDER:/IN/THE/CONTAINER, and :ro behind it for one that is only read")
    path = os.path.normpath(folder.absolute() / os.path.expanduser(source))
    target = os.path.normpath(rest[0]) if rest else f"/{os.path.basename(path)}"
    if not os.path.isabs(target) or target == "/":
        raise ConfigError(
            f"{shown(text)}: {shown(target)} is no place in a container; write a whole path, such as /data"
        )
    return f"{path}:{target}:ro" if rest[1:] == ["ro"] else f"{path}:{target}"


def relative_volumes(volumes: Sequence[str], folder: Path) -> list[str]:
    """The same for a YAML file in `folder`: what lies in it is named from there."""
    made = []
    for text in volumes:
        source, colon, rest = text.partition(":")
        inside = Path(source).is_relative_to(folder)
        made.append(f"{os.path.relpath(source, folder) if inside else source}{colon}{rest}")
    return made


def _checked_gpus(value: Any) -> str:
    several = isinstance(value, (list, tuple))
    items = value if several else [value]
    if any(isinstance(item, bool) or not isinstance(item, (str, int)) for item in items):
        raise Unfit(_WHICH_GPUS)
    text = ",".join(map(str, items))
    if not _GPUS.fullmatch(f"device={text}" if several else text):
        raise Unfit(_WHICH_GPUS)
    return f"device={text}" if several else text


def _checked_entrypoint(value: Any) -> tuple[str, ...]:
    try:
        words = shlex.split(value) if isinstance(value, str) else value
    except ValueError as error:
        raise ConfigError(f"{shown(value)}: {error}") from None
    if not isinstance(words, (list, tuple)) or not words or not all(isinstance(w, str) and w for w in words):
        raise Unfit("a program with its arguments, or a list of words")
    if any("\0" in word for word in words):
        raise Unfit("words without NUL")
    return tuple(words)


def _checked_kwargs(value: Any) -> dict[str, Any]:
    checked: dict[str, Any] = {}
    for name, item in mapping(value).items():
        if name in _NOT_HERE:
            raise ConfigError(f"{name} is not for docker_kwargs: {_NOT_HERE[name]}")
        known = _OTHER_NAMES.get(name, name)
        if known not in _KWARGS:
            raise ConfigError(f"unknown name {shown(name)}: {nearest(name, [*_KWARGS, *_OTHER_NAMES])}")
        if known in checked:
            raise ConfigError(f"{name} and {known} are one option; give it once")
        checked[known] = _checked_kwarg(name, item, *_KWARGS[known])
    return checked


def _checked_kwarg(name: str, value: Any, kind: str, joint: str) -> Any:
    if kind == _SWITCH:
        if not isinstance(value, bool):
            raise ConfigError(f"{name}: expected true or false, got {shown(value)}")
        return value
    if kind == _TEXT:
        return _word(name, value)
    if isinstance(value, Mapping) and joint:
        return [
            f"{_word(name, key)}{joint}{_word(name, item)}" if item else _word(name, key) for key, item in value.items()
        ]
    items = [value] if isinstance(value, (str, int)) else value
    if isinstance(items, Mapping) or not isinstance(items, Sequence):
        raise ConfigError(f"{name}: expected text or a list of it, got {shown(value)}")
    return [_word(name, item) for item in items]


def _word(name: str, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)) or value == "" or "\0" in str(value):
        raise ConfigError(f"{name}: expected text or a number, got {shown(value)}")
    return str(value)


_FILLED: shapes.Shape = {"type": "string", "pattern": "^[^\\u0000]+$"}
_VALUE: shapes.Shape = {"anyOf": [_FILLED, {"type": "number"}]}
_SOURCE_ALONE, _SOURCE_AND_TARGET = "[^:\\u0000]*[^:/\\u0000][^:\\u0000]*", "[^:\\u0000]+:/[^:\\u0000]+(:r[ow])?"
_VOLUME: shapes.Shape = {"type": "string", "pattern": f"^({_SOURCE_ALONE}|{_SOURCE_AND_TARGET})$"}
_GPU_NAME: shapes.Shape = {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9-]*$"}
_GPU: shapes.Shape = {"anyOf": [{"type": "integer", "minimum": 0}, _GPU_NAME]}
_COUNT: shapes.Shape = {"type": "integer", "minimum": 1, "maximum": 9999}


def _shape(kind: str, joint: str) -> shapes.Shape:
    if kind == _SWITCH:
        return {"type": "boolean"}
    if kind == _TEXT:
        return _VALUE
    one = {"anyOf": [_FILLED, {"type": "integer"}]}
    maps = [shapes.mapping(_FILLED)] if joint else []
    return {"anyOf": [one, {"type": "array", "items": _VALUE}, *maps]}


VOLUMES = Kind(
    "FOLDER[:PATH[:ro]]",
    lambda value: checked_volumes(value, Path.cwd()),
    str,
    many=True,
    shape=shapes.one_or_many(_VOLUME, 0),
)
GPUS = Kind(
    "all|N|device=0,1",
    _checked_gpus,
    str,
    shape={
        "anyOf": [
            _COUNT,
            {"type": "string", "pattern": f"^({_GPUS.pattern})$"},
            {"type": "array", "items": _GPU, "minItems": 1},
        ]
    },
)
ENTRYPOINT = Kind(
    "WORDS",
    _checked_entrypoint,
    str,
    shape={"anyOf": [{"type": "string", "pattern": "\\S"}, {"type": "array", "items": _FILLED, "minItems": 1}]},
)
DOCKER_KWARGS = Kind(
    "NAME=VALUE",
    _checked_kwargs,
    read_mapping,
    many=True,
    shape=shapes.closed(**{name: _shape(*_KWARGS[_OTHER_NAMES.get(name, name)]) for name in (*_KWARGS, *_OTHER_NAMES)}),
)
