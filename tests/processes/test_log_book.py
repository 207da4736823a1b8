"""The latest lines: kept in bounds, told once each to who goes on reading, also of processes that are no more."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from zflow.processes import log_book
from zflow.processes.log_book import MOST, FolderBook, MemoryBook, Page
from zflow.processes.logs import JsonFormatter

Handler = Page | MemoryBook


def keep(handler: Handler, *texts: str, name: str = "zflow.a/rep-0") -> None:
    for text in texts:
        handler.handle(logging.LogRecord(name, logging.INFO, __file__, 1, text, (), None))


def page(folder: Path, name: str) -> Page:
    made = Page(str(folder), name)
    made.setFormatter(JsonFormatter())
    return made


def texts(told: dict[str, Any]) -> list[str]:
    return [line["text"] for line in told["log"]["lines"]]


def following(book: MemoryBook | FolderBook, **asked: Any) -> Iterator[list[str]]:
    """What a reader gets who goes on from where the last answer ended."""
    after = ""
    while True:
        told = book.read({"logs": MOST, **({"after": after} if after else {}), **asked})
        after = told["log"]["after"]
        yield texts(told)


@pytest.fixture
def memory() -> MemoryBook:
    made = MemoryBook()
    made.setFormatter(JsonFormatter())
    return made


@pytest.mark.parametrize("kind", ["memory", "folder"])
def test_each_line_is_told_once_to_who_goes_on_reading(kind: str, memory: MemoryBook, tmp_path: Path) -> None:
    handler: Handler = memory if kind == "memory" else page(tmp_path, "a/rep-0")
    reader = following(memory if kind == "memory" else FolderBook(str(tmp_path)))
    assert next(reader) == []
    keep(handler, "one", "two")
    assert next(reader) == ["one", "two"]
    assert next(reader) == []
    keep(handler, "größe")
    assert next(reader) == ["größe"]


@pytest.mark.parametrize("kind", ["memory", "folder"])
def test_the_latest_are_told_as_many_as_were_asked_for(kind: str, memory: MemoryBook, tmp_path: Path) -> None:
    handler: Handler = memory if kind == "memory" else page(tmp_path, "a/rep-0")
    book = memory if kind == "memory" else FolderBook(str(tmp_path))
    keep(handler, "one", "two", "three")
    assert texts(book.read({"logs": 2})) == ["two", "three"]
    assert texts(book.read({"logs": 0})) == []


def test_memory_is_bounded(memory: MemoryBook) -> None:
    keep(memory, *map(str, range(2 * log_book._KEPT)))
    assert texts(memory.read({"logs": MOST})) == [str(n) for n in range(log_book._KEPT, 2 * log_book._KEPT)]


def test_files_are_bounded_and_no_line_of_theirs_is_missed_or_told_twice(tmp_path: Path) -> None:
    reader = following(FolderBook(str(tmp_path)))
    handler, told = page(tmp_path, "a/rep-0"), []
    for number in range(1000):
        keep(handler, f"{number} {'x' * 200}")
        if number % 7 == 0:
            told += next(reader)
    told += next(reader)
    assert [int(text.split()[0]) for text in told] == list(range(1000))
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 2 * log_book._FILE


def test_a_reader_that_is_too_slow_misses_lines_and_sees_none_twice(tmp_path: Path) -> None:
    reader = following(FolderBook(str(tmp_path)))
    handler = page(tmp_path, "a/rep-0")
    keep(handler, "first")
    seen = next(reader)
    keep(handler, *(f"{number} {'x' * 200}" for number in range(1000)))
    seen += next(reader)
    assert len(seen) == len(set(seen)) < 1000 and seen[-1].startswith("999")


def test_the_lines_of_a_family_are_told_in_order_and_of_one_where_it_is_named(tmp_path: Path) -> None:
    first, second = page(tmp_path, "a/rep-0"), page(tmp_path, "ab/rep-0")
    for number in range(3):
        keep(first, f"a{number}")
        keep(second, f"b{number}", name="zflow.ab/rep-0")
    book = FolderBook(str(tmp_path))
    told = book.read({"logs": MOST})["log"]
    assert sorted(line["time"] for line in told["lines"]) == [line["time"] for line in told["lines"]]
    assert len(told["lines"]) == 6 and told["names"] == ["a/rep-0", "ab/rep-0"]
    assert texts(book.read({"logs": MOST, "of": "a"})) == ["a0", "a1", "a2"]
    assert texts(book.read({"logs": MOST, "of": "ab/rep-0"})) == ["b0", "b1", "b2"]


def test_half_a_line_is_told_when_it_is_whole(tmp_path: Path) -> None:
    reader = following(FolderBook(str(tmp_path)))
    path = tmp_path / "a.lines"
    path.write_bytes(b'{"text": "one"}\n{"te')
    assert next(reader) == ["one"]
    path.write_bytes(path.read_bytes() + b'xt": "two"}\n')
    assert next(reader) == ["two"]


NONSENSE = ["", "nonsense", "-1", "9" * 400, "[]", "{}", '{"a.lines": 1}', '{"a.lines": [1, -5]}', "[" * 5000, 7]


@pytest.mark.parametrize("after", [*NONSENSE, '{"a.lines": [1e999, 0]}'])
def test_a_place_that_makes_no_sense_is_the_beginning(after: Any, memory: MemoryBook, tmp_path: Path) -> None:
    keep(memory, "one")
    assert texts(memory.read({"logs": 5, "after": after})) == ["one"]
    (tmp_path / "a.lines").write_text('{"text": "one"}\nno json\n[]\n')
    assert texts(FolderBook(str(tmp_path)).read({"logs": 5, "after": after})) == ["one"]


def test_an_answer_is_bounded_however_long_the_lines_are(tmp_path: Path) -> None:
    handler = page(tmp_path, "a/rep-0")
    for number in range(4):
        keep(page(tmp_path, f"a/rep-{number}"), *(["x" * 7_000] * 8))
    keep(handler, "y" * 30_000)
    lines = FolderBook(str(tmp_path)).read({"logs": MOST})["log"]["lines"]
    assert sum(len(str(line)) for line in lines) <= log_book._MOST_BYTES
    [shortened] = [line["text"] for line in lines if line["text"].startswith("y")]
    assert len(shortened) < 9_000 and " [...] " in shortened


def test_a_directory_that_is_gone_is_not_made_anew(tmp_path: Path) -> None:
    handler = page(tmp_path / "gone", "a/rep-0")
    keep(handler, "one")
    assert not (tmp_path / "gone").exists()
    assert texts(FolderBook(str(tmp_path / "gone")).read({"logs": 5})) == []


@pytest.mark.parametrize(
    ("told", "line"),
    [
        ("a/rep-0@7[W]:text: more", {"name": "a/rep-0", "pid": 7, "level": "WARNING", "text": "text: more"}),
        ('{"time": "2026", "name": "a/rep-0", "text": "t"}', {"time": "2026", "name": "a/rep-0", "text": "t"}),
        ("{no json", {"name": "box/rep-0", "level": "INFO", "logger": "stderr", "text": "{no json"}),
        ("printed", {"name": "box/rep-0", "level": "INFO", "logger": "stderr", "text": "printed"}),
    ],
)
def test_lines_of_a_process_elsewhere_are_kept_in_its_name(told: str, line: dict[str, Any], tmp_path: Path) -> None:
    page(tmp_path, "box/rep-0").keep(told, "box/rep-0")
    [kept] = FolderBook(str(tmp_path)).read({"logs": 5})["log"]["lines"]
    assert kept | line == kept and kept["time"].startswith("2026" if "time" in line else "20")
