"""Whatever a role holds is found, wherever it hides; what a timer keeps of a settled call is not counted."""

from __future__ import annotations

from tests.support.clock import Ids
from tests.support.executors import echo
from tests.support.leftovers import leftovers
from zflow.roles.contract import EXECUTOR
from zflow.roles.head import Head
from zflow.roles.worker import Worker
from zflow.wire.frames import DOCUMENTS, part
from zflow.wire.header import Kind, Message

HEAD = (b"head",)


def request(number: int) -> Message:
    return Message(Kind.REQUEST, bytes([number]) * 16, "/", 10**9, parts=[part(DOCUMENTS, "x", [b"in"])])


def test_a_fresh_role_holds_nothing():
    assert leftovers(Worker("a/rep-0", boot=bytes(16))) == []
    assert leftovers(Head("a", ["a/rep-0"], new_id=Ids())) == []


def test_a_call_that_runs_and_one_that_waits_are_found_with_their_payloads():
    worker = Worker("a/rep-0", boot=bytes(16))
    worker.receive(HEAD, Message(Kind.HELLO), 0.0)
    for number in (1, 2):
        worker.receive(HEAD, request(number), 0.0)
        worker.expire(0.0)
    found = leftovers(worker)
    assert sorted(item.call_id for item in found if isinstance(item, Message)) == [bytes([1]) * 16, bytes([2]) * 16]
    assert [type(item).__name__ for item in found].count("_Call") == 2


def test_a_settled_call_whose_deadline_is_far_is_not_counted():
    worker = Worker("a/rep-0", boot=bytes(16))
    worker.receive(HEAD, Message(Kind.HELLO), 0.0)
    worker.receive(HEAD, request(1), 0.0)
    [(_, asked)] = worker.expire(0.0)
    worker.receive(EXECUTOR, echo(asked), 1.0)
    assert worker.next_deadline() == 1000.0  # the timer is still there
    assert leftovers(worker) == []


def test_a_waiting_call_of_a_head_is_found():
    head = Head("a", ["a/rep-0"], new_id=Ids())
    head.receive("gateway", request(1), 0.0)
    found = leftovers(head)
    assert [item for item in found if isinstance(item, Message)] == [request(1)]
    assert "Call" in [type(item).__name__ for item in found]
