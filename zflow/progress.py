"""A progress bar on stderr: of rich where it is installed, else a line that is redrawn; nothing where nobody looks."""

from __future__ import annotations

import contextlib
import time
from typing import Protocol, TextIO

from zflow.terminal import Screen

_REDRAW = 0.1
_WIDTH = 24


class _Face(Protocol):
    """How progress looks."""

    def draw(self, done: int, elapsed: float) -> None: ...

    def close(self) -> None: ...


class Progress:
    """Counts what is done of `total` (None: unknown), under `title`."""

    def __init__(self, title: str, total: int | None, *, stream: TextIO | None = None) -> None:
        screen = Screen(stream)
        self._face = _face(title, total or None, screen) if screen.can_redraw else None
        self._done = 0
        self._started = self._drawn = time.monotonic()

    def advance(self, count: int) -> None:
        """`count` more are done."""
        self._done += count
        now = time.monotonic()
        if self._face is not None and now - self._drawn >= _REDRAW:
            self._drawn = now
            self._face.draw(self._done, now - self._started)

    def close(self) -> None:
        """Draw the last state and leave the line."""
        if self._face is not None:
            self._face.draw(self._done, time.monotonic() - self._started)
            self._face.close()


def _face(title: str, total: int | None, screen: Screen) -> _Face:
    if screen.is_terminal:  # in a notebook, rich would ask for widgets
        with contextlib.suppress(ImportError):
            return _Rich(title, total, screen)
    return _Line(title, total, screen)


class _Line:
    """``POST /: [######------] 50/200 docs, 25 docs/s, 2.0 s, 6 s left``."""

    def __init__(self, title: str, total: int | None, screen: Screen) -> None:
        self._title, self._total, self._screen = title, total, screen

    def draw(self, done: int, elapsed: float) -> None:
        self._screen.redraw(self._told(done, max(elapsed, 1e-9)))

    def close(self) -> None:
        self._screen.write("\n")

    def _told(self, done: int, elapsed: float) -> str:
        rate = f"{done / elapsed:.0f} docs/s, {elapsed:.1f} s"
        if not self._total:
            return f"{self._title}: {done} docs, {rate}"
        share = min(1.0, done / self._total)
        filled = int(share * _WIDTH)
        bar = "#" * filled + "-" * (_WIDTH - filled)
        left = "" if not done or share == 1 else f", {elapsed / share - elapsed:.0f} s left"
        return f"{self._title}: [{bar}] {done}/{self._total} docs, {rate}{left}"


class _Rich:
    """A bar of rich's. It starts no thread, and leaves stdout, which is the user's, alone. Raises ImportError."""

    def __init__(self, title: str, total: int | None, screen: Screen) -> None:
        from rich.console import Console
        from rich.markup import escape
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("docs, {task.fields[rate]:.0f} docs/s"),
            TimeRemainingColumn(),
        )
        console = Console(file=screen.stream)
        self._bar = Progress(
            *columns, console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
        )
        self._task = self._bar.add_task(escape(title), total=total, rate=0.0)

    def draw(self, done: int, elapsed: float) -> None:
        with contextlib.suppress(OSError, ValueError):  # nobody reads it any more
            self._bar.start()
            self._bar.update(self._task, completed=done, rate=done / max(elapsed, 1e-9), refresh=True)

    def close(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._bar.stop()
