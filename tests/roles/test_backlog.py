"""What waits is bounded in requests and bytes, and what does not wait any more holds nothing."""

from __future__ import annotations

import pytest

from zflow.roles.backlog import QUEUE_BYTES, Backlog, Room
from zflow.roles.call import Call
from zflow.roles.liveness import Neighbour
from zflow.wire.header import Kind, Message


def call_of(number: int, size: int = 0) -> Call:
    return Call("caller", Message(Kind.REQUEST, number.to_bytes(16, "big"), "/"), None, 0.0, size)


def settle(backlog: Backlog, call: Call) -> None:
    backlog.release(call)
    call.request = None


def test_it_is_a_row_with_a_front():
    backlog = Backlog()
    calls = [call_of(number) for number in range(3)]
    backlog.add(calls[0])
    backlog.add(calls[1])
    backlog.add(calls[2], first=True)
    assert [backlog.take() for _ in calls] == [calls[2], calls[0], calls[1]]
    assert not backlog and backlog.waiting == 0


def test_requests_are_bounded():
    backlog = Backlog(limit=2)
    backlog.add(call_of(1))
    assert backlog.refusal(0) == ""
    backlog.add(call_of(2))
    assert backlog.refusal(0) == "2 requests wait already"
    backlog.take()
    assert backlog.refusal(0) == ""


def test_bytes_are_bounded():
    backlog = Backlog(Room(100))
    backlog.add(call_of(1, 60))
    assert backlog.refusal(40) == ""
    why = backlog.refusal(41)
    assert "60 bytes" in why and "100" in why
    backlog.take()
    assert backlog.room.taken == 0
    assert backlog.refusal(41) == ""


def test_one_that_is_larger_than_the_limit_may_wait_alone():
    backlog = Backlog(Room(100))
    assert backlog.refusal(1000) == ""
    backlog.add(call_of(1, 1000))
    assert backlog.refusal(1) != ""
    assert backlog.refusal(0) != "", "what holds nothing could still grow, and the room is over its limit"


def test_heads_of_one_process_share_the_bytes():
    room = Room(100)
    one, other = Backlog(room), Backlog(room)
    one.add(call_of(1, 90))
    assert "90 bytes" in other.refusal(20)
    assert Backlog().room is not Backlog().room and Backlog().room.size == QUEUE_BYTES


@pytest.mark.parametrize("taken_first", [False, True])
def test_what_was_settled_is_counted_once(taken_first: bool):
    backlog = Backlog(Room(100), limit=1)
    call = call_of(1, 80)
    backlog.add(call)
    if taken_first:
        backlog.take()
    settle(backlog, call)
    settle(backlog, call)
    assert (backlog.room.taken, backlog.waiting) == (0, 0)
    assert backlog.refusal(90) == ""


def test_what_comes_back_is_counted_anew():
    backlog = Backlog(Room(100))
    call = call_of(1, 80)
    backlog.add(call)
    backlog.take()
    backlog.add(call, first=True)
    assert backlog.room.taken == 80
    backlog.take()
    assert backlog.room.taken == 0


def test_places_of_the_settled_do_not_pile_up():
    backlog = Backlog()
    stays = call_of(0)
    backlog.add(stays)
    for number in range(1, 1000):
        call = call_of(number)
        backlog.add(call)
        settle(backlog, call)
        assert len(backlog) < 40
    assert backlog[0] is stays


def test_what_replicas_have_is_bounded_too_but_an_idle_one_gets_whatever_there_is():
    backlog, busy, idle = Backlog(Room(100)), Neighbour("a/rep-0", bytes), Neighbour("a/rep-1", bytes)
    call = call_of(1, 80)
    call.neighbour = busy
    busy.calls[call.call_id] = call
    backlog.room.sent += call.size
    assert backlog.may_leave(20, busy) and not backlog.may_leave(21, busy)
    assert backlog.may_leave(1000, idle)
    backlog.release(call)
    assert (backlog.room.sent, backlog.room.taken) == (0, 0)
    assert backlog.may_leave(100, busy)
