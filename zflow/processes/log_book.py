"""The latest log lines of a family of processes, kept where a peer of it can tell them: `zflow logs` asks for them.

The processes of a Flow write them into its private directory, each a file of its own that is put aside when it is full:
so what a process said last is still there when it has crashed. A process that stands alone keeps its own in memory.
Both are bounded. What a peer tells is in protocol/SPEC.md, PING.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from zflow.processes.log_file import LogFile

SUFFIX = ".lines"
MOST = 1000  # lines of one answer
_MOST_BYTES = 256 << 10  # of one answer
_FILE = 32 << 10  # bytes of a process's file until it is put aside, once
_KEPT = 500  # lines in memory
_LONGEST = 8_000  # letters of one text or traceback

_SHAPE = re.compile(r"(?P<name>[^@\s]{1,200})@(?P<pid>[0-9]{1,9})\[(?P<letter>[DIWE])\]:(?P<text>.*)", re.DOTALL)
_LEVELS = {"D": "DEBUG", "I": "INFO", "W": "WARNING", "E": "ERROR"}

Line = dict[str, Any]


class Book(Protocol):
    """What can tell the latest lines."""

    def read(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """What belongs into a STATUS for a PING with the extra `asked`."""


class MemoryBook(logging.Handler):
    """The lines of this process alone. It is a handler that its formatter gives JSON to."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: deque[tuple[int, str]] = deque(maxlen=_KEPT)
        self._written = 0

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(Exception):  # what is wrong with it, others have told
            self._written += 1
            self._lines.append((self._written, self.format(record)))

    def read(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """See Book."""
        after = asked.get("after")
        since = int(after) if isinstance(after, str) and re.fullmatch(r"[0-9]{1,15}", after) else 0
        with self.lock or contextlib.nullcontext():
            kept, written = list(self._lines), self._written
        return _told([line for number, text in kept if number > since for line in _parsed(text)], asked, str(written))


class Page(LogFile):
    """The lines of this process, in a file of the private directory `folder`, as long as that is there."""

    def __init__(self, folder: str, name: str) -> None:
        super().__init__(f"{folder}/{re.sub('[^A-Za-z0-9_-]', '-', name)[-64:]}{SUFFIX}", _FILE, 1)

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(Exception):  # a full disk, a directory that is gone: others have told the line
            self._append(f"{self.format(record)}\n".encode("utf-8", "backslashreplace"))

    def keep(self, told: str, name: str) -> None:
        """A line that another process, `name`, has made."""
        record = logging.LogRecord(f"zflow.{name}", logging.INFO, "", 0, told, (), None)
        with contextlib.suppress(OSError):
            self._append(f"{json.dumps(json.loads(self.format(record)) | _said_in(told))}\n".encode())

    def _make_folder(self) -> None:
        raise FileNotFoundError(self._path)  # who owns it has ended


class FolderBook:
    """The lines that all processes of a family have written into `folder`."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def read(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """See Book. Where a reader has come to is, for each file, which one that is and how far it was read."""
        been, now, lines = _places(asked.get("after")), {}, []
        for path in self._pages():
            place, new = _read_on(path, been.get(os.path.basename(path)))
            now[os.path.basename(path)] = place
            lines += [line for text in new[-MOST:] for line in _parsed(text)]
        return _told(lines, asked, json.dumps(now, separators=(",", ":")))

    def _pages(self) -> list[str]:
        with contextlib.suppress(OSError):
            return sorted(entry.path for entry in os.scandir(self._folder) if entry.name.endswith(SUFFIX))
        return []


def _said_in(told: str) -> Line:
    """What `told` says of itself, in JSON or in the shape that lines have; nothing where it is neither."""
    for line in _parsed(told) if told.startswith("{") else ():
        if "text" in line:
            return line
    found = _SHAPE.fullmatch(told)
    if found is None:
        return {"logger": "stderr"}
    name = found["name"]
    who = {"name": name, "pid": int(found["pid"]), "logger": f"zflow.{name}"}
    return {"level": _LEVELS[found["letter"]], **who, "text": found["text"]}


_Place = tuple[int, int]  # an inode, and an offset


def _places(after: Any) -> dict[str, _Place]:
    """What `after`, which comes from outside, says; nothing where it makes no sense."""
    try:
        told = json.loads(after) if isinstance(after, str) else {}
        return {str(name): (int(inode), int(offset)) for name, (inode, offset) in told.items() if offset >= 0}
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        return {}


def _read_on(path: str, been: _Place | None) -> tuple[_Place, list[str]]:
    """The lines since `been` in the file at `path` and the one that was put aside before it; and where they end."""
    (inode, data), (inode_before, before) = _content(path), _content(f"{path}.1")
    start = skipped = 0
    if been is not None and been[0] == inode:
        start, skipped = been[1], len(before)
    elif been is not None and been[0] == inode_before:
        skipped = been[1]
    whole = data.rfind(b"\n") + 1  # the rest is being written
    text = before[skipped:] + data[start:whole]
    return (inode, max(start, whole)), text.decode("utf-8", "replace").splitlines()


def _content(path: str) -> tuple[int, bytes]:
    with contextlib.suppress(OSError), open(path, "rb") as file:
        return os.fstat(file.fileno()).st_ino, file.read(4 * _FILE)
    return 0, b""


def _parsed(text: str) -> Iterator[Line]:
    with contextlib.suppress(ValueError):
        line = json.loads(text)
        if isinstance(line, dict):
            yield {key: _short(value) for key, value in line.items()}


def _short(value: Any) -> Any:
    """The end of a traceback says most, and the beginning of a text; both are left."""
    if isinstance(value, str) and len(value) > _LONGEST:
        half = _LONGEST // 2
        return f"{value[:half]} [...] {value[-half:]}"
    return value


def _told(lines: list[Line], asked: Mapping[str, Any], after: str) -> dict[str, Any]:
    """The latest of `lines` that were asked for, in their order, as many as an answer may have."""
    names = sorted({str(line.get("name", "")) for line in lines})
    of, most = asked.get("of"), min(asked["logs"], MOST)
    wanted = [line for line in lines if not of or f"{line.get('name')}/".startswith(f"{of}/")]
    wanted.sort(key=lambda line: str(line.get("time", "")))  # stable: lines of one process keep their order
    chosen: deque[Line] = deque()
    size = 0
    for line in reversed(wanted[-most:] if most else []):
        size += len(str(line))
        if size > _MOST_BYTES and chosen:
            break
        chosen.appendleft(line)
    return {"log": {"lines": list(chosen), "after": after, "names": names}}
