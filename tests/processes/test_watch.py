"""Whoever waits for another thread sees each of its steps, and is told again now and then."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from zflow.processes.watch import Acting, Watch

Seen = tuple[list[str], list[str]]


def test_what_is_over_already_is_told_once():
    told: list[Seen] = []
    Watch().until(lambda: True, lambda: (["a"], []), lambda *seen: told.append(seen))
    assert told == [(["a"], [])]


def test_each_step_of_the_other_thread_is_told():
    watch, told, awaited = Watch(), [], ["a", "b"]
    has_told = threading.Semaphore(0)

    def act() -> None:
        while awaited:
            has_told.acquire()
            awaited.pop()
            watch.notify()

    def tell(waiting: list[str], ready: list[str]) -> None:
        told.append(list(waiting))
        has_told.release()

    thread = threading.Thread(target=act)
    thread.start()
    watch.until(lambda: not awaited, lambda: (list(awaited), []), tell)
    thread.join()
    assert told == [["a", "b"], ["a"], []]


def test_nothing_new_is_told_again_after_each_pulse():
    told: list[Seen] = []
    Watch().until(lambda: len(told) == 3, lambda: (["a"], []), lambda *seen: told.append(seen), pulse=0.01)
    assert told == [(["a"], [])] * 3


def test_who_wants_to_be_told_nothing_only_waits():
    watch, over = Watch(), []
    thread = threading.Timer(0.05, lambda: (over.append(True), watch.notify()))
    thread.start()
    watch.until(lambda: bool(over), lambda: ([], []), None)
    assert over


def test_whoever_is_interrupted_while_it_waits_for_a_thread_can_wait_for_it_again() -> None:
    """1. The main thread joins. 2. Ctrl-C interrupts it. 3. It joins again. 4. The thread ends: now, not before 3."""
    may_end, has_ended, waits = threading.Event(), threading.Event(), threading.Event()

    def act() -> None:
        while not may_end.wait(0.02):
            if not waits.is_set():
                waits.set()
                os.kill(os.getpid(), signal.SIGINT)
        has_ended.set()

    acting = Acting(act, "acting")
    acting.start()
    with pytest.raises(KeyboardInterrupt):
        acting.join()
    assert acting.is_alive() and not has_ended.is_set()
    threading.Timer(0.1, may_end.set).start()
    acting.join()
    assert has_ended.is_set()


def test_one_that_was_never_started_is_not_waited_for() -> None:
    Acting(lambda: None, "never").join()
