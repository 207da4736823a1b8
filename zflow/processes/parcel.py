"""A plan on its way into a child: pickled here, unpickled there, over a private channel and never over a socket.

Classes travel by reference where the child can import them. Those of ``__main__``, of a notebook, or of a module that
was loaded in a way of its own travel by value, as cloudpickle does it. Their code keeps the name of its file, so that a
traceback shows the user's own lines: cloudpickle from 3.1.3 on would call every file ``<dynamic-code>``.
"""

from __future__ import annotations

import io
import sys
import threading
from collections import ChainMap
from types import CodeType, ModuleType
from typing import Any

import cloudpickle

from zflow.errors import ConfigError
from zflow.importing import is_importable

_registering = threading.Lock()  # cloudpickle's list of modules to be pickled by value is global


_NAMELESS = "<dynamic-code>"  # no name of a variable, a function or a file that could stand in its place


def _reduce_code(code: CodeType) -> Any:
    make, fields = cloudpickle.Pickler.dispatch_table[CodeType](code)
    named = (code.co_filename if type(item) is str and item == _NAMELESS else item for item in fields)
    return make, tuple(named)


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle is untyped
    dispatch_table = ChainMap({CodeType: _reduce_code}, cloudpickle.Pickler.dispatch_table)


def pack(name: str, plan: Any, classes: tuple[object, ...] = ()) -> bytes:
    """`plan` of the process `name` as bytes. classes: what it holds that may not be importable in the child.

    Raises ConfigError for what cannot be sent to another process.
    """
    families = [found.__mro__ for found in classes if isinstance(found, type)]
    modules = {sys.modules.get(found.__module__) for family in families for found in family}
    with _registering:
        by_value = [module for module in modules if module is not None and not _is_importable(module)]
        for module in by_value:
            cloudpickle.register_pickle_by_value(module)
        try:
            packed = io.BytesIO()
            _Pickler(packed).dump(plan)
            return packed.getvalue()
        except Exception as error:
            raise ConfigError(
                f"{name} cannot be sent to its process: {error}; what `uses_with` holds, and what a class of __main__ "
                "refers to, must be picklable: make the rest in the Executor's __init__, or move the class to a module"
            ) from error
        finally:
            for module in by_value:
                cloudpickle.unregister_pickle_by_value(module)


def unpack(parcel: bytes) -> Any:
    return cloudpickle.loads(parcel)


def _is_importable(module: ModuleType) -> bool:
    """cloudpickle's own rules for __main__ are finer than ours."""
    return module.__name__ == "__main__" or is_importable(module)
