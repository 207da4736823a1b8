"""Tracebacks as people want them: from the user's first line on, without our frames above it and those of importing."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator
from itertools import dropwhile

from zflow.errors import ConfigError

_HERE = os.path.dirname(os.path.abspath(__file__)) + os.sep
_LIBRARY = os.path.dirname(os.path.abspath(traceback.__file__)) + os.sep
_IMPORTING = ("<frozen importlib", f"{_LIBRARY}importlib{os.sep}", f"{_LIBRARY}runpy.py", "<frozen runpy")
_INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")
_OURS = (_HERE, f"{_LIBRARY}asyncio{os.sep}")


def of_the_user(error: BaseException) -> str:
    """The traceback of `error`, and of what it came from.

    An exception that never left our code is told whole. A ConfigError is told by its message alone, which stands
    elsewhere: what is left is what it came from, and nothing where it came from nothing of the user's.
    """
    told = traceback.TracebackException.from_exception(error, compact=True)
    if isinstance(error, ConfigError):
        if error.__cause__ is None or told.__cause__ is None:
            return ""
        told = told.__cause__
    for one in _chain(told):
        _shorten(one)
    return "".join(told.format())


def with_own_line(error: BaseException) -> str:
    """The same, and before it where the user's own code was at last, if it was a library's that raised."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if _is_users(frame.filename)]
    if not own or own[-1] is frames[-1]:
        return of_the_user(error)
    frame = own[-1]
    line = f"    {frame.line}\n" if frame.line else ""
    where = f'  File "{frame.filename}", line {frame.lineno}, in {frame.name}\n{line}'
    return f"The last line of your own:\n{where}{of_the_user(error)}"


def _is_users(filename: str) -> bool:
    if filename.startswith("<frozen") or any(part in filename for part in _INSTALLED):
        return False
    return not filename.startswith((_HERE, _LIBRARY))


def _chain(told: traceback.TracebackException) -> Iterator[traceback.TracebackException]:
    waiting, seen = [told], set()
    while waiting:
        one = waiting.pop()
        seen.add(id(one))
        yield one
        parts = (one.__cause__, one.__context__, *(getattr(one, "exceptions", None) or ()))
        waiting.extend(part for part in parts if part is not None and id(part) not in seen)


def _shorten(told: traceback.TracebackException) -> None:
    """Take away what is above the user's first line, and Python's own between files of the user's that import others.

    A SyntaxError has its line in itself, and needs no frame.
    """
    frames = [frame for frame in told.stack if not frame.filename.startswith(_IMPORTING)]
    users = list(dropwhile(lambda frame: frame.filename.startswith(_OURS), frames))
    if users or hasattr(told, "filename"):
        told.stack = traceback.StackSummary.from_list(users)
