"""Which files have changed: a thread that watches some, as editors save them.

Folders are watched, not files: many editors write a new file and give it the old one's name. What happens within a
tenth of a second is told as one change, because others write in several steps. Folders below are looked up here, so
that what nobody edits (environments, caches, hidden ones) costs nothing; those that are new are found when they appear.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable, Container, Iterable, Iterator
from typing import Any, NamedTuple

from zflow.errors import ConfigError
from zflow.processes.logs import Log

_NEEDED = (0, 18)
_QUIET = 100  # milliseconds without a further change, after which a change is told
_AT_LATEST = 1000  # milliseconds after which it is told even though there are further ones
_TICK = 500  # milliseconds between two looks at whether the folders are still the same ones
_MOST = 2_000  # folders; systems allow a user some ten thousand watches at least
_PASSED_OVER = {"__pycache__", "node_modules", "site-packages", "dist-packages"}


class Watched(NamedTuple):
    """files: by absolute path. folders: of these every Python file counts, and of those below."""

    files: frozenset[str] = frozenset()
    folders: frozenset[str] = frozenset()

    def holds(self, path: str) -> bool:
        return path in self.files or (path.endswith(".py") and self.is_below(path))

    def is_below(self, path: str) -> bool:
        """Whether `path` is in one of the folders, and nothing on the way is passed over."""
        inside = (path[len(folder) + 1 :] for folder in self.folders if path.startswith(f"{folder}{os.sep}"))
        return any(not any(map(_is_passed_over, rest.split(os.sep))) for rest in inside)

    def __or__(self, other: Watched) -> Watched:
        return Watched(self.files | other.files, self.folders | other.folders)


def watchfiles() -> Any:
    """The library. Raises ConfigError where it is missing or too old."""
    told = "reload and restart need watchfiles>={}.{}".format(*_NEEDED)
    try:
        import watchfiles  # takes a tenth of a second, and few need it
    except ImportError as error:
        raise ConfigError(f"{told}, which is not installed here: pip install 'watchfiles>=0.18'") from error
    if tuple(int(part) for part in watchfiles.__version__.split(".")[:2]) < _NEEDED:
        raise ConfigError(f"{told}, and {watchfiles.__version__} is installed: pip install -U watchfiles")
    return watchfiles


class FileWatch:
    """Tells `hear` of the paths that have changed since `began`, until `close`.

    watched: says what is to be watched; it is asked again after `look_again`. began: seconds since the epoch; also what
    changed between then and the beginning of the watch is told. `hear` is called on the watch's own thread.
    """

    def __init__(
        self, watched: Callable[[], Watched], hear: Callable[[list[str]], None], log: Log, began: float
    ) -> None:
        self._library = watchfiles()
        self._ask = watched
        self._hear = hear
        self._log = log
        self._began = began
        self._told: dict[str, int] = {}  # when what was told last had been written
        self._watched = Watched()
        self._polls = False
        self._has_warned = False
        self._is_over = False
        self._owner = os.getpid()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="zflow-watch", daemon=True)
        atexit.register(self.close)  # the library cannot bear to be cut off in the middle of a wait
        self._thread.start()

    def look_again(self) -> None:
        """What is to be watched may be something else now."""
        if self._ask() != self._watched:
            self._wake.set()

    def close(self) -> None:
        """Return when nothing is watched any more, and nobody is told anything. In a forked copy it does nothing."""
        if os.getpid() != self._owner:
            return
        self._is_over = True
        self._wake.set()
        if threading.current_thread() is not self._thread:
            self._thread.join()
            atexit.unregister(self.close)

    def _run(self) -> None:
        while not self._is_over:
            self._wake.clear()
            self._watched = self._ask()
            try:
                self._watch()
            except FileNotFoundError:
                continue  # a folder has gone since it was looked up
            except (OSError, RuntimeError) as error:
                self._cannot(error)

    def _cannot(self, error: Exception) -> None:
        """The system has no more watches to give."""
        if self._polls:
            self._log.error("the files cannot be watched, and changes are not noticed any more: %s", error)
            self._is_over = True
        else:
            self._log.warning("files are looked at now and then, because they cannot be watched: %s", error)
            self._polls = True

    def _watch(self) -> None:
        """Tell changes until something else is to be watched. Raises OSError."""
        tops = self._tops()
        identities = _identities(tops)
        folders = self._folders(tops)
        if not folders:
            self._wake.wait(_TICK / 1000)
            return
        self._log.debug("watching %s", ", ".join(folders))
        batches = self._library.watch(
            *folders,
            watch_filter=lambda change, path: self._matters(path, folders),
            debounce=_AT_LATEST,
            step=_QUIET,
            rust_timeout=_TICK,
            yield_on_timeout=True,
            stop_event=self._wake,
            raise_interrupt=False,
            recursive=False,
            **({"force_polling": True} if self._polls else {}),
        )
        is_first = True
        for batch in batches:
            paths = {path for _, path in batch}
            changed = {path for path in paths if self._watched.holds(path)}
            self._tell(changed.union(self._written_since(folders)) if is_first else changed)
            is_first = False
            if self._wake.is_set() or paths - changed or _identities(tops) != identities:
                return

    def _tops(self) -> list[str]:
        return sorted({os.path.dirname(file) for file in self._watched.files} | self._watched.folders)

    def _folders(self, tops: list[str]) -> dict[str, None]:
        """What is really watched, the nearest first."""
        found: dict[str, None] = dict.fromkeys(folder for folder in tops if os.path.isdir(folder))
        for folder in _below(sorted(self._watched.folders)):
            if len(found) >= _MOST:
                self._warn(folder)
                break
            found[folder] = None
        return found

    def _warn(self, folder: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            self._log.warning("more than %d folders are not watched: changes in %s are not noticed", _MOST, folder)

    def _matters(self, path: str, folders: Container[str]) -> bool:
        """A file that is watched, or a folder that has come or gone."""
        return self._watched.holds(path) or path in folders or (self._watched.is_below(path) and os.path.isdir(path))

    def _written_since(self, folders: Iterable[str]) -> Iterator[str]:
        """What was written since all began; `_tell` knows what of it has been told."""
        for folder in folders:
            try:
                entries = [entry.path for entry in os.scandir(folder)]
            except OSError:
                continue
            for path in entries:
                if self._watched.holds(path) and _written(path) > self._began * 1e9:
                    yield path

    def _tell(self, paths: set[str]) -> None:
        """Tell what was not told before: one change of a file comes as several events."""
        new = sorted(path for path in paths if self._told.get(path) != _written(path))
        self._told.update((path, _written(path)) for path in new)
        if new and not self._is_over:
            self._hear(new)


def _written(path: str) -> int:
    """When, in nanoseconds; 0 for what is not there."""
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0


def _below(folders: Iterable[str]) -> Iterator[str]:
    """The folders in `folders` and below, level by level."""
    level = list(folders)
    while level:
        deeper = []
        for folder in level:
            try:
                with os.scandir(folder) as entries:
                    deeper += [
                        entry.path
                        for entry in entries
                        if not _is_passed_over(entry.name) and entry.is_dir(follow_symlinks=False)
                    ]
            except OSError:
                continue
        deeper = [folder for folder in sorted(deeper) if not os.path.exists(os.path.join(folder, "pyvenv.cfg"))]
        yield from deeper
        level = deeper


def _is_passed_over(name: str) -> bool:
    return name in _PASSED_OVER or name.startswith(".")


def _identities(folders: list[str]) -> list[tuple[int, int]]:
    """A folder that was made anew has the name of the old one, but is not watched."""
    found = []
    for folder in folders:
        try:
            status = os.stat(folder)
            found.append((status.st_dev, status.st_ino))
        except OSError:
            found.append((0, 0))
    return found
