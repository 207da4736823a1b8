"""stderr, where people are shown how things go: whether there is one, and whether anybody reads it, is no matter."""

from __future__ import annotations

import contextlib
import sys
from typing import TextIO


class Screen:
    """`stream`, or ``sys.stderr``, which may be None, closed, full, or a pipe whose reader has gone."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream if stream is not None else sys.stderr

    @property
    def is_terminal(self) -> bool:
        """Whether a line can be redrawn."""
        with contextlib.suppress(OSError, ValueError):
            return self._stream is not None and self._stream.isatty()
        return False

    def write(self, text: str) -> None:
        """Show `text` at once, if it can be shown."""
        if self._stream is not None:
            with contextlib.suppress(OSError, ValueError):
                self._stream.write(text)
                self._stream.flush()
