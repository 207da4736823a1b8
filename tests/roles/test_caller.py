"""A caller keeps its questions apart, asks no more than its window, and hands out each answer once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.clock import Ids
from zflow.roles.caller import Caller
from zflow.wire.frames import DOCUMENTS, part
from zflow.wire.header import IDEMPOTENT, Kind, Message

PARTS = [part(DOCUMENTS, "gateway", [b"docs"])]


def caller(**options: object) -> Caller[str]:
    return Caller(new_id=Ids(), **{"endpoint": "/a", "window": 3, **options})  # type: ignore[arg-type]


def reply_to(request: Message) -> Message:
    return Message(Kind.REPLY, request.call_id)


def test_a_question_becomes_a_request_with_an_id_of_its_own():
    asking = caller(timeout=1.5, flags=IDEMPOTENT, extra={"!target": "a"})
    first, second = asking.ask("q1", PARTS), asking.ask("q2", PARTS)
    assert first == Message(Kind.REQUEST, first.call_id, "/a", 1_500_000, IDEMPOTENT, PARTS, {"!target": "a"})
    assert first.call_id != second.call_id
    assert first.extra is not second.extra  # peers write into it


def test_without_a_timeout_there_is_no_budget():
    assert caller().ask("q", PARTS).budget is None


def test_a_timeout_of_nothing_is_a_budget_of_nothing():
    assert caller(timeout=0.0).ask("q", PARTS).budget == 0
    assert caller(timeout=-1.0).ask("q", PARTS).budget == 0


def test_answers_come_beside_their_questions_as_they_come():
    asking = caller()
    first, second = asking.ask("q1", PARTS), asking.ask("q2", PARTS)
    assert asking.is_waiting
    assert asking.settle(reply_to(second)) == [("q2", reply_to(second))]
    assert asking.settle(reply_to(first)) == [("q1", reply_to(first))]
    assert not asking.is_waiting


def test_in_order_an_early_answer_waits_for_its_turn():
    asking = caller(in_order=True)
    first, second, third = (asking.ask(name, PARTS) for name in ("q1", "q2", "q3"))
    assert asking.settle(reply_to(second)) == []
    assert [question for question, _ in asking.settle(reply_to(first))] == ["q1", "q2"]
    assert [question for question, _ in asking.settle(reply_to(third))] == ["q3"]


def test_a_failure_is_an_answer_too():
    asking = caller(in_order=True)
    request = asking.ask("q", PARTS)
    failed = Message(Kind.FAILURE, request.call_id)
    assert asking.settle(failed) == [("q", failed)]


def test_the_window_bounds_what_is_open():
    asking = caller(window=2)
    assert asking.may_ask
    first = asking.ask("q1", PARTS)
    asking.ask("q2", PARTS)
    assert not asking.may_ask
    asking.settle(reply_to(first))
    assert asking.may_ask


def test_in_order_the_window_bounds_what_waits_for_its_turn_too():
    asking = caller(window=2, in_order=True)
    asking.ask("q1", PARTS)
    asking.settle(reply_to(asking.ask("q2", PARTS)))
    assert not asking.may_ask


def test_an_answer_that_nobody_waits_for_is_dropped_and_counted():
    asking = caller()
    request = asking.ask("q", PARTS)
    asking.settle(reply_to(request))
    assert asking.settle(reply_to(request)) == []
    assert asking.settle(Message(Kind.REPLY, b"x" * 16)) == []
    assert asking.dropped == 2


@pytest.mark.parametrize("in_order", [False, True])
def test_giving_up_cancels_what_is_open_and_forgets_everything(in_order):
    asking = caller(in_order=in_order)
    first, second, third = (asking.ask(name, PARTS) for name in ("q1", "q2", "q3"))
    asking.settle(reply_to(second))
    assert asking.cancel() == [Message(Kind.CANCEL, first.call_id), Message(Kind.CANCEL, third.call_id)]
    assert not asking.is_waiting and asking.may_ask
    assert asking.settle(reply_to(first)) == []
    assert asking.cancel() == []
    later = asking.ask("q4", PARTS)
    assert asking.settle(reply_to(later)) == [("q4", reply_to(later))]


@given(st.permutations(range(8)), st.booleans())
def test_every_question_is_answered_once_whatever_the_order_of_answers(order, in_order):
    asking = caller(window=8, in_order=in_order)
    requests = [asking.ask(str(number), PARTS) for number in range(8)]
    answered = []
    for number in order:
        answered += [question for question, _ in asking.settle(reply_to(requests[number]))]
    assert answered == [str(number) for number in (range(8) if in_order else order)]
    assert not asking.is_waiting


def test_pieces_are_counted_and_more_is_granted_when_half_of_them_are_taken():
    caller: Caller[str] = Caller(new_id=Ids(), endpoint="/", window=1, items=4)
    asked = caller.ask("what", [])
    assert (asked.extra["partial"], asked.extra["items"]) == (True, 4)
    piece = Message(Kind.PARTIAL, asked.call_id)
    granted = [caller.take(piece) for _ in range(4)]
    more = Message(Kind.MORE, asked.call_id, extra={"items": 2})
    assert granted == [("what", None), ("what", more), ("what", None), ("what", more)]
    caller.settle(Message(Kind.REPLY, asked.call_id))
    assert caller.take(piece) is None and caller.dropped == 1


def test_with_a_grant_of_one_each_piece_asks_for_the_next():
    caller: Caller[str] = Caller(new_id=Ids(), endpoint="/", window=1, items=1)
    asked = caller.ask("what", [])
    taken = caller.take(Message(Kind.PARTIAL, asked.call_id))
    assert taken == ("what", Message(Kind.MORE, asked.call_id, extra={"items": 1}))
