"""stderr, where people are shown how things go: whether there is one, and whether anybody reads it, is no matter."""

from __future__ import annotations

import contextlib
import sys
from typing import TextIO


class Screen:
    """`stream`, or ``sys.stderr``, which may be None, closed, full, or a pipe whose reader has gone."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream if stream is not None else sys.stderr
        self._length = 0  # of what was drawn last

    @property
    def is_terminal(self) -> bool:
        """Whether it understands what moves a cursor."""
        with contextlib.suppress(OSError, ValueError):
            return self.stream is not None and self.stream.isatty()
        return False

    @property
    def can_redraw(self) -> bool:
        """Whether a line can be drawn over: on a terminal, and below the cell of a notebook."""
        return self.is_terminal or type(self.stream).__module__.startswith("ipykernel.")

    @property
    def width(self) -> int:
        """How many characters a line of it has."""
        import shutil  # of all processes, few draw

        return shutil.get_terminal_size().columns

    def write(self, text: str) -> None:
        """Show `text` at once, if it can be shown."""
        if self.stream is not None:
            with contextlib.suppress(OSError, ValueError):
                self.stream.write(text)
                self.stream.flush()

    def redraw(self, line: str) -> None:
        """Draw `line` over the one before; no wider than the screen is, for what goes on below cannot be drawn over."""
        line = line[: self.width - 1]
        padding = " " * (self._length - len(line))  # notebooks do not know how to erase
        self._length = len(line)
        self.write(f"\r{line}\x1b[K" if self.is_terminal else f"\r{line}{padding}")
