"""What is shown to people disturbs nothing, whatever stderr is."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from typing import Any, TextIO

import pytest

from zflow.banner import Waiting
from zflow.progress import Progress
from zflow.terminal import Screen


def closed() -> TextIO:
    stream = io.StringIO()
    stream.close()
    return stream


def broken() -> TextIO:
    reading, writing = os.pipe()
    os.close(reading)
    return open(writing, "w", buffering=1)


def test_it_shows_at_once_and_knows_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    screen = Screen(stream)
    screen.write("shown")
    assert stream.getvalue() == "shown" and not screen.is_terminal
    monkeypatch.setattr(stream, "isatty", lambda: True)
    assert screen.is_terminal


def test_a_line_is_drawn_over_the_one_before_and_no_wider_than_the_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: True)
    screen = Screen(stream)
    screen.redraw("a" * 100)
    screen.redraw("b")
    assert stream.getvalue() == f"\r{'a' * 19}\x1b[K\rb\x1b[K"


def test_a_notebook_can_be_drawn_over_too_but_cannot_erase() -> None:
    notebooks = type("OutStream", (io.StringIO,), {"__module__": "ipykernel.iostream"})
    screen = Screen(notebooks())
    assert screen.can_redraw and not screen.is_terminal and not Screen(io.StringIO()).can_redraw
    screen.redraw("four")
    screen.redraw("1")
    assert screen.stream is not None and screen.stream.getvalue() == "\rfour\r1   "  # type: ignore[attr-defined]


@pytest.mark.parametrize("make", [lambda: None, closed, broken], ids=["none", "closed", "broken"])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # what a broken pipe says when closed
def test_nobody_to_see_it_is_no_error(make: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    stream = make()
    monkeypatch.setattr(sys, "stderr", stream)
    screen = Screen()
    screen.write("shown")
    assert not screen.is_terminal
    waiting = Waiting()
    waiting.show(["a/rep-0"], [])
    waiting.clear()
    progress = Progress("indexing", 2)
    progress.advance(2)
    progress.close()
