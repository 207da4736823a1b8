"""The progress bar: on a terminal one line, elsewhere a few."""

from __future__ import annotations

import io

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


def test_share_rate_and_time_left(clock: list[float]) -> None:
    stream = Terminal()
    bar = Progress("POST /index", 200, stream=stream)
    clock[0] += 2
    bar.advance(50)
    assert stream.getvalue() == (
        "\rPOST /index: [######------------------] 50/200 docs, 25 docs/s, 2.0 s, 6 s left\x1b[K"
    )


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


def test_without_a_terminal_it_is_lines(clock: list[float]) -> None:
    stream = io.StringIO()
    bar = Progress("x", 10, stream=stream)
    for _ in range(10):
        clock[0] += 1
        bar.advance(1)
    bar.close()
    lines = stream.getvalue().splitlines()
    assert 2 <= len(lines) <= 3 and "\r" not in stream.getvalue()
    assert "10/10" in lines[-1]


def test_an_unknown_total_is_no_share(clock: list[float]) -> None:
    stream = Terminal()
    bar = Progress("x", None, stream=stream)
    clock[0] += 1
    bar.advance(7)
    assert "x: 7 docs, 7 docs/s" in stream.getvalue() and "[" not in stream.getvalue().replace("\x1b[", "")


def test_bytes_are_told_in_megabytes(clock: list[float]) -> None:
    stream = Terminal()
    bar = Progress("encoder", 90_000_000, unit="bytes", stream=stream)
    clock[0] += 2
    bar.advance(45_000_000)
    assert "] 45.0/90.0 MB, 22.5 MB/s, 2.0 s, 2 s left" in stream.getvalue()
