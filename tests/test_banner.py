"""What a Flow shows while it starts and when it is ready."""

from __future__ import annotations

import io

import pytest

from zflow.banner import Waiting, ready_lines


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_replicas_are_named_once_and_counted_all() -> None:
    stream = io.StringIO()
    Waiting(stream=stream).show(["encoder/rep-0", "encoder/rep-1", "gateway"], ["indexer/rep-0"])
    assert stream.getvalue() == "1/4 waiting encoder gateway to be ready...\n"


def test_without_a_terminal_it_says_so_once_in_a_while() -> None:
    stream = io.StringIO()
    waiting = Waiting(stream=stream)
    for _ in range(100):
        waiting.show(["a", "gateway"], [])
    waiting.clear()
    assert stream.getvalue().count("\n") == 1 and "\r" not in stream.getvalue()


def test_on_a_terminal_one_line_is_drawn_again_and_cleared() -> None:
    stream = Terminal()
    waiting = Waiting(stream=stream)
    waiting.show(["a", "gateway"], [])
    waiting.show(["gateway"], ["a"])
    waiting.clear()
    assert "0/2 waiting a gateway" in stream.getvalue() and "1/2 waiting gateway" in stream.getvalue()
    assert "\n" not in stream.getvalue() and stream.getvalue().endswith("\r\x1b[K")


def test_names_that_do_not_fit_on_the_line_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    stream = Terminal()
    names = [f"executor{number}" for number in range(20)]
    Waiting(stream=stream).show(names, ["gateway"])
    told = stream.getvalue().removeprefix("\r").removesuffix("\x1b[K")
    assert told[2:] == "1/21 waiting executor0 and 19 more to be ready..." and len(told) < 60
    Waiting(stream=Terminal()).show(["x" * 100], [])


@pytest.mark.parametrize(("quiet", "waiting"), [(True, ["a"]), (False, [])])
def test_it_is_silent_when_told_to_and_when_nothing_waits(quiet: bool, waiting: list[str]) -> None:
    stream = Terminal()
    shown = Waiting(quiet=quiet, stream=stream)
    shown.show(waiting, ["b"])
    shown.clear()
    assert stream.getvalue() == ""


def test_the_banner_tells_who_can_reach_the_port() -> None:
    loopback = ready_lines("127.0.0.1", 12345)
    assert "Flow is ready to use!" in loopback
    assert "Local access:\t127.0.0.1:12345" in loopback
    assert "Private network:\tnot reachable" in loopback
    everywhere = ready_lines("0.0.0.0", 12345)
    assert "Local access:\t127.0.0.1:12345" in everywhere
    assert "Private network:\tnot reachable" not in everywhere and ":12345" in everywhere.split("Private network:")[1]
    assert "rep" not in loopback
    scaled = ready_lines("127.0.0.1", 1, scaled={"a": (3, 1), "b": (1, 2), "c": (4, 5)})
    lines = [line.split() for line in scaled.splitlines()[-3:]]
    assert [" ".join(line[1:]) for line in lines] == ["a: 3 shards", "b: 2 replicas", "c: 4 shards of 5 replicas each"]
    one = ready_lines("10.1.2.3", 12345)
    assert one.count("10.1.2.3:12345") == 2
