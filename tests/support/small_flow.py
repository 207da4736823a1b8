"""A whole Flow of roles on a Network: client -> gateway -> a head per node -> its replicas."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from tests.support.clock import Ids
from tests.support.executors import ExecutorFunction, tell
from tests.support.leftovers import leftovers
from tests.support.network import Network, Peer
from zflow.roles.batching import Batching
from zflow.roles.gateway import Gateway
from zflow.roles.head import Head
from zflow.roles.head_peer import HeadPeer
from zflow.roles.shards import Shards
from zflow.roles.worker import Worker
from zflow.topology import Node, Topology
from zflow.wire.frames import DOCUMENTS, PARAMETERS, Part, part
from zflow.wire.header import Kind, Message

CLIENT = "client"
GATEWAY = "gateway"


class SmallFlow:
    """`nodes` are Nodes, or names that form a chain.

    replicas: per node, or per shard of it (1). shards: per node; sharding: how they are asked, and `before` and
    `after` where an Executor shall be around them. executor, takes: of every worker. head: further arguments of the
    nodes' heads, by name of the node. batching: makes what the workers of a node batch with, by its name. standing: the
    nodes that are external and have a head process of their own, ``a/head``, with their processes behind it.
    demands_nonces: whether the front doors challenge strangers. inline: whether the gateway's own process asks, as
    `Flow.post` does; then there is no client.
    """

    def __init__(
        self,
        nodes: Sequence[Node | str],
        *,
        network: Network | None = None,
        replicas: Mapping[str, int] | None = None,
        shards: Mapping[str, int] | None = None,
        sharding: Mapping[str, object] | None = None,
        executor: ExecutorFunction = tell,
        takes: float | Callable[[Message], float] = 0.0,
        credit: int = 4,
        head: Mapping[str, Mapping[str, object]] | None = None,
        batching: Mapping[str, Callable[[], Batching[Any]]] | None = None,
        standing: Collection[str] = (),
        demands_nonces: bool = False,
        inline: bool = False,
    ) -> None:
        self.network = network or Network()
        self.topology = Topology(_chained(nodes))
        self.ids = Ids()
        self._credit = credit
        self._new_nonce = Ids(b"nonce") if demands_nonces else None
        self._head_options = head or {}
        self._shards = shards or {}
        self._sharding = dict(sharding or {})
        self._around = [where for where in ("before", "after") if self._sharding.pop(where, False)]
        self._batching = batching or {}
        self._standing = standing
        self._replicas = {node.name: (replicas or {}).get(node.name, 1) for node in self.topology.nodes}
        for link in self.links():
            self.network.add(link, self.new_worker(link), executor=executor, takes=takes)
        for name in standing:
            self.network.add(f"{name}/head", self.new_head_peer(name))
        self.network.add(GATEWAY, self.new_gateway())
        self._asker = GATEWAY if inline else CLIENT
        if not inline:
            self.network.add(CLIENT, Head("flow", [GATEWAY], new_id=self.ids, chance=lambda: 0.5))

    # -- its processes -----------------------------------------------------------------------------------------------

    def links(self, node: str | None = None) -> list[str]:
        """The names of the replicas, of all nodes or of one."""
        names = [item.name for item in self.topology.nodes] if node is None else [node]
        return [link for name in names for stem in self._stems(name) for link in self._links_of(name, stem)]

    def _stems(self, name: str) -> list[str]:
        """What the names of the processes of a node begin with: of each shard, and of what is around them."""
        if name not in self._shards:
            return [name]
        shards = [f"{name}/shard-{shard}" for shard in range(self._shards[name])]
        return [*shards, *(f"{name}/uses-{where}" for where in self._around)]

    def _links_of(self, name: str, stem: str) -> list[str]:
        return [f"{stem}/rep-{number}" for number in range(1 if "/uses-" in stem else self._replicas[name])]

    def new_worker(self, link: str) -> Worker:
        """A worker role of a fresh incarnation."""
        new_batching = self._batching.get(link.partition("/")[0])
        batching = new_batching() if new_batching is not None else None
        return Worker(link, boot=self.ids(), credit=self._credit, new_nonce=self._new_nonce, batching=batching)

    def new_gateway(self) -> Gateway:
        """A gateway role of a fresh incarnation, with a head per node."""
        heads = {
            name: self._head(name, f"{name}/head", [f"{name}/head"]) if name in self._standing else self._new_head(name)
            for name in self.topology.by_name
        }
        return Gateway(self.topology, heads, new_id=self.ids, boot=self.ids(), new_nonce=self._new_nonce)

    def new_head_peer(self, name: str) -> HeadPeer:
        """A head process of a fresh incarnation."""
        return HeadPeer(
            f"{name}/head",
            self._new_head(name),
            described_by=self.links(name),
            new_id=self.ids,
            boot=self.ids(),
            new_nonce=self._new_nonce,
        )

    def dialler_of(self, link: str) -> str:
        """Who has the connection to the worker at the end of `link`."""
        name = link.partition("/")[0]
        return f"{name}/head" if name in self._standing else GATEWAY

    def _new_head(self, name: str) -> Head | Shards:
        heads = {stem: self._head(name, stem, self._links_of(name, stem)) for stem in self._stems(name)}
        if name not in self._shards:
            return heads[name]
        around = {where: heads.pop(f"{name}/uses-{where}") for where in self._around}
        options = {"polls_all": {"*": True}, **self._sharding, **around}
        return Shards(name, [*heads.values()], chance=lambda: 0.0, **options)  # type: ignore[arg-type]

    def _head(self, name: str, stem: str, links: Sequence[str]) -> Head:
        return Head(
            name,
            links,
            new_id=self.ids,
            nodes=[node.name for node in self.topology.nodes],
            chance=lambda: 0.5,
            name=stem,
            **self._head_options.get(name, {}),  # type: ignore[arg-type]
        )

    @property
    def gateway(self) -> Gateway:
        """The gateway role that runs now."""
        role = self.network.peers[GATEWAY].role
        assert isinstance(role, Gateway)
        return role

    @property
    def asker(self) -> Peer:
        """The process that asks: the client, or the gateway's own."""
        return self.network.peers[self._asker]

    def executions(self) -> dict[bytes, int]:
        """How often each call was begun by some worker (a gateway gives every step a call id of its own)."""
        counts: dict[bytes, int] = {}
        for peer in self.network.peers.values():
            for call_id in peer.executed:
                counts[call_id] = counts.get(call_id, 0) + 1
        return counts

    # -- asking ------------------------------------------------------------------------------------------------------

    def ask(
        self,
        documents: str = "in",
        *,
        parameters: str | None = None,
        budget: float | None = None,
        flags: int = 0,
        target: object = None,
    ) -> bytes:
        """Ask; returns the call id. budget: in seconds."""
        parts: list[Part] = [part(DOCUMENTS, "whatever", [documents.encode()])]
        if parameters is not None:
            parts.append(part(PARAMETERS, "", [parameters.encode()]))
        extra = {} if target is None else {"!target": target}
        call_id = self.ids()
        microseconds = None if budget is None else int(budget * 1e6)
        self.network.ask(self._asker, Message(Kind.REQUEST, call_id, "/", microseconds, flags, parts, extra))
        return call_id

    def cancel(self, call_id: bytes) -> None:
        """Whoever asked gives the call up."""
        self.network.ask(self._asker, Message(Kind.CANCEL, call_id))

    def outcomes(self, call_id: bytes) -> list[Message]:
        """What the asker has heard about the call."""
        return [message for message in self.asker.answers if message.call_id == call_id]

    def outcome(self, call_id: bytes) -> Message:
        """The one thing that the asker has heard about the call."""
        outcomes = self.outcomes(call_id)
        assert len(outcomes) == 1, f"{len(outcomes)} outcomes of {call_id.hex()}: {outcomes}"
        return outcomes[0]

    def leftovers(self) -> dict[str, list[object]]:
        """What living peers still hold, by name; empty when nothing leaks."""
        held = {peer.name: leftovers(peer.role) for peer in self.network.peers.values() if peer.is_alive}
        return {name: items for name, items in held.items() if items}


def _chained(nodes: Sequence[Node | str]) -> list[Node]:
    chained: list[Node] = []
    for node in nodes:
        before = chained[-1].name if chained else GATEWAY
        chained.append(Node(node, (before,)) if isinstance(node, str) else node)
    return chained
