"""Which endpoints may run more than once, where several peers have a say in it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from zflow.roles.head import Head
from zflow.roles.repeating import repeatable, shared
from zflow.wire.header import Kind, Message


@pytest.mark.parametrize(
    ("said", "agreed"),
    [
        ([], []),
        ([[]], []),
        ([["*"], ["*"]], ["*"]),
        ([["*"], ["/b", "/a"]], ["/a", "/b"]),
        ([["/a", "/b"], ["/b", "/c"]], ["/b"]),
        ([["/a"], ["*"], []], []),
    ],
)
def test_what_all_of_them_name(said, agreed):
    assert shared(said) == agreed


def head(node: str, *said: Sequence[str] | None, idempotent: bool = False) -> Head:
    """The head of a node whose replicas have said so in their READY; None for one that was not heard of."""
    links = [f"{node}/rep-{number}" for number in range(len(said))]
    made = Head(node, links, new_id=lambda: bytes(16), idempotent=idempotent)
    for link, endpoints in zip(links, said):
        made.opened(link, 0.0)
        if endpoints is not None:
            extra = {"boot": bytes(16), "credit": 4, "idempotent": list(endpoints)}
            made.receive(link, Message(Kind.READY, extra=extra), 0.0)
    return made


def test_at_all_nodes_by_all_replicas_that_were_heard_of():
    assert repeatable([head("a", ["/x", "/y"], ["/x"]), head("b", ["*"])]) == ["/x"]
    assert repeatable([head("a", ["/x"], None), head("b", ["*"])]) == ["/x"]


def test_a_node_of_which_nothing_is_heard_agrees_to_nothing():
    assert repeatable([head("a", ["/x"]), head("b", None)]) == []
    assert repeatable([]) == []


def test_whoever_composed_the_graph_may_have_said_it_of_a_node():
    assert repeatable([head("a", [], idempotent=True), head("b", ["/x"])]) == ["/x"]


def test_what_was_said_by_one_that_is_lost_still_holds():
    lost = head("a", ["/x"])
    lost.lost("a/rep-0", "it broke", 1.0)
    assert repeatable([lost]) == ["/x"]
