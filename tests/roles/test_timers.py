"""Each unsettled call is due once, in the order of time; settled ones cost neither a search nor memory for ever."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from zflow.roles.timers import Timers
from zflow.wire.header import Kind, Message


class Call:
    def __init__(self, number: int = 0) -> None:
        self.number = number
        self.request: Message | None = Message(Kind.REQUEST, bytes(16))


def test_nothing_is_due_when_nothing_waits():
    timers: Timers[Call] = Timers()
    assert list(timers.due(1e9)) == []
    assert timers.next() is None


def test_calls_come_when_their_time_has_come_and_only_once():
    timers: Timers[Call] = Timers()
    late, early = Call(), Call()
    timers.add(2.0, late)
    timers.add(1.0, early)
    assert timers.next() == 1.0
    assert list(timers.due(0.999)) == []
    assert list(timers.due(1.0)) == [early]
    assert timers.next() == 2.0
    assert list(timers.due(5.0)) == [late]
    assert list(timers.due(5.0)) == []


def test_of_calls_at_the_same_time_the_first_added_comes_first():
    timers: Timers[Call] = Timers()
    calls = [Call() for _ in range(5)]
    for call in calls:
        timers.add(1.0, call)
    assert list(timers.due(1.0)) == calls


def test_a_settled_call_is_left_out():
    timers: Timers[Call] = Timers()
    settled, waiting = Call(), Call()
    timers.add(1.0, settled)
    timers.add(2.0, waiting)
    settled.request = None
    assert list(timers.due(3.0)) == [waiting]


def test_a_call_settled_while_others_are_given_out_is_left_out_too():
    timers: Timers[Call] = Timers()
    first, second = Call(), Call()
    timers.add(1.0, first)
    timers.add(1.0, second)
    seen = []
    for call in timers.due(1.0):
        seen.append(call)
        second.request = None
    assert seen == [first]


def test_a_hundred_thousand_settled_calls_with_far_deadlines_do_not_stay():
    timers: Timers[Call] = Timers()
    most = 0
    for _ in range(100_000):
        call = Call()
        timers.add(1e6, call)
        call.request = None
        most = max(most, len(timers._heap))
    assert most <= 1024


def test_sweeping_loses_none_that_waits():
    timers: Timers[Call] = Timers()
    waiting = []
    for number in range(5000):
        call = Call(number)
        timers.add(float(number), call)
        if number % 3:
            call.request = None
        else:
            waiting.append(call)
    assert list(timers.due(1e9)) == waiting


@given(st.lists(st.tuples(st.integers(0, 50), st.booleans()), max_size=60), st.integers(0, 50))
def test_whatever_is_added_and_settled_exactly_the_due_ones_come_in_order(entries, now):
    timers: Timers[Call] = Timers()
    calls = []
    for number, (when, _) in enumerate(entries):
        calls.append(Call(number))
        timers.add(float(when), calls[-1])
    for call, (_, is_settled) in zip(calls, entries):
        if is_settled:
            call.request = None
    expected = sorted(
        (when, number) for number, (when, is_settled) in enumerate(entries) if when <= now and not is_settled
    )
    assert [call.number for call in timers.due(float(now))] == [number for _, number in expected]
