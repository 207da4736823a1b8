"""Which method answers which request: the `@requests` decorator, and the table of endpoints of a class.

The decorator only leaves a mark on the function. The table is worked out from the marks whenever it is needed, because
a class that travelled by value (cloudpickle) gets its methods after it was made.
"""

from __future__ import annotations

import inspect
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import FunctionType
from typing import Any, NamedTuple, TypeVar, overload

from zflow.batching import MARK, Batching, Table, merged
from zflow.config.places import Place
from zflow.errors import ConfigError, nearest

DEFAULT = "/default"

_PASSED = frozenset({"docs", "parameters", "docs_matrix", "docs_map"})  # what any endpoint may take
_PER_DOC = frozenset({"doc", "parameters"})  # what a `doc` method gets by **kwargs: the rest belongs to whole requests
_ENDPOINT = re.compile(r"/[A-Za-z0-9_./-]{0,127}")  # what the protocol can carry
_order = itertools.count()

Function = TypeVar("Function", bound=Callable[..., Any])


class Mark(NamedTuple):
    """What `@requests` writes on a function. `order` tells which of several was defined last."""

    on: tuple[str, ...]
    idempotent: bool
    order: int


@overload
def requests(function: Function) -> Function: ...
@overload
def requests(*, on: str | Sequence[str] | None = None, idempotent: bool = False) -> Callable[[Function], Function]: ...
def requests(
    function: Any = None, *, on: str | Sequence[str] | None = None, idempotent: bool = False
) -> Callable[..., Any]:
    """Make a method answer requests: ``@requests`` for every endpoint nobody else answers, or ``@requests(on='/a')``.

    on: one endpoint or several. Of two methods on one endpoint, the one defined last answers. idempotent: the method
    may run more than once for one request, so a request that may have been lost is sent again.
    """

    def mark(function: Any) -> Any:
        if not isinstance(function, FunctionType):
            raise TypeError(f"@requests belongs on a plain method, above or below other decorators; got {function!r}")
        if hasattr(function, "_zflow_requests"):
            raise TypeError(f"{function.__qualname__} has two @requests; name all endpoints in one: on=['/a', '/b']")
        function._zflow_requests = Mark(_endpoints(on, function.__qualname__), idempotent, next(_order))  # type: ignore[attr-defined]
        return function

    return mark if function is None else mark(function)


def _endpoints(on: str | Sequence[str] | None, where: str) -> tuple[str, ...]:
    names = (DEFAULT,) if on is None else (on,) if isinstance(on, str) else tuple(on)
    if not names:
        raise TypeError(f"{where}: on=[] names no endpoint; leave `on` out to answer every endpoint")
    for name in names:
        if problem := endpoint_problem(name):
            raise ConfigError(f"{where}: {problem}")
    return names


def endpoint_problem(name: object) -> str:
    """Why `name` cannot be an endpoint; empty if it can."""
    if isinstance(name, str) and _ENDPOINT.fullmatch(name):
        return ""
    slash_is_missing = isinstance(name, str) and name and _ENDPOINT.fullmatch(f"/{name}")
    hint = f"write '/{name}'" if slash_is_missing else "it must be '/' and at most 127 letters, digits and '_./-'"
    return f"{name!r:.80} is no endpoint: {hint}"


@dataclass(frozen=True)
class Endpoint:
    """One endpoint of an Executor.

    wants: which of docs, parameters, docs_matrix, docs_map and doc `function` takes. per_doc: it takes `doc`, so it is
    called once for each Document. is_generator: it yields its answers. batching: how its requests are put together;
    None: each is run alone.
    """

    name: str
    function: Callable[..., Any]
    wants: frozenset[str]
    per_doc: bool
    is_async: bool
    is_generator: bool
    idempotent: bool
    batching: Batching | None = None


def _endpoint(name: str, function: Any, idempotent: bool) -> Endpoint:
    wants = _wanted(function)
    return Endpoint(
        name=name,
        function=function,
        wants=wants,
        per_doc="doc" in wants,
        is_async=inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function),
        is_generator=inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function),
        idempotent=idempotent,
    )


def _wanted(function: Any) -> frozenset[str]:
    """The arguments `function` takes, seen through decorators. Raises TypeError for one that nobody could give."""
    _, *parameters = inspect.signature(function, follow_wrapped=False).parameters.values() or (None,)
    named = set()
    anything = False
    for parameter in parameters:
        anything = anything or parameter.kind is parameter.VAR_KEYWORD
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        if parameter.name in _PASSED or parameter.name == "doc":
            if parameter.kind is parameter.POSITIONAL_ONLY:
                raise TypeError(f"{function.__qualname__}: {parameter.name!r} must not be positional-only")
            named.add(parameter.name)
        elif parameter.default is parameter.empty:
            told = f"{function.__qualname__} takes {parameter.name!r}, which no request brings"
            raise TypeError(f"{told}: {nearest(parameter.name, _PASSED | {'doc'})}")
    if {"doc", "docs"} <= named:
        raise TypeError(
            f"{function.__qualname__} takes both 'doc' (called for each) and 'docs' (called once); take one"
        )
    if not anything:
        return frozenset(named)
    inner = getattr(function, "__wrapped__", None)
    if inner is not None:  # a decorator's wrapper that takes anything and hands it on
        return _wanted(inner).union(named)
    return (_PER_DOC if "doc" in named else _PASSED).union(named)


def endpoints_of(
    cls: type, remapped: Mapping[str, str] | None = None, batching: Table | None = None
) -> dict[str, Endpoint]:
    """What `cls` answers, by endpoint: its own decorated methods over inherited ones, then `remapped`.

    An override without a decorator answers where the method it overrides did; one with a decorator only where that
    says. remapped: endpoint -> name of a method, decorated or not, which leaves its former endpoints for these.
    batching: options of dynamic batching by endpoint or method.
    """
    table: dict[str, str] = {}
    marks: dict[str, Mark] = {}
    for owner in reversed(cls.__mro__):
        for method, mark in _marked(owner):
            table = {on: other for on, other in table.items() if other != method}
            table.update(dict.fromkeys(mark.on, method))
            marks[method] = mark
    if remapped:
        moved = set(remapped.values())
        table = {on: method for on, method in table.items() if method not in moved}
        table.update(remapped)
    made = {
        on: _endpoint(on, _function(cls, method), marks[method].idempotent if method in marks else False)
        for on, method in table.items()
    }
    return _with_batching(cls, made, table, batching or {})


def _marked(owner: type) -> list[tuple[str, Mark]]:
    """The decorated methods of a class body, in the order in which they were defined."""
    found = []
    for name, value in vars(owner).items():
        mark = getattr(getattr(value, "__func__", value), "_zflow_requests", None)
        if isinstance(mark, Mark):
            if isinstance(value, (staticmethod, classmethod)):
                raise TypeError(f"{owner.__name__}.{name}: @requests methods take self; remove @{type(value).__name__}")
            found.append((name, mark))
    return sorted(found, key=lambda item: item[1].order)


def _function(cls: type, method: str) -> FunctionType:
    function = inspect.getattr_static(cls, method, None)
    if not isinstance(function, FunctionType):
        known = [name for name in dir(cls) if isinstance(getattr(cls, name, None), FunctionType) and name[0] != "_"]
        raise ConfigError(f"requests: {cls.__name__} has no method {method!r}: {nearest(method, known)}")
    return function


def _with_batching(
    cls: type, endpoints: dict[str, Endpoint], methods: Mapping[str, str], given: Table
) -> dict[str, Endpoint]:
    """The endpoints with what decorators and `given` say of their batching. Raises ConfigError, or TypeError where a
    decorator asks for what the method cannot do."""
    known = {*endpoints, *methods.values()}
    for name in given:
        if name not in known:
            told = f"{cls.__name__} has no endpoint and no method with an endpoint {name!r}"
            raise ConfigError(f"dynamic_batching: {told}: {nearest(name, known)}")
    for on, method in methods.items():
        options = {**given.get(method, {}), **given.get(on, {})}
        marked = _batching_mark(cls, method)
        is_given = method in given or on in given
        if marked is None and not is_given:
            continue
        asked = merged(marked or Batching(), options, Place("dynamic_batching", (on,)))
        if asked.use_dynamic_batching:
            if problem := _why_not_batched(endpoints[on]):
                function = endpoints[on].function.__qualname__
                raise (ConfigError if is_given else TypeError)(f"{function}: dynamic batching {problem}")
            endpoints[on] = replace(endpoints[on], batching=asked)
    return endpoints


def _batching_mark(cls: type, method: str) -> Batching | None:
    """What the most derived decorated form of `method` says: an override without decorators is batched as before."""
    for owner in cls.__mro__:
        marks = getattr(vars(owner).get(method), "__dict__", {})
        if MARK in marks or "_zflow_requests" in marks:
            found: Batching | None = marks.get(MARK)
            return found
    return None


def _why_not_batched(endpoint: Endpoint) -> str:
    """Why the Documents of several requests cannot be given to this method at once; empty if they can."""
    if endpoint.per_doc:
        return "gives a method many Documents at once, and it takes one; let it take docs instead of doc"
    if endpoint.is_generator:
        return "needs all answers at once, and it yields them; remove one of the two"
    if alone := sorted(_named(endpoint.function) & {"docs_matrix", "docs_map"}):
        told = f"puts requests together, and {alone[0]} belongs to a single one"
        return f"{told}; take docs, or switch it off with use_dynamic_batching=False"
    if "docs" not in endpoint.wants:
        return "puts the Documents of requests together, and it takes none; let it take docs"
    return ""


def _named(function: Any) -> set[str]:
    """The arguments that `function`, or what it decorates, takes by name."""
    named = set(inspect.signature(function, follow_wrapped=False).parameters)
    inner = getattr(function, "__wrapped__", None)
    return named if inner is None else named | _named(inner)
