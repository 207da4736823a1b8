"""One shape of log line for every process: ``executor0/rep-0@4711[E]:text`` on stderr.

Everything goes through the standard library's logger ``zflow``; the root logger is never touched. A program that has
given ``zflow`` handlers of its own keeps them, and gets no others.
"""

from __future__ import annotations

import logging
from functools import cached_property

from zflow.config.environment import log_level
from zflow.errors import description_of
from zflow.terminal import Screen
from zflow.tracebacks import of_the_user

_ROOT = "zflow"
_SILENT = logging.CRITICAL + 1
_LETTERS = {logging.DEBUG: "D", logging.INFO: "I", logging.WARNING: "W", logging.ERROR: "E", logging.CRITICAL: "E"}
_process_name = _ROOT
HINT = ' add "--quiet-error" to suppress the exception details'


class PeerFormatter(logging.Formatter):
    """``name@pid[letter]:text``, then, for an exception, how to be spared its details, and the details."""

    def format(self, record: logging.LogRecord) -> str:
        name = record.name.partition(".")[2] or _process_name
        letter = _LETTERS.get(record.levelno, record.levelname[:1])
        line = f"{name}@{record.process}[{letter}]:{record.getMessage()}"
        details = of_the_user(record.exc_info[1]) if record.exc_info and record.exc_info[1] is not None else ""
        return f"{line}\n{HINT}\n{details.rstrip()}" if details else line


class _Stderr(logging.Handler):
    """Whatever ``sys.stderr`` is at the moment; a reader that has gone away must not disturb the serving."""

    def emit(self, record: logging.LogRecord) -> None:
        Screen().write(f"{self.format(record)}\n")


class Log:
    """What one peer of this process says. Two Flows in one process have one each, and may differ in what they say.

    name: what its lines begin with. quiet: it says nothing at all. quiet_error: exceptions without their details.
    level: DEBUG, INFO, WARNING, ERROR or CRITICAL; ZFLOW_LOG_LEVEL as it is now when None.
    """

    def __init__(self, name: str, *, quiet: bool = False, quiet_error: bool = False, level: str | None = None) -> None:
        self.name = name
        self.level = level or log_level()
        self.quiet = quiet
        self.quiet_error = quiet_error

    @cached_property
    def _logger(self) -> logging.Logger:
        """Made when there is something to say: most processes never do, and what they do not touch they share."""
        stand_ready()
        made = logging.Logger(f"{_ROOT}.{self.name}", _SILENT if self.quiet else self.level)
        made.parent = logging.getLogger(_ROOT)
        return made

    def debug(self, text: str, *values: object) -> None:
        self._logger.debug(text, *values)

    def info(self, text: str, *values: object) -> None:
        self._logger.info(text, *values)

    def warning(self, text: str, *values: object) -> None:
        self._logger.warning(text, *values)

    def error(self, text: str, *values: object) -> None:
        self._logger.error(text, *values)

    def failure(self, error: BaseException) -> None:
        """Tell `error`, with its traceback unless this log is to be quiet about it."""
        self._logger.error("%s", description_of(error), exc_info=None if self.quiet_error else error)


def name_process(name: str) -> None:
    """This process is one peer: `name` stands on the lines of loggers that have no name of their own."""
    global _process_name
    _process_name = name


def stand_ready() -> None:
    """Give the logger ``zflow`` a handler, if it has none."""
    root = logging.getLogger(_ROOT)
    if not root.handlers:
        handler = _Stderr()
        handler.setFormatter(PeerFormatter())
        root.addHandler(handler)
        root.setLevel(log_level())
        root.propagate = False
