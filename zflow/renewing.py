"""Has what serves renewed when the files that it is made of change: `reload` and `restart`.

One thread watches (watching.py), another one acts, so that who saves a file again while its last version still starts
need not wait for that: it is given up. What cannot start is told once, and what served before serves on; the next
change is the next chance.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from operator import or_
from typing import NamedTuple

from zflow.config.definition import is_file
from zflow.config.spec import ExecutorSpec
from zflow.errors import ConfigError, StartError, ZflowError
from zflow.processes.logs import Log
from zflow.processes.watch import Progress
from zflow.watching import FileWatch, Watched


class Subject(NamedTuple):
    """What is renewed as a whole, when something of `watched` changes. name: of what, in messages.

    renew: is given the paths that have changed, and what to call at least once per `PULSE` (watch.py), which raises
    when it is to be given up.
    """

    name: str
    watched: Watched
    renew: Callable[[list[str], Progress], None]


class Renewing:
    """Renews each of `subjects` when it has changed since `began`, until `close`; they are asked for ever anew."""

    def __init__(self, subjects: Callable[[], Iterable[Subject]], log: Log, began: float) -> None:
        self._subjects = subjects
        self._log = log
        self._changed = threading.Condition()
        self._pending: set[str] = set()
        self._is_over = False
        self._owner = os.getpid()
        self._watch = FileWatch(self._watched, self._hear, log, began)
        self._thread = threading.Thread(target=self._run, name="zflow-renewing", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Begin nothing more, and give up what has begun. In a forked copy it does nothing."""
        if os.getpid() != self._owner:
            return
        with self._changed:
            self._is_over = True
            self._changed.notify()
        self._watch.close()

    def join(self) -> None:
        """Return when nothing is under way any more."""
        if os.getpid() == self._owner:
            self._thread.join()

    def _watched(self) -> Watched:
        return reduce(or_, (subject.watched for subject in self._subjects()), Watched())

    def _hear(self, paths: list[str]) -> None:
        with self._changed:
            self._pending.update(paths)
            self._changed.notify()

    def _run(self) -> None:
        while (paths := self._next()) is not None:
            for subject in self._subjects():
                concerned = sorted(filter(subject.watched.holds, paths))
                if concerned and not self._is_over:
                    self._renew(subject, concerned)
            self._watch.look_again()

    def _next(self) -> set[str] | None:
        """What has changed, as soon as something has; None when all is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._pending or self._is_over)
            paths, self._pending = self._pending, set()
        return None if self._is_over else paths

    def _renew(self, subject: Subject, paths: list[str]) -> None:
        def look(waiting: Sequence[str], ready: Sequence[str]) -> None:
            if self._is_over or any(map(subject.watched.holds, tuple(self._pending))):
                raise _Superseded

        try:
            subject.renew(paths, look)
        except _Superseded:
            pass
        except Exception as error:
            if not self._is_over:
                self._tell(subject, error)

    def _tell(self, subject: Subject, error: Exception) -> None:
        if not isinstance(error, ZflowError):
            self._log.failure(error)
            return
        told = str(error.args[0]) if isinstance(error, StartError) and self._log.quiet_error else str(error)
        self._log.error("%s serves on as it was before the change: %s", subject.name, told)


class _Superseded(Exception):
    """The files have changed again meanwhile, or everything ends."""


def yaml_files(spec: ExecutorSpec) -> frozenset[str]:
    """The files that describe the Executor."""
    uses = (spec.uses, spec.uses_before, spec.uses_after)
    return frozenset(item for item in uses if isinstance(item, str) and is_file(item))


def check_watched(name: str, spec: ExecutorSpec, *, is_in_file: bool = False) -> None:
    """Raise ConfigError where there is nothing to watch, though it was asked for. is_in_file: `spec` is itself."""
    if spec.given.get("reload") and spec.uses is spec.uses_before is spec.uses_after is None:
        raise ConfigError(f"{name}: reload watches the files of a class, and there is none; give `uses`")
    if spec.given.get("restart") and not is_in_file and not yaml_files(spec):
        raise ConfigError(
            f"{name}: restart watches the YAML file that `uses` names, and it names none; to follow the changes of "
            "Python files, say reload"
        )


def forget_compiled(paths: Iterable[str]) -> None:
    """Two versions that are saved within one second and equally long look the same to Python's cache."""
    for path in paths:
        with contextlib.suppress(OSError, NotImplementedError):
            os.unlink(importlib.util.cache_from_source(path))
