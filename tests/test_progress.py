"""The progress bar: of rich's, or a line, on a terminal; nothing elsewhere."""

from __future__ import annotations

import io
import re
import sys
import threading

import pytest

from zflow import progress
from zflow.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, to be moved by hand."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def without_rich(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setitem(sys.modules, "rich.console", None)


@pytest.mark.usefixtures("without_rich")
def test_share_rate_and_time_left(clock: list[float]) -> None:
    stream = Terminal()
    bar = Progress("POST /index", 200, stream=stream)
    clock[0] += 2
    bar.advance(50)
    assert stream.getvalue() == (
        "\rPOST /index: [######------------------] 50/200 docs, 25 docs/s, 2.0 s, 6 s left\x1b[K"
    )


@pytest.mark.usefixtures("without_rich")
def test_it_is_drawn_now_and_then_and_at_the_end(clock: list[float]) -> None:
    stream = Terminal()
    bar = Progress("x", 1000, stream=stream)
    for _ in range(1000):
        clock[0] += 0.001
        bar.advance(1)
    bar.close()
    assert stream.getvalue().count("\r") <= 12
    assert "1000/1000" in stream.getvalue().rpartition("\r")[2]
    assert stream.getvalue().endswith("\n")


@pytest.mark.usefixtures("without_rich")
def test_an_unknown_total_is_no_share(clock: list[float]) -> None:
    stream = Terminal()
    bar = Progress("x", None, stream=stream)
    clock[0] += 1
    bar.advance(7)
    assert "x: 7 docs, 7 docs/s" in stream.getvalue() and "[" not in stream.getvalue().replace("\x1b[", "")


def test_where_nobody_looks_nothing_is_said(clock: list[float]) -> None:
    stream = io.StringIO()
    bar = Progress("x", 10, stream=stream)
    for _ in range(10):
        clock[0] += 10
        bar.advance(1)
    bar.close()
    assert stream.getvalue() == ""


def drawn_by_rich(monkeypatch: pytest.MonkeyPatch, title: str, total: int | None, clock: list[float]) -> str:
    """What is on the screen at last."""
    pytest.importorskip("rich.progress", reason="the extra test installs it")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    stream = Terminal()
    bar = Progress(title, total, stream=stream)
    for _ in range(4):
        clock[0] += 0.5
        bar.advance(50)
    bar.close()
    frames = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue()).split("\r")
    return next(frame for frame in reversed(frames) if frame.strip())


def test_rich_draws_it_where_it_is_installed(monkeypatch: pytest.MonkeyPatch, clock: list[float]) -> None:
    threads, stdout = threading.active_count(), sys.stdout
    told = drawn_by_rich(monkeypatch, "POST /[x]", 200, clock)
    assert "POST /[x]" in told and "200/200 docs, 100 docs/s" in told
    assert (threading.active_count(), sys.stdout) == (threads, stdout)


def test_rich_draws_what_has_no_known_end(monkeypatch: pytest.MonkeyPatch, clock: list[float]) -> None:
    assert "200 docs, 100 docs/s" in drawn_by_rich(monkeypatch, "x", None, clock)


def test_who_has_stopped_reading_disturbs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rich.progress", reason="the extra test installs it")
    stream = Terminal()
    bar = Progress("x", 2, stream=stream)
    stream.close()
    bar.advance(1)
    bar.close()


@pytest.mark.usefixtures("without_rich")
def test_bytes_are_told_in_megabytes(clock: list[float]) -> None:
    stream = Terminal()
    bar = Progress("encoder", 90_000_000, unit="bytes", stream=stream)
    clock[0] += 2
    bar.advance(45_000_000)
    assert "] 45.0/90.0 MB, 22.5 MB/s, 2.0 s, 2 s left" in stream.getvalue()
