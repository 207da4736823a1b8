"""The life that the warm parent rehearses is a real one."""

from __future__ import annotations

import threading

from zflow.processes.rehearsal import rehearse


def test_every_life_ends_with_an_answer() -> None:
    answers = rehearse()
    assert len(answers) >= 8
    assert all(answer.texts == ["x"] for answer in answers)


def test_it_starts_nothing_that_a_fork_could_not_bear() -> None:
    before = threading.active_count()
    rehearse()
    assert threading.active_count() == before
