"""The shape of log lines, and who hears them."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from zflow.config.log_config import LogConfig, Voice
from zflow.drivers.running import note
from zflow.executor import Executor
from zflow.processes import logs
from zflow.processes.logs import HINT, Log, handlers_of, name_process, take_over
from zflow.wire.header import Kind, Message


@pytest.fixture(autouse=True)
def untouched_logger(monkeypatch: pytest.MonkeyPatch) -> Iterator[logging.Logger]:
    """The logger as a fresh process has it."""
    monkeypatch.setattr(logs, "_process_name", "zflow")
    logger = logging.getLogger("zflow")
    before = (logger.handlers[:], logger.level, logger.propagate)
    logger.handlers, logger.propagate = [], True
    yield logger
    logger.handlers, logger.level, logger.propagate = before


@pytest.fixture
def untouched_root() -> Iterator[logging.Logger]:
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    root.handlers = []
    yield root
    root.handlers, root.level = before


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


# -- other forms -------------------------------------------------------------------------------------------------------


def test_json_lines_tell_the_same_with_the_ids_of_the_requests_that_run(logged: Callable[[], str]) -> None:
    log = Log("Flow", config=LogConfig(form="json"))
    log.info("größe %d", 1)
    note(Message(Kind.REQUEST, b"a" * 16))
    log.failure(raised())
    note()
    first, second = map(json.loads, logged().splitlines())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first.pop("time"))
    assert first == {"level": "INFO", "name": "Flow", "pid": os.getpid(), "logger": "zflow.Flow", "text": "größe 1"}
    assert (second["level"], second["requests"]) == ("ERROR", ["61" * 16])
    assert second["exception"].endswith("NotImplementedError: no time for it") and HINT not in second["exception"]


def test_a_pattern_of_ones_own(logged: Callable[[], str]) -> None:
    log = Log("Flow", config=LogConfig(form="{letter}|{level}|{name}|{requests}|{text}"))
    log.warning("a")
    note(Message(Kind.REQUEST, b"a" * 16), Message(Kind.REQUEST, b"b" * 16))
    log.failure(raised())
    note()
    lines = logged().splitlines()
    assert lines[:2] == [
        "W|WARNING|Flow||a",
        f"E|ERROR|Flow|{'61' * 16} {'62' * 16}|NotImplementedError('no time for it')",
    ]
    assert lines[2] == HINT


def test_lines_go_to_a_file_and_to_stderr_only_where_that_is_said(tmp_path: Path, logged: Callable[[], str]) -> None:
    Log("a", config=LogConfig(file=f"{tmp_path}/a.log", stderr=False)).info("one")
    Log("b", config=LogConfig(file=f"{tmp_path}/a.log")).info("two")
    assert [line.partition("]:")[2] for line in (tmp_path / "a.log").read_text().splitlines()] == ["one", "two"]
    assert logged() == f"b@{os.getpid()}[I]:two\n"


def test_the_level_of_the_config_wins_over_that_of_the_environment(
    logged: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZFLOW_LOG_LEVEL", "DEBUG")
    log = Log("a", config=LogConfig(level="ERROR"))
    log.warning("not heard")
    log.error("heard")
    assert logged() == f"a@{os.getpid()}[E]:heard\n"


@pytest.mark.parametrize(
    ("options", "is_for_people"),
    [
        ({}, True),
        ({"quiet": True}, False),
        ({"config": LogConfig(form="json")}, False),
        ({"config": LogConfig(form="json", file="/a", stderr=False)}, True),
        ({"config": LogConfig(level="DEBUG")}, True),
    ],
)
def test_what_people_are_shown_is_not_put_between_json_lines(options: dict, is_for_people: bool) -> None:
    assert Log("a", **options).is_for_people is is_for_people


# -- a process of ours -------------------------------------------------------------------------------------------------


class Telling(Executor): ...


def test_all_that_is_logged_in_a_process_of_ours_is_told_as_its_own(
    logged: Callable[[], str], untouched_root: logging.Logger
) -> None:
    log = take_over("executor0/rep-0", Voice())
    log.info("ours")
    Telling(runtime_args={"name": "executor0/rep-0"}).logger.info("the Executor's")
    logging.getLogger("library").info("a library's")
    logging.info("the root's")
    logging.getLogger("library").debug("not this")
    told = [line.partition("]:") for line in logged().splitlines()]
    assert {who for who, _, _ in told} == {f"executor0/rep-0@{os.getpid()}[I"}
    assert [text for _, _, text in told] == ["ours", "the Executor's", "a library's", "the root's"]


def test_levels_are_of_the_loggers_that_they_name(logged: Callable[[], str], untouched_root: logging.Logger) -> None:
    levels = {"library": "DEBUG", "noisy": "ERROR", "root": "WARNING"}
    try:
        take_over("a/rep-0", Voice(config=LogConfig(levels=levels)))
        for name in ("library", "noisy", "other", "zflow"):
            logging.getLogger(name).debug("%s debug", name)
            logging.getLogger(name).info("%s info", name)
            logging.getLogger(name).error("%s error", name)
    finally:
        for name in ("library", "noisy"):
            logging.getLogger(name).setLevel(logging.NOTSET)
    told = [line.partition("]:")[2] for line in logged().splitlines()]
    assert told == [
        *("library debug", "library info", "library error"),
        *("noisy error", "other error", "zflow info", "zflow error"),
    ]


def test_a_quiet_process_says_nothing_by_whatever_logger(
    logged: Callable[[], str], untouched_root: logging.Logger
) -> None:
    log = take_over("a/rep-0", Voice(quiet=True))
    log.error("ours")
    Telling().logger.error("the Executor's")
    logging.getLogger("library").error("a library's")
    logging.error("the root's")
    assert logged() == ""


def test_taking_over_again_as_a_forked_child_does_tells_each_line_once(
    logged: Callable[[], str], untouched_root: logging.Logger
) -> None:
    take_over("a/preload", Voice(quiet=True))
    logging.getLogger().addHandler(heard := _Keeping())
    take_over("a/rep-0", Voice(config=LogConfig(form="{name} {text}")))
    logging.getLogger("library").info("once")
    assert logged() == "a/rep-0 once\n"
    assert [record.getMessage() for record in heard.records] == ["once"], "a user's own handler stays"


class _Keeping(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


def test_only_what_quiet_error_silences_comes_with_its_hint(
    logged: Callable[[], str], untouched_root: logging.Logger
) -> None:
    take_over("a/rep-0", Voice(quiet_error=True))
    try:
        raise raised()
    except NotImplementedError:
        logging.getLogger("library").exception("their own")
    assert "their own\nTraceback" in logged() and HINT not in logged()


def test_a_call_whose_values_do_not_fit_its_text_disturbs_nobody(logged: Callable[[], str]) -> None:
    [handler] = handlers_of(LogConfig())
    handler.handle(logging.LogRecord("library", logging.INFO, __file__, 7, "%d", ("no number",), None))
    assert re.fullmatch(rf"zflow@{os.getpid()}\[E\]:.*test_logs.py:7: a log line that is none\n", logged())


def test_an_executor_has_a_logger_unless_it_has_its_own() -> None:
    class Own(Executor):
        def __init__(self, **kwargs) -> None:
            super().__init__(**kwargs)
            self.logger = "mine"

    assert Telling().logger.name == "zflow.Telling"
    assert Telling(runtime_args={"name": "t/rep-1"}).logger.name == "zflow.t/rep-1"
    assert Own().logger == "mine"


def test_who_says_nothing_makes_no_logger() -> None:
    log = Log("executor0/rep-0", level="INFO")
    log.debug("serving")
    assert "_logger" not in vars(log)
