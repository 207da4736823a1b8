"""The kinds of values that options take: what is right, what a wrong one is told, how the command line spells it.

A kind's `check` returns the value in its one normal form, or raises `Unfit` with what was expected instead.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from zflow.config import devices, shapes
from zflow.config.environment import FromVariables, NumberFromVariables
from zflow.config.places import Place, shown
from zflow.config.scalars import scalar_of
from zflow.errors import ConfigError
from zflow.topology import GATEWAY, check_name

FOR_EVER = -1
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?")
_ADDRESS = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%a-z]+\]|[^:\[\]]+)(:(?P<port>[0-9]{1,5}))?")
_LOOPBACK = re.compile(r"127(\.\d{1,3}){3}")
_GROUP = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}(/shard-[0-9]{1,3}|/uses-before|/uses-after)?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Unfit(ValueError):
    """A value that is not what its message names."""


@dataclass(frozen=True)
class Kind:
    """One kind of value.

    metavar: how the command line's help shows it. check: see above. read: from a word of the command line to what
    `check` takes. choices: all of the values, where they can be listed. many: the command line may repeat it. shape:
    what JSON Schema says of such a value, never more than `check` does.
    """

    metavar: str
    check: Callable[[Any], Any]
    read: Callable[[str], Any]
    choices: tuple[str, ...] = ()
    many: bool = False
    shape: Mapping[str, Any] = field(default_factory=dict)

    def checked(self, value: Any, place: Place) -> Any:
        """`value` in its normal form. Raises ConfigError with the address of the fault."""
        try:
            return self.check(value)
        except Unfit as wrong:
            raise place.fault(f"expected {wrong}, got {shown(value)}") from None
        except ConfigError as error:
            raise place.fault(str(error), type(error)) from error


def _text(value: Any) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise Unfit("text")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Unfit("true or false")
    return value


def _read_flag(word: str) -> Any:
    return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}.get(word.lower(), word)


def _whole_number(value: Any) -> int:
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
        return value if isinstance(value, int) else number  # it may remember where it comes from
    except TypeError:
        raise Unfit("a whole number") from None


def _read_number(word: str) -> Any:
    return int(word) if re.fullmatch(r"[-+]?[0-9]{1,18}", word) else word


def whole(lowest: int, highest: int, *, metavar: str = "N") -> Kind:
    """Whole numbers from `lowest` to `highest`."""

    def check(value: Any) -> int:
        number = _whole_number(value)
        if not lowest <= number <= highest:
            raise Unfit(f"a whole number from {lowest} to {highest}")
        return number

    shape = {"type": "integer", "minimum": lowest, "maximum": highest}
    return Kind(metavar, check, _read_number, shape=shape)


def one_of(*choices: str) -> Kind:
    """One of a few words."""

    def check(value: Any) -> str:
        if value not in choices or not isinstance(value, str):
            raise Unfit(f"one of {', '.join(choices)}")
        return value

    return Kind("|".join(choices), check, str, choices, shape={"enum": list(choices)})


def _milliseconds(value: Any) -> int:
    number = _whole_number(value)
    if number != FOR_EVER and not 0 < number < 1 << 31:
        raise Unfit(f"milliseconds above 0, or {FOR_EVER} for ever")
    return number


def mapping(value: Any) -> dict[str, Any]:
    """A map with text for keys."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise Unfit("a map with names for keys")
    return dict(value)


def read_mapping(word: str) -> Any:
    """``KEY=VALUE``, where VALUE is JSON or a plain word of YAML; or a JSON object."""
    if word.lstrip().startswith("{"):
        return _json(word)
    key, found, value = word.partition("=")
    if not found or not key:
        return word
    return {key: _json(value) if value.lstrip().startswith(("[", "{", '"')) else scalar_of(value)}


def _json(word: str) -> Any:
    try:
        return json.loads(word)
    except (ValueError, RecursionError):
        return word


def _variables(value: Any) -> dict[str, str]:
    given = mapping(value)
    for name, text in given.items():
        if not _VARIABLE.fullmatch(name):
            raise ConfigError(f"{shown(name)} cannot name a variable of the environment")
        if isinstance(text, bool) or not isinstance(text, (str, int, float)) or "\0" in str(text):
            raise ConfigError(f"{name}: expected text or a number, got {shown(text)} (quote true and false)")
        if name == devices.VARIABLE:
            devices.check_devices(str(text))
    return {name: _as_text(value) for name, value in given.items()}


def _as_text(value: Any) -> str:
    if isinstance(value, NumberFromVariables):
        return FromVariables(str(int(value)), value.template)
    return value if isinstance(value, str) else str(value)


def _name(value: Any) -> str:
    check_name(value)
    return str(value)


def _needs(value: Any) -> tuple[str, ...]:
    names = (value,) if isinstance(value, str) else value
    if not isinstance(names, Sequence) or not names or not all(isinstance(name, str) for name in names):
        raise Unfit("the name of an Executor or a list of names")
    for name in names:
        if name != GATEWAY:
            check_name(name)
    return tuple(names)


def _hosts(value: Any) -> str | tuple[str, ...]:
    """One host, or several; each with or without a port."""
    if not isinstance(value, str) and isinstance(value, Sequence) and value:
        hosts = tuple(_host(item) for item in value)
        return hosts[0] if len(hosts) == 1 else hosts
    return _host(value)


def _host(value: Any) -> str:
    if not isinstance(value, str):
        raise Unfit("a host, host:port or a list of them")
    if "://" in value:
        raise ConfigError(f"{shown(value)}: write host:port without the part up to '://'")
    host, port = split_host(value)
    if not (_HOST.fullmatch(host) or _is_ipv6(host)) or port == 0:
        raise Unfit("a host name or an IP address, with ':' and a port from 1 to 65535 or without")
    return value


def _peers(value: Any) -> dict[str, list[str]]:
    """Group of replicas -> their addresses, each with a port."""
    checked = {}
    for group, hosts in mapping(value).items():
        if not _GROUP.fullmatch(group):
            told = "names no processes; write encoder, encoder/shard-0, encoder/uses-before or encoder/uses-after"
            raise ConfigError(f"{shown(group)} {told}")
        found = _hosts(hosts)
        checked[group] = [found] if isinstance(found, str) else list(found)
        for host in checked[group]:
            if split_host(host)[1] is None:
                raise ConfigError(f"{group}: {shown(host)} has no port; write host:port")
    return checked


def split_host(text: str) -> tuple[str, int | None]:
    """The host and the port in ``host:port``, ``[::1]:port`` or a bare ``host``; port 0 for a wrong one."""
    if _is_ipv6(text):
        return text, None
    found = _ADDRESS.fullmatch(text)
    if not found:
        return text, None
    port = int(found["port"]) if found["port"] else None
    return found["host"].strip("[]"), 0 if port is not None and port > 65535 else port


def is_loopback(host: str) -> bool:
    """Whether only this host is reached by `host`."""
    return host in ("localhost", "::1") or _LOOPBACK.fullmatch(host) is not None


def _is_ipv6(text: str) -> bool:
    if text.count(":") < 2:
        return False
    from ipaddress import IPv6Address  # rare, and 5 ms

    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True


def _read_list(word: str) -> Any:
    return [item.strip() for item in word.split(",")] if "," in word else word


def _bare_host(value: Any) -> str:
    host = _host(value)
    if split_host(host)[1] is not None:
        raise Unfit("a host without a port, which has an option of its own")
    return host


_SOME = {"type": "integer", "minimum": FOR_EVER, "maximum": (1 << 31) - 1, "not": {"const": 0}}
_NAMED = {**shapes.NODE, "not": {"const": GATEWAY}}
_PEERS = shapes.mapping({"type": "string", "pattern": f"^(?:{_GROUP.pattern})$"}, shapes.one_or_many(shapes.ADDRESS))
_ENV = shapes.mapping({"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$"}, {"type": ["string", "number"]})

TEXT = Kind("TEXT", _text, str, shape=shapes.TEXT)
FLAG = Kind("", _flag, _read_flag, shape={"type": "boolean"})
MILLISECONDS = Kind("MS", _milliseconds, _read_number, shape=_SOME)
PORT = whole(0, 65535, metavar="PORT")
VARIABLES = Kind("NAME=VALUE", _variables, read_mapping, many=True, shape=_ENV)
NAME = Kind("NAME", _name, str, shape=_NAMED)
NEEDS = Kind("NAME", _needs, _read_list, many=True, shape=shapes.one_or_many(shapes.NODE))
HOSTS = Kind("HOST", _hosts, _read_list, many=True, shape=shapes.one_or_many(shapes.HOST))
PEERS = Kind("NAME=HOST:PORT", _peers, read_mapping, many=True, shape=_PEERS)
HOST = Kind("HOST", _bare_host, str, shape=shapes.HOST)
