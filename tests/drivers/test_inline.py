"""The inline driver: a role that runs while somebody waits; lanes of their own for threads and for sides of a fork."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator

import pytest

from tests.support.clock import Clock
from tests.support.peers import Gate, Served, child, hold_until
from zflow.drivers import inline
from zflow.drivers.directory import Directory
from zflow.drivers.identity import new_id
from zflow.drivers.inline import Lane, Lanes
from zflow.errors import Unavailable
from zflow.roles.head import Head
from zflow.wire.header import Kind, Message

PROMPT = 1.0  # seconds; what happens at once happens well before


@pytest.fixture
def served() -> Iterator[Served]:
    with Served() as served:
        yield served


def lane_to(address: str) -> Lane:
    return Lane(Head(address, [address], new_id=new_id), Directory({address: address}))


def lanes_to(address: str) -> Lanes:
    return Lanes(lambda: Head(address, [address], new_id=new_id), Directory({address: address}))


def question(**places: object) -> Message:
    return Message(Kind.REQUEST, new_id(), "/", **places)


def one_answer(lane: Lane, request: Message) -> Message:
    lane.ask(request)
    [answer] = lane.answers()
    assert answer.call_id == request.call_id
    return answer


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


# -- one lane --------------------------------------------------------------------------------------------------------


def test_what_is_asked_is_answered(served):
    lane = lane_to(served.address)
    assert one_answer(lane, question()).kind is Kind.REPLY
    lane.close()


def test_it_waits_for_one_answer_and_gives_all_that_came_with_it(served):
    lane = lane_to(served.address)
    asked = [question() for _ in range(3)]
    for request in asked:
        lane.ask(request)
    given = [answer.call_id for _ in range(3) for answer in _some(lane)]
    assert given == [request.call_id for request in asked]
    lane.close()


def _some(lane: Lane) -> list[Message]:
    """What one round of answers gives, at least one while any is outstanding."""
    return list(lane.answers(until=time.monotonic() + 0.2))


def test_there_is_no_answer_when_the_time_that_was_given_comes_first():
    gate = Gate()
    with Served(gate) as served:
        lane = lane_to(served.address)
        lane.ask(question())
        until = time.monotonic() + 0.1
        assert list(lane.answers(until)) == []
        assert until <= time.monotonic() < until + PROMPT
        gate.open()
        assert len(list(lane.answers())) == 1
        lane.close()


def test_a_lane_that_looks_again_knows_that_its_peer_has_left(served):
    """Given a peer that went while nobody looked, when the next request comes, then it is not sent into nothing."""
    lane = lane_to(served.address)
    one_answer(lane, question())
    served.stop()

    def knows() -> bool:
        lane.catch_up()
        return not lane._carrier.role._neighbours.is_served

    hold_until(knows)
    lane.ask(question(budget=50_000))
    [answer] = lane.answers()
    assert answer.kind is Kind.FAILURE
    lane.close()


def test_a_lane_that_has_just_looked_does_not_look_again(served, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(inline, "clock", lambda: clock.now)
    lane = lane_to(served.address)
    one_answer(lane, question())
    turns: list[float | None] = []
    monkeypatch.setattr(lane._carrier, "turn", turns.append)
    lane.catch_up()
    assert turns == []
    clock.advance(0.0051)
    lane.catch_up()
    assert turns == [0.0]
    lane.close()


# -- many lanes --------------------------------------------------------------------------------------------------------


def test_a_lane_that_was_given_back_is_used_again(served):
    lanes = lanes_to(served.address)
    first = lanes.take()
    one_answer(first, question())
    lanes.give_back(first)
    assert lanes.take() is first
    lanes.give_back(first)
    lanes.close()


def test_a_lane_is_nobody_elses_while_it_is_in_use(served):
    lanes = lanes_to(served.address)
    taken = [lanes.take() for _ in range(3)]
    assert len(set(map(id, taken))) == 3
    for lane in taken:
        lanes.give_back(lane)
    lanes.close()


def test_threads_do_not_wait_for_each_other():
    """Given a peer that answers only once three have asked, then three threads at once get their answers."""
    arrived = threading.Barrier(3)

    def local(request: Message) -> Message:
        arrived.wait(10.0)
        return Message(Kind.REPLY, request.call_id)

    peers = [Served(local) for _ in range(3)]
    answered: list[Kind] = []
    with peers[0], peers[1], peers[2]:
        addresses = iter([peer.address for peer in peers])
        directory = Directory({peer.address: peer.address for peer in peers})

        def role() -> Head:
            address = next(addresses)
            return Head(address, [address], new_id=new_id)

        lanes = Lanes(role, directory)

        def ask() -> None:
            lane = lanes.take()
            answered.append(one_answer(lane, question()).kind)
            lanes.give_back(lane)

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(15.0)
        lanes.close()
    assert answered == [Kind.REPLY] * 3


def test_only_so_many_lanes_are_kept_for_later(served):
    lanes = lanes_to(served.address)
    taken = [lanes.take() for _ in range(inline._IDLE_LANES + 4)]
    before = open_files()
    for lane in taken:
        lanes.give_back(lane)
    assert len(lanes._idle) == inline._IDLE_LANES
    hold_until(lambda: open_files() < before)
    lanes.close()


def test_a_lane_left_in_the_middle_of_something_is_not_used_again(served):
    lanes = lanes_to(served.address)
    lane = lanes.take()
    lane.ask(question())
    lanes.drop(lane)
    again = lanes.take()
    assert again is not lane
    assert one_answer(again, question()).kind is Kind.REPLY
    lanes.give_back(again)
    lanes.close()


def test_a_lane_that_cannot_be_made_is_not_counted_as_in_use():
    def no_role() -> Head:
        raise MemoryError

    lanes = Lanes(no_role, Directory())
    with pytest.raises(MemoryError):
        lanes.take()
    before = time.monotonic()
    lanes.close(grace=20.0)
    assert time.monotonic() - before < PROMPT


# -- closing -----------------------------------------------------------------------------------------------------------


def test_closing_closes_what_is_idle_and_refuses_what_comes(served):
    lanes = lanes_to(served.address)
    before = open_files()
    lane = lanes.take()
    one_answer(lane, question())
    lanes.give_back(lane)
    lanes.close()
    hold_until(lambda: open_files() == before)
    with pytest.raises(Unavailable, match="closed already; use it inside its `with` block"):
        lanes.take()
    lanes.close()


def test_a_lane_in_use_finishes_and_is_closed_when_it_comes_back():
    gate = Gate()
    with Served(gate) as served:
        lanes = lanes_to(served.address)
        before = open_files()
        lane = lanes.take()
        request = question()
        lane.ask(request)
        while not gate.entered.is_set():
            lane._carrier.turn(time.monotonic() + 0.01)
        lanes.close()
        gate.open()
        [answer] = lane.answers()
        assert answer.call_id == request.call_id and answer.kind is Kind.REPLY
        lanes.give_back(lane)
        assert lanes._idle == []
        hold_until(lambda: open_files() == before)


@pytest.mark.parametrize("way_back", ["give_back", "drop"])
def test_closing_with_grace_waits_for_who_is_still_at_it(served, way_back):
    lanes = lanes_to(served.address)
    lane = lanes.take()
    timer = threading.Timer(0.1, getattr(lanes, way_back), [lane])
    timer.start()
    before = time.monotonic()
    lanes.close(grace=20.0)
    assert 0.05 < time.monotonic() - before < PROMPT
    timer.join()


def test_closing_waits_no_longer_than_its_grace(served):
    lanes = lanes_to(served.address)
    lane = lanes.take()
    before = time.monotonic()
    lanes.close(grace=0.1)
    assert 0.1 <= time.monotonic() - before < PROMPT
    lanes.give_back(lane)


def test_many_lanes_come_and_go_without_leaving_anything(served):
    lanes = lanes_to(served.address)
    lanes.give_back(lanes.take())
    lanes.close()
    files, threads = open_files(), len(os.listdir("/proc/self/task"))
    for _ in range(50):
        lanes = lanes_to(served.address)
        lane = lanes.take()
        one_answer(lane, question())
        lanes.give_back(lane)
        lanes.close()
    hold_until(lambda: open_files() <= files and len(os.listdir("/proc/self/task")) <= threads)


# -- forks -------------------------------------------------------------------------------------------------------------


def test_each_side_of_a_fork_asks_over_connections_of_its_own():
    """Given a client that has been used, when the process forks, then both sides go on asking, and both can close."""
    with Served() as served, child(AFTER_A_FORK, str(served.port)) as process:
        told, _ = process.communicate(timeout=20)
        assert told.splitlines() == ["child: from the child", "parent: from the parent", "child ended with 0"]
        assert process.returncode == 0


AFTER_A_FORK = """
import gc, os, sys
from zflow.client import Client
from zflow.documents.document import Document

client = Client(port=int(sys.argv[1]))
client.post("/", Document(text="before"))
pid = os.fork()
if pid == 0:
    for _ in range(3):
        told = client.post("/", Document(text="from the child")).texts
    print("child:", *told, flush=True)
    client.close()
    del client
    gc.collect()
    sys.exit(0)
_, status = os.waitpid(pid, 0)
for _ in range(3):
    told = client.post("/", Document(text="from the parent")).texts
print("parent:", *told, flush=True)
print("child ended with", os.waitstatus_to_exitcode(status), flush=True)
client.close()
"""


def test_a_fork_in_the_middle_of_other_threads_posts_can_ask_and_close():
    """Given that at the moment of the fork other threads hold lanes and locks, then the child has none of that."""
    with Served() as served, child(FORK_AMONG_THREADS, str(served.port)) as process:
        told, _ = process.communicate(timeout=20)
        assert told == "all forks have asked and closed\n"
        assert process.returncode == 0


FORK_AMONG_THREADS = """
import os, sys, threading, time
from zflow.client import Client
from zflow.documents.document import Document

client = Client(port=int(sys.argv[1]))
going_on = True

def post():
    while going_on:
        client.post("/", Document(text="parent"))

threads = [threading.Thread(target=post) for _ in range(3)]
for thread in threads:
    thread.start()
for number in range(20):
    time.sleep(0.005)
    pid = os.fork()
    if pid == 0:
        assert client.post("/", Document(text="child")).texts == ["child"]
        client._pool.close(grace=20.0)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    if status:
        going_on = False
        sys.exit(f"the fork number {number} ended with {os.waitstatus_to_exitcode(status)}")
going_on = False
for thread in threads:
    thread.join()
client.close()
print("all forks have asked and closed", flush=True)
"""


def test_who_is_under_way_goes_on_with_the_old_role_and_the_next_one_has_another():
    with Served() as old, Served() as new:
        lanes = lanes_to(old.address)
        idle, busy = lanes.take(), lanes.take()
        lanes.give_back(idle)
        lanes._directory.set(new.address, new.address)
        lanes.renew(lambda: Head(new.address, [new.address], new_id=new_id), 0.0)
        assert one_answer(busy, question()).kind is Kind.REPLY
        lane = lanes.take()
        assert lane not in (idle, busy) and one_answer(lane, question()).kind is Kind.REPLY
        lanes.give_back(busy)
        lanes.give_back(lane)
        taken = [lanes.take(), lanes.take()]
        assert taken[0] is lane and taken[1] is not busy
        for lane in taken:
            lanes.give_back(lane)
        lanes.close()


def test_a_renewal_waits_for_those_who_are_under_way_but_not_for_ever(served):
    lanes = lanes_to(served.address)
    busy = lanes.take()
    began = time.monotonic()
    lanes.renew(lanes._new_role, 0.05)
    assert time.monotonic() - began >= 0.05
    newer = lanes.take()
    thread = threading.Thread(target=lanes.renew, args=(lanes._new_role, 20.0))
    thread.start()
    hold_until(lambda: lanes._edition == 2)
    lanes.drop(newer)
    lanes.give_back(busy)
    thread.join(PROMPT * 5)
    assert not thread.is_alive()
    lanes.close()
