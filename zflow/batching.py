"""Which requests may wait for each other to be run as one: `@dynamic_batching`, and the same options as a table.

The decorator only leaves a mark on the function, above or below `@requests`. A table (``uses_dynamic_batching`` in
Python and on the command line, ``dynamic_batching`` in an Executor's YAML) names endpoints or methods and gives some
of the same options; it wins over the decorator, and an endpoint's entry over its method's, key by key.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import FunctionType
from typing import Any, TypeVar, overload

from zflow.config.places import Place, shown
from zflow.errors import nearest

MARK = "_zflow_batching"

Table = dict[str, dict[str, Any]]
Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Batching:
    """How the requests of one endpoint are put together.

    preferred_batch_size: so many Documents (or so much cost) are a batch, which no call exceeds; None: whatever has
    come by the timeout. timeout: milliseconds that the first request of a batch waits for company at the most.
    flush_all: a call gets everything that waits, however much. custom_metric: the cost of a Document, to be summed
    up where Documents would be counted; use_custom_metric: whether it is (None: where there is one).
    use_dynamic_batching: False switches all of it off.
    """

    preferred_batch_size: int | None = None
    timeout: float = 10_000
    flush_all: bool = False
    custom_metric: Callable[[Any], float] | None = None
    use_custom_metric: bool | None = None
    use_dynamic_batching: bool = True

    @property
    def metric(self) -> Callable[[Any], float] | None:
        """What measures a Document; None where Documents are counted."""
        return None if self.use_custom_metric is False else self.custom_metric


OPTIONS = tuple(item.name for item in dataclasses.fields(Batching))


@overload
def dynamic_batching(function: Function) -> Function: ...
@overload
def dynamic_batching(
    *,
    preferred_batch_size: int | None = None,
    timeout: float = 10_000,
    flush_all: bool = False,
    custom_metric: Callable[[Any], float] | None = None,
    use_custom_metric: bool | None = None,
    use_dynamic_batching: bool = True,
) -> Callable[[Function], Function]: ...
def dynamic_batching(function: Any = None, **options: Any) -> Callable[..., Any]:
    """Give the Documents of several waiting requests with equal parameters to the method in one call.

    The method gets at most `preferred_batch_size` Documents and must leave or return as many, in the same order; what
    it raises is told to every request whose Documents it had. A request waits at most `timeout` milliseconds for
    company, and less where the time given to it is short. The options are those of `Batching`. Raises ConfigError for
    a wrong one.
    """

    def mark(function: Any) -> Any:
        if not isinstance(function, FunctionType):
            raise TypeError(f"@dynamic_batching belongs on a plain method, beside @requests; got {function!r}")
        if MARK in vars(function):
            raise TypeError(f"{function.__qualname__} has two @dynamic_batching; give all options in one")
        place = Place(f"{function.__qualname__}: @dynamic_batching")
        setattr(function, MARK, merged(Batching(), checked_options(options, place), place))
        return function

    return mark if function is None else mark(function)


def checked_batching(table: Any, place: Place) -> Table:
    """`table` (endpoint or method -> options) as dicts. Raises ConfigError for a wrong name or option, naming it."""
    if not isinstance(table, Mapping):
        raise place.fault(f"expected a map of endpoints or methods to options, got {shown(table)}")
    for name in table:
        if not isinstance(name, str) or not (name.startswith("/") or name.isidentifier()):
            raise place.down(name).fault(
                f"expected an endpoint such as '/encode', or a method's name, got {shown(name)}"
            )
    return {name: checked_options(options, place.down(name)) for name, options in table.items()}


def checked_options(options: Any, place: Place) -> dict[str, Any]:
    """Some of the options of `Batching` as a dict. Raises ConfigError for a wrong key or value, naming it."""
    if not isinstance(options, Mapping):
        raise place.fault(f"expected a map with some of {', '.join(OPTIONS)}, got {shown(options)}")
    for key, value in options.items():
        if key not in OPTIONS:
            raise place.down(key).fault(f"unknown key {shown(key)}: {nearest(str(key), OPTIONS)}")
        fits, expected = _KINDS[key]
        if not fits(value):
            raise place.down(key).fault(f"expected {expected}, got {shown(value)}")
    return dict(options)


def joined(first: Mapping[str, Mapping[str, Any]], second: Mapping[str, Mapping[str, Any]]) -> Table:
    """Two tables as one; the second wins, key by key."""
    return {name: {**first.get(name, {}), **second.get(name, {})} for name in (*first, *second)}


def merged(base: Batching, options: Mapping[str, Any], place: Place) -> Batching:
    """`base` with other `options`. Raises ConfigError where they contradict each other."""
    made = replace(base, **options)
    if made.use_custom_metric and made.custom_metric is None:
        told = "there is no custom_metric to be used"
        raise place.down("use_custom_metric").fault(
            f"{told}; give the function to @dynamic_batching(custom_metric=...)"
        )
    return made


def _is_size(value: Any) -> bool:
    return value is None or (type(value) is int and 1 <= value <= 1 << 31)


def _is_duration(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < 1 << 31


def _is_metric(value: Any) -> bool:
    return value is None or callable(value)


_FLAG = (lambda value: isinstance(value, bool), "true or false")
_KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "preferred_batch_size": (_is_size, "a whole number from 1, or nothing for no limit"),
    "timeout": (_is_duration, "milliseconds from 0"),
    "flush_all": _FLAG,
    "custom_metric": (
        lambda value: value is None or callable(value),
        "a function of a Document, which only Python can give",
    ),
    "use_custom_metric": (lambda value: value is None or isinstance(value, bool), "true or false"),
    "use_dynamic_batching": _FLAG,
}
