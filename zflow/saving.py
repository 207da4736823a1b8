"""Saves a file so that whoever reads it, now or after a crash, finds what was there before or what is there now.

It is written beside its place under another name, brought to the disk and only then given its own. A process that is
killed in between leaves the other name behind: `clean` removes those that nobody writes any more, which their locks
tell, so that the replicas of a shard may share a folder.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from zflow.errors import ConfigError, WorkspaceError

_UNFINISHED = ".unfinished"
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_NOT_OURS = (errno.EROFS, errno.EACCES, errno.EPERM)


@contextmanager
def saving(path: Path, *, text: bool = False) -> Iterator[IO[Any]]:
    """A file to be written, which takes the place of `path` when the block ends well; else nothing has happened.

    text: it takes str (UTF-8) instead of bytes. Raises WorkspaceError where the disk does not let it be.
    """
    try:
        file, unfinished = _open_beside(path, text)
    except OSError as error:
        raise _explained(path, error) from error
    keeper = os.dup(file.fileno())  # whatever the block does with the file, this brings it to the disk
    try:
        try:
            yield file
        except OSError as error:
            if error.filename is not None or isinstance(error, WorkspaceError):
                raise  # of a file that the block itself has opened
            raise _explained(path, error) from error
        try:
            file.close()
            os.fsync(keeper)
            os.replace(unfinished, path)
        except OSError as error:
            raise _explained(path, error) from error
        try:
            _bring_to_disk(path.parent)
        except OSError as error:
            raise _explained(path, error, "it has its new content, but may lose it with the power") from error
    except BaseException:
        with suppress(OSError):
            os.unlink(unfinished)
        raise
    finally:
        with suppress(OSError):  # what could not be written once cannot be written now
            file.close()
        os.close(keeper)


def clean(folder: Path) -> None:
    """Remove what killed processes have left in `folder`."""
    with suppress(OSError), os.scandir(folder) as found:
        for entry in found:
            if entry.name.endswith(_UNFINISHED) and entry.is_file(follow_symlinks=False):
                _remove_if_nobodys(entry.path)


def place(folder: str, name: str | os.PathLike[str]) -> Path:
    """Where `name` is in `folder`, of which the last folder exists then. Raises ConfigError if it leads out."""
    inside = Path(folder)
    path = inside / name
    try:
        is_inside = path.resolve().is_relative_to(inside.resolve()) and path != inside
    except ValueError:  # a NUL
        is_inside = False
    if not is_inside or path.name.endswith(_UNFINISHED):
        raise ConfigError(f"{os.fspath(name)!r:.200} is no name of a file inside of the workspace {folder}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _explained(path, error) from error
    return path


def _open_beside(path: Path, text: bool) -> tuple[IO[Any], Path]:
    while True:
        unfinished = path.with_name(f".{path.name[:40]}.{os.urandom(6).hex()}{_UNFINISHED}")
        file: IO[Any] = open(unfinished, "x" if text else "xb", encoding="utf-8" if text else None)
        with suppress(OSError):  # there are file systems without locks
            fcntl.flock(file.fileno(), fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            return file, unfinished
        file.close()  # somebody who cleaned was quicker than the lock


def _remove_if_nobodys(path: str) -> None:
    with suppress(OSError), open(path, "rb") as file:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(path)


def _bring_to_disk(folder: Path) -> None:
    """That the file has its name now."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _explained(path: Path, error: OSError, state: str = "what was there before is as it was") -> WorkspaceError:
    if error.errno in _NO_SPACE:
        remedy = "free some space there"
    elif error.errno in _NOT_OURS:
        remedy = "make its folder writable for the process"
    else:
        remedy = "look whether its disk is well"
    told = f"{path} cannot be saved: {error.strerror or error}; {state}"
    return WorkspaceError(f"{told}. Please {remedy}, or give another workspace", error.errno, str(path))
