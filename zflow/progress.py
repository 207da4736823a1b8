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
    """Counts what is done of `total` (None: unknown), under `title`. unit: what is counted; bytes are told in MB."""

    def __init__(self, title: str, total: int | None, *, unit: str = "docs", stream: TextIO | None = None) -> None:
        screen = Screen(stream)
        self._face = _face(title, total or None, unit, screen) if screen.can_redraw else None
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


def _face(title: str, total: int | None, unit: str, screen: Screen) -> _Face:
    if screen.is_terminal:  # in a notebook, rich would ask for widgets
        with contextlib.suppress(ImportError):
            return _Rich(title, total, unit, screen)
    return _Line(title, total, unit, screen)


class _Line:
    """``POST /: [######------] 50/200 docs, 25 docs/s, 2.0 s, 6 s left``."""

    def __init__(self, title: str, total: int | None, unit: str, screen: Screen) -> None:
        self._title, self._total, self._unit, self._screen = title, total, unit, screen

    def draw(self, done: int, elapsed: float) -> None:
        self._screen.redraw(self._told(done, max(elapsed, 1e-9)))

    def close(self) -> None:
        self._screen.write("\n")

    def _told(self, done: int, elapsed: float) -> str:
        counted = _counted(done, self._total, self._unit)
        rate = f"{_shown(done / elapsed, self._unit)}/s, {elapsed:.1f} s"
        if not self._total:
            return f"{self._title}: {counted}, {rate}"
        share = min(1.0, done / self._total)
        filled = int(share * _WIDTH)
        bar = "#" * filled + "-" * (_WIDTH - filled)
        left = "" if not done or share == 1 else f", {elapsed / share - elapsed:.0f} s left"
        return f"{self._title}: [{bar}] {counted}, {rate}{left}"


class _Rich:
    """A bar of rich's. It starts no thread, and leaves stdout, which is the user's, alone. Raises ImportError."""

    def __init__(self, title: str, total: int | None, unit: str, screen: Screen) -> None:
        from rich.console import Console
        from rich.markup import escape
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        told = TextColumn("{task.fields[told]}")
        self._total, self._unit = total, unit
        self._bar = Progress(
            *(TextColumn("{task.description}"), BarColumn(), told, TimeRemainingColumn()),
            console=Console(file=screen.stream),
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._bar.add_task(escape(title), total=total, told="")

    def draw(self, done: int, elapsed: float) -> None:
        rate = _shown(done / max(elapsed, 1e-9), self._unit)
        told = f"{_counted(done, self._total, self._unit)}, {rate}/s"
        with contextlib.suppress(OSError, ValueError):  # nobody reads it any more
            self._bar.start()
            self._bar.update(self._task, completed=done, told=told, refresh=True)

    def close(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._bar.stop()


def _counted(done: int, total: int | None, unit: str) -> str:
    """``50/200 docs``."""
    return f"{_shown(done, unit).partition(' ')[0]}/{_shown(total, unit)}" if total else _shown(done, unit)


def _shown(count: float, unit: str) -> str:
    return f"{count / 1e6:.1f} MB" if unit == "bytes" else f"{count:.0f} {unit}"
