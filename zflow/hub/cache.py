"""Packages on this machine, each in a folder that has its digest for a name: whole, or not there at all.

::

    sha256/<digest>/       a package that is whole; nobody changes it
    unfinished/<digest>/   who fetches it has locked this folder; the one who waits for the lock finds it done

A process that is killed leaves its folder behind, without the lock: the next one that fetches anything removes it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from zflow.config import environment
from zflow.errors import Unavailable, WorkspaceError, ZflowError
from zflow.terminal import Screen

_PATIENCE = 3600.0  # seconds for somebody else to fetch it; it has deadlines of its own
_LOOK_EVERY = 0.1
_TELL_AFTER = 1.0  # seconds


class Cache:
    """The folder of packages. `root` need not exist yet."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root if root is not None else Path(environment.hub_cache()).expanduser().absolute()

    def find(self, digest: str) -> Path | None:
        """The folder of what has `digest`, if it is here."""
        place = self._place(digest)
        return place if place.is_dir() else None

    def keep(self, digest: str, fill: Callable[[Path], object]) -> Path:
        """The folder of what has `digest`. Unless it is here, `fill` is given an empty folder to make it in.

        Whatever `fill` raises goes through, and nothing is left then. Raises WorkspaceError where the disk does not let
        it be.
        """
        while (found := self.find(digest)) is None:
            with self._claimed(digest) as work:
                if work is None or self.find(digest) is not None:
                    continue  # somebody else was quicker
                (work / "new").mkdir(mode=0o755)
                fill(work / "new")
                _bring_to_disk(work / "new")
                place = self._place(digest)
                place.parent.mkdir(exist_ok=True)
                os.rename(work / "new", place)
        return found

    def _place(self, digest: str) -> Path:
        return self.root.joinpath(*digest.split(":", 1))

    @contextmanager
    def _claimed(self, digest: str) -> Iterator[Path | None]:
        """An empty folder that is ours until the end of the block; None if it had to be waited for."""
        work = self.root / "unfinished" / digest.partition(":")[2]
        with self._explained():
            work.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = _opened(work)
        if descriptor is None:
            yield None
            return
        try:
            with self._explained():
                _lock(descriptor, work)
                if not _is_still(work, descriptor):
                    yield None
                    return
                self._clean()
                _empty(work)
            try:
                with self._explained():
                    yield work
            finally:
                shutil.rmtree(work, ignore_errors=True)  # while we have the lock
        finally:
            os.close(descriptor)

    def _clean(self) -> None:
        """Remove what killed processes have left."""
        with suppress(OSError):
            for work in (self.root / "unfinished").iterdir():
                _remove_if_nobodys(work)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except ZflowError:
            raise
        except OSError as error:
            told = f"{self.root}, where packages are kept, cannot be written: {error.strerror or error}"
            remedy = "Please make it writable, free some space, or name another folder by ZFLOW_HUB_CACHE"
            raise WorkspaceError(f"{told}. {remedy}", error.errno, str(self.root)) from error


def _opened(work: Path) -> int | None:
    """None where somebody has removed it this moment."""
    try:
        return os.open(work, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return None


def _lock(descriptor: int, work: Path) -> None:
    began, told = time.monotonic(), False
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waited = time.monotonic() - began
            if waited > _PATIENCE:
                raise Unavailable(f"another process fetches {work.name} for {_PATIENCE:g} s already") from None
            if waited > _TELL_AFTER and not told:
                Screen().write(f"another process fetches {work.name[:12]} already; waiting for it\n")
                told = True
            time.sleep(_LOOK_EVERY)


def _is_still(work: Path, descriptor: int) -> bool:
    """Whether the folder that was locked is the one that has the name: who had it before has removed it."""
    try:
        return os.path.samestat(os.stat(work), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _bring_to_disk(folder: Path) -> None:
    """So that a whole folder is whole also after the power was cut."""
    for below, _, files in os.walk(folder):
        for path in (*(os.path.join(below, name) for name in files), below):
            if os.path.islink(path):
                continue
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _empty(work: Path) -> None:
    for item in work.iterdir():
        shutil.rmtree(item)


def _remove_if_nobodys(work: Path) -> None:
    with suppress(OSError):
        descriptor = os.open(work, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(work)
        finally:
            os.close(descriptor)
