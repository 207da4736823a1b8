"""What a caller asks of the way: which nodes it means, and which documents; conditions are handed on unopened."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.executors import for_node, tell, text_of
from tests.support.small_flow import CLIENT, GATEWAY, SmallFlow
from zflow.documents.limits import MAX_CONDITION, MAX_CONDITIONS
from zflow.errors import InvalidRequest, UnsupportedRequest
from zflow.roles.patience import Patience, Progress
from zflow.roles.walk import Wait, Walk
from zflow.topology import Node, Topology
from zflow.wire.frames import DOCUMENTS, part
from zflow.wire.header import NOT_STARTED, Kind, Message

CALL = bytes(range(16))
OWN, THEIRS = b"own", b"theirs"  # no gateway opens them


def conditions_seen(
    nodes: list[Node], conditions: Any = None, parts: int = 1, executor: Any = tell
) -> tuple[dict[str, Any], Message]:
    """What the gateway hands on to each node of a request with these conditions, and the outcome."""
    flow = SmallFlow(nodes, executor=executor)
    extra = {} if conditions is None else {"!when": conditions}
    documents = [part(DOCUMENTS, f"outer{number}", [b"in%d" % number]) for number in range(parts)]
    flow.network.ask(CLIENT, Message(Kind.REQUEST, CALL, "/", parts=documents, extra=extra))
    flow.network.run()
    assert flow.leftovers() == {}
    asked = [item.message for item in flow.network.sent if item.sender == GATEWAY and item.message.kind is Kind.REQUEST]
    return {str(item.extra["node"]): item.extra.get("!when") for item in asked}, flow.outcome(CALL)


def a_walk(extra: dict[str, Any], left: int = 1) -> Walk:
    return Walk(CLIENT, Message(Kind.REQUEST, CALL, extra=extra), None, {}, left)


# -- conditions --------------------------------------------------------------------------------------------------------


def test_a_nodes_own_condition_is_about_all_that_it_gets_and_nobody_elses_business():
    seen, reply = conditions_seen([Node("a", ("gateway",)), Node("b", ("a",), when=OWN), Node("c", ("b",))])
    assert seen == {"a": None, "b": [[OWN, None]], "c": None}
    assert text_of(reply.parts) == "c(b(a(in0)))"


def test_the_callers_conditions_go_to_who_gets_the_callers_documents():
    nodes = [Node("a", ("gateway",), when=OWN), Node("b", ("a",)), Node("c", ("gateway",))]
    seen, _ = conditions_seen(nodes, [[THEIRS, None]])
    assert seen == {"a": [[THEIRS, None], [OWN, None]], "b": None, "c": [[THEIRS, None]]}


def test_in_a_join_the_callers_conditions_are_about_the_callers_documents_alone():
    nodes = [Node("a", ("gateway",)), Node("b", ("a", "gateway"), when=OWN), Node("c", ("gateway", "a"))]
    seen, _ = conditions_seen(nodes, [[THEIRS, [1]], [THEIRS, None]], parts=2)
    assert seen["a"] == [[THEIRS, [1]], [THEIRS, None]]
    assert seen["b"] == [[THEIRS, [2]], [THEIRS, [1, 2]], [OWN, None]]
    assert seen["c"] == [[THEIRS, [1]], [THEIRS, [0, 1]]]


def test_a_graph_with_a_condition_says_that_documents_may_have_lost_their_order():
    assert conditions_seen([Node("a", ("gateway",), when=OWN)])[1].extra == {"filtered": True}
    assert conditions_seen([Node("a", ("gateway",))])[1].extra == {}


def test_a_graph_within_the_graph_that_has_one_says_so_for_both():
    def inner(request: Message) -> Message:
        reply = tell(request)
        reply.extra["filtered"] = True
        return reply

    nodes = [Node("a", ("gateway",)), Node("b", ("a",))]
    assert conditions_seen(nodes, executor=for_node("a", inner, tell))[1].extra == {"filtered": True}


@pytest.mark.parametrize(
    "wrong",
    [
        *("text", 7, {}, [], [THEIRS], [[]], [[THEIRS]], [[THEIRS, None, None]], [["text", None]], [[None, None]]),
        *([[THEIRS, 0]], [[THEIRS, [1]]], [[THEIRS, [-1]]], [[THEIRS, [True]]], [[THEIRS, [0.0]]]),
        *([[bytes(MAX_CONDITION + 1), None]], [[bytes(MAX_CONDITION), None]] * 3),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_are_no_conditions_is_refused(wrong):
    seen, refusal = conditions_seen([Node("a", ("gateway",))], wrong)
    assert seen == {}
    assert (refusal.kind, refusal.extra["code"], refusal.flags) == (Kind.FAILURE, InvalidRequest.code, NOT_STARTED)


def test_conditions_that_leave_no_room_for_those_of_the_graph_are_refused():
    theirs = [[bytes(MAX_CONDITIONS // 2), None], [bytes(MAX_CONDITIONS // 2 - len(OWN)), None]]
    assert conditions_seen([Node("a", ("gateway",), when=OWN)], theirs)[1].kind is Kind.REPLY
    refusal = conditions_seen([Node("a", ("gateway",), when=OWN + b"!")], theirs)[1]
    assert refusal.extra["code"] == InvalidRequest.code


@pytest.mark.parametrize(
    ("extra", "left"), [({"!when": [[THEIRS, None]], "!target": "a"}, 1), ({"!when": [[THEIRS, None]]}, 0)]
)
def test_conditions_that_nobody_would_apply_are_refused(extra, left):
    with pytest.raises(UnsupportedRequest, match="nobody would apply it"):
        a_walk(extra, left).narrow(1, MAX_CONDITIONS)


# -- target ------------------------------------------------------------------------------------------------------------


def test_a_target_is_noted_and_nonsense_refused():
    walk = a_walk({"!target": "a|b"})
    walk.narrow(1, MAX_CONDITIONS)
    assert walk.target is not None and walk.target.match("b") and not walk.target.match("c")
    with pytest.raises(InvalidRequest, match="target_executor"):
        a_walk({"!target": "(a+)+"}).narrow(1, MAX_CONDITIONS)


# -- waits -------------------------------------------------------------------------------------------------------------


def test_a_wait_is_over_with_its_join_or_its_walk():
    nodes = [Node("a", ("gateway",)), Node("b", ("gateway",)), Node("join", ("a", "b"), within=1.0)]
    topology = Topology(nodes)
    walk = a_walk({})
    walk.progress = Progress(Patience(topology))
    wait = Wait(walk, topology.by_name["join"])
    assert wait.request is walk.request
    walk.progress.begun.add("join")
    assert wait.request is None
    walk.progress.begun.clear()
    walk.left = -1
    assert wait.request is None
