"""The executor functions answer what they say they answer."""

from __future__ import annotations

import pytest

from tests.support.executors import (
    Crash,
    at_first,
    crash,
    details_of,
    echo,
    fail,
    for_node,
    refuse,
    refuse_as_full,
    tell,
    tell_labels,
    text_of,
)
from zflow.wire.frames import DOCUMENTS, PARAMETERS, RESULTS, part
from zflow.wire.header import MAYBE_EXECUTED, NOT_STARTED, Kind, Message

PARTS = [part(DOCUMENTS, "x", [b"one"]), part(PARAMETERS, "", [b"p"]), part(DOCUMENTS, "y", [b"two"])]


def request(node: str = "a") -> Message:
    return Message(Kind.REQUEST, b"c" * 16, "/", flags=1, parts=PARTS, extra={"node": node})


def test_text_joins_the_parts_of_one_kind():
    assert text_of(PARTS) == "one+two"
    assert text_of(PARTS, PARAMETERS) == "p"
    assert text_of([]) == ""


def test_echo_gives_back_the_documents_and_nothing_else():
    assert echo(request()) == Message(Kind.REPLY, b"c" * 16, parts=[PARTS[0], PARTS[2]])


def test_tell_says_who_made_it_of_what():
    assert text_of(tell(request()).parts) == "a(one+two)"


def test_tell_labels_says_all_that_it_saw():
    reply = tell_labels(request())
    assert text_of(reply.parts) == "a<x,y|p|1>"
    assert text_of(reply.parts, RESULTS) == "a"


@pytest.mark.parametrize(
    ("function", "flags"), [(fail, MAYBE_EXECUTED), (refuse, NOT_STARTED), (refuse_as_full, NOT_STARTED)]
)
def test_failures_say_whether_anything_ran(function, flags):
    failure = function(request())
    assert (failure.kind, failure.call_id, failure.flags) == (Kind.FAILURE, b"c" * 16, flags)
    assert details_of(failure)["code"] == failure.extra["code"]


def test_a_crash_is_no_answer():
    with pytest.raises(Crash):
        crash(request())


def test_one_function_comes_after_the_other():
    function = at_first(fail, tell, times=2)
    assert [function(request()).kind for _ in range(4)] == [Kind.FAILURE, Kind.FAILURE, Kind.REPLY, Kind.REPLY]


def test_one_node_may_be_special():
    function = for_node("b", fail, tell)
    assert [function(request(node)).kind for node in "abc"] == [Kind.REPLY, Kind.FAILURE, Kind.REPLY]
