"""From a file or a dotted name to a module, from ``package.module:Class`` to an Executor class.

A file is imported under the name that Python itself would give it: ``exec.py`` is ``exec``, and inside a package it is
``package.exec``, so that relative imports work. Where that name belongs to somebody else (the standard library, an
installed package), the file gets a name of its own, made from its path; two users' folders with files of one name do
not see each other's. While modules are imported, their folder comes first on ``sys.path``; afterwards it stays there
as the last, for imports inside of methods.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
import threading
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import NoReturn

from zflow.errors import ConfigError, nearest
from zflow.executor import Executor, registered, registered_names

_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_lock = threading.RLock()  # sys.path and sys.modules are everybody's
_brought: dict[str, Path] = {}  # top-level modules that came from users' folders, and which folder


def is_dotted(text: str) -> bool:
    """Whether `text` can be a module's name; a name that ends in ``.py`` is meant as a file."""
    return bool(_DOTTED.fullmatch(text)) and not text.endswith(".py")


def is_importable(module: ModuleType) -> bool:
    """Whether `module`, loaded already, would be found again by name."""
    name = module.__name__
    if name in sys.builtin_module_names:
        return True
    package, _, _ = name.rpartition(".")
    path = getattr(sys.modules.get(package), "__path__", None) if package else None
    for finder in sys.meta_path:
        try:
            found = finder.find_spec(name, path)
        except Exception:  # a finder of somebody else's
            continue
        if found is not None:
            return found.origin is None or found.origin == getattr(module, "__file__", found.origin)
    return False


def import_modules(names: Iterable[str], folder: Path) -> list[ModuleType]:
    """The modules `names` (dotted names, or paths of ``.py`` files or of packages), in that order.

    folder: where dotted names are looked for first, and what paths are relative to. A module that is already imported
    is not run again. Raises ConfigError for what is missing or fails; the module's own exception is the ``__cause__``.
    """
    modules = []
    for name in names:
        with _lock, _first_on_path(folder):
            modules.append(_import_dotted(name) if is_dotted(name) else _import_file(folder / name))
    return modules


def put_first(folder: Path) -> None:
    """Let `folder` be looked through before all others, from now on."""
    text = str(folder)
    with _lock:
        if text not in sys.path:
            sys.path.insert(0, text)
            importlib.invalidate_caches()


@contextmanager
def _first_on_path(folder: Path) -> Iterator[None]:
    """`folder` first on ``sys.path`` inside of the block, and last on it from then on if it was not there before."""
    text = str(folder.absolute())
    sys.path.insert(0, text)
    before = set(sys.modules)
    _forget_namesakes(folder)
    importlib.invalidate_caches()  # files written a moment ago
    try:
        yield
    finally:
        with suppress(ValueError):  # the module itself may have taken it away
            sys.path.remove(text)
        if text not in sys.path:
            sys.path.append(text)
        _remember(set(sys.modules) - before, folder)


def class_at(address: str, folder: Path) -> type[Executor]:
    """The Executor class at ``package.module:Class``. Raises ConfigError where there is none."""
    module_name, _, name = address.partition(":")
    modules = import_modules([module_name], folder)
    return _class_in(modules, name) or _raise_missing(name, modules)


def find_class(name: str, modules: Sequence[ModuleType]) -> type[Executor]:
    """The Executor class called `name`: in one of `modules`, or made while they were imported.

    Raises ConfigError that names the nearest Executor class there, or says what else the name stands for.
    """
    return _class_in(modules, name) or registered(name) or _raise_missing(name, modules)


def _class_in(modules: Sequence[ModuleType], name: str) -> type[Executor] | None:
    found = [vars(module)[name] for module in modules if name in vars(module)]
    classes = [value for value in found if isinstance(value, type) and issubclass(value, Executor)]
    if found and not classes:
        raise ConfigError(f"{name} in {_files(modules)} is no Executor class; let it inherit from zflow.Executor")
    return classes[0] if classes else None


def _raise_missing(name: str, modules: Sequence[ModuleType]) -> NoReturn:
    names = [key for module in modules for key, value in vars(module).items() if _is_executor(value)]
    place = f" in {_files(modules)}" if modules else "; if its file is not imported yet, name it in py_modules"
    raise ConfigError(f"no Executor class {name!r}{place}: {nearest(name, names or registered_names())}")


def _files(modules: Sequence[ModuleType]) -> str:
    return ", ".join(getattr(module, "__file__", None) or module.__name__ for module in modules)


def _is_executor(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Executor) and value is not Executor


def _import_dotted(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise ConfigError(
                f"there is no module {name!r} (looked in {sys.path[0]}, then where Python looks)"
            ) from error
        raise _failed(name, error) from error
    except Exception as error:
        raise _failed(name, error) from error


def _failed(name: str, error: Exception) -> ConfigError:
    return ConfigError(f"{name} could not be imported: {type(error).__name__}: {error}")


def _import_file(path: Path) -> ModuleType:
    file = _module_file(path)
    for module in list(sys.modules.values()):
        if _is_from(module, file):
            return module
    root, parts = _natural_name(file)
    with _first_on_path(root):
        try:
            if not _is_free(parts[0], root):
                is_package = len(parts) > 1 or file.name == "__init__.py"
                parts[0] = _import_as_own(root / parts[0] if is_package else file)
            return importlib.import_module(".".join(parts))
        except Exception as error:
            raise _failed(str(path), error) from error


def _module_file(path: Path) -> Path:
    """The regular file to run for `path`, which may be a package's folder."""
    file = path / "__init__.py" if path.is_dir() else path
    if file.is_file() and file.suffix == ".py":
        return file.absolute()
    if path.exists():
        told = "is a folder without __init__.py" if path.is_dir() else "is no regular file that ends in .py"
        raise ConfigError(f"py_modules: {path} {told}; name a .py file or a package")
    files = [file.name for file in path.parent.glob("*.py")] if path.parent.is_dir() else []
    raise ConfigError(f"py_modules: {path} does not exist: {nearest(path.name, files)}")


def _natural_name(file: Path) -> tuple[Path, list[str]]:
    """The folder that must be on ``sys.path``, and the parts of the name by which Python finds `file` from there."""
    parts = [] if file.name == "__init__.py" else [file.stem]
    folder = file.parent
    while (folder / "__init__.py").is_file() and folder != folder.parent:
        parts.insert(0, folder.name)
        folder = folder.parent
    return folder, parts


def _is_free(top: str, root: Path) -> bool:
    """Whether importing `top` with `root` first on the path gives what is in `root`."""
    if not top.isidentifier() or top in sys.stdlib_module_names:
        return False
    present = sys.modules.get(top)
    return present is None or _stands_in(present, top, root)


def _stands_in(module: object, top: str, folder: Path) -> bool:
    """Whether a top-level module is the one that `folder` holds."""
    return any(_is_from(module, file) for file in (folder / f"{top}.py", folder / top / "__init__.py"))


def _import_as_own(location: Path) -> str:
    """Import a file, or the ``__init__.py`` of a package, under a name that no other path has; that name."""
    real = str(location.resolve())
    name = f"{re.sub('[^A-Za-z0-9_]', '_', location.stem)}_{zlib.crc32(real.encode()):08x}"
    if name in sys.modules:
        return name
    package = [str(location)] if location.is_dir() else None
    file = location / "__init__.py" if package else location
    spec = importlib.util.spec_from_file_location(name, file, submodule_search_locations=package)
    assert spec is not None and spec.loader is not None  # its name ends in .py
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return name


def _is_from(module: object, file: Path) -> bool:
    path = vars(module).get("__file__") if isinstance(module, ModuleType) else None
    if not isinstance(path, str) or os.path.basename(path) != file.name:
        return False
    try:
        return os.path.samefile(path, file)
    except OSError:
        return False


def _remember(names: Iterable[str], folder: Path) -> None:
    """Note which modules came out of `folder`."""
    for top in {name.partition(".")[0] for name in names}:
        if _stands_in(sys.modules.get(top), top, folder):
            _brought[top] = folder.absolute()


def _forget_namesakes(folder: Path) -> None:
    """Let a folder's own ``helper.py`` be found, although another user's folder has brought a ``helper`` before.

    Whoever imported the other one keeps it; only the next import of that name finds the new one.
    """
    here = folder.absolute()
    for top, origin in list(_brought.items()):
        if origin != here and ((here / f"{top}.py").is_file() or (here / top / "__init__.py").is_file()):
            del _brought[top]
            for name in [name for name in sys.modules if name == top or name.startswith(f"{top}.")]:
                del sys.modules[name]
