"""Processes that stand still: rows 4 and 29 of docs/reliability.md.

Who stands still for a moment goes on where it was, and nobody is told. Who stands still for longer than the
heartbeats allow (3 s, noticed within one more) is given up, and what it answers afterwards is nobody's.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.processes import descendants_of, read_until
from tests.support.rush import Rush, Victims, runs, thaw
from zflow import Client, Flow

Replicated = Callable[..., Flow]
ROOT = Path(__file__).parents[3]
GIVEN_UP = 4.0  # seconds


@pytest.mark.parametrize(
    ("many", "every", "pause"),
    [(300, 120, 0.3), pytest.param(10_000, 1_500, 1.5, marks=[pytest.mark.full, pytest.mark.time_limit(300)])],
)
@pytest.mark.parametrize("on", ["/", "/again"])
def test_row_4_replicas_that_stand_still_for_a_moment_lose_nothing(
    replicated: Replicated, diary: Path, many: int, every: int, pause: float, on: str
) -> None:
    with replicated() as flow, Client(port=flow.port) as client:
        victims = Victims(flow)
        rush = Rush(client, many, on=on).run(every=every, deed=lambda: victims.freeze(pause))
        restarts = sum(status.restarts for status in flow.status())
        victims.thaw()
    print(rush.told(f"{victims.count} replicas stopped for {pause} s"))
    rush.check()
    assert victims.count >= 2
    assert rush.errors == {}
    assert restarts == 0
    assert set(runs(diary).values()) == {1}


def test_row_4_one_that_stands_still_for_ever_is_given_up_and_its_late_answers_are_nobodys(
    replicated: Replicated, diary: Path
) -> None:
    with replicated() as flow, Client(port=flow.port) as client:
        victims = Victims(flow)
        rush = Rush(client, 300, on="/again").run(every=150, deed=lambda: bool(victims.count) or victims.freeze(600.0))
        victims.thaw()
        rush.check()
        assert rush.errors == {}
        assert rush.slowest < GIVEN_UP + 2.0
        assert 1 < max(runs(diary).values()) <= 3 or len(runs(diary)) == 300
        after = Rush(client, 300, on="/").run()  # it answers what was given up: none of it is taken for another
        after.check()
        assert after.errors == {}


TREE = """
import json, sys
from tests.support.rush import Diarist, Rush
from zflow import Client, Flow

def tell(*told):
    print(*told, flush=True)
    return True

options = {'uses_with': {'diary': sys.argv[1]}, 'replicas': 4}
with Flow(quiet=True).add(uses=Diarist, **options) as flow, Client(port=flow.port) as client:
    rush = Rush(client, 1000, on='/again').run(every=200, deed=lambda: tell('in the middle'))
    after = Rush(client, 300).run()
    for each in (rush, after):
        each.check()
    tell('outcomes', json.dumps([list(map(str, (*rush.errors.values(), *after.errors.values()))), rush.slowest,
                                 sum(status.restarts for status in flow.status())]))
"""


@pytest.mark.parametrize(
    "pause", [0.5, pytest.param(10.0, marks=[pytest.mark.full, pytest.mark.time_limit(120)])], ids=["short", "long"]
)
def test_row_29_the_whole_tree_stands_still_and_goes_on(start, diary: Path, pause: float) -> None:
    tree = start(sys.executable, "-c", TREE, str(diary), cwd=ROOT)
    read_until(tree, "in the middle")
    pids = [tree.pid, *descendants_of(tree.pid)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(pause)  # the fault itself
    for pid in pids:
        thaw(pid)
    errors, slowest, restarts = json.loads(read_until(tree, "outcomes").rpartition("outcomes ")[2])
    assert errors == []
    assert pause < slowest < pause + GIVEN_UP
    assert restarts == 0  # and nobody is given up a second time
    assert tree.wait(20) == 0
