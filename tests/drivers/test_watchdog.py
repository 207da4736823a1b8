"""The watchdog, each in a process of its own that it may end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

SECOND = 1_000_000
PROGRAM = """
import ctypes, signal, sys, time
from zflow.drivers import watchdog
watchdog.PATIENCE = 0.2
dog = watchdog.Watchdog()
{body}
print("here", flush=True)
"""


def run(body: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    words = [sys.executable, "-c", PROGRAM.format(body=body)]
    return subprocess.run(words, capture_output=True, text=True, timeout=30, env=environment)


@pytest.mark.parametrize(
    "hangs",
    [
        "while True:\n    pass",
        "time.sleep(60)",
        "ctypes.PyDLL(None).sleep(60)",  # with Python's lock held: no thread of ours could do anything
    ],
    ids=["in a loop", "asleep", "in C"],
)
def test_what_hangs_is_ended_and_tells_where_it_was(hangs: str) -> None:
    ended = run(f"dog.watch({SECOND // 10})\n{hangs}")
    assert ended.returncode == -signal.SIGALRM
    assert 'File "<string>", line' in ended.stderr
    assert ended.stdout == ""


def test_what_returns_in_time_or_soon_after_goes_on() -> None:
    ended = run(
        "for pause in (0, 0.2):\n    dog.watch(100_000)\n    time.sleep(pause)\n    dog.rest()\ntime.sleep(0.5)"
    )
    assert (ended.returncode, ended.stdout) == (0, "here\n")


def test_who_asks_whether_it_is_still_wanted_does_not_hang() -> None:
    asking = "dog.watch(1000)\nfor _ in range(8):\n    time.sleep(0.1)\n    dog.heard()\ndog.rest()\ntime.sleep(0.5)"
    assert run(asking).stdout == "here\n"
    assert run("dog.watch(1000)\ndog.heard()\ntime.sleep(60)").returncode == -signal.SIGALRM


def test_nothing_is_watched_where_nothing_began() -> None:
    assert run("dog.heard()\ndog.rest()\ntime.sleep(0.5)").stdout == "here\n"


def test_a_handler_of_the_users_is_left_alone() -> None:
    ended = run(
        "signal.signal(signal.SIGALRM, lambda *_: print('mine', flush=True))\n"
        "dog.watch(1000)\ntime.sleep(0.5)\ndog.rest()\n"
        "signal.setitimer(signal.ITIMER_REAL, 0.01)\ndog.watch(1000)\ntime.sleep(0.3)"
    )
    assert ended.stdout == "mine\nhere\n"


def test_a_timer_that_a_method_sets_for_later_goes_on() -> None:
    ended = run(
        "dog.watch(60_000_000)\n"
        "signal.signal(signal.SIGALRM, lambda *_: print('mine', flush=True))\n"
        "signal.setitimer(signal.ITIMER_REAL, 0.2)\n"
        "dog.rest()\ntime.sleep(0.5)\ndog.watch(1000)\ntime.sleep(0.5)\ndog.rest()"
    )
    assert ended.stdout == "mine\nhere\n"


def test_a_timer_that_was_set_before_goes_on() -> None:
    ended = run("signal.setitimer(signal.ITIMER_REAL, 0.3)\ndog.watch(60_000_000)\ndog.rest()\ntime.sleep(60)")
    assert ended.returncode == -signal.SIGALRM


def test_it_does_without_a_stderr() -> None:
    ended = run("import os\nos.close(2)\nsys.stderr = None\ndog.watch(1000)\ntime.sleep(60)")
    assert ended.returncode == -signal.SIGALRM
