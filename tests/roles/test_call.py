"""A call: only what has certainly not started, and could fare better elsewhere, is sent again."""

from __future__ import annotations

import pytest

from zflow.errors import DeadlineExceeded, RemoteError, ResourceExhausted, Unavailable
from zflow.roles.call import RETRIES, Call, deadline_of
from zflow.roles.contract import failure
from zflow.wire.header import Kind, Message

CALL_ID = b"c" * 16


def call() -> Call:
    made = Call((b"caller",), Message(Kind.REQUEST, CALL_ID), None, 0.0)
    made.sent = 1
    return made


@pytest.mark.parametrize("error", [Unavailable("gone"), ResourceExhausted("full")])
def test_what_has_not_started_goes_elsewhere(error: RemoteError):
    assert call().may_go_elsewhere(failure(CALL_ID, error, not_started=True))


@pytest.mark.parametrize(
    "outcome",
    [
        Message(Kind.REPLY, CALL_ID),
        failure(CALL_ID, Unavailable("lost", maybe_executed=True)),
        failure(CALL_ID, DeadlineExceeded("too late"), not_started=True),
    ],
    ids=["answered", "may-have-run", "no-better-elsewhere"],
)
def test_what_is_answered_or_may_have_run_or_is_lost_everywhere_stays(outcome: Message):
    assert not call().may_go_elsewhere(outcome)


def test_the_word_of_a_peer_that_has_tried_others_is_final():
    outcome = failure(CALL_ID, Unavailable("gone"), not_started=True)
    outcome.extra["final"] = True
    assert not call().may_go_elsewhere(outcome)


def test_nobody_waits_for_what_was_given_up():
    given_up = call()
    given_up.given_up = True
    assert not given_up.may_go_elsewhere(failure(CALL_ID, Unavailable("gone"), not_started=True))


def test_it_is_not_sent_for_ever():
    tired = call()
    tired.sent = RETRIES + 1
    assert not tired.may_go_elsewhere(failure(CALL_ID, Unavailable("gone"), not_started=True))


def test_a_code_that_is_no_code_is_no_reason_to_try_again():
    outcome = failure(CALL_ID, Unavailable("gone"), not_started=True)
    outcome.extra["code"] = ["unhashable"]
    assert not call().may_go_elsewhere(outcome)


@pytest.mark.parametrize(
    ("budget", "timeout", "deadline"),
    [(None, None, None), (500_000, None, 10.5), (None, 2.0, 12.0), (500_000, 2.0, 10.5), (3_000_000, 2.0, 12.0)],
)
def test_the_sooner_of_the_callers_budget_and_our_own_timeout_holds(budget, timeout, deadline):
    assert deadline_of(Message(Kind.REQUEST, CALL_ID, "/", budget), timeout, 10.0) == deadline
