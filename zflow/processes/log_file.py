"""A file of log lines that several processes write, and that is put aside when it has become large.

It is opened anew for each line: so no process holds what another one, or logrotate, has put aside, and none inherits
it by a fork. A line is written, and the file is put aside, by who has the lock of the file that is there now.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator

from zflow.terminal import Screen

try:
    import fcntl
except ImportError:  # of this system no two processes can lock a file; lines are appended whole all the same
    fcntl = None  # type: ignore[assignment]


class LogFile(logging.Handler):
    """Lines are appended to `path`. max_size: bytes at which it becomes ``path.1``, that one ``path.2``, and so on, of
    which `keep` are kept; 0 for never. A line that cannot be written goes to stderr."""

    def __init__(self, path: str, max_size: int = 0, keep: int = 0) -> None:
        super().__init__()
        self._path = path
        self._max_size = max_size
        self._keep = keep

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = f"{self.format(record)}\n"
        except Exception:  # the text and the values of a user's call do not fit each other
            line = f"{record.pathname}:{record.lineno}: a log line that is none\n"
        try:
            self._append(line.encode("utf-8", "backslashreplace"))
        except OSError as error:  # the disk is full, the folder is gone
            Screen().write(f"{line.rstrip()} ({self._path}: {error.strerror})\n")

    def _append(self, line: bytes) -> None:
        with self._opened() as descriptor:
            if self._max_size and 0 < os.fstat(descriptor).st_size > self._max_size - len(line):
                self._put_aside()
            else:
                os.write(descriptor, line)
                return
        with self._opened() as descriptor:
            os.write(descriptor, line)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[int]:
        """A descriptor of the file that is at our path now, locked."""
        while True:
            descriptor = self._open()
            try:
                if fcntl is not None:
                    fcntl.flock(descriptor, fcntl.LOCK_EX)
                if self._is_at_our_path(descriptor):
                    yield descriptor
                    return
            finally:
                os.close(descriptor)

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
        try:
            return os.open(self._path, flags, 0o640)
        except FileNotFoundError:
            self._make_folder()
            return os.open(self._path, flags, 0o640)

    def _make_folder(self) -> None:
        os.makedirs(os.path.dirname(self._path), exist_ok=True)

    def _is_at_our_path(self, descriptor: int) -> bool:
        """Somebody may have put it aside while we waited for the lock."""
        with contextlib.suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(descriptor), os.stat(self._path))
        return False

    def _put_aside(self) -> None:
        if not self._keep:
            os.unlink(self._path)
            return
        for number in range(self._keep - 1, 0, -1):
            with contextlib.suppress(FileNotFoundError):
                os.replace(f"{self._path}.{number}", f"{self._path}.{number + 1}")
        os.replace(self._path, f"{self._path}.1")
