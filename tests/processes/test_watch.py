"""Whoever waits for another thread sees each of its steps, and is told again now and then."""

from __future__ import annotations

import threading

from zflow.processes.watch import Watch

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
