"""A graph of Executors is checked once; what cannot be walked is refused with the reason and the nearest name."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zflow.errors import TopologyError
from zflow.topology import GATEWAY, Node, Topology, check_name

DIAMOND = [Node("a", ("gateway",)), Node("b", ("a",)), Node("c", ("a",)), Node("d", ("c", "b"))]


def refusal(*nodes: Node) -> str:
    with pytest.raises(TopologyError) as caught:
        Topology(nodes)
    return str(caught.value)


def test_it_knows_who_needs_whom_and_where_it_ends():
    topology = Topology(DIAMOND)
    assert topology.nodes == tuple(DIAMOND)
    assert topology.downstream == {"gateway": ("a",), "a": ("b", "c"), "b": ("d",), "c": ("d",), "d": ()}
    assert topology.by_name["d"].needs == ("c", "b")
    assert topology.last == "d"
    assert topology.leaves == ("d",)


def test_an_empty_graph_answers_with_its_input():
    topology = Topology([])
    assert (topology.nodes, topology.last, topology.leaves) == ((), GATEWAY, ())
    assert topology.downstream == {GATEWAY: ()}


def test_the_last_one_added_answers_although_others_are_leaves_too():
    topology = Topology([Node("a", ("gateway",)), Node("b", ("gateway",))])
    assert (topology.last, topology.leaves) == ("b", ("a", "b"))


def test_a_need_may_be_added_later():
    assert Topology([Node("b", ("a",)), Node("a", ("gateway",))]).downstream["a"] == ("b",)


def test_graphs_of_the_same_nodes_are_equal_and_survive_a_pickle():
    topology = Topology(DIAMOND)
    assert topology == Topology(DIAMOND) and hash(topology) == hash(Topology(DIAMOND))
    assert topology != Topology(DIAMOND[:3]) and topology != "d"
    assert pickle.loads(pickle.dumps(topology)) == topology
    assert repr(topology) == "Topology(a<-gateway, b<-a, c<-a, d<-c+b)"


@pytest.mark.parametrize("name", ["a", "_", "encoder_2", "A" * 64])
def test_identifiers_are_names(name):
    check_name(name)


@pytest.mark.parametrize(
    "name", ["", "2a", "a-b", "a b", "a/b", "../x", "a;b", "é", "a\n", "A" * 65, "a\0", None, 7, b"a", ["a"]], ids=repr
)
def test_what_could_not_be_a_path_or_a_label_is_no_name(name):
    with pytest.raises(TopologyError, match="cannot name an Executor"):
        check_name(name)


def test_a_very_long_name_is_not_repeated_in_full():
    with pytest.raises(TopologyError) as caught:
        check_name("x" * 1_000_000)
    assert len(str(caught.value)) < 300


def test_the_gateways_name_is_taken():
    assert "entrance" in refusal(Node("gateway", ("gateway",)))


def test_two_of_one_name_are_refused():
    assert "two Executors are named 'a'" in refusal(Node("a", ("gateway",)), Node("a", ("gateway",)))


def test_an_unknown_need_is_refused_with_the_nearest_name():
    assert "'encodr', which is not in the Flow: did you mean 'encoder'?" in refusal(
        Node("encoder", ("gateway",)), Node("indexer", ("encodr",))
    )


def test_an_unknown_need_without_a_near_name_is_refused_with_all_of_them():
    assert "known: a, gateway" in refusal(Node("a", ("zzzz",)))


def test_a_node_that_needs_nothing_is_told_how_to_start_a_branch():
    assert "needs='gateway'" in refusal(Node("a", ()))


def test_a_node_cannot_need_itself():
    assert "'a' needs itself" in refusal(Node("a", ("a",)))


def test_a_need_named_twice_is_refused():
    assert "'b' names one of its needs twice" in refusal(Node("a", ("gateway",)), Node("b", ("a", "a")))


def test_a_circle_is_refused_with_those_who_stand_on_it():
    told = refusal(Node("start", ("gateway",)), Node("a", ("b", "start")), Node("b", ("c",)), Node("c", ("a",)))
    assert "in a circle: a, b, c" in told and "start" not in told


@given(st.lists(st.lists(st.integers(0, 7), min_size=1, max_size=4, unique=True), max_size=7), st.randoms())
def test_every_graph_that_only_looks_back_can_be_walked_in_whatever_order_it_was_added(needs, random):
    nodes = [
        Node(f"n{number}", tuple(dict.fromkeys(f"n{need}" if need < number else GATEWAY for need in wanted)))
        for number, wanted in enumerate(needs)
    ]
    random.shuffle(nodes)
    topology = Topology(nodes)
    ended = {GATEWAY}
    while len(ended) <= len(nodes):
        ready = [node.name for node in nodes if node.name not in ended and ended.issuperset(node.needs)]
        assert ready
        ended.update(ready)
    assert sorted(name for name in topology.by_name) == sorted(f"n{number}" for number in range(len(needs)))


# -- who waits for whom ------------------------------------------------------------------------------------------------


def test_the_reply_is_that_of_the_last_node_that_does_not_float():
    topology = Topology([Node("a", ("gateway",)), Node("log", ("a",), floating=True)])
    assert topology.last == "a"
    assert Topology([Node("log", ("gateway",), floating=True)]).last == GATEWAY


def test_each_node_comes_behind_those_that_it_needs():
    nodes = [Node("d", ("c", "b")), Node("c", ("a",)), Node("b", ("a",)), Node("a", ("gateway",))]
    order = [node.name for node in Topology(nodes).in_order]
    assert (order[0], sorted(order[1:3]), order[3]) == ("a", ["b", "c"], "d")


def test_only_floating_nodes_may_need_a_floating_one():
    log = Node("log", ("gateway",), floating=True)
    assert Topology([log, Node("next", ("log",), floating=True)]).last == GATEWAY
    assert "'b' needs 'log', which is floating: nobody waits for it" in refusal(log, Node("b", ("log",)))


@pytest.mark.parametrize("waits", [{"quorum": 1}, {"within": 0.5}])
def test_only_a_join_can_be_patient(waits):
    assert Node("join", ("a", "b"), **waits).is_patient and not Node("join", ("a", "b")).is_patient
    assert "for an Executor that joins several" in refusal(Node("a", ("gateway",), **waits))
    nodes = [Node("a", ("gateway",)), Node("b", ("a", "gateway"), floating=True, **waits)]
    assert "nobody waits for 'b', which is floating" in refusal(*nodes)


def test_a_quorum_is_not_more_than_there_are():
    a, join = Node("a", ("gateway",)), Node("join", ("gateway", "a"), quorum=3)
    assert "'join' has a quorum of 3, but needs only 2" in refusal(a, join)
    assert Topology([a, join._replace(quorum=2)]).by_name["join"].quorum == 2


def test_nobody_would_notice_that_a_floating_node_is_skipped():
    assert "remove quorum, within and on_timeout" in refusal(Node("a", ("gateway",), floating=True, on_timeout="skip"))
