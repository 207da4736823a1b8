"""The files of a folder as one file, and back: a tar (POSIX ustar) of regular files in the order of their names.

Two rules keep it safe and stable. It is not compressed: what comes out is never more than what went in, so that no
bomb fits in, and its bytes depend on no version of a compressor. Times, owners and folders are not in it: the same
files make the same bytes anywhere.

`entries_of` reads every header and refuses the archive for the first thing that is not as `pack` would have written it;
nothing is unpacked before. Links, devices, sparse files and extended headers are kinds of entries, and only one kind is
taken.
"""

from __future__ import annotations

import os
import tarfile
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import IO, NamedTuple

from zflow.config import environment
from zflow.errors import ConfigError, HubError

_BLOCK = tarfile.BLOCKSIZE
_PIECE = 1 << 20
_DEEPEST = 16


class Limits(NamedTuple):
    """size: bytes of an archive. files: how many may be in it."""

    size: int = 500 << 20
    files: int = 2000


def allowed() -> Limits:
    """Those of this machine."""
    return Limits(size=environment.hub_size())


class Entry(NamedTuple):
    """A file in an archive. offset: where in the archive its content begins."""

    name: str
    size: int
    executable: bool
    offset: int = 0


def nothing(count: int) -> None:
    """Of what is told how many bytes are done: does not look."""


def packed_size(entries: Iterable[Entry]) -> int:
    """How many bytes an archive of `entries` has."""
    return sum(_BLOCK + _rounded(entry.size) for entry in entries) + 2 * _BLOCK


def pack(folder: Path, entries: Sequence[Entry], archive: IO[bytes]) -> None:
    """Write `entries`, which are files below `folder`, to `archive`. Raises ConfigError for one that has changed."""
    for entry in sorted(entries, key=lambda entry: entry.name.encode()):
        info = tarfile.TarInfo(entry.name)
        info.size, info.mode = entry.size, 0o755 if entry.executable else 0o644
        archive.write(info.tobuf(tarfile.USTAR_FORMAT, "utf-8", "strict"))
        descriptor = os.open(folder / entry.name, os.O_RDONLY | os.O_NOFOLLOW)
        with open(descriptor, "rb") as file:
            copied = _copy(file, archive, entry.size, nothing)
            if copied != entry.size or file.read(1):
                raise ConfigError(f"{folder / entry.name} changes while it is packed; try again when it is at rest")
        archive.write(bytes(_rounded(entry.size) - entry.size))
    archive.write(bytes(2 * _BLOCK))


def entries_of(archive: IO[bytes], limits: Limits) -> list[Entry]:
    """What is in `archive`, all of it looked at. Raises HubError for an archive that `pack` would not have written."""
    end = archive.seek(0, os.SEEK_END)
    if end > limits.size:
        raise HubError(f"it has {end} bytes, more than the {limits.size} that are allowed")
    entries: list[Entry] = []
    names = _Names()
    offset = 0
    while True:
        archive.seek(offset)
        block = archive.read(_BLOCK)
        if block == bytes(_BLOCK):
            _check_end(archive, end - offset)
            return entries
        if len(entries) == limits.files:
            raise HubError(f"it has more than the {limits.files} files that are allowed")
        entry = _entry(block, offset + _BLOCK)
        names.take(entry.name)
        entries.append(entry)
        offset = entry.offset + _rounded(entry.size)
        if offset + 2 * _BLOCK > end:
            raise HubError(f"it ends within {entry.name!r:.100}")


def unpack(archive: IO[bytes], entries: Iterable[Entry], folder: Path, tell: Callable[[int], object] = nothing) -> None:
    """Write what `entries_of` found into `folder`, which is empty and nobody else's. tell: how many bytes more."""
    for entry in entries:
        path = folder / entry.name
        path.parent.mkdir(parents=True, exist_ok=True)
        archive.seek(entry.offset)
        with open(path, "xb") as file:
            _copy(archive, file, entry.size, tell)
            os.fchmod(file.fileno(), 0o755 if entry.executable else 0o644)


def fault_of_name(name: str) -> str:
    """Why a file may not have `name` in an archive; empty where it may. The same for who packs and who unpacks."""
    parts = name.split("/")
    if name.startswith("/"):
        return "is absolute"
    if "" in parts or "." in parts or ".." in parts:
        return "has a part that is empty, '.' or '..'"
    if "\\" in name or not name.isprintable():
        return "has a character that is not the same everywhere"
    if len(parts) > _DEEPEST:
        return f"lies more than {_DEEPEST} folders deep"
    try:
        tarfile.TarInfo(name).tobuf(tarfile.USTAR_FORMAT, "utf-8", "strict")
    except ValueError:  # 100 bytes, and 155 for the folders before it
        return "is too long"
    return ""


class _Names:
    """Names that were taken already, as a disk that knows neither case nor accents apart would have them."""

    def __init__(self) -> None:
        self._files: set[str] = set()
        self._folders: dict[str, str] = {}

    def take(self, name: str) -> None:
        if fault := fault_of_name(name):
            raise HubError(f"the name {name!r:.100} {fault}")
        folders = [name[:end] for end, letter in enumerate(name) if letter == "/"]
        for folder in folders:
            if _same(folder) in self._files or self._folders.setdefault(_same(folder), folder) != folder:
                raise HubError(f"{name!r:.100} is in a folder that has the name of something else")
        if _same(name) in self._files or _same(name) in self._folders:
            raise HubError(f"two things have the name {name!r:.100}, or names that some disks take for one")
        self._files.add(_same(name))


def clash_of(names: Iterable[str]) -> str:
    """Which of `names` cannot be beside the others; empty where all can."""
    taken = _Names()
    for name in names:
        try:
            taken.take(name)
        except HubError as error:
            return str(error)
    return ""


def _same(name: str) -> str:
    return unicodedata.normalize("NFC", name.casefold())


def _entry(block: bytes, offset: int) -> Entry:
    if len(block) < _BLOCK:
        raise HubError("it ends without an end mark")
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
    except (tarfile.HeaderError, UnicodeDecodeError) as error:
        raise HubError(f"it is no archive of a package: {error}") from None
    if info.type != tarfile.REGTYPE:
        raise HubError(f"{info.name!r:.100} is no regular file, and nothing else is taken (kind {info.type!r})")
    if info.size < 0:
        raise HubError(f"{info.name!r:.100} has a size below 0")
    return Entry(info.name, info.size, bool(info.mode & 0o100), offset)


def _check_end(archive: IO[bytes], left: int) -> None:
    """Two empty blocks, and nothing after them."""
    if left != 2 * _BLOCK or archive.read() != bytes(_BLOCK):
        raise HubError("something comes after its end mark")


def _copy(source: IO[bytes], target: IO[bytes], size: int, tell: Callable[[int], object]) -> int:
    left = size
    while left and (piece := source.read(min(left, _PIECE))):
        target.write(piece)
        left -= len(piece)
        tell(len(piece))
    return size - left


def _rounded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK
