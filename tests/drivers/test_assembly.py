"""From plan to roles: whose door asks for a nonce, which replicas a head has, what they are told of each other."""

from __future__ import annotations

import pytest

from zflow.batching import dynamic_batching
from zflow.config.plan import NodePlan, ReplicaPlan, ShardingPlan
from zflow.documents import Document, DocumentArray
from zflow.drivers.assembly import external_addresses, gateway_role, head_peer_role, head_role, worker_role
from zflow.executor import Executor, requests
from zflow.roles.backlog import QUEUE_BYTES
from zflow.roles.contract import APPLICATION
from zflow.roles.front_door import PROBE
from zflow.topology import Node, Topology
from zflow.wire.frames import DOCUMENTS, part
from zflow.wire.header import IDEMPOTENT, Kind, Message
from zflow.wire.payload import decode_map, encode_documents

ROUTE = (b"caller",)
TOPOLOGY = Topology([Node("first", ("gateway",)), Node("second", ("first",))])
NODES = (
    NodePlan("first", (ReplicaPlan("first/rep-0"), ReplicaPlan("first/rep-1", "tcp://10.0.0.1:5"))),
    NodePlan("second", (ReplicaPlan("second/rep-0", "tcp://10.0.0.2:6"),), timeout_send=1.5, idempotent=True),
)
SHARDED = NodePlan(
    "x",
    tuple(ReplicaPlan(f"x/shard-{shard}/rep-{replica}", None, shard) for shard in (0, 1) for replica in (0, 1)),
    sharding=ShardingPlan(2, {"/search": "ALL", "*": "ANY"}, after="x/uses-after/rep-0"),
)
READY = {"boot": bytes(16), "credit": 4, "name": "x", "role": "worker"}


def greeting(role) -> Message:
    [(_, answer)] = role.receive(ROUTE, Message(Kind.HELLO), 0.0)
    return answer


@pytest.mark.parametrize("bind, kind", [("tcp://127.0.0.1:0", Kind.CHALLENGE), ("ipc:///x", Kind.READY)])
def test_a_door_that_a_web_page_can_reach_asks_for_a_nonce(bind, kind):
    assert greeting(worker_role("a/rep-0", Executor(), bind=bind)).kind is kind
    assert greeting(gateway_role(TOPOLOGY, NODES, bind=bind)).kind is kind
    head = head_peer_role(NODES[0], bind=bind)
    assert head.receive(ROUTE, Message(Kind.HELLO), 0.0) == []
    assert head.expire(1.0)[0][1].kind is kind


def test_a_gateway_tells_what_fails_unawaited():
    told = []
    topology = Topology([TOPOLOGY.nodes[0]._replace(floating=True)])
    role = gateway_role(
        topology, NODES[:1], on_floating_failure=lambda node, outcome: told.append((node, outcome.kind))
    )
    role.receive(APPLICATION, Message(Kind.REQUEST, bytes(16)), 0.0)
    role.expire(10.0)
    assert told == [("first", Kind.FAILURE)]


def test_no_two_incarnations_are_alike():
    boots = {greeting(worker_role("a/rep-0", Executor(), bind="ipc:///x")).extra["boot"] for _ in range(10)}
    assert len(boots) == 10


class Endpoints(Executor):
    @requests(on="/once")
    def once(self, **kwargs): ...

    @requests(on="/again", idempotent=True)
    def again(self, **kwargs): ...


def test_a_worker_has_its_name_and_tells_its_endpoints():
    role = worker_role("a/rep-0", Endpoints(), bind="ipc:///x")
    assert greeting(role).extra["name"] == "a/rep-0"
    [(_, description)] = role.receive(ROUTE, Message(Kind.DESCRIBE, bytes(16)), 0.0)
    told = decode_map(description.parts[0].buffers()[0])
    assert {"name": "/again", "idempotent": True} in told["endpoints"]
    assert {"name": "/once", "idempotent": False} in told["endpoints"]
    assert "python" in told["versions"]


@pytest.mark.parametrize(
    ("executor", "idempotent", "told"),
    [
        (Endpoints(), False, ["/again"]),
        (Endpoints(), True, ["*"]),
        (Executor(), False, ["*"]),  # it runs nothing: documents pass through
        (Executor(), True, ["*"]),
    ],
)
def test_a_worker_tells_which_endpoints_may_run_again(executor, idempotent, told):
    role = worker_role("a/rep-0", executor, bind="ipc:///x", idempotent=idempotent)
    assert greeting(role).extra.get("idempotent") == told


def test_a_gateway_has_a_way_out_to_every_replica_of_every_node():
    role = gateway_role(TOPOLOGY, NODES, name="flow/gateway")
    assert list(role.ways_out()) == ["first/rep-0", "first/rep-1", "second/rep-0"]
    assert greeting(role).extra["name"] == "flow/gateway"


def test_a_head_tells_its_replicas_the_names_of_the_flow():
    """By these a worker knows which parameters are meant for others."""
    [(link, hello)] = gateway_role(TOPOLOGY, NODES).opened("second/rep-0", 0.0)
    assert link == "second/rep-0"
    assert hello.extra["nodes"] == ["first", "second"]


def test_what_the_plan_says_of_a_node_reaches_its_head():
    role = gateway_role(TOPOLOGY, NODES)
    for link in ("first/rep-0", "second/rep-0"):
        role.opened(link, 0.0)
        role.receive(link, Message(Kind.READY, extra=dict(READY)), 0.0)
    [(_, to_first)] = role.receive(APPLICATION, Message(Kind.REQUEST, bytes(16), "/"), 10.0)
    assert to_first.budget is None and not to_first.flags & IDEMPOTENT
    [(_, to_second)] = role.receive("first/rep-0", Message(Kind.REPLY, to_first.call_id), 10.0)
    assert to_second.flags & IDEMPOTENT
    assert to_second.budget == 1_500_000
    assert role.next_deadline() == 11.5


def test_who_waits_at_a_port_is_looked_after_every_second_and_who_asks_from_here_is_not():
    for role in (worker_role("a/rep-0", Executor(), bind="ipc:///x"), gateway_role(TOPOLOGY, NODES, bind="ipc:///x")):
        role.receive(ROUTE, Message(Kind.HELLO), 0.0)
        role.receive(ROUTE, Message(Kind.REQUEST, bytes(16), "/"), 0.0)
        assert role.door.probes_at == PROBE
        assert (ROUTE, Kind.STATUS) in [(link, message.kind) for link, message in role.expire(PROBE)]
    assert head_peer_role(NODES[0], bind="ipc:///x").door.probes_all
    inline = gateway_role(TOPOLOGY, NODES)
    inline.receive(APPLICATION, Message(Kind.REQUEST, bytes(16), "/"), 0.0)
    assert inline.door.probes_at is None


def asked(role, endpoint: str) -> list[object]:
    """Whom a request for `endpoint` goes to."""
    return [link for link, _ in role.receive(APPLICATION, Message(Kind.REQUEST, endpoint.encode(), endpoint), 0.0)]


def test_shards_have_a_head_each_and_are_asked_as_the_plan_says():
    role = head_role(SHARDED)
    links = [replica.link for replica in SHARDED.replicas]
    assert role.ways_out() == [*links, "x/uses-after/rep-0"]
    for link in role.ways_out():
        role.opened(link, 0.0)
        role.receive(link, Message(Kind.READY, extra=dict(READY)), 0.0)
    assert asked(role, "/search") == ["x/shard-0/rep-0", "x/shard-1/rep-0"]
    assert len(asked(role, "/index")) == 1


def test_the_nodes_of_a_process_share_the_bytes_that_may_wait_but_not_one_with_its_own():
    own = NodePlan("third", (ReplicaPlan("third/rep-0"),), queue_bytes=100)
    gateway = gateway_role(Topology([*TOPOLOGY.nodes, Node("third", ("second",))]), [*NODES, own])
    first, second, third = (gateway._heads[name]._queue.room for name in ("first", "second", "third"))
    assert first is second and first.size == QUEUE_BYTES
    assert third is not first and third.size == 100


def test_a_head_process_has_the_ways_of_its_node_and_asks_the_shards_what_they_offer():
    role = head_peer_role(SHARDED, name="x/head")
    assert (role.name, role.ways_out()) == ("x/head", head_role(SHARDED).ways_out())
    for link in role.ways_out():
        role.opened(link, 0.0)
        kinds = [message.kind for _, message in role.receive(link, Message(Kind.READY, extra=dict(READY)), 0.0)]
        assert kinds == ([] if "uses-after" in link else [Kind.DESCRIBE])


def test_only_external_replicas_have_an_address_from_the_beginning():
    assert external_addresses(NODES).all() == {"first/rep-1": "tcp://10.0.0.1:5", "second/rep-0": "tcp://10.0.0.2:6"}


# -- dynamic batching --------------------------------------------------------------------------------------------------


def batched(**options):
    class Batched(Executor):
        @dynamic_batching(**options)
        @requests(on="/batched")
        def batched(self, docs, **kwargs): ...

        @requests(on="/alone")
        def alone(self, docs, **kwargs): ...

    return Batched()


@pytest.mark.parametrize(
    ("executor", "credit"),
    [
        (Executor(), 4),
        (Endpoints(), 4),
        (batched(), 64),
        (batched(preferred_batch_size=8), 64),
        (batched(preferred_batch_size=100), 200),
        (batched(preferred_batch_size=1_000_000), 4096),
        (batched(preferred_batch_size=100, use_dynamic_batching=False), 4),
    ],
)
def test_one_connection_can_fill_a_batch_while_another_runs(executor, credit):
    assert greeting(worker_role("a/rep-0", executor, bind="ipc:///x")).extra["credit"] == credit


def asked_of(executor, on, count, **more):
    """What a worker of `executor` begins at once, and when it wakes next, after a request with so many documents."""
    role = worker_role("a/rep-0", executor, bind="ipc:///x", **{"weigh": lambda request: count or None, **more})
    role.door.probes_all = False  # for which it would wake as well
    role.receive(ROUTE, Message(Kind.HELLO), 0.0)
    documents = DocumentArray([Document(text="abc") for _ in range(count)])
    parts = [part(DOCUMENTS, "gateway", encode_documents(documents))]
    role.receive(ROUTE, Message(Kind.REQUEST, bytes(16), on, parts=parts), 0.0)
    return len(role.expire(0.0)), role.next_deadline()


@pytest.mark.parametrize(
    ("options", "on", "count", "begun"),
    [
        ({"preferred_batch_size": 4, "timeout": 200}, "/batched", 3, (0, 0.2)),
        ({"preferred_batch_size": 4, "timeout": 200}, "/batched", 4, (1, None)),
        ({"preferred_batch_size": 4, "timeout": 200}, "/batched", 0, (1, None)),
        ({"preferred_batch_size": 4, "timeout": 200}, "/alone", 1, (1, None)),
        ({"preferred_batch_size": 4, "timeout": 200}, "/unknown", 1, (1, None)),
        ({}, "/batched", 1000, (0, 10.0)),
    ],
)
def test_the_options_of_an_endpoint_become_the_rule_of_its_worker(options, on, count, begun):
    assert asked_of(batched(**options), on, count) == begun


def test_what_weighs_the_requests_decides_when_a_batch_is_full():
    asked = {"preferred_batch_size": 7}
    assert asked_of(batched(**asked), "/batched", 3, weigh=lambda request: 6.0) == (0, 10.0)
    assert asked_of(batched(**asked), "/batched", 3, weigh=lambda request: 7.0) == (1, None)


def test_a_batched_default_method_batches_every_unknown_endpoint():
    class Default(Executor):
        @dynamic_batching(timeout=50)
        @requests
        def default(self, docs, **kwargs): ...

        @requests(on="/alone")
        def alone(self, docs, **kwargs): ...

    assert asked_of(Default(), "/whatever", 1) == (0, 0.05)
    assert asked_of(Default(), "", 1) == (0, 0.05)
    assert asked_of(Default(), "/alone", 1) == (1, None)


def test_what_runs_elsewhere_around_the_shards_is_asked_at_each_of_its_addresses():
    ways = tuple(ReplicaPlan(f"x/uses-after/rep-{n}", f"tcp://10.0.0.{n}:5") for n in (1, 2))
    assert SHARDED.sharding is not None
    node = SHARDED._replace(sharding=SHARDED.sharding._replace(around=ways))
    assert {way.link for way in ways} <= set(head_role(node).ways_out())
    assert "x/uses-after/rep-0" not in head_role(node).ways_out()
    assert "x/uses-after/rep-0" in head_role(SHARDED).ways_out()
    assert external_addresses([node]).all() == {way.link: way.address for way in ways}
