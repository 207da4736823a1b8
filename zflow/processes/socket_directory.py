"""The private directory in which the processes of one Flow bind their ipc sockets.

Whoever can open an ipc socket can talk to a process, so the directory is readable for its owner only. A path is never
used twice, because a second bind steals it in silence. The owner holds a lock on the directory as long as it lives;
a directory without a holder was left behind by a process that was killed, and is removed by the next one.

What runs in a container sees one folder in it, its box, and nothing else: everybody may write there, but only who may
enter the directory, or has the box mounted, gets that far.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time

from zflow.errors import ConfigError

_PREFIX = "zflow-"
_CONTROL = "control-"
_SOCKET, _BOX, _NOTE = ".sock", ".box", ".note"
_LINES = ".lines"  # of what processes have logged, see log_book.py
_OURS = (_SOCKET, _NOTE, _LINES, f"{_LINES}.1")
_PATH_LIMIT = 107  # bytes of sun_path without its final NUL, unix(7)
_NAME_LIMIT = 32
_STALE_AFTER = 60.0  # seconds: younger ones may just be about to be locked


class SocketDirectory:
    """A fresh directory of mode 0700 in the system's place for temporary files; `close` removes it."""

    def __init__(self, parent: str | None = None) -> None:
        self.path = _make(parent or _place_for_temporary_files())
        self._owner = os.getpid()
        self._lock: int | None = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def address(self, name: str, incarnation: int) -> str:
        """The ipc address of the process `name`; `incarnation` makes it unique."""
        return f"ipc://{self.path}/{_file_name(name, incarnation)}"

    def forget(self, address: str) -> None:
        """Remove the socket that a process which was killed has left at `address`."""
        with contextlib.suppress(OSError):
            if address.startswith(f"ipc://{self.path}/"):
                remove_box(box_of(address))
                os.unlink(address.removeprefix("ipc://"))

    def note_path(self, link: str) -> str:
        """Where the processes of `link`, one after another, note what they run; a link is never another one's."""
        return f"{self.path}/{link.replace('/', '-')}{_NOTE}"

    def control_path(self, address: str) -> str:
        """The socket for orders to the Flow whose gateway is bound to `address`; `control_paths` finds it."""
        return f"{self.path}/{_CONTROL}{address.rpartition(':')[2]}.sock"

    def close(self) -> None:
        """Remove the directory and what is in it; nothing in a forked copy of the owner."""
        if self._lock is not None and os.getpid() == self._owner:
            remove(self.path)
            os.close(self._lock)
            self._lock = None


def box_of(address: str) -> str:
    """The folder for the sockets of a process in a container that would else bind `address`."""
    return address.removeprefix("ipc://").removesuffix(_SOCKET) + _BOX


def remove_box(path: str) -> None:
    """Remove it with all that a container has put into it. There may be none."""
    if os.path.isdir(path):
        import shutil  # few have containers

        shutil.rmtree(path, ignore_errors=True)


def remove(path: str) -> None:
    """Remove a directory of sockets. What is not a file of ours stays, and the directory then stays with it."""
    with contextlib.suppress(OSError):
        for entry in os.scandir(path):
            if entry.name.endswith(_BOX) and entry.is_dir(follow_symlinks=False):
                remove_box(entry.path)
            if entry.name.endswith(_OURS) and not entry.is_dir(follow_symlinks=False):
                with contextlib.suppress(OSError):
                    os.unlink(entry.path)
    with contextlib.suppress(OSError):
        os.rmdir(path)


def remove_if_left(path: str) -> None:
    """Remove a directory whose owner is dead, unless somebody still serves in it. What took orders was the owner's, and
    nobody reads the lines of the dead."""
    with contextlib.suppress(OSError):
        left = [name for name in os.listdir(path) if not name.endswith((_NOTE, _LINES, f"{_LINES}.1"))]
        if all(name.startswith(_CONTROL) for name in left):
            remove(path)


def remove_stale(parent: str | None = None) -> list[str]:
    """Remove the directories of owners that are dead: ours (by user), old enough, and locked by nobody."""
    removed = []
    with contextlib.suppress(OSError):
        for entry in os.scandir(parent or _place_for_temporary_files()):
            if entry.name.startswith(_PREFIX) and _is_stale(entry):
                remove(entry.path)
                removed.append(entry.path)
    return removed


def control_paths(port: int, parent: str | None = None) -> list[str]:
    """The sockets for orders to Flows of this user that serve `port`, or did so until they were killed.

    A directory that somebody else could have made, or can write to, is passed by: others must not take our orders.
    """
    folders = [parent] if parent is not None else list(dict.fromkeys((_place_for_temporary_files(), "/tmp")))
    found = []
    for folder in folders:
        with contextlib.suppress(OSError):
            for entry in os.scandir(folder):
                path = os.path.join(entry.path, f"{_CONTROL}{port}.sock")
                if entry.name.startswith(_PREFIX) and _is_private(entry) and os.path.exists(path):
                    found.append(path)
    return found


def _is_private(entry: os.DirEntry[str]) -> bool:
    try:
        about = entry.stat(follow_symlinks=False)
    except OSError:
        return False
    return stat.S_ISDIR(about.st_mode) and about.st_uid == os.getuid() and not about.st_mode & 0o077


def _place_for_temporary_files() -> str:
    import tempfile  # 5 ms that the warm parent, which only removes, need not wait for

    return tempfile.gettempdir()


def _make(parent: str) -> str:
    longest = len(box_of(_file_name("x" * _NAME_LIMIT, 999_999))) + len("/s")
    for folder in dict.fromkeys((parent, "/tmp")):
        path = os.path.join(folder, f"{_PREFIX}{os.getpid()}-{os.urandom(4).hex()}")
        if len(os.fsencode(path)) + 1 + longest <= _PATH_LIMIT:
            os.mkdir(path, 0o700)
            return path
    raise ConfigError(f"the path {parent!r} is too long for ipc sockets; set TMPDIR to a shorter one")


def _file_name(name: str, incarnation: int) -> str:
    return f"{name.replace('/', '-')[-_NAME_LIMIT:]}-{incarnation}{_SOCKET}"


def _is_stale(entry: os.DirEntry[str]) -> bool:
    """Locks, unlike process ids, are told apart across containers that share one directory."""
    try:
        found = entry.stat(follow_symlinks=False)
        if not entry.is_dir(follow_symlinks=False) or found.st_uid != os.getuid():
            return False
        if time.time() - found.st_ctime < _STALE_AFTER:
            return False
        lock = os.open(entry.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except OSError:
        return False
    finally:
        os.close(lock)
