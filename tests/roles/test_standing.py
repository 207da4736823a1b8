"""How a node stands: what waits for it, what each replica has and has done, and why one is not ready."""

from __future__ import annotations

from tests.support.clock import Ids
from zflow.roles.head import Head
from zflow.roles.standing import standing_of
from zflow.wire.header import Kind, Message

R0, R1 = "a/rep-0", "a/rep-1"
UP = "gateway"


def request(number: int) -> Message:
    return Message(Kind.REQUEST, number.to_bytes(16, "big"), "/")


def reply(number: int) -> Message:
    return Message(Kind.REPLY, number.to_bytes(16, "big"))


def head_of(*links: str, credit: int = 1) -> Head:
    head = Head("a", links, new_id=Ids(), chance=lambda: 0.5)
    for link in links:
        head.opened(link, 0.0)
        head.receive(link, Message(Kind.READY, extra={"boot": bytes(16), "credit": credit}), 0.0)
    return head


def test_what_runs_what_waits_and_what_is_done_are_counted() -> None:
    head = head_of(R0)
    for number in (1, 2, 3):
        head.receive(UP, request(number), 1.0)
    head.receive(R0, reply(1), 1.25)
    assert standing_of(head) == {
        "queued": 1,
        "dropped": 0,
        "replicas": {R0: {"state": "ready", "credit": 1, "inflight": 1, "done": 1, "took": 250_000}},
    }


def test_each_replica_counts_its_own() -> None:
    head = head_of(R0, R1)
    head.receive(UP, request(1), 1.0)
    head.receive(UP, request(2), 1.0)
    head.receive(R0, reply(1), 1.5)
    head.receive(R0, reply(2), 1.5)  # not the one that has it
    told = standing_of(head)
    assert told["dropped"] == 1
    assert {link: (had["done"], had["inflight"]) for link, had in told["replicas"].items()} == {R0: (1, 0), R1: (0, 1)}


def test_who_is_not_ready_says_why() -> None:
    head = head_of(R0)
    head.lost(R0, "the connection broke" + "." * 1_000, 2.0)
    [replica] = standing_of(head)["replicas"].values()
    assert replica["state"] == "lost"
    assert replica["cause"].startswith("the connection broke")
    assert len(replica["cause"]) == 256
