"""What a role still holds: every unsettled call, walk and payload that can be reached from it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from zflow.roles.timers import Timers
from zflow.wire.frames import Part
from zflow.wire.header import Message


def leftovers(role: object) -> list[object]:
    """Calls, walks, messages and payload parts that `role` can reach. A timer may keep a call that is settled."""
    found: list[object] = []
    seen: set[int] = set()
    waiting = [role]
    while waiting:
        item = waiting.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, (Message, Part)) or type(item).__name__ in ("Call", "_Call", "Walk"):
            found.append(item)
        waiting.extend(_inside(item))
    return found


def _inside(item: Any) -> Iterable[Any]:
    if isinstance(item, Timers):
        return [call for _, _, call in item._heap if call.request is not None]
    if isinstance(item, Mapping):
        return [*item.keys(), *item.values()]
    if isinstance(item, (list, tuple, set, frozenset, deque)):
        return item
    if type(item).__module__.startswith("zflow.roles."):
        return _attributes(item)
    return ()


def _attributes(item: Any) -> Iterator[Any]:
    yield from getattr(item, "__dict__", {}).values()
    for kind in type(item).__mro__:
        for name in getattr(kind, "__slots__", ()):
            yield getattr(item, name, None)
