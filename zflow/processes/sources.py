"""What files an Executor is made of, as only the process knows that has imported it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from zflow.loading import ExecutorDescription

_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_STANDARD_LIBRARY = os.path.dirname(os.path.abspath(os.__file__))
_INSTALLED = {"site-packages", "dist-packages"}


def sources_of(description: ExecutorDescription) -> tuple[list[str], list[str]]:
    """The files, and the folders of which every Python file counts, of the Executor that was built from `description`
    in this process; as absolute paths.

    Folders: that of its class's file, or of the package that this belongs to, and packages among its py_modules.
    Files: its py_modules, and whatever else was imported that is neither installed nor of the standard library.
    """
    named = [name for name in description.py_modules if os.path.isabs(name)]
    folders = {name for name in named if os.path.isdir(name)}
    files = {name for name in named if name not in folders}
    own = _file_of(description.find_class().__module__)
    if own is not None and not own.startswith(_OURS + os.sep):
        files.add(own)
        folders.add(_folder_of(Path(own)))
    files.update(file for name in list(sys.modules) if (file := _file_of(name)) is not None and not _is_foreign(file))
    return sorted(files), sorted(folders)


def _file_of(module: str) -> str | None:
    """Its source; None for what has none, and for the running script, which nobody imports."""
    file = getattr(sys.modules.get(module), "__file__", None)
    return os.path.abspath(file) if module != "__main__" and isinstance(file, str) and file.endswith(".py") else None


def _folder_of(file: Path) -> str:
    folder = file.parent
    while (folder / "__init__.py").is_file() and (folder.parent / "__init__.py").is_file():
        folder = folder.parent
    return str(folder)


def _is_foreign(file: str) -> bool:
    ours = any(file.startswith(folder + os.sep) for folder in (_OURS, _STANDARD_LIBRARY))
    return ours or not _INSTALLED.isdisjoint(file.split(os.sep))
