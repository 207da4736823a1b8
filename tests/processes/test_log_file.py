"""A file of log lines: several processes write it, and none of their lines is lost when it is put aside."""

from __future__ import annotations

import logging
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from zflow.processes.log_file import LogFile

WRITERS, LINES = 4, 200


def record(text: str, *values: object) -> logging.LogRecord:
    return logging.LogRecord("zflow", logging.INFO, __file__, 1, text, values, None)


def write_many(path: str, writer: int) -> None:
    log = LogFile(path, max_size=2000, keep=1000)
    for number in range(LINES):
        log.emit(record(f"{writer} {number}"))


def lines_in(folder: Path) -> list[str]:
    return [line for path in folder.iterdir() for line in path.read_text().splitlines()]


def test_a_folder_that_is_not_there_is_made(tmp_path: Path) -> None:
    log = LogFile(str(tmp_path / "new" / "a.log"))
    log.emit(record("one %s", 1))
    log.emit(record("two"))
    assert (tmp_path / "new" / "a.log").read_text() == "one 1\ntwo\n"


def test_a_file_that_would_become_too_large_is_put_aside_and_so_many_are_kept(tmp_path: Path) -> None:
    log = LogFile(str(tmp_path / "a.log"), max_size=8, keep=2)
    for text in ("first", "second", "third", "fourth"):
        log.emit(record(text))
    found = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert found == {"a.log": "fourth\n", "a.log.1": "third\n", "a.log.2": "second\n"}


def test_a_line_longer_than_the_limit_has_a_file_of_its_own(tmp_path: Path) -> None:
    log = LogFile(str(tmp_path / "a.log"), max_size=4, keep=0)
    log.emit(record("longer than that"))
    log.emit(record("b"))
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a.log": "b\n"}


def test_processes_that_write_at_once_lose_nothing_while_the_file_is_put_aside(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=write_many, args=(str(tmp_path / "a.log"), n)) for n in range(WRITERS)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(lines_in(tmp_path)) == sorted(f"{w} {n}" for w in range(WRITERS) for n in range(LINES))
    assert len(list(tmp_path.iterdir())) > 2


def test_who_puts_it_aside_elsewhere_is_followed(tmp_path: Path) -> None:
    log = LogFile(str(tmp_path / "a.log"))
    log.emit(record("before"))
    os.rename(tmp_path / "a.log", tmp_path / "rotated")
    log.emit(record("after"))
    assert (tmp_path / "a.log").read_text() == "after\n"


def test_a_line_that_cannot_be_written_goes_to_stderr(tmp_path: Path, logged: Callable[[], str]) -> None:
    (tmp_path / "a.log").mkdir()
    LogFile(str(tmp_path / "a.log")).emit(record("important"))
    assert logged() == f"important ({tmp_path}/a.log: Is a directory)\n"


def test_a_call_whose_values_do_not_fit_is_told_and_disturbs_nobody(tmp_path: Path) -> None:
    LogFile(str(tmp_path / "a.log")).emit(record("%d", "no number"))
    assert (tmp_path / "a.log").read_text() == f"{__file__}:1: a log line that is none\n"


@pytest.mark.parametrize("text", ["\udc80 half a pair", "größe"])
def test_any_text_can_be_written(tmp_path: Path, text: str) -> None:
    LogFile(str(tmp_path / "a.log")).emit(record(text))
    assert (tmp_path / "a.log").read_text(encoding="utf-8").endswith(text[1:].replace("\udc80", "") + "\n")
