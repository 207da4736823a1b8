"""A replica that fails in a row while others are well gets nothing for a while, then one request."""

from __future__ import annotations

import pytest

from tests.support.clock import Ids
from zflow.roles.ejection import FAILURES, LONGEST, PAUSE, Ejection
from zflow.roles.liveness import Neighbour
from zflow.wire.header import Kind, Message


def ready(neighbour: Neighbour, credit: int = 4) -> Neighbour:
    neighbour.greet(0.0)
    assert neighbour.accept(Message(Kind.READY, extra={"credit": credit, "boot": bytes(16)}))
    return neighbour


class Pool:
    """Some ready replicas and who of them is out."""

    def __init__(self, count: int) -> None:
        self.all = [ready(Neighbour(f"a/rep-{number}", Ids())) for number in range(count)]
        self.ejection = Ejection()

    def fail(self, number: int, times: int = FAILURES, now: float = 0.0) -> None:
        for _ in range(times):
            self.ejection.failed(self.all[number], self.all, "the connection broke", now)

    def readmit(self, now: float) -> None:
        self.ejection.readmit(self.all, now)

    def out(self) -> list[int]:
        return [number for number, neighbour in enumerate(self.all) if neighbour.is_ejected]


def test_a_few_failures_are_none():
    pool = Pool(2)
    pool.fail(0, FAILURES - 1)
    pool.all[0].prove_well()
    pool.fail(0, FAILURES - 1)
    assert pool.out() == [] and not pool.ejection.is_active and pool.ejection.next_due() is None


def test_failures_in_a_row_take_it_out():
    pool = Pool(2)
    pool.fail(0, now=1.0)
    assert pool.out() == [0] and pool.ejection.is_active
    assert not pool.all[0].has_room and pool.all[1].has_room
    assert "5 failures in a row" in pool.all[0].cause and "the connection broke" in pool.all[0].cause
    assert pool.ejection.next_due() == 1.0 + PAUSE


def test_then_it_may_have_one_request():
    pool = Pool(2)
    pool.fail(0)
    pool.readmit(PAUSE - 0.1)
    assert pool.out() == [0]
    pool.readmit(PAUSE)
    assert pool.out() == [] and not pool.ejection.is_active
    assert (pool.all[0].credit, pool.all[0].cause) == (1, "")
    pool.all[0].prove_well()
    assert pool.all[0].credit == 4


def test_who_fails_again_is_out_for_longer():
    pool = Pool(2)
    now = 0.0
    pool.fail(0)
    for times in (2, 3, 4):
        now = pool.ejection.next_due() or 0.0
        pool.readmit(now)
        pool.fail(0, times=1, now=now)
        assert pool.ejection.next_due() == now + times * PAUSE
    pool.all[0].ejections = 1000
    pool.readmit(now + 4 * PAUSE)
    pool.fail(0, times=1, now=0.0)
    assert pool.ejection.next_due() == LONGEST


def test_a_success_ends_the_growing():
    pool = Pool(2)
    pool.fail(0)
    pool.readmit(PAUSE)
    pool.all[0].prove_well()
    pool.fail(0, now=100.0)
    assert pool.ejection.next_due() == 100.0 + PAUSE


@pytest.mark.parametrize(("count", "most"), [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2)])
def test_at_most_half_are_out(count: int, most: int):
    pool = Pool(count)
    for number in range(count):
        pool.fail(number)
    assert len(pool.out()) == most


def test_none_is_out_while_the_others_fail_as_well():
    pool = Pool(2)
    pool.fail(1, 1)
    pool.fail(0, 100)
    assert pool.out() == []


def test_none_is_out_while_no_other_is_ready():
    pool = Pool(2)
    pool.all[1].lose("the connection broke")
    pool.fail(0)
    assert pool.out() == []


def test_who_was_out_is_better_than_nobody():
    pool = Pool(2)
    pool.fail(0)
    pool.all[1].lose("the connection broke")
    pool.readmit(0.1)
    assert pool.all[0].has_room and not pool.ejection.is_active


def test_a_new_connection_does_not_bring_it_back():
    pool = Pool(2)
    pool.fail(0)
    pool.all[0].lose("the connection broke")
    ready(pool.all[0])
    assert not pool.all[0].has_room
    pool.readmit(PAUSE)
    assert pool.all[0].credit == 1


def test_lending_does_not_bring_it_back():
    pool = Pool(2)
    pool.fail(0)
    pool.all[0].lend(True)
    pool.all[0].lend(False)
    assert not pool.all[0].has_room


def test_one_that_left_is_forgotten():
    pool = Pool(2)
    pool.fail(0)
    pool.all[0].leave()
    pool.readmit(0.1)
    assert not pool.ejection.is_active
    pool.fail(0)
    assert not pool.ejection.is_active
