"""What a class loads once for all of its instances: its `preload`, found, called with what it takes, remembered.

A Flow calls it in the process that it then forks the class's processes from; everybody else (a script that makes an
instance, a fresh interpreter) has it called by the first ``__new__``. Who was forked remembers that it has been.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

from zflow.errors import ConfigError

_BASE = "zflow.executor"  # whose own `preload` loads nothing
_HOOKS = (classmethod, staticmethod)
_lock = threading.RLock()
_loaded: WeakKeyDictionary[type, dict[str, Any]] = WeakKeyDictionary()  # and with which arguments


def has_preload(cls: type) -> bool:
    """Whether the class, or one that it inherits from, has a `preload` to be called before there are instances."""
    owner = next((base for base in cls.__mro__ if "preload" in vars(base)), None)
    return owner is not None and owner.__module__ != _BASE and isinstance(vars(owner)["preload"], _HOOKS)


def check_preload(cls: type) -> None:
    """Raise TypeError for a `preload` that could not be called. One that answers requests is another matter."""
    own = vars(cls).get("preload")
    if own is None or hasattr(own, "_zflow_requests"):
        return
    if not isinstance(own, _HOOKS):
        raise TypeError(
            f"{cls.__name__}.preload runs before there is an instance: make it a @classmethod, or rename the method"
        )
    if inspect.iscoroutinefunction(own.__func__) or inspect.isgeneratorfunction(own.__func__):
        raise TypeError(f"{cls.__name__}.preload must be a plain function: nobody would run what it returns")


def preload_once(cls: type, arguments: Mapping[str, Any]) -> None:
    """Call ``cls.preload``, unless it has run in this process, or in one that this was forked from.

    arguments: of ``__init__``; it gets those that it names, or all if it has ``**kwargs``, and runs again for others.
    Raises ConfigError for one that it lacks, and whatever it raises itself.
    """
    if not has_preload(cls):
        return
    bound: Any = cls.preload  # type: ignore[attr-defined]
    taken = _taken(cls, inspect.signature(bound), arguments)
    with _lock:
        if cls in _loaded and _is_same(_loaded[cls], taken):
            return
        _loaded[cls] = taken  # before it runs: it may make an instance of its own class
        try:
            bound(**taken)
        except BaseException:
            del _loaded[cls]
            raise


def _taken(cls: type, signature: inspect.Signature, arguments: Mapping[str, Any]) -> dict[str, Any]:
    parameters = signature.parameters.values()
    takes_all = any(item.kind is item.VAR_KEYWORD for item in parameters)
    named = {item.name for item in parameters if item.kind in (item.POSITIONAL_OR_KEYWORD, item.KEYWORD_ONLY)}
    taken = {name: value for name, value in arguments.items() if name in named or (takes_all and name.isidentifier())}
    try:
        signature.bind(**taken)
    except TypeError as error:
        raise ConfigError(
            f"{cls.__name__}.preload: {error}; it gets the arguments that are given for __init__ (uses_with, or `with` "
            "in YAML): give it there, or give it a default"
        ) from error
    return taken


def _is_same(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    if before.keys() != now.keys():
        return False
    try:
        return all(before[name] is now[name] or bool(before[name] == now[name]) for name in now)
    except Exception:  # arrays, for one, have no single answer
        return False
