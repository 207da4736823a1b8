"""The shape of log lines, and who hears them."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator

import pytest

from zflow.processes import logs
from zflow.processes.logs import HINT, Log, name_process


@pytest.fixture(autouse=True)
def untouched_logger(monkeypatch: pytest.MonkeyPatch) -> Iterator[logging.Logger]:
    """The logger as a fresh process has it."""
    monkeypatch.setattr(logs, "_process_name", "zflow")
    logger = logging.getLogger("zflow")
    before = (logger.handlers[:], logger.level, logger.propagate)
    logger.handlers, logger.propagate = [], True
    yield logger
    logger.handlers, logger.level, logger.propagate = before


def raised() -> NotImplementedError:
    try:
        raise NotImplementedError("no time for it")
    except NotImplementedError as error:
        return error


def test_a_line_tells_who_which_process_how_bad_and_what(logged: Callable[[], str]) -> None:
    log = Log("executor0/rep-0", level="DEBUG")
    log.debug("a %s", 1)
    log.info("b")
    log.warning("c")
    log.error("d")
    pid = os.getpid()
    assert logged().splitlines() == [f"executor0/rep-0@{pid}[{letter}]:{text}" for letter, text in (
        ("D", "a 1"), ("I", "b"), ("W", "c"), ("E", "d")
    )]  # fmt: skip


def test_an_exception_comes_with_a_hint_and_its_traceback(logged: Callable[[], str]) -> None:
    Log("executor0/rep-0").failure(raised())
    first, hint, header, *_, last = logged().splitlines()
    assert first == f"executor0/rep-0@{os.getpid()}[E]:NotImplementedError('no time for it')"
    assert hint == HINT == ' add "--quiet-error" to suppress the exception details'
    assert header == "Traceback (most recent call last):"
    assert last == "NotImplementedError: no time for it"


def test_quiet_error_keeps_the_line_and_drops_the_details(logged: Callable[[], str]) -> None:
    Log("executor0/rep-0", quiet_error=True).failure(raised())
    assert logged() == f"executor0/rep-0@{os.getpid()}[E]:NotImplementedError('no time for it')\n"


def test_quiet_says_nothing_and_another_log_of_the_same_name_still_speaks(logged: Callable[[], str]) -> None:
    quiet, loud = Log("Flow", quiet=True), Log("Flow")
    quiet.failure(raised())
    quiet.error("nothing")
    loud.info("something")
    assert logged() == f"Flow@{os.getpid()}[I]:something\n"


def test_the_level_is_that_of_the_environment_when_the_log_is_made(
    logged: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = Log("Flow")
    monkeypatch.setenv("ZFLOW_LOG_LEVEL", "DEBUG")
    after = Log("Flow")
    before.debug("not heard")
    after.debug("heard")
    assert [line.partition(":")[2] for line in logged().splitlines()] == ["heard"]


def test_lines_of_loggers_without_a_name_carry_the_process_own(logged: Callable[[], str]) -> None:
    Log("Flow").info("first")
    logging.getLogger("zflow").warning("one")
    name_process("executor0/rep-0")
    logging.getLogger("zflow").warning("two")
    pid = os.getpid()
    assert logged() == f"Flow@{pid}[I]:first\nzflow@{pid}[W]:one\nexecutor0/rep-0@{pid}[W]:two\n"


def test_the_root_logger_is_never_touched(logged: Callable[[], str]) -> None:
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    heard: list[logging.LogRecord] = []
    listener = logging.Handler()
    listener.emit = heard.append  # type: ignore[method-assign]
    root.addHandler(listener)
    try:
        Log("Flow").error("told once")
    finally:
        root.removeHandler(listener)
    assert (root.handlers, root.level) == before
    assert heard == []
    assert logged().count("told once") == 1


def test_a_program_that_has_given_zflow_a_handler_keeps_it_alone(
    logged: Callable[[], str], untouched_logger: logging.Logger
) -> None:
    heard: list[logging.LogRecord] = []
    own = logging.Handler()
    own.emit = heard.append  # type: ignore[method-assign]
    untouched_logger.addHandler(own)
    Log("Flow").info("told")
    name_process("Flow")
    assert [record.getMessage() for record in heard] == ["told"]
    assert logged() == ""


def test_an_exception_that_cannot_be_shown_is_told_all_the_same(logged: Callable[[], str]) -> None:
    class Broken(Exception):
        def __repr__(self) -> str:
            raise RuntimeError("on purpose")

    Log("Flow").failure(Broken())
    assert "Broken (which cannot be shown: its repr raises)" in logged()


@pytest.mark.parametrize("stderr", [None, "closed", "broken"])
def test_nobody_to_hear_it_is_no_error(monkeypatch: pytest.MonkeyPatch, stderr: str | None) -> None:
    log = Log("Flow")
    reading, writing = os.pipe()
    stream = None if stderr is None else open(writing, "w", buffering=1)
    if stderr == "broken":
        os.close(reading)
    elif stream is not None:
        stream.close()
    monkeypatch.setattr("sys.stderr", stream)
    log.error("into the void")
    monkeypatch.undo()
    if stderr == "broken" and stream is not None:
        with pytest.raises(OSError):
            stream.close()
    else:
        os.close(reading)
        if stream is None:
            os.close(writing)
