"""A progress bar on stderr: redrawn in place on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from typing import TextIO

from zflow.terminal import Screen

_REDRAW = 0.1
_LINE_EVERY = 5.0
_WIDTH = 24


class Progress:
    """Counts what is done of `total` (None: unknown), under `title`. unit: what is counted; bytes are told in MB."""

    def __init__(self, title: str, total: int | None, *, unit: str = "docs", stream: TextIO | None = None) -> None:
        self._title = title
        self._unit = unit
        self._total = total
        self._screen = Screen(stream)
        self._on_terminal = self._screen.is_terminal
        self._done = 0
        self._started = self._drawn = time.monotonic()

    def advance(self, count: int) -> None:
        """`count` more are done."""
        self._done += count
        now = time.monotonic()
        if now - self._drawn >= (_REDRAW if self._on_terminal else _LINE_EVERY):
            self._drawn = now
            self._draw(now)

    def close(self) -> None:
        """Draw the last state and leave the line."""
        self._draw(time.monotonic())
        if self._on_terminal:
            self._screen.write("\n")

    def _draw(self, now: float) -> None:
        line = self._line(max(now - self._started, 1e-9))
        self._screen.write(f"\r{line}\x1b[K" if self._on_terminal else f"{line}\n")

    def _line(self, elapsed: float) -> str:
        rate = f"{self._shown(self._done / elapsed)}/s, {elapsed:.1f} s"
        if not self._total:
            return f"{self._title}: {self._shown(self._done)}, {rate}"
        share = min(1.0, self._done / self._total)
        filled = int(share * _WIDTH)
        bar = "#" * filled + "-" * (_WIDTH - filled)
        left = "" if not self._done or share == 1 else f", {elapsed / share - elapsed:.0f} s left"
        done, _, _ = self._shown(self._done).partition(" ")
        return f"{self._title}: [{bar}] {done}/{self._shown(self._total)}, {rate}{left}"

    def _shown(self, count: float) -> str:
        return f"{count / 1e6:.1f} MB" if self._unit == "bytes" else f"{count:.0f} {self._unit}"
