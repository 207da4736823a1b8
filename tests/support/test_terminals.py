"""Real terminals, and what counts as the same text."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.processes import wait_for
from tests.support.terminals import MISSING, masked, terminals


@pytest.mark.skipif(bool(MISSING), reason=MISSING)
def test_what_is_typed_and_what_it_prints_are_shown(ipc_directory: Path, tmp_path: Path) -> None:
    env = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
    with terminals("ab", sockets=ipc_directory, folder=tmp_path, env=env) as (first, second):
        first.type("echo " + "long " * 80)
        wait_for(lambda: first.shown()[1:] == [("long " * 80).strip(), "a$"], "the whole line, and the prompt")
        second.type("sleep 60")
        wait_for(lambda: second.shown() == ["b$ sleep 60"], "what was typed")
        second.interrupt()
        wait_for(lambda: second.shown()[1:] == ["^C", "b$"], "the prompt again")


def test_what_differs_each_time_is_masked_and_nothing_else() -> None:
    assert masked(["Flow@4711[I]:x  is  ready", '  "id": "0123456789abcdef0123456789abcdef",', "", "  ^^^~"]) == [
        "Flow@PID[I]:x is ready",
        '"id": "ID",',
    ]
    assert masked(["answered in 10.6 ms", "3 passed in 1.5s", "line 15", "  3  4.0/s"]) == [
        "answered in N ms",
        "3 passed in Ns",
        "line 15",
        "N N/s",
    ]


def test_the_order_in_which_processes_are_ready_is_no_matter() -> None:
    one, two, other = "x is ready", "y is ready", "stopping"
    assert masked([two, one, other]) == masked([one, two, other]) != masked([other, one, two])


def test_control_c_stands_alone() -> None:
    assert masked(["^CFlow@1[I]:stopping"]) == masked(["^C", "Flow@2[I]:stopping"])
