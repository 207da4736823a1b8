"""Private conversations between processes that belong together: msgpack messages over a Unix socket pair.

The other end closes when its process ends, however it ended, so that reading tells of every death. Descriptors can
travel with a message. Nothing here ever blocks unless it is asked to: one slow reader must not stop a supervisor.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import threading
from array import array
from collections import deque
from collections.abc import Sequence
from typing import Any

import msgpack

from zflow.errors import ConfigError

Words = dict[str, Any]

_GONE = "the process at the other end is gone"
_LENGTH = struct.Struct(">I")
_CHUNK = 256 * 1024
_FDS_SPACE = socket.CMSG_LEN(16 * array("i").itemsize)
_SEND_FLAGS = socket.MSG_DONTWAIT | getattr(socket, "MSG_NOSIGNAL", 0)  # user code may have unmuted SIGPIPE
_RECEIVE_FLAGS = socket.MSG_DONTWAIT | getattr(socket, "MSG_CMSG_CLOEXEC", 0)


class Channel:
    """One end. `send` and `flush` may be called from several threads; `receive` from one.

    most: bytes that a message may have. Who sends more, or what is no message, is as good as gone: only what is not
    ours does.
    """

    def __init__(self, end: socket.socket, most: int = 1 << 32) -> None:
        self._socket = end
        self._most = most
        self._lock = threading.Lock()
        self._outgoing: deque[tuple[memoryview, tuple[int, ...]]] = deque()
        self._incoming = bytearray()
        self._fds: deque[int] = deque()

    @classmethod
    def of_descriptor(cls, fd: int) -> Channel:
        """The end that a parent left open as `fd`."""
        return cls(socket.socket(fileno=fd))

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, words: Words, fds: Sequence[int] = ()) -> None:
        """Say `words`, and hand over `fds`, which are closed here once they have left.

        What the socket does not take at once waits for `flush`. A dead reader is not an error here: `receive` tells
        of it. Raises ConfigError for words that are too large to travel.
        """
        try:
            body = msgpack.packb(words)
            head = _LENGTH.pack(len(body))
        except (ValueError, OverflowError, struct.error) as error:
            raise ConfigError(f"too large to be sent to a process (the limit is 4 GiB): {error}") from None
        with self._lock:
            self._outgoing.append((memoryview(head + body if len(body) < _CHUNK else head), tuple(fds)))
            if len(body) >= _CHUNK:
                self._outgoing.append((memoryview(body), ()))
            self._flush()

    def flush(self, timeout: float | None = 0.0) -> bool:
        """Send what waits, for at most `timeout` seconds (None: for ever). Whether nothing waits any more."""
        with self._lock:
            while not self._flush():
                if timeout == 0.0 or not _wait(self._socket, select.POLLOUT, timeout):
                    return False
            return True

    @property
    def is_waiting_to_send(self) -> bool:
        return bool(self._outgoing)

    def _flush(self) -> bool:
        while self._outgoing:
            data, fds = self._outgoing[0]
            try:
                passed = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", fds))] if fds else []
                sent = self._socket.sendmsg([data], passed, _SEND_FLAGS)
            except (BlockingIOError, InterruptedError):
                return False
            except OSError as error:
                if error.errno == errno.ETOOMANYREFS:  # so many descriptors are under way that some must arrive first
                    return False
                self._give_up()  # the reader is gone
                return True
            for fd in fds:
                os.close(fd)
            if sent < len(data):
                self._outgoing[0] = (data[sent:], ())
            else:
                self._outgoing.popleft()
        return True

    def _give_up(self) -> None:
        while self._outgoing:
            for fd in self._outgoing.popleft()[1]:
                os.close(fd)

    def receive(self, most: int | None = None) -> list[Words]:
        """The messages that have come in whole. Raises EOFError when there are none and the other end is gone.

        most: leave what is more to the next call, which then does not wait for the socket.
        """
        messages = self._whole_messages(most)
        while most is None or len(messages) < most:
            arrived = self._read()
            if arrived is None:
                return messages
            if not arrived:
                if messages:
                    return messages
                raise EOFError(_GONE)
            messages += self._whole_messages(most)
        return messages

    def peek(self) -> list[Words]:
        """The messages that have come in whole and are left to `receive`. Raises EOFError if the other end is gone."""
        while arrived := self._read():
            pass
        if arrived == 0:
            raise EOFError(_GONE)
        return self._whole_messages(None, keep=True)

    def _read(self) -> int | None:
        """Take in what has come: how many bytes, 0 when the other end is gone, None when there is nothing now."""
        try:
            data, passed, _, _ = self._socket.recvmsg(_CHUNK, _FDS_SPACE, _RECEIVE_FLAGS)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError:
            data, passed = b"", []
        for level, kind, fds in passed:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                self._fds.extend(array("i", fds))
        self._incoming += data
        return len(data)

    def wait(self, timeout: float | None = None) -> bool:
        """Sleep until `receive` has something to do, at most `timeout` seconds. Whether it has."""
        return _wait(self._socket, select.POLLIN, timeout)

    def received_fd(self) -> int:
        """The next descriptor that came with a message; it belongs to the caller."""
        return self._fds.popleft()

    def _whole_messages(self, most: int | None, *, keep: bool = False) -> list[Words]:
        messages: list[Words] = []
        start, end = 0, len(self._incoming)
        while end - start >= _LENGTH.size and (most is None or len(messages) < most):
            (size,) = _LENGTH.unpack_from(self._incoming, start)
            if size > self._most:
                raise EOFError(_GONE)
            if end - start - _LENGTH.size < size:
                break
            start += _LENGTH.size
            messages.append(self._message(start, size))
            start += size
        if start and not keep:
            del self._incoming[:start]
        return messages

    def _message(self, start: int, size: int) -> Words:
        try:
            with memoryview(self._incoming) as view:
                words = msgpack.unpackb(view[start : start + size], max_bin_len=size, max_str_len=size)
        except Exception as error:  # msgpack has many ways to say that it cannot read something
            raise EOFError(_GONE) from error
        if not isinstance(words, dict):
            raise EOFError(_GONE)
        return words

    def close(self) -> None:
        with self._lock:
            self._give_up()
            while self._fds:
                os.close(self._fds.popleft())
            self._socket.close()


def parent_descriptor() -> int | None:
    """A descriptor that becomes readable when our parent ends, where the system has such a thing.

    A channel alone may not tell: a copy of its other end lives on in whatever the Flow's process has forked.
    """
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(os.getppid())
    except OSError:
        return None


def _wait(source: socket.socket, event: int, timeout: float | None) -> bool:
    poll = select.poll()
    poll.register(source, event)
    return bool(poll.poll(None if timeout is None else max(0, int(timeout * 1000))))
