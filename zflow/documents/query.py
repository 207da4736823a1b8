"""Conditions on documents: ``{"tags__kind": {"$eq": "photo"}, "weight": {"$gt": 0.5}}``.

Used by `DocumentArray.find` and by `when`. A condition is a dict: keys are fields, with ``__`` leading into tags,
scores and lists, or ``$and``, ``$or`` (a list of conditions) and ``$not`` (one); the entries of a dict must all hold.
The value is one to be equal to, or a dict of operators. A missing value is unequal to everything, smaller and greater
than nothing, and in no list. A condition is compiled once into a function; nothing in it is ever evaluated as code, and
its size and depth are bounded. Regular expressions are Python's, whose time is not: take them from whom you trust.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from zflow.documents.arrays import is_ndarray, same_array
from zflow.documents.document import is_given
from zflow.documents.fields import FIELDS, STRINGS
from zflow.documents.scores import NamedScore
from zflow.errors import ConfigError, InvalidDocument, nearest

if TYPE_CHECKING:
    from zflow.documents.document import Document

Test = Callable[["Document"], bool]

MAX_DEPTH = 16
MAX_CONDITIONS = 1_000
MAX_REGEX = 1_000  # characters

_MISSING = object()
_NO_TEXT = type("NoText", (str,), {})()  # equal to "", and yet known to be missing
_TEXTS = ("text", *STRINGS)
_PROPERTIES = ("id", "text", "blob", "content", "content_type")  # the rest is read without making empty containers
_FIELD_NAMES = (*FIELDS, "content", "content_type")


def compile_query(query: Mapping[str, Any]) -> Test:
    """The function that says whether a Document meets `query`. Raises ConfigError, with the path of what is wrong."""
    return _Compiler().condition(query, "query", 0)


class _Compiler:
    """Compiles one query, counting its conditions."""

    def __init__(self) -> None:
        self._left = MAX_CONDITIONS

    def condition(self, query: Any, path: str, depth: int) -> Test:
        if not isinstance(query, Mapping):
            found = type(query).__name__
            raise ConfigError(f"{path}: a condition is a dict like {{'tags__kind': {{'$eq': 'photo'}}}}, not a {found}")
        if depth == MAX_DEPTH:
            raise ConfigError(f"{path}: conditions are nested more than {MAX_DEPTH} deep")
        return _all([self._entry(key, value, f"{path}[{key!r}]", depth) for key, value in query.items()])

    def _entry(self, key: Any, value: Any, path: str, depth: int) -> Test:
        self._left -= 1
        if self._left < 0:
            raise ConfigError(f"{path}: more than {MAX_CONDITIONS} conditions in one query")
        if not isinstance(key, str):
            raise ConfigError(f"{path}: a key is the name of a field or $and, $or, $not")
        if key in ("$and", "$or"):
            if not isinstance(value, (list, tuple)) or not value:
                raise ConfigError(f"{path}: {key} takes a list of conditions")
            tests = [self.condition(item, f"{path}[{at}]", depth + 1) for at, item in enumerate(value)]
            return _all(tests) if key == "$and" else _any(tests)
        if key == "$not":
            test = self.condition(value, path, depth + 1)
            return lambda document: not test(document)
        if key.startswith("$"):
            raise ConfigError(f"{path}: unknown operator {key!r}; {nearest(key, ('$and', '$or', '$not'))}")
        return self._field(key, value, path)

    def _field(self, key: str, value: Any, path: str) -> Test:
        name, *steps = key.split("__")
        if name not in _FIELD_NAMES:
            raise ConfigError(f"{path}: a Document has no field {name!r}; {nearest(name, _FIELD_NAMES)}")
        if not isinstance(value, Mapping):
            value = {"$eq": value}
        tests: list[Callable[[Any], bool]] = []
        for sign, operand in value.items():
            self._left -= 1
            if sign not in _OPERATORS:
                hint = nearest(str(sign), _OPERATORS)
                raise ConfigError(f"{path}: unknown operator {sign!r}; {hint} To compare with a dict, write $eq")
            tests.append(_OPERATORS[sign](operand, f"{path}[{sign!r}]"))
        if len(tests) == 1:
            (only,) = tests
            return lambda document: only(_value(document, name, steps))
        return lambda document: all(test(found) for found in (_value(document, name, steps),) for test in tests)


def _all(tests: list[Test]) -> Test:
    return tests[0] if len(tests) == 1 else lambda document: all(test(document) for test in tests)


def _any(tests: list[Test]) -> Test:
    return lambda document: any(test(document) for test in tests)


def _value(document: Document, name: str, steps: list[str]) -> Any:
    """What `document` has at the end of the path, _MISSING where it has nothing."""
    value = getattr(document, name) if name in _PROPERTIES else (document._rest or {}).get(name)
    if not is_given(value):
        return _NO_TEXT if name in _TEXTS else _MISSING
    for at, step in enumerate(steps):
        if isinstance(value, Mapping):
            rest = "__".join(steps[at:])
            if rest in value:  # a key that has __ in itself
                value = value[rest]
                break
            value = value.get(step, _MISSING)
        elif isinstance(value, (list, tuple)) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            return _MISSING
    if isinstance(value, NamedScore):
        return value.value
    return _MISSING if value is None else value


def _equal(value: Any, operand: Any) -> bool:
    if not is_ndarray(value) and not is_ndarray(operand):
        return bool(value == operand)
    try:
        return value is not _MISSING and same_array(value, operand)
    except InvalidDocument:  # an array is unequal to what is none
        return False


def _ordering(compare: Callable[[Any, Any], bool]) -> Callable[[Any, str], Callable[[Any], bool]]:
    def make(operand: Any, path: str) -> Callable[[Any], bool]:
        def test(value: Any) -> bool:
            try:
                return bool(compare(value, operand))
            except (TypeError, ValueError, OverflowError):  # "a" > 3 holds no more than "a" < 3 does
                return False

        return test

    return make


def _make_in(operand: Any, path: str) -> Callable[[Any], bool]:
    if not isinstance(operand, (list, tuple, set, frozenset)):
        raise ConfigError(f"{path}: a list is due, not {operand!r}")
    choices = list(operand)
    return lambda value: any(_equal(value, choice) for choice in choices)


def _make_not_in(operand: Any, path: str) -> Callable[[Any], bool]:
    inside = _make_in(operand, path)
    return lambda value: not inside(value)


def _make_regex(operand: Any, path: str) -> Callable[[Any], bool]:
    if not isinstance(operand, str) or len(operand) > MAX_REGEX:
        raise ConfigError(f"{path}: a regular expression of at most {MAX_REGEX} characters is due")
    try:
        search = re.compile(operand).search
    except (re.error, RecursionError, OverflowError) as error:
        raise ConfigError(f"{path}: {operand!r} is no regular expression: {error}") from error
    return lambda value: isinstance(value, str) and search(value) is not None


def _make_size(operand: Any, path: str) -> Callable[[Any], bool]:
    if type(operand) is not int or operand < 0:
        raise ConfigError(f"{path}: a whole number is due, not {operand!r}")
    return lambda value: _size(value) == operand


def _size(value: Any) -> int:
    try:
        return len(value)
    except TypeError:  # what has no length, an array of no dimensions among it
        return 0


def _make_exists(operand: Any, path: str) -> Callable[[Any], bool]:
    if type(operand) is not bool:
        raise ConfigError(f"{path}: True or False is due, not {operand!r}")
    return lambda value: (value is not _MISSING and value is not _NO_TEXT) == operand


_OPERATORS: dict[str, Callable[[Any, str], Callable[[Any], bool]]] = {
    "$eq": lambda operand, path: lambda value: _equal(value, operand),
    "$neq": lambda operand, path: lambda value: not _equal(value, operand),
    "$gt": _ordering(operator.gt),
    "$gte": _ordering(operator.ge),
    "$lt": _ordering(operator.lt),
    "$lte": _ordering(operator.le),
    "$in": _make_in,
    "$nin": _make_not_in,
    "$regex": _make_regex,
    "$size": _make_size,
    "$exists": _make_exists,
}
