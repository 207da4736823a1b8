"""When a process that ended is started again."""

from __future__ import annotations

from zflow.processes.restart_policy import BURST, LAST_PAUSE, WINDOW, Restart, RestartPolicy


def test_the_first_restarts_follow_quickly_and_then_ever_more_slowly() -> None:
    policy = RestartPolicy()
    pauses = [policy.ended(now=float(second)).after for second in range(BURST)]
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6]


def test_too_many_restarts_in_a_minute_are_a_failure_that_is_still_tried_again() -> None:
    policy = RestartPolicy()
    decisions = [policy.ended(now=second * 1.0) for second in range(BURST + 1)]
    assert [decision.failed for decision in decisions] == [False] * BURST + [True]
    assert decisions[-1] == Restart(LAST_PAUSE, True)


def test_failed_stays_failed_while_every_try_ends_at_once() -> None:
    policy = RestartPolicy()
    for second in range(BURST + 1):
        policy.ended(now=float(second))
    for attempt in range(1, 10):  # by now fewer than BURST exits lie within any one WINDOW
        now = attempt * LAST_PAUSE
        policy.ready(now)
        assert policy.ended(now + 1.0) == Restart(LAST_PAUSE, True)


def test_a_quiet_minute_in_service_clears_the_record() -> None:
    policy = RestartPolicy()
    for second in range(BURST + 1):
        policy.ended(now=float(second))
    policy.ready(now=40.0)
    assert policy.ended(now=40.0 + WINDOW) == Restart(0.1, False)


def test_a_minute_that_was_not_spent_in_service_clears_nothing() -> None:
    policy = RestartPolicy()
    for second in range(BURST + 1):
        policy.ended(now=float(second))
    assert policy.ended(now=1000.0).failed  # it was still starting all the time


def test_exits_far_apart_are_no_failure() -> None:
    policy = RestartPolicy()
    now = 0.0
    for _ in range(3 * BURST):
        now += WINDOW / 2
        policy.ready(now)
        assert not policy.ended(now + 1.0).failed


def test_the_pause_never_exceeds_its_limit() -> None:
    policy = RestartPolicy()
    pauses = [policy.ended(now=attempt * (WINDOW / 3)).after for attempt in range(20)]
    assert max(pauses) == LAST_PAUSE
    assert pauses == sorted(pauses)
