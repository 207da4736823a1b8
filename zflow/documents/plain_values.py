"""Plain values: what may stand in tags, parameters and results, and so travel as msgpack.

None, bool, int of 64 bits, float, str, bytes up to 64 KiB, lists, and dicts with str keys, at most MAX_DEPTH deep.
On the way out tuples become lists, numpy's numbers Python's, and subclasses (an IntEnum, an OrderedDict) what they are
kinds of. Nothing else is guessed at: a date, a set or an array is refused, with its path and what to write instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any

from zflow.documents.limits import MAX_DEPTH, MAX_INLINE, MAX_KEY, MAX_STRING

_SCALARS = frozenset((type(None), bool, int, float, str))
_INSTEAD = {
    "ndarray": "write .tolist(), or put it into a Document's tensor",
    "set": "write sorted(...)",
    "frozenset": "write sorted(...)",
    "datetime": "write .isoformat()",
    "date": "write .isoformat()",
    "timedelta": "write .total_seconds()",
    "Decimal": "write str(...) or float(...)",
    "UUID": "write str(...)",
    "PosixPath": "write str(...)",
    "Document": "return Documents as the docs",
    "DocumentArray": "return Documents as the docs",
}


class Untravelable(Exception):
    """A value that cannot travel: `path` leads to it, `reason` says why and what to do."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


def are_flat(maps: Iterable[dict[str, Any]]) -> bool:
    """Whether `maps` are dicts of nothing but str keys and simple values: the common case, told at the speed of C."""
    listed = list(maps)
    if not set(map(type, listed)) <= {dict}:
        return False
    keys: set[Any] = set().union(*listed)
    if not set(map(type, keys)) <= {str} or any(len(key) > MAX_KEY // 4 for key in keys):
        return False
    return set(map(type, chain.from_iterable(map(dict.values, listed)))) <= _SCALARS


def plain(value: Any, path: str, depth: int = 0) -> Any:
    """`value` as msgpack shall have it. Raises Untravelable with the path of what cannot be."""
    kind = type(value)
    if kind in _SCALARS:
        return value
    if isinstance(value, (Mapping, list, tuple)):
        if depth == MAX_DEPTH:
            raise Untravelable(path, f"more than {MAX_DEPTH} containers within each other; flatten it")
        if isinstance(value, Mapping):
            return {_key(key, path): plain(item, f"{path}[{key!r}]", depth + 1) for key, item in value.items()}
        if set(map(type, value)) <= _SCALARS:
            return list(value)
        return [plain(item, f"{path}[{at}]", depth + 1) for at, item in enumerate(value)]
    if isinstance(value, (bytes, bytearray)):
        if len(value) > MAX_INLINE:
            raise Untravelable(path, f"{len(value)} bytes, of at most {MAX_INLINE}; put them into a Document's blob")
        return bytes(value)
    for base in (str, bool, int, float):
        if isinstance(value, base):
            return base(value) if base is not str else str.__str__(value)
    if getattr(value, "shape", None) == () and hasattr(value, "item"):  # numpy's numbers
        number = value.item()
        if type(number) in _SCALARS:
            return number
    instead = _INSTEAD.get(kind.__name__, "use None, bool, int, float, str, bytes, lists and dicts of them")
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    raise Untravelable(path, f"{name} cannot travel; {instead}")


def check_scalars(value: Any, path: str) -> None:
    """Looks into a `plain` value for what only msgpack's own limits refuse. Raises Untravelable for the first found."""
    if isinstance(value, dict):
        for key, item in value.items():
            check_scalars(key, f"{path} (a key)")
            check_scalars(item, f"{path}[{key!r}]")
    elif isinstance(value, list):
        for at, item in enumerate(value):
            check_scalars(item, f"{path}[{at}]")
    elif type(value) is int and not -(1 << 63) <= value < 1 << 64:
        raise Untravelable(path, "an int of more than 64 bits; write str(...)")
    elif isinstance(value, str):
        try:
            size = len(value.encode())
        except UnicodeEncodeError as error:
            raise Untravelable(path, f"text that is no Unicode ({error.reason})") from None
        if size > MAX_STRING:
            raise Untravelable(path, f"{size} bytes of text, of at most {MAX_STRING}; put them into a Document's blob")


def foreign_fault(value: Any, depth: int = 0) -> str | None:
    """What is wrong with a decoded value, None if nothing is: for bytes that somebody else made."""
    if isinstance(value, dict):
        if depth == MAX_DEPTH:
            return f"more than {MAX_DEPTH} containers within each other"
        for key, item in value.items():
            if type(key) is not str:
                return f"a key is {type(key).__name__}, not str"
            if len(key) > MAX_KEY // 4 and len(key.encode()) > MAX_KEY:
                return f"a key has more than {MAX_KEY} bytes"
            if type(item) not in _SCALARS and (fault := foreign_fault(item, depth + 1)):
                return fault
    elif type(value) is list:
        if depth == MAX_DEPTH:
            return f"more than {MAX_DEPTH} containers within each other"
        for item in value:
            if type(item) not in _SCALARS and (fault := foreign_fault(item, depth + 1)):
                return fault
    elif type(value) is not bytes and type(value) not in _SCALARS:
        return f"a {type(value).__name__} (an extension type of msgpack)"
    return None


def count_items(value: Any) -> int:
    """Array elements and, twice, map entries within `value`: what MAX_ITEMS bounds."""
    if type(value) is dict:
        return 2 * len(value) + sum(count_items(item) for item in value.values() if type(item) in (dict, list))
    return len(value) + sum(count_items(item) for item in value if type(item) in (dict, list))


def _key(key: object, path: str) -> str:
    if not isinstance(key, str):
        raise Untravelable(f"{path}[{key!r}]", f"the key is {type(key).__name__}, not str")
    if len(key) > MAX_KEY // 4 and len(key.encode("utf-8", "replace")) > MAX_KEY:
        raise Untravelable(f"{path}[{key[:20]!r}...]", f"the key has more than {MAX_KEY} bytes")
    return str.__str__(key)
