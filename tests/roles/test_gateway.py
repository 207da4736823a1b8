"""A gateway walks each request through the graph: fan out, join, fail, finish; one outcome, and nothing kept."""

from __future__ import annotations

import pytest

from tests.support.executors import (
    at_first,
    crash,
    details_of,
    fail,
    for_node,
    refuse,
    tell,
    tell_labels,
    text_of,
)
from tests.support.leftovers import leftovers
from tests.support.small_flow import GATEWAY, SmallFlow
from zflow.errors import (
    Cancelled,
    DeadlineExceeded,
    ExecutorError,
    InvalidRequest,
    ProtocolError,
    ResourceExhausted,
    Unavailable,
)
from zflow.roles import head as head_module
from zflow.roles.contract import group_of
from zflow.roles.front_door import FAREWELL
from zflow.roles.head import PATIENCE
from zflow.topology import Node
from zflow.wire.frames import DOCUMENTS, RESULTS
from zflow.wire.header import IDEMPOTENT, MAYBE_EXECUTED, NO_REDUCE, NOT_STARTED, Kind, Message

DIAMOND = [Node("a", ("gateway",)), Node("b", ("a",)), Node("c", ("a",)), Node("d", ("c", "b"))]


def answer(flow: SmallFlow, **asked: object) -> Message:
    """The outcome of one request, after everything has come to rest."""
    call_id = flow.ask(**asked)  # type: ignore[arg-type]
    flow.network.run()
    assert flow.leftovers() == {}
    return flow.outcome(call_id)


def is_failure(message: Message, error: type, flags: int) -> bool:
    return (message.kind, message.extra["code"], message.flags) == (Kind.FAILURE, error.code, flags)  # type: ignore[attr-defined]


# -- walks -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ([], "in"),
        (["a"], "a(in)"),
        (["a", "b", "c"], "c(b(a(in)))"),
        (DIAMOND, "d(c(a(in))+b(a(in)))"),
        ([Node("a", ("gateway",)), Node("b", ("gateway",)), Node("c", ("b", "a"))], "c(b(in)+a(in))"),
        ([Node("a", ("gateway",)), Node("b", ("gateway", "a"))], "b(in+a(in))"),
        ([Node("a", ("gateway",)), Node("b", ("a",)), Node("c", ("a", "b"))], "c(a(in)+b(a(in)))"),
        (["a", Node("b", ("gateway",))], "b(in)"),
        ([Node("late", ("early",)), Node("early", ("gateway",))], "early(in)"),
    ],
    ids=[
        "empty",
        "one",
        "chain",
        "diamond",
        "join in the order of needs",
        "join with the input",
        "triangle",
        "leaf",
        "backwards",
    ],
)
def test_documents_take_the_way_that_the_graph_shows(nodes, expected):
    reply = answer(SmallFlow(nodes))
    assert reply.kind is Kind.REPLY
    assert text_of(reply.parts) == expected


def test_a_join_sees_its_needs_by_name_and_the_reply_is_labelled_with_the_last_node():
    flow = SmallFlow(DIAMOND, executor=for_node("d", tell_labels, tell))
    reply = answer(flow)
    assert text_of(reply.parts) == "d<c,b||0>"
    assert [item.label for item in reply.parts if item.kind == DOCUMENTS] == ["d"]


def test_the_callers_own_documents_are_the_gateways():
    assert text_of(answer(SmallFlow(["a"], executor=tell_labels)).parts) == "a<gateway||0>"
    assert [item.label for item in answer(SmallFlow([])).parts] == ["gateway"]


def test_parameters_reach_every_node():
    flow = SmallFlow(["a", "b"], executor=for_node("b", tell_labels, tell))
    assert text_of(answer(flow, parameters="p=1").parts) == "b<a|p=1|0>"


def test_flags_of_the_request_reach_every_node_and_a_node_may_add_no_reduce():
    nodes = [Node("a", ("gateway",)), Node("b", ("a",), no_reduce=True)]
    flow = SmallFlow(nodes, executor=tell_labels)
    reply = answer(flow, flags=IDEMPOTENT)
    assert text_of(reply.parts) == f"b<a||{IDEMPOTENT | NO_REDUCE}>"
    [to_a] = [sent for sent in flow.network.sent if sent.receiver == "a/rep-0" and sent.message.kind is Kind.REQUEST]
    assert to_a.message.flags == IDEMPOTENT


def test_results_of_all_nodes_are_collected():
    reply = answer(SmallFlow(DIAMOND, executor=tell_labels))
    assert sorted(item.label for item in reply.parts if item.kind == RESULTS) == [f"{name}/rep-0" for name in "abcd"]


def test_the_reply_waits_for_a_branch_that_nothing_needs():
    nodes = [Node("hanging", ("gateway",)), Node("last", ("gateway",))]
    flow = SmallFlow(nodes, takes=lambda request: 5.0 if request.extra["node"] == "hanging" else 1.0)
    call_id = flow.ask()
    flow.network.run(4.9)
    assert flow.outcomes(call_id) == []
    flow.network.run()
    assert text_of(flow.outcome(call_id).parts) == "last(in)"


def test_a_failure_of_a_branch_that_nothing_needs_fails_the_request():
    flow = SmallFlow(
        [Node("hanging", ("gateway",)), Node("last", ("gateway",))], executor=for_node("hanging", fail, tell)
    )
    assert answer(flow).kind is Kind.FAILURE


def test_every_node_runs_exactly_once_per_request():
    flow = SmallFlow(DIAMOND)
    for _ in range(3):
        answer(flow)
    assert {len(flow.network.peers[link].executed) for link in flow.links()} == {3}
    assert set(flow.executions().values()) == {1}


def test_requests_overtake_each_other_where_they_can():
    flow = SmallFlow(
        ["a"], replicas={"a": 2}, takes=lambda request: 5.0 if b"slow" in b"".join(request.parts[0].frames) else 1.0
    )
    slow, quick = flow.ask("slow"), flow.ask("quick")
    flow.network.run()
    assert [message.call_id for message in flow.asker.answers] == [quick, slow]


RENEWED = {
    "replicas": {},
    "shards": {"shards": {"a": 2}},
    "shards with Executors around them": {"shards": {"a": 2}, "sharding": {"before": True, "after": True}},
    "a head process": {"standing": ["a"]},
    "a head process with shards": {"standing": ["a"], "shards": {"a": 2}},
}


@pytest.mark.parametrize("options", [pytest.param(options, id=name) for name, options in RENEWED.items()])
def test_replicas_are_renewed_under_load_and_no_request_fails(options):
    flow = SmallFlow(["first", "a"], replicas={"a": 2}, takes=0.03, **options)
    network, old = flow.network, flow.links("a")
    asked = []

    def go_on(times: int) -> None:
        for _ in range(times):
            asked.append(flow.ask())
            network.run(0.05)

    present: dict[str, list[str]] = {}
    for link in old:
        present.setdefault(group_of(link), []).append(link)
    go_on(3)
    for link in old:
        links = present[group_of(link)]
        links[links.index(link)] = new = f"{link}.1"
        network.add(new, flow.new_worker(new), executor=tell, takes=0.03)
        network.change_replicas(flow.dialler_of(link), group_of(link), links)
        network.drain(link)
        go_on(5)
    network.run()
    assert [flow.outcome(call_id).kind for call_id in asked] == [Kind.REPLY] * len(asked)
    ways_out = network.peers[flow.dialler_of(old[0])].ways_out
    assert [link for link in ways_out if link.startswith("a/") and link != "a/head"] == [f"{link}.1" for link in old]
    assert all(network.peers[links[0]].executed for links in present.values())
    assert flow.leftovers() == {}


def test_a_group_that_no_node_has_changes_nothing():
    flow = SmallFlow(["a"])
    before = flow.gateway.ways_out()
    assert flow.gateway.replicas("b", ["b/rep-0"], 0.0) == []
    assert flow.gateway.ways_out() == before


def test_the_same_request_twice_is_walked_once(network):
    flow = SmallFlow(["a"], network=network)
    duplicated = network.duplicate(kind=Kind.REQUEST, receiver=GATEWAY)
    assert answer(flow).kind is Kind.REPLY
    assert (duplicated.seen, flow.gateway.dropped, len(network.peers["a/rep-0"].executed)) == (1, 1, 1)


# -- target ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("a", "a(in)+a(in)"),  # a join that is left out passes on what each of its needs made
        ("d", "d(in+in)"),
        ("b|d", "d(in+b(in))"),
        ("^c$", "c(in)+in"),
        (".*", "d(c(a(in))+b(a(in)))"),
        ("nobody", "in+in"),
        ("a|b|c", "c(a(in))+b(a(in))"),
    ],
)
def test_only_the_nodes_that_the_target_names_are_asked(target, expected):
    flow = SmallFlow(DIAMOND)
    assert text_of(answer(flow, target=target).parts) == expected
    asked = {peer.name[0] for peer in flow.network.peers.values() if peer.executed}
    assert asked == set(expected) & set("abcd")


def test_a_target_names_the_beginning_of_a_name_unless_it_says_where_the_name_ends():
    assert text_of(answer(SmallFlow(["enc", "encoder"]), target="enc").parts) == "encoder(enc(in))"
    assert text_of(answer(SmallFlow(["enc", "encoder"]), target="enc$").parts) == "enc(in)"


@pytest.mark.parametrize(
    "target",
    [
        "(a+)+$",
        "a{1,9}",
        "a?",
        "[a]",
        "a\\d",
        "a+",
        "",
        "x" * 257,
        "*",
        "a**",
        ".*.*.*.*",
        7,
        False,
        ["a"],
        b"a",
        {"a": 1},
    ],
    ids=repr,
)
def test_a_pattern_that_could_be_slow_or_is_none_is_refused(target):
    flow = SmallFlow(["a"])
    refusal = answer(flow, target=target)
    assert is_failure(refusal, InvalidRequest, NOT_STARTED)
    assert "target_executor" in details_of(refusal)["message"]
    assert flow.network.peers["a/rep-0"].executed == []


# -- failures ----------------------------------------------------------------------------------------------------------


def test_one_failure_is_the_outcome_and_names_the_branch():
    flow = SmallFlow(DIAMOND, executor=for_node("b", fail, tell))
    failed = answer(flow)
    assert is_failure(failed, ExecutorError, MAYBE_EXECUTED)
    assert details_of(failed)["message"] == "it raised"
    assert flow.network.peers["d/rep-0"].executed == []


def test_two_failing_branches_are_one_outcome():
    flow = SmallFlow(DIAMOND, executor=for_node("a", tell, fail))
    assert answer(flow).kind is Kind.FAILURE


def test_a_failure_cancels_what_waits_in_other_branches():
    """1. b is busy with an older request. 2. A new one waits for b while c fails. 3. b never sees it."""
    nodes = [Node("b", ("gateway",)), Node("c", ("gateway",)), Node("d", ("b", "c"))]
    flow = SmallFlow(
        nodes,
        executor=for_node("c", at_first(tell, fail), tell),
        takes=lambda request: 9.0 if request.extra["node"] == "b" else 0.1,
    )
    older, newer = flow.ask(), flow.ask()
    flow.network.run(1.0)
    assert flow.outcomes(older) == []
    assert flow.outcome(newer).kind is Kind.FAILURE
    flow.network.run()
    assert text_of(flow.outcome(older).parts) == "d(b(in)+c(in))"
    assert len(flow.network.peers["b/rep-0"].executed) == 1
    assert flow.leftovers() == {}


def test_what_a_cancelled_branch_still_answers_is_dropped_and_counted():
    nodes = [Node("slow", ("gateway",)), Node("bad", ("gateway",)), Node("last", ("slow", "bad"))]
    flow = SmallFlow(
        nodes,
        executor=for_node("bad", fail, tell),
        takes=lambda request: 9.0 if request.extra["node"] == "slow" else 1.0,
    )
    call_id = flow.ask()
    flow.network.run()
    assert is_failure(flow.outcome(call_id), ExecutorError, MAYBE_EXECUTED)
    assert flow.gateway.dropped == 1
    assert flow.leftovers() == {}


def test_a_refusal_before_anything_ran_stays_one():
    flow = SmallFlow(["a", "b"], executor=refuse)
    assert is_failure(answer(flow), Unavailable, NOT_STARTED)


def test_a_refusal_after_a_first_node_ran_is_none_any_more():
    flow = SmallFlow(["a", "b"], executor=for_node("b", refuse, tell))
    assert is_failure(answer(flow), Unavailable, MAYBE_EXECUTED)


def test_a_refusal_while_a_sibling_may_run_is_none_either():
    nodes = [Node("slow", ("gateway",)), Node("bad", ("gateway",)), Node("last", ("slow", "bad"))]
    flow = SmallFlow(
        nodes,
        executor=for_node("bad", refuse, tell),
        takes=lambda request: 9.0 if request.extra["node"] == "slow" else 0.0,
    )
    assert is_failure(answer(flow), Unavailable, MAYBE_EXECUTED)


def test_a_full_node_refuses_the_request_and_its_branches(monkeypatch):
    monkeypatch.setattr(head_module, "QUEUE_LIMIT", 1)
    flow = SmallFlow([Node("a", ("gateway",)), Node("b", ("gateway",)), Node("c", ("a", "b"))], takes=1.0, credit=1)
    flow.network.run()
    calls = [flow.ask() for _ in range(3)]
    flow.network.run(0.5)
    assert [len(flow.outcomes(call_id)) for call_id in calls] == [0, 0, 1]
    assert is_failure(flow.outcome(calls[2]), ResourceExhausted, MAYBE_EXECUTED)  # of b nobody has heard yet
    flow.network.run()
    assert [flow.outcome(call_id).kind for call_id in calls[:2]] == [Kind.REPLY, Kind.REPLY]
    assert flow.leftovers() == {}


def test_a_crash_at_a_node_is_told_and_names_replica_and_node():
    failed = answer(SmallFlow(["a", "b"], executor=for_node("b", crash, tell)))
    assert is_failure(failed, Unavailable, MAYBE_EXECUTED)
    details = details_of(failed)
    assert (details["node"], details["peer"]) == ("b", "b/rep-0")


def test_a_crash_at_an_idempotent_node_with_another_replica_goes_unnoticed():
    flow = SmallFlow(
        ["a", "b"],
        replicas={"b": 2},
        executor=for_node("b", at_first(crash, tell), tell),
        head={"b": {"idempotent": True}},
    )
    assert text_of(answer(flow).parts) == "b(a(in))"
    assert sorted(flow.executions().values()) == [1, 2]


def test_nonsense_of_a_worker_ends_the_request(network):
    flow = SmallFlow(["a"], network=network)
    garbled = network.garble(lambda frames: frames[:1], kind=Kind.REPLY, sender="a/rep-0")
    assert is_failure(answer(flow), ProtocolError, MAYBE_EXECUTED)
    assert garbled.seen == 1


def test_nonsense_of_a_client_is_refused_with_its_call_id(network):
    flow = SmallFlow(["a"], network=network)
    garbled = network.garble(lambda frames: frames[:1], kind=Kind.REQUEST, receiver=GATEWAY)
    assert is_failure(answer(flow), ProtocolError, NOT_STARTED)
    assert garbled.seen == 1


@pytest.mark.parametrize("frames", [[], [b""], [b"\xc1"], [b"\x93\x01\x04\xc0"], [b"not msgpack"], [b"x" * 70_000]])
def test_bytes_that_are_no_message_are_dropped_and_the_next_request_is_served(frames, network):
    flow = SmallFlow(["a"], network=network)
    network.run()
    network.inject("client", frames, GATEWAY)
    assert answer(flow).kind is Kind.REPLY


# -- nobody there ------------------------------------------------------------------------------------------------------


def test_a_node_that_nobody_serves_is_named_with_the_cause():
    flow = SmallFlow(["a", "b"])
    flow.network.kill("b/rep-0")
    failed = answer(flow)
    assert is_failure(failed, Unavailable, MAYBE_EXECUTED)  # a has run
    assert details_of(failed)["node"] == "b"
    assert "b/rep-0" in details_of(failed)["message"]


def test_a_node_that_comes_back_in_time_is_waited_for():
    flow = SmallFlow(["a", "b"])
    flow.network.kill("b/rep-0")
    call_id = flow.ask()
    flow.network.run(PATIENCE / 2)
    assert flow.outcomes(call_id) == []
    flow.network.restart("b/rep-0", flow.new_worker("b/rep-0"))
    flow.network.run()
    assert text_of(flow.outcome(call_id).parts) == "b(a(in))"


def test_a_gateway_that_dies_and_comes_back_serves_again():
    flow = SmallFlow(["a"], takes=1.0)
    in_flight = flow.ask()
    flow.network.run(0.5)
    flow.network.kill(GATEWAY)
    flow.network.run(0.5)
    assert is_failure(flow.outcome(in_flight), Unavailable, MAYBE_EXECUTED)
    waiting = flow.ask()
    flow.network.restart(GATEWAY, flow.new_gateway())
    flow.network.run()
    assert text_of(flow.outcome(waiting).parts) == "a(in)"
    assert flow.leftovers() == {}


def test_an_idempotent_request_survives_its_gateway():
    flow = SmallFlow(["a"], takes=1.0)
    call_id = flow.ask(flags=IDEMPOTENT)
    flow.network.run(0.5)
    flow.network.restart(GATEWAY, flow.new_gateway())
    flow.network.run()
    assert text_of(flow.outcome(call_id).parts) == "a(in)"
    assert flow.leftovers() == {}


# -- deadlines ---------------------------------------------------------------------------------------------------------


def test_each_step_gets_what_is_left_of_the_budget():
    flow = SmallFlow(["a", "b", "c"], takes=1.0)
    assert answer(flow, budget=10.0).kind is Kind.REPLY
    budgets = [
        sent.message.budget
        for sent in flow.network.sent
        if sent.message.kind is Kind.REQUEST and sent.sender == GATEWAY and sent.message.budget is not None
    ]
    assert [round(budget / 1e6) for budget in budgets] == [10, 9, 8]


def test_a_deadline_ends_the_walk_on_time_and_nothing_further_begins():
    flow = SmallFlow(["a", "b", "c"], takes=1.0)
    flow.network.run()
    started = flow.network.clock.now
    call_id = flow.ask(budget=1.5)
    flow.network.run(1.5)
    late = flow.outcome(call_id)
    assert is_failure(late, DeadlineExceeded, MAYBE_EXECUTED)
    assert flow.network.clock.now == started + 1.5
    flow.network.run()
    assert flow.network.peers["c/rep-0"].executed == []
    assert flow.leftovers() == {}


def test_the_limit_of_a_node_ends_the_walk_too():
    flow = SmallFlow(["a", "b"], takes=5.0, head={"b": {"timeout": 1.0}})
    call_id = flow.ask()
    flow.network.run(6.5)
    assert is_failure(flow.outcome(call_id), DeadlineExceeded, MAYBE_EXECUTED)
    assert details_of(flow.outcome(call_id))["node"] == "b"
    flow.network.run()
    assert flow.leftovers() == {}


def test_a_request_without_any_time_left_reaches_no_executor():
    flow = SmallFlow(["a"])
    assert is_failure(answer(flow, budget=0.0), DeadlineExceeded, NOT_STARTED)
    assert flow.network.peers["a/rep-0"].executed == []


# -- giving up ---------------------------------------------------------------------------------------------------------


def test_a_cancelled_request_is_told_once_and_what_waits_is_not_begun():
    flow = SmallFlow(["a", "b"], takes=1.0, credit=1)
    calls = [flow.ask() for _ in range(3)]
    flow.network.run(0.5)
    flow.cancel(calls[2])  # it waits in the head: the answer comes from inside the gateway
    flow.network.run(0.0)
    assert is_failure(flow.outcome(calls[2]), Cancelled, MAYBE_EXECUTED)
    flow.network.run()
    assert [flow.outcome(call_id).kind for call_id in calls[:2]] == [Kind.REPLY, Kind.REPLY]
    assert len(flow.network.peers["a/rep-0"].executed) == 2
    assert flow.leftovers() == {}


def test_a_request_that_runs_is_cancelled_for_its_caller_at_once():
    flow = SmallFlow(["a", "b"], takes=1.0)
    call_id = flow.ask()
    flow.network.run(0.5)
    flow.cancel(call_id)
    flow.network.run(0.0)
    assert is_failure(flow.outcome(call_id), Cancelled, MAYBE_EXECUTED)
    flow.network.run()
    assert flow.network.peers["b/rep-0"].executed == []
    assert flow.leftovers() == {}


def test_cancelling_what_is_over_changes_nothing():
    flow = SmallFlow(["a"])
    call_id = flow.ask()
    flow.network.run()
    flow.cancel(call_id)
    flow.network.run()
    assert flow.outcome(call_id).kind is Kind.REPLY


def test_a_lost_caller_takes_its_requests_along():
    flow = SmallFlow(["a", "b"], takes=1.0, credit=1)
    for _ in range(4):
        flow.ask()
    flow.network.run(0.5)
    flow.network.kill("client")
    flow.network.run()
    assert len(flow.network.peers["a/rep-0"].executed) == 1
    assert flow.network.peers["b/rep-0"].executed == []
    assert flow.leftovers() == {}


def test_a_caller_whose_loss_is_noticed_only_by_sending_leaves_nothing_either():
    flow = SmallFlow(["a", "b"], takes=1.0, credit=1)
    flow.network.front_doors_notice = False
    for _ in range(4):
        flow.ask()
    flow.network.run(0.5)
    flow.network.kill("client")
    flow.network.run()
    assert flow.leftovers() == {}
    assert GATEWAY in flow.network.peers and flow.gateway.is_idle(flow.network.clock.now)


# -- floating ----------------------------------------------------------------------------------------------------------


def floating(name: str, *needs: str) -> Node:
    return Node(name, needs or ("gateway",), floating=True)


def slow(*names: str, seconds: float = 5.0):
    return lambda request: seconds if request.extra["node"] in names else 0.0


def test_the_reply_does_not_wait_for_a_floating_node_which_goes_on():
    flow = SmallFlow([Node("a", ("gateway",)), floating("log", "a"), Node("b", ("a",))], takes=slow("log"))
    call_id = flow.ask()
    flow.network.run(1.0)
    assert text_of(flow.outcome(call_id).parts) == "b(a(in))"
    assert not flow.gateway.is_idle(flow.network.clock.now)
    flow.network.run()
    assert flow.network.peers["log/rep-0"].executed != []
    assert [sent.message.kind for sent in flow.network.sent if sent.receiver == "log/rep-0"].count(Kind.CANCEL) == 0
    assert flow.leftovers() == {}


def test_floating_nodes_follow_each_other_and_join_after_the_reply():
    nodes = [Node("a", ("gateway",)), floating("one", "a"), floating("two", "one"), floating("both", "two", "a")]
    flow = SmallFlow(nodes, executor=for_node("both", tell_labels, tell), takes=slow("one", "two"))
    call_id = flow.ask(parameters="p=1")
    flow.network.run(1.0)
    assert text_of(flow.outcome(call_id).parts) == "a(in)"
    flow.network.run()
    [both] = [sent.message for sent in flow.network.sent if sent.receiver == "both/rep-0" and sent.message.parts]
    assert text_of(both.parts) == "two(one(a(in)))+a(in)"
    assert flow.leftovers() == {}


def test_the_results_of_a_floating_node_are_nobodys_even_when_it_is_quick():
    flow = SmallFlow([floating("log"), Node("a", ("gateway",))], executor=tell_labels, takes=slow("a"))
    reply = answer(flow)
    assert [item.label for item in reply.parts if item.kind == RESULTS] == ["a/rep-0"]


def test_where_all_float_the_reply_is_what_was_sent():
    flow = SmallFlow([floating("one"), floating("two", "one")], takes=slow("one"))
    call_id = flow.ask()
    flow.network.run(1.0)
    assert text_of(flow.outcome(call_id).parts) == "in"
    flow.network.run()
    assert len(flow.network.peers["two/rep-0"].executed) == 1


@pytest.mark.parametrize("broken", [fail, crash, refuse], ids=["it raises", "it dies", "it refuses"])
def test_a_failure_of_a_floating_node_is_told_and_counted_and_fails_no_request(broken):
    flow = SmallFlow(
        [floating("log"), floating("after", "log"), Node("a", ("gateway",))], executor=for_node("log", broken, tell)
    )
    told = []
    vars(flow.gateway)["_on_floating_failure"] = lambda node, outcome: told.append((node, outcome.kind))
    assert text_of(answer(flow).parts) == "a(in)"
    assert (told, flow.gateway.floating_failed) == ([("log", Kind.FAILURE)], 1)
    assert flow.network.peers["after/rep-0"].executed == []


@pytest.mark.parametrize("end", ["failure", "deadline", "cancel", "loss"])
def test_a_floating_node_goes_on_however_the_walk_ends(end):
    executor = for_node("a", fail, tell) if end == "failure" else tell
    flow = SmallFlow([floating("log"), floating("after", "log"), Node("a", ("gateway",))], executor=executor)
    flow.network.peers["log/rep-0"].takes = flow.network.peers["a/rep-0"].takes = lambda request: 3.0
    flow.network.run()
    call_id = flow.ask(budget=1.0 if end == "deadline" else None)
    flow.network.run(0.5)
    if end == "cancel":
        flow.cancel(call_id)
    elif end == "loss":
        flow.network.kill("client")
    flow.network.run()
    assert len(flow.network.peers["after/rep-0"].executed) == 1
    assert end == "loss" or flow.outcome(call_id).kind is Kind.FAILURE
    assert flow.leftovers() == {}


def test_a_refusal_beside_a_floating_node_is_none_any_more():
    flow = SmallFlow([floating("log"), Node("a", ("gateway",))], executor=for_node("a", refuse, tell))
    assert is_failure(answer(flow), Unavailable, MAYBE_EXECUTED)


def test_a_target_leaves_out_floating_nodes_too():
    nodes = [Node("a", ("gateway",)), floating("log", "a"), floating("after", "log"), Node("b", ("a",))]
    flow = SmallFlow(nodes)
    assert text_of(answer(flow, target="a|after").parts) == "a(in)"
    assert flow.network.peers["log/rep-0"].executed == []
    [after] = [sent.message for sent in flow.network.sent if sent.receiver == "after/rep-0" and sent.message.parts]
    assert text_of(after.parts) == "a(in)"


def test_a_floating_node_after_a_reply_that_a_target_brought_early_is_still_asked():
    flow = SmallFlow([Node("a", ("gateway",)), floating("log", "a")])
    assert text_of(answer(flow, target="log").parts) == "in"
    assert len(flow.network.peers["log/rep-0"].executed) == 1


def test_a_draining_gateway_finishes_what_floats():
    flow = SmallFlow([Node("a", ("gateway",)), floating("one", "a"), floating("two", "one")], takes=slow("one"))
    flow.ask()
    flow.network.run(1.0)
    flow.network.drain(GATEWAY)
    flow.network.run(1.0)
    assert not flow.gateway.is_idle(flow.network.clock.now)
    flow.network.run()
    assert len(flow.network.peers["two/rep-0"].executed) == 1
    assert flow.gateway.is_idle(flow.network.clock.now)


def test_what_floats_is_told_in_the_status():
    flow = SmallFlow([floating("log"), Node("a", ("gateway",))], executor=for_node("log", at_first(fail, tell), tell))
    answer(flow)
    flow.network.peers["log/rep-0"].takes = lambda request: 5.0
    flow.ask()
    flow.network.run(1.0)
    [(_, status)] = flow.gateway.receive((b"operator",), Message(Kind.PING), flow.network.clock.now)
    told = details_of(status)
    assert (told["inflight"], told["floating"], told["floating_failed"]) == (0, 1, 1)


def test_the_status_tells_how_each_node_stands():
    flow = SmallFlow(["a", Node("b", ("a",))])
    answer(flow)
    [(_, status)] = flow.gateway.receive((b"operator",), Message(Kind.PING), flow.network.clock.now)
    nodes = details_of(status)["nodes"]
    assert {name: standing["replicas"][f"{name}/rep-0"]["done"] for name, standing in nodes.items()} == {"a": 1, "b": 1}


# -- draining ----------------------------------------------------------------------------------------------------------


def test_a_draining_gateway_finishes_what_it_has():
    flow = SmallFlow(["a"], takes=2.0)
    call_id = flow.ask()
    flow.network.run(0.5)
    flow.network.drain(GATEWAY)
    flow.network.run(0.5)
    assert not flow.gateway.is_idle(flow.network.clock.now)
    flow.network.run()
    assert flow.outcome(call_id).kind is Kind.REPLY
    assert flow.gateway.is_idle(flow.network.clock.now)


def test_a_draining_gateway_refuses_what_comes_as_not_started(network):
    flow = SmallFlow(["a"], network=network, takes=2.0)
    flow.ask()
    network.run(0.5)
    network.drop(kind=Kind.DRAIN)  # the client has not heard it yet
    network.drain(GATEWAY)
    late = flow.ask()
    network.run(FAREWELL + 10.0)
    assert is_failure(flow.outcome(late), Unavailable, NOT_STARTED)
    assert "shutting down" in details_of(flow.outcome(late))["message"]


def test_a_gateway_whose_callers_sleep_leaves_after_the_farewell_without_spinning(network):
    flow = SmallFlow(["a"], network=network, takes=5.0)
    flow.ask()
    network.run(0.5)
    network.drop(kind=Kind.DRAINED)
    network.drain(GATEWAY)
    network.run(FAREWELL + 0.1)  # the network notices a role that stays due
    assert not flow.gateway.is_idle(network.clock.now)
    network.run()
    assert flow.gateway.is_idle(network.clock.now)


# -- what it tells -----------------------------------------------------------------------------------------------------


def test_it_describes_its_graph_and_its_state():
    flow = SmallFlow(DIAMOND, takes=1.0)
    flow.network.run()
    flow.ask()
    flow.network.run(0.5)
    caller = (b"operator",)
    now = flow.network.clock.now
    [(_, description)] = flow.gateway.receive(caller, Message(Kind.DESCRIBE), now)
    assert details_of(description)["nodes"][3] == {"name": "d", "needs": ["c", "b"]}
    [(_, status)] = flow.gateway.receive(caller, Message(Kind.PING), now)
    assert details_of(status)["inflight"] == 1


def test_strangers_reach_nothing_where_a_nonce_is_demanded(network):
    flow = SmallFlow(["a"], network=network, demands_nonces=True)
    assert answer(flow).kind is Kind.REPLY
    stranger = (b"web page",)
    now = network.clock.now
    assert [m.kind for _, m in flow.gateway.receive(stranger, Message(Kind.HELLO), now)] == [Kind.CHALLENGE]
    assert flow.gateway.receive(stranger, Message(Kind.REQUEST, b"s" * 16, "/"), now) == []
    network.run()
    assert len(network.peers["a/rep-0"].executed) == 1


# -- nothing is kept ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("budget", [None, 1e6])
def test_thousands_of_requests_leave_nothing_behind(budget):
    flow = SmallFlow(DIAMOND, executor=for_node("b", at_first(fail, tell, times=300), tell))
    flow.network.run()
    calls = []
    for _ in range(150):
        calls += [flow.ask(budget=budget) for _ in range(10)]
        flow.network.run(0.0)
    flow.network.run(0.0)
    kinds = [flow.outcome(call_id).kind for call_id in calls]
    assert (kinds.count(Kind.REPLY), kinds.count(Kind.FAILURE)) == (1200, 300)
    assert flow.leftovers() == {}
    gateway = vars(flow.gateway)
    assert gateway["_walks"] == gateway["_steps"] == {}
    assert all(len(head._deadlines._heap) <= 1024 for head in gateway["_heads"].values())
    assert leftovers(flow.asker.role) == []
