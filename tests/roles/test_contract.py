"""Every role can be run by every driver; a failure tells its error completely, and never floods a link."""

from __future__ import annotations

import inspect

import pytest

from tests.support.executors import details_of
from zflow.errors import (
    BY_CODE,
    Cancelled,
    DeadlineExceeded,
    ExecutorError,
    InvalidRequest,
    RemoteError,
    ResourceExhausted,
    Unavailable,
)
from zflow.roles.contract import MAX_TEXT, Role, another_link, failure, group_of, planned_link
from zflow.roles.gateway import Gateway
from zflow.roles.head import Head
from zflow.roles.prober import Prober
from zflow.roles.worker import Worker
from zflow.wire.header import MAYBE_EXECUTED, NOT_STARTED, Kind, decode, encode

CALL = b"c" * 16
CONTRACT = [name for name, value in vars(Role).items() if inspect.isfunction(value) and not name.startswith("_")]


def test_the_contract_is_what_drivers_call():
    assert CONTRACT == [
        "ways_out",
        "receive",
        "opened",
        "lost",
        "malformed",
        "expire",
        "next_deadline",
        "replicas",
        "drain",
        "is_idle",
    ]


@pytest.mark.parametrize("role", [Gateway, Head, Prober, Worker])
@pytest.mark.parametrize("name", CONTRACT)
def test_a_role_keeps_the_contract_to_the_letter(role, name):
    assert inspect.signature(getattr(role, name)) == inspect.signature(getattr(Role, name))


def test_a_failure_tells_everything_about_an_error_of_user_code():
    error = ExecutorError(
        "encoder raised",
        node="encoder",
        peer="encoder/rep-0",
        name="ValueError",
        description="ValueError(1)",
        traceback="line 1",
    )
    message = failure(CALL, error)
    assert (message.kind, message.call_id, message.flags) == (Kind.FAILURE, CALL, MAYBE_EXECUTED)
    assert message.extra == {"code": ExecutorError.code}
    assert details_of(message) == {
        "code": ExecutorError.code,
        "message": "encoder raised",
        "node": "encoder",
        "peer": "encoder/rep-0",
        "name": "ValueError",
        "description": "ValueError(1)",
        "traceback": "line 1",
    }


@pytest.mark.parametrize(
    ("error", "not_started", "flags"),
    [
        (Unavailable("gone", maybe_executed=True), False, MAYBE_EXECUTED),
        (Unavailable("gone"), False, 0),
        (Unavailable("gone"), True, NOT_STARTED),
        (DeadlineExceeded("late", maybe_executed=True), False, MAYBE_EXECUTED),
        (Cancelled("given up"), True, NOT_STARTED),
        (InvalidRequest("nonsense"), True, NOT_STARTED),
    ],
)
def test_flags_say_what_is_known_about_the_request(error, not_started, flags):
    assert failure(CALL, error, not_started=not_started).flags == flags


def test_a_full_queue_says_when_to_ask_again():
    assert details_of(failure(CALL, ResourceExhausted("full", retry_after=0.25)))["retry_after"] == 0.25


@pytest.mark.parametrize("kind", BY_CODE.values())
def test_every_error_that_travels_has_its_code_in_the_header(kind):
    message = failure(CALL, kind("why", node="n"))
    assert message.extra["code"] == kind.code == details_of(message)["code"]
    assert decode(encode(message)) == message


def test_what_is_too_long_is_cut_in_the_middle():
    told = details_of(failure(CALL, ExecutorError("x", traceback="a" * MAX_TEXT + "-" * 99 + "z" * MAX_TEXT)))[
        "traceback"
    ]
    assert len(told) < MAX_TEXT + 100
    assert told.startswith("aaa") and told.endswith("zzz") and "characters left out" in told


def test_what_cannot_be_encoded_travels_as_its_escape():
    assert details_of(failure(CALL, Unavailable("half a pair: \ud800")))["message"] == "half a pair: \\ud800"


@pytest.mark.parametrize("argument", [None, 7, b"bytes", ("a", "tuple"), ValueError("inner")])
def test_an_error_with_a_strange_argument_still_travels(argument):
    error = RemoteError("replaced")
    error.args = (argument,)
    assert details_of(failure(CALL, error))["message"] == str(argument)


def test_an_error_without_any_argument_still_travels():
    error = RemoteError()
    error.args = ()
    assert details_of(failure(CALL, error)) == {"code": 0, "message": ""}


def test_one_of_several_places_is_a_replica_as_the_planned_one_is():
    link = another_link("far/rep-1", 7)
    assert group_of(link) == group_of("far/rep-1") == "far"
    assert planned_link(link) == planned_link("far/rep-1") == "far/rep-1"
