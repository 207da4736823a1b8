"""From the plan to the roles: the heads of a gateway, and the front doors of peers that strangers can reach."""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from zflow.config import keys
from zflow.config.plan import NodePlan, ShardingPlan
from zflow.config.polling import ALL
from zflow.drivers.directory import Directory
from zflow.drivers.identity import new_id
from zflow.drivers.sockets import is_tcp
from zflow.endpoints import DEFAULT, Endpoint
from zflow.executor import Executor
from zflow.roles.backlog import Room
from zflow.roles.batching import Batching, Rule, Weigh
from zflow.roles.contract import group_of
from zflow.roles.gateway import Gateway
from zflow.roles.head import Head
from zflow.roles.head_peer import HeadPeer
from zflow.roles.shards import Shards
from zflow.roles.worker import Worker
from zflow.topology import Topology
from zflow.wire.header import Message

CREDIT = 4  # requests of one connection that wait in front of the one that runs: they must not wait for the network
_CREDIT_OF_BATCHES = 64, 4096


def gateway_role(
    topology: Topology,
    nodes: Sequence[NodePlan],
    *,
    name: str = "gateway",
    bind: str = "",
    has_keys: bool = False,
    on_floating_failure: Callable[[str, Message], None] | None = None,
) -> Gateway:
    """A gateway over `nodes`; `bind` is the address of its front door, empty for one that only its own process asks.

    has_keys: whether callers have to have keys.
    """
    names = [node.name for node in nodes]
    room = Room()
    heads = {node.name: head_role(node, names, room) for node in nodes}
    gateway = Gateway(
        topology,
        heads,
        new_id=new_id,
        name=name,
        boot=new_id(),
        new_nonce=_nonces(bind, has_keys),
        on_floating_failure=on_floating_failure,
    )
    gateway.door.probes_all = bool(bind)  # what nobody waits for any more shall not keep others waiting
    return gateway


def head_peer_role(node: NodePlan, *, name: str = "", bind: str = "", has_keys: bool = False) -> HeadPeer:
    """The head of `node` as a peer of its own; `bind` is as for a gateway."""
    workers = [replica.link for replica in node.replicas]
    head = HeadPeer(
        name or node.name,
        head_role(node),
        described_by=workers,
        new_id=new_id,
        boot=new_id(),
        new_nonce=_nonces(bind, has_keys),
    )
    head.door.probes_all = True
    return head


def head_role(node: NodePlan, names: Sequence[str] = (), room: Room | None = None) -> Head | Shards:
    """The head of `node`, or of all its shards. names: of all nodes of the graph that asks. room: for what waits in
    this process."""
    room = Room(node.queue_bytes) if node.queue_bytes else room or Room()
    sharding = node.sharding
    if sharding is None:
        return _head(node, names, room, [replica.link for replica in node.replicas])
    shards = [
        _head(node, names, room, [replica.link for replica in node.replicas if replica.shard == shard], shard_name)
        for shard, shard_name in enumerate(_shard_names(node.name, sharding.shards))
    ]
    return Shards(
        node.name,
        shards,
        polls_all={endpoint: way == ALL for endpoint, way in sharding.polling.items()},
        allow_partial=sharding.allow_partial,
        before=_around(node, names, room, sharding, sharding.before),
        after=_around(node, names, room, sharding, sharding.after),
    )


def _around(node: NodePlan, names: Sequence[str], room: Room, sharding: ShardingPlan, link: str) -> Head | None:
    """The head of the Executor before or after the shards: of one process of ours, or of those that run elsewhere."""
    if not link:
        return None
    group = group_of(link)
    return _head(
        node, names, room, [way.link for way in sharding.around if group_of(way.link) == group] or [link], group
    )


def _head(node: NodePlan, names: Sequence[str], room: Room, links: Sequence[str], name: str = "") -> Head:
    return Head(
        node.name,
        links,
        new_id=new_id,
        retries=node.retries,
        timeout=node.timeout_send,
        idempotent=node.idempotent,
        nodes=names,
        name=name,
        room=room,
    )


def _shard_names(name: str, shards: int) -> list[str]:
    return [f"{name}/shard-{shard}" for shard in range(shards)] if shards > 1 else [name]


def worker_role(
    name: str,
    executor: Executor,
    *,
    bind: str,
    has_keys: bool = False,
    idempotent: bool = False,
    max_concurrency: int = 1,
    deaths: Sequence[bytes] | None = None,
    weigh: Weigh | None = None,
) -> Worker:
    """A worker for `executor` whose front door is at `bind`. idempotent: whatever its endpoints say of themselves.

    deaths: the calls that the process before it died with; None where nobody knows.
    max_concurrency: how many calls of `async def` endpoints may run at once; each connection may have as many here.
    weigh: what a request costs that is batched; without it none is.
    """
    answered = Executor.endpoints(executor)  # of the base class: users may use the name
    endpoints = [{"name": on, "idempotent": idempotent or endpoint.idempotent} for on, endpoint in answered.items()]
    repeatable = [str(endpoint["name"]) for endpoint in endpoints if endpoint["idempotent"]]
    if idempotent or len(repeatable) == len(endpoints):  # of none, documents pass through
        repeatable = ["*"]
    description = {"endpoints": endpoints, "versions": {"python": platform.python_version()}}
    is_asynchronous = any(map(_runs_beside, answered.values()))
    worker = Worker(
        name,
        boot=new_id(),
        credit=max(_credit(answered), max_concurrency if is_asynchronous else 0),
        new_nonce=_nonces(bind, has_keys),
        idempotent=repeatable,
        is_concurrent=(lambda on: _runs_beside(Executor.endpoint(executor, on))) if is_asynchronous else None,
        concurrency=max_concurrency,
        batching=_batching(answered, weigh) if weigh is not None else None,
        deaths=deaths,
        describe=lambda: description,
    )
    worker.door.probes_all = True
    return worker


def _runs_beside(endpoint: Endpoint | None) -> bool:
    """Whether calls of it may run while others do. Batches of an endpoint follow each other, whatever it awaits."""
    return endpoint is not None and endpoint.is_async and endpoint.batching is None


def external_addresses(nodes: Sequence[NodePlan]) -> Directory:
    """A directory that knows where the external replicas of `nodes` are; the others report themselves."""
    return Directory({way.link: way.address for node in nodes for way in node.ways if way.address is not None})


def trust(directory: Directory, nodes: Sequence[NodePlan], identity: str) -> None:
    """Tell `directory` by which keys the replicas of `nodes` are known. identity: the folder of ours; empty for none.

    Raises ConfigError for keys that cannot be used.
    """
    if identity:
        known = {way.link: way.server_key for node in nodes for way in node.ways if way.server_key}
        directory.trust(keys.load(identity), known)


def _batching(endpoints: Mapping[str, Endpoint], weigh: Weigh) -> Batching[Any] | None:
    """Where requests wait for company; None where no endpoint wants that."""
    rules = {on: _rule(endpoint, weigh) for on, endpoint in endpoints.items() if endpoint.batching is not None}
    alone = [on for on in endpoints if on not in rules]
    return Batching(rules, default=rules.get(DEFAULT), alone=alone) if rules else None


def _rule(endpoint: Endpoint, weigh: Weigh) -> Rule:
    asked = endpoint.batching
    assert asked is not None
    size = asked.preferred_batch_size or math.inf
    timeout = asked.timeout / 1000
    return Rule(endpoint.name, size=size, timeout=timeout, flush_all=asked.flush_all, weigh=weigh)


def _credit(endpoints: Mapping[str, Endpoint]) -> int:
    """What one connection may have outstanding. A gateway is one: by it alone a batch must fill while another runs."""
    sizes = [item.batching.preferred_batch_size or 0 for item in endpoints.values() if item.batching is not None]
    least, most = _CREDIT_OF_BATCHES
    return min(most, max(least, 2 * max(sizes))) if sizes else CREDIT


def _nonces(bind: str, has_keys: bool) -> Callable[[], bytes] | None:
    """Any web page can post bytes to a loopback tcp port; but none to one that demands keys, and nobody else can reach
    a socket file in a 0700 directory."""
    return new_id if is_tcp(bind) and not has_keys else None
