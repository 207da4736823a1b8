"""Which ways lead to the processes of an Executor: names of links, addresses where they run elsewhere already.

Processes that can stand for each other, the replicas of one shard, are a group: ``encoder``, ``indexer/shard-0``,
``indexer/uses-before``. A link is one of them: ``encoder/rep-0``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from zflow.config.kinds import FOR_EVER, is_loopback, split_host
from zflow.config.polling import polling_table
from zflow.config.spec import ExecutorSpec, FlowSpec
from zflow.errors import ConfigError, nearest


class ReplicaPlan(NamedTuple):
    """One way to a node. address: of an external one; None for a process of ours, which reports its own.

    server_key: by which it is known, where its connection is secured.
    """

    link: str
    address: str | None = None
    shard: int = 0
    server_key: str = ""


class ShardingPlan(NamedTuple):
    """How a node's shards are asked. polling: endpoint -> ANY or ALL, ``*`` for the others. before, after: the links
    of the Executors around the shards, empty where there is none. around: the ways to these where they run elsewhere.
    """

    shards: int
    polling: Mapping[str, str]
    allow_partial: bool = False
    before: str = ""
    after: str = ""
    around: tuple[ReplicaPlan, ...] = ()


class NodePlan(NamedTuple):
    """A node of the graph as its head sees it. replicas: those of all its shards. timeout_send in seconds; retries
    None: the head's own rule. sharding: None for one shard with nothing around it."""

    name: str
    replicas: tuple[ReplicaPlan, ...]
    retries: int | None = None
    timeout_send: float | None = None
    idempotent: bool = False
    sharding: ShardingPlan | None = None

    @property
    def ways(self) -> tuple[ReplicaPlan, ...]:
        """To all whose addresses are known."""
        around = self.sharding.around if self.sharding is not None else ()
        return tuple(way for way in (*self.replicas, *around) if way.address is not None)


def groups_of(spec: ExecutorSpec) -> list[str]:
    """The groups of processes that serve `spec`, in the order of its shards, then those around them."""
    groups = [_group(spec, shard) for shard in range(spec.shards)]
    return groups + [link.rpartition("/")[0] for link in (link_before(spec), link_after(spec)) if link]


def check_peers(peers: Mapping[str, tuple[str, ...]], executors: Sequence[ExecutorSpec]) -> None:
    """Raise ConfigError for addresses of what none of `executors` has."""
    known = [group for executor in executors for group in groups_of(executor)]
    for group in peers:
        if group not in known:
            raise ConfigError(f"peers: nothing here is called {group!r:.80}: {nearest(group, known)}")


def node_of(spec: ExecutorSpec, own_key: str, front: FlowSpec) -> NodePlan:
    """How `spec` is asked. own_key: our public key, which all processes of ours have. front: whose peers are known."""
    return NodePlan(
        name=spec.name,
        replicas=tuple(_ways(spec, own_key, front)),
        retries=spec.retries,
        timeout_send=seconds(spec.timeout_send),
        idempotent=spec.idempotent,
        sharding=_sharding(spec, own_key, front),
    )


def _ways(spec: ExecutorSpec, own_key: str, front: FlowSpec) -> Iterator[ReplicaPlan]:
    """The ways to `spec`: the addresses of an external Executor, or the replicas of each shard."""
    server_keys = spec.server_key
    if isinstance(server_keys, str):
        server_keys = (server_keys,) * len(spec.addresses)
    for replica, (address, server_key) in enumerate(zip(spec.addresses, server_keys)):
        _check_way(spec.name, address, server_key, front.insecure)
        yield ReplicaPlan(f"{spec.name}/rep-{replica}", f"tcp://{address}", server_key=server_key)
    for shard in range(0 if spec.external else spec.shards):
        group = _group(spec, shard)
        if group in front.peers:
            yield from _elsewhere(group, own_key, front, shard)
            continue
        for link in links_of(spec, shard):
            yield ReplicaPlan(link, None, shard, own_key)


def _elsewhere(group: str, own_key: str, front: FlowSpec, shard: int = 0) -> Iterator[ReplicaPlan]:
    """The ways to processes of ours that somebody else has started. They have the same keys as we."""
    for replica, host in enumerate(front.peers.get(group, ())):
        _check_way(group, host, own_key, front.insecure)
        yield ReplicaPlan(f"{group}/rep-{replica}", f"tcp://{host}", shard, own_key)


def _sharding(spec: ExecutorSpec, own_key: str, front: FlowSpec) -> ShardingPlan | None:
    before, after = link_before(spec), link_after(spec)
    if spec.shards == 1 and not before and not after:
        return None
    groups = [link.rpartition("/")[0] for link in (before, after) if link]
    around = tuple(way for group in groups for way in _elsewhere(group, own_key, front))
    return ShardingPlan(spec.shards, polling_table(spec.polling), spec.allow_partial, before, after, around)


def _group(spec: ExecutorSpec, shard: int) -> str:
    return f"{spec.name}/shard-{shard}" if spec.shards > 1 else spec.name


def links_of(spec: ExecutorSpec, shard: int) -> list[str]:
    """The replicas of one shard. Where there is one only, its number is not worth a name."""
    return [f"{_group(spec, shard)}/rep-{replica}" for replica in range(spec.replicas)]


def link_before(spec: ExecutorSpec) -> str:
    """To what requests pass before they go to the shards; empty where there is nothing."""
    return "" if spec.uses_before is None else f"{spec.name}/uses-before/rep-0"


def link_after(spec: ExecutorSpec) -> str:
    """To what makes the answer of what the shards made; empty where there is nothing."""
    return "" if spec.uses_after is None else f"{spec.name}/uses-after/rep-0"


def _check_way(name: str, address: str, server_key: str, insecure: bool) -> None:
    host = split_host(address)[0]
    if not (server_key or insecure or is_loopback(host)):
        raise ConfigError(
            f"{name}: {address} is not on this host, and without keys anybody on the way could read, and be it; give "
            "server_key (what its public.key holds, see `zflow keygen`), or say insecure=True (--insecure)"
        )


def seconds(milliseconds: int | None) -> float | None:
    """None: for ever, or not given."""
    return None if milliseconds is None or milliseconds == FOR_EVER else milliseconds / 1000
