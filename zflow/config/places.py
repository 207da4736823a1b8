"""Where a value stands, so that a fault has an address: ``flow.yml:12 executors[1].replicas``."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from zflow.errors import ConfigError

Path = tuple[object, ...]
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class Place:
    """A path into a description, and the file (or other source) and lines it was read from, if any."""

    source: str = ""
    path: Path = ()
    lines: Mapping[Path, int] = field(default_factory=dict, compare=False, repr=False)

    def down(self, *keys: object) -> Place:
        """The place of what stands under `keys`."""
        return Place(self.source, (*self.path, *keys), self.lines)

    def fault(self, message: str, kind: type[ConfigError] = ConfigError) -> ConfigError:
        """An error that begins with this address."""
        address = str(self)
        error = kind(f"{address}: {message}" if address else message)
        error.source, error.line, error.path, error.problem = self.source, self.line, _spelled(self.path), message
        return error

    @property
    def line(self) -> int:
        """Where it begins, or what holds it does; 0 where that is not known."""
        return next((self.lines[path] for path in self._up() if path in self.lines), 0)

    def __str__(self) -> str:
        source = f"{self.source}:{self.line}" if self.line else self.source
        return " ".join(part for part in (source, _spelled(self.path)) if part)

    def _up(self) -> list[Path]:
        return [self.path[:depth] for depth in range(len(self.path), -1, -1)]


def shown(value: object) -> str:
    """A foreign value in a message: text in double quotes, anything else in short."""
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return f'"{value[:77]}..."' if len(value) > 80 else f'"{value}"'
    if isinstance(value, type):
        return f"the class {value.__name__}"
    return reprlib.repr(value)


def _spelled(path: Path) -> str:
    """``executors[1].uses.with``; keys that are no plain words stand in brackets."""
    text = ""
    for key in path:
        if isinstance(key, str) and _WORD.fullmatch(key):
            text += f".{key}" if text else key
        else:
            text += f"[{reprlib.repr(key)}]"
    return text
