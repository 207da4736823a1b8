"""What every process tells of itself: ``executor0/rep-0@4711[E]:text`` on stderr, or what a `log_config` says.

Everything goes through the standard library's logging. In a user's process only the logger ``zflow`` is touched: a
program that has given it handlers of its own keeps them, and gets no others. A process of ours tells in the same way
what user code says there, by `self.logger`, by loggers of its own and by those of libraries.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from zflow.config.environment import log_level
from zflow.config.log_config import LogConfig, Voice
from zflow.drivers.running import requests_at_work
from zflow.errors import description_of
from zflow.processes.log_book import Book, FolderBook, MemoryBook, Page
from zflow.processes.log_file import LogFile
from zflow.terminal import Screen
from zflow.tracebacks import of_the_user

_ROOT = "zflow"
_SILENT = logging.CRITICAL + 1
_LETTERS = {logging.DEBUG: "D", logging.INFO: "I", logging.WARNING: "W", logging.ERROR: "E", logging.CRITICAL: "E"}
_FAILURE = "zflow_failure"  # marks what quiet_error is about
_process_name = _ROOT
HINT = ' add "--quiet-error" to suppress the exception details'


class PeerFormatter(logging.Formatter):
    """``name@pid[letter]:text``, then, for an exception, how to be spared its details, and the details."""

    def format(self, record: logging.LogRecord) -> str:
        line = self.line(record)
        details = _details(record)
        if details:
            hint = f"{HINT}\n" if hasattr(record, _FAILURE) else ""
            line = f"{line}\n{hint}{details}"
        return line

    def line(self, record: logging.LogRecord) -> str:
        """All but the exception's details."""
        return f"{name_of(record)}@{record.process}[{_letter(record)}]:{record.getMessage()}"


class PatternFormatter(PeerFormatter):
    """A line after a user's own `pattern`, see FIELDS in log_config.py."""

    def __init__(self, pattern: str) -> None:
        super().__init__()
        self._pattern = pattern

    def line(self, record: logging.LogRecord) -> str:
        fields = _fields(record)
        requests = " ".join(fields.pop("requests"))
        return self._pattern.format(**fields, letter=_letter(record), requests=requests)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, name, pid, logger, text; `requests` where some run, `exception` where one
    is told."""

    def format(self, record: logging.LogRecord) -> str:
        import json  # few ask for it

        told = _fields(record)
        if not told["requests"]:
            del told["requests"]
        details = _details(record)
        if details:
            told["exception"] = details
        return json.dumps(told, ensure_ascii=False)


class Stderr(logging.Handler):
    """Whatever ``sys.stderr`` is at the moment; a reader that has gone away must not disturb the serving."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception:  # the text and the values of a user's call do not fit each other
            line = f"{name_of(record)}@{record.process}[E]:{record.pathname}:{record.lineno}: a log line that is none"
        Screen().write(f"{line}\n")


class Log:
    """What one peer of this process says. Two Flows in one process have one each, and may differ in what they say.

    name: what its lines begin with. quiet: it says nothing at all. quiet_error: exceptions without their details.
    level: DEBUG, INFO, WARNING, ERROR or CRITICAL; ZFLOW_LOG_LEVEL as it is now when None. config: in which form, and
    where to; None for what is usual in this process. folder: where the latest lines are kept. book: who can tell them.
    """

    def __init__(
        self,
        name: str,
        *,
        quiet: bool = False,
        quiet_error: bool = False,
        level: str | None = None,
        config: LogConfig | None = None,
    ) -> None:
        self.name = name
        self.level = level or (config.level if config else "") or log_level()
        self.quiet = quiet
        self.quiet_error = quiet_error
        self.folder = ""
        self.book: Book | None = None
        self._config = config if config != LogConfig() else None

    @classmethod
    def of(cls, name: str, voice: Voice) -> Log:
        """What `name` says as `voice` has it."""
        return cls(name, quiet=voice.quiet, quiet_error=voice.quiet_error, config=voice.config)

    @property
    def is_for_people(self) -> bool:
        """Whether what is shown beside its lines, such as how a start goes, disturbs nobody."""
        return not self.quiet and (self._config is None or self._config.form == "plain" or not self._config.stderr)

    @cached_property
    def _logger(self) -> logging.Logger:
        """Made when there is something to say: most processes never do, and what they do not touch they share."""
        made = logging.Logger(f"{_ROOT}.{self.name}", _SILENT if self.quiet else self.level)
        if self._config is not None:
            made.handlers = handlers_of(self._config)
        else:
            stand_ready()
            made.parent = logging.getLogger(_ROOT)
        return made

    def keep_in(self, folder: str) -> None:
        """Keep the latest lines in the private directory `folder`, where the processes of a family keep theirs; where
        it is empty, nowhere any more."""
        self.folder = folder
        self._logger.handlers = [handler for handler in self._logger.handlers if not isinstance(handler, Page)]
        if folder:
            self._logger.addHandler(_with_json(Page(folder, self.name)))

    def debug(self, text: str, *values: object) -> None:
        if self.level == "DEBUG":  # else there is still nothing to say, and no logger to be made
            self._logger.debug(text, *values)

    def info(self, text: str, *values: object) -> None:
        self._logger.info(text, *values)

    def warning(self, text: str, *values: object) -> None:
        self._logger.warning(text, *values)

    def error(self, text: str, *values: object) -> None:
        self._logger.error(text, *values)

    def failure(self, error: BaseException) -> None:
        """Tell `error`, with its traceback unless this log is to be quiet about it."""
        details = None if self.quiet_error else error
        self._logger.error("%s", description_of(error), exc_info=details, extra={_FAILURE: True})


def handlers_of(config: LogConfig) -> list[logging.Handler]:
    """Where lines go to as `config` says."""
    handlers: list[logging.Handler] = [LogFile(config.file, config.max_size, config.keep)] if config.file else []
    handlers += [Stderr()] if config.stderr else []
    for handler in handlers:
        handler.setFormatter(_formatter(config.form))
    return handlers


def written_as(config: LogConfig, name: str = "", folder: str = "") -> Callable[[str], None]:
    """What writes lines that are made already, by another process, to where `config` says.

    name: of that process, as which it keeps them in `folder`, if there is one.
    """
    handlers = handlers_of(config)
    page = Page(folder, name) if folder else None
    if page is not None:
        page.setFormatter(JsonFormatter())
    for handler in handlers:
        handler.setFormatter(logging.Formatter("%(message)s"))

    def write(line: str) -> None:
        for handler in handlers:
            handler.handle(logging.makeLogRecord({"msg": line}))
        if page is not None:
            page.keep(line, name)

    return write


def _formatter(form: str) -> logging.Formatter:
    if form == "plain":
        return PeerFormatter()
    return JsonFormatter() if form == "json" else PatternFormatter(form)


def name_process(name: str) -> None:
    """This process is one peer: `name` stands on the lines of loggers that have no name of their own."""
    global _process_name
    _process_name = name


def take_over(name: str, voice: Voice, level: str = "", folder: str = "") -> Log:
    """This process is one of ours: it is `name`, and all that is logged in it is told as `voice` says.

    level: where the voice's own config names none. folder: where its family keeps the latest lines; without one it
    keeps its own. Returns the Log of the peer that it is. What user code adds to loggers later stays;
    `logging.basicConfig` finds that there is somebody already.
    """
    name_process(name)
    config = voice.config
    level = config.level or level or log_level()
    log = Log(name, quiet=voice.quiet, quiet_error=voice.quiet_error, level=level)
    memory = MemoryBook()
    log.book = FolderBook(folder) if folder else memory
    kept = Page(folder, name) if folder else memory
    handlers = [logging.NullHandler()] if voice.quiet else [*handlers_of(config), _with_json(kept)]
    ours = logging.getLogger(_ROOT)
    for logger in (ours, logging.getLogger()):
        logger.handlers[:] = [handler for handler in logger.handlers if not _is_our_own(handler)]
        logger.handlers += handlers
        logger.setLevel(_SILENT if voice.quiet else level)
    ours.propagate = False
    for other, its_level in config.levels.items():
        logging.getLogger(None if other == "root" else other).setLevel(its_level)
    return log


def stand_ready() -> None:
    """Give the logger ``zflow`` a handler, if it has none."""
    root = logging.getLogger(_ROOT)
    if not root.handlers:
        [handler] = handlers_of(LogConfig())
        root.addHandler(handler)
        root.setLevel(log_level())
        root.propagate = False


def name_of(record: logging.LogRecord) -> str:
    """Whose line it is: the peer's that the logger is named after, or this process's own."""
    return record.name.removeprefix(f"{_ROOT}.") if record.name.startswith(f"{_ROOT}.") else _process_name


def _is_our_own(handler: logging.Handler) -> bool:
    return isinstance(handler, (Stderr, LogFile, MemoryBook, logging.NullHandler))


def _with_json(handler: logging.Handler) -> logging.Handler:
    handler.setFormatter(JsonFormatter())
    return handler


def _letter(record: logging.LogRecord) -> str:
    return _LETTERS.get(record.levelno, record.levelname[:1])


def _details(record: logging.LogRecord) -> str:
    """The traceback of the record's exception from the user's first line on, if there is one."""
    error = record.exc_info[1] if record.exc_info else None
    return of_the_user(error).rstrip() if error is not None else ""


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    told: Mapping[str, Any] = {
        "time": f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03d}Z",
        "level": record.levelname,
        "name": name_of(record),
        "pid": record.process,
        "logger": record.name,
        "requests": requests_at_work(),
        "text": record.getMessage(),
    }
    return dict(told)
