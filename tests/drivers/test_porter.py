"""The porter: it keeps the door while a batch runs, gives the place back at once, and knows when to rest."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator

import pytest

from tests.support.peers import hold_until
from zflow.drivers.porter import Porter
from zflow.roles.contract import Step, Steps
from zflow.wire.header import Kind, Message

NAME = "zflow-porter"
PATIENCE = 5.0  # seconds


def answers(count: int) -> Steps:
    return [((b"caller",), Message(Kind.REPLY, bytes([number]) * 16)) for number in range(count)]


class Door:
    """A carrier of which only the door matters: a pipe. sent: what was carried, and by which thread it was.

    turns: by which threads it was turned. keeps_lock: user code keeps Python's lock, so that the porter gets no further
    than to one answer.
    """

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, str]] = []
        self.turns: list[str] = []
        self.descriptors_version = 1
        self.keeps_lock = False
        self.failure: BaseException | None = None
        self.inside, self._outside = os.pipe()
        os.set_blocking(self.inside, False)
        self.porter = Porter(self, self.ring)  # type: ignore[arg-type]  # it has what is needed of one

    def ring(self) -> None:
        os.write(self._outside, b"!")

    def turn(self, until: float | None) -> bool:
        if self.failure is not None:
            raise self.failure
        self.turns.append(threading.current_thread().name)
        try:
            return bool(os.read(self.inside, 1))
        except BlockingIOError:
            return False

    def carry(self, steps: Iterable[Step]) -> None:
        for _, message in steps:
            self.sent.append((message.call_id, threading.current_thread().name))
            if self.keeps_lock and threading.current_thread().name == NAME:
                hold_until(lambda: not self.porter.is_at_the_door)

    def next_due(self) -> float | None:
        return None

    def descriptors(self) -> dict[int, object]:
        return {self.inside: self}

    def close(self) -> None:
        os.close(self.inside)
        os.close(self._outside)

    def by(self) -> list[bool]:
        """Of what was sent: whether it was by the porter. All of it must have been sent once, in order."""
        assert [call_id for call_id, _ in self.sent] == [message.call_id for _, message in answers(len(self.sent))]
        return [name == NAME for _, name in self.sent]


@pytest.fixture
def door() -> Iterator[Door]:
    made = Door()
    yield made
    made.close()


def run(door: Door, count: int) -> list[bool]:
    """Run a batch that leaves the door to the porter for as long as that takes; by whom the answers were sent."""
    door.sent.clear()
    with door.porter.at_the_door(answers(count)):
        hold_until(lambda: door.keeps_lock or len(door.sent) == count)
        hold_until(lambda: not door.keeps_lock or door.sent or not door.porter.is_at_the_door)
    return door.by()


def test_without_a_batch_there_is_no_thread(door):
    with door.porter:
        assert NAME not in [thread.name for thread in threading.enumerate()]


def test_meanwhile_it_sends_the_answers_and_reads_what_comes(door):
    with door.porter as porter, porter.at_the_door(answers(3)):
        hold_until(lambda: len(door.sent) == 3)
        hold_until(lambda: NAME in door.turns)
        turns = len(door.turns)
        door.ring()
        hold_until(lambda: len(door.turns) > turns)
    assert door.by() == [True] * 3
    assert set(door.turns) == {NAME}


def test_it_comes_back_for_each_batch(door):
    with door.porter:
        assert [run(door, 2) for _ in range(20)] == [[True, True]] * 20
        assert [thread.name for thread in threading.enumerate()].count(NAME) == 1


def test_when_user_code_returns_the_place_is_ours(door):
    with door.porter as porter:
        with porter.at_the_door([]):
            hold_until(lambda: door.turns)
        turns = len(door.turns)
        for _ in range(100):
            door.ring()  # it wakes, and must not touch anything
        assert not porter.is_at_the_door and len(door.turns) == turns
        with porter.place:  # as often as we like
            assert not door.sent


def test_what_it_has_not_come_to_is_sent_before_anything_else_happens(door):
    door.keeps_lock = True
    with door.porter:
        assert run(door, 4) == [True, False, False, False]


def test_where_user_code_keeps_the_lock_it_rests_and_each_time_for_longer(door):
    door.keeps_lock = True
    with door.porter:
        tried = [any(run(door, 2)) for _ in range(16)]
        assert tried == [number in (0, 2, 5, 10) for number in range(16)]
        assert door.by() == [False, False]


def test_once_it_is_of_use_again_a_rest_is_short(door):
    with door.porter:
        door.keeps_lock = True
        assert [any(run(door, 2)) for _ in range(5)] == [True, False, True, False, False]
        door.keeps_lock = False
        assert run(door, 2) == [True, True]
        door.keeps_lock = True
        assert [any(run(door, 2)) for _ in range(3)] == [True, False, True]


def test_a_batch_with_nothing_to_send_before_it_teaches_nothing(door):
    with door.porter as porter:
        for _ in range(10):
            with porter.at_the_door([]):
                pass  # returns long before anybody could have come
        assert run(door, 1) == [True]


def test_where_no_thread_can_be_had_everything_works_without(door, monkeypatch):
    def refused(thread):
        raise RuntimeError("can't start new thread")

    with door.porter as porter:
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", refused)
            with porter.at_the_door(answers(2)):
                assert not porter.is_at_the_door
        assert door.by() == [False, False]
        assert run_without(door, 1023) and run(door, 1) == [True], "it is asked again later, and may be had by then"


def run_without(door: Door, times: int) -> bool:
    for _ in range(times):
        with door.porter.at_the_door([]):
            if door.porter.is_at_the_door:
                return False
    return True


def test_its_failure_is_raised_where_user_code_returns(door):
    door.failure = AssertionError("a fault of ours")
    with pytest.raises(AssertionError, match="a fault of ours"), door.porter as porter, porter.at_the_door([]):
        hold_until(lambda: not porter._thread.is_alive())


@pytest.mark.parametrize("leaving", [KeyboardInterrupt(), ValueError("no")])
def test_what_user_code_is_left_by_goes_on_and_no_answer_is_lost(door, leaving):
    door.keeps_lock = True
    with pytest.raises(type(leaving)), door.porter as porter, porter.at_the_door(answers(2)):
        hold_until(lambda: door.sent)
        raise leaving
    assert door.by() == [True, False]


def test_it_leaves_with_us_wherever_it_is(door):
    with door.porter as porter, porter.at_the_door([]):
        pass
    porter._thread.join(PATIENCE)
    assert not porter._thread.is_alive()
