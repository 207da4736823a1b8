"""What follows from a spec: every process, its links and addresses. Shards and replicas are multiplied only here.

A plan is plain data and can travel to another process. Supervisor and exports read the same plan.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from zflow.config import keys as key_files
from zflow.config.binding import bind_of, check_way, host_of, tcp_address
from zflow.config.containers import ContainerPlan, container_of
from zflow.config.cores import Cpus
from zflow.config.definition import is_container
from zflow.config.deployment import DeploymentSpec
from zflow.config.images import image_of, name_of
from zflow.config.kinds import FOR_EVER
from zflow.config.log_config import Voice, voice_of
from zflow.config.peers import group_of_shard, groups_around, missing_peers, refuse_peers
from zflow.config.polling import polling_table
from zflow.config.spec import ExecutorSpec, FlowSpec
from zflow.errors import ConfigError
from zflow.executor import Executor
from zflow.loading import ExecutorDescription, describe
from zflow.topology import GATEWAY, Node, Topology

_NOTHING_OF_ITS_CLASS: dict[str, Any] = {
    name: {} for name in ("uses_with", "uses_metas", "uses_requests", "uses_dynamic_batching")
}
_OF_A_HEAD = ("timeout_ready", "timeout_send", "retries", "queue_bytes", "start_method")
# What the interpreter, the dynamic linker or a library that the warm parent has loaded reads once, when it starts.
_READ_AT_BIRTH = ("PYTHON", "LD_", "DYLD_", "MALLOC_", "GLIBC_", "OPENBLAS_", "GOTO_", "OMP_", "MKL_", "BLIS_", "NPY_")


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
    None: the head's own rule. sharding: None for one shard with nothing around it. queue_bytes: how much may wait for
    it; None where it shares the rule of its process."""

    name: str
    replicas: tuple[ReplicaPlan, ...]
    retries: int | None = None
    timeout_send: float | None = None
    idempotent: bool = False
    sharding: ShardingPlan | None = None
    queue_bytes: int | None = None

    @property
    def ways(self) -> tuple[ReplicaPlan, ...]:
        """Those to its replicas, and to what runs elsewhere around its shards."""
        return (*self.replicas, *(self.sharding.around if self.sharding is not None else ()))


class WorkerPlan(NamedTuple):
    """One process that serves one Executor.

    bind: a tcp address that was asked for; None for a private ipc path, new for each incarnation. timeout_ready in
    seconds, None for ever. start_method: ``warm`` (forked from the warm parent) or ``spawn`` (a fresh interpreter, also
    where `env` is read at its birth). may_share: it may be forked from where its Executor's `preload` has run. keys:
    the folder of the keys that callers by tcp must have; empty for none. reload: it tells what files it is made of.
    voice: how it logs. container: in which the Executor is; the process only attends to it then, and `description`
    says nothing.
    """

    name: str
    node: str
    description: ExecutorDescription
    runtime_args: Mapping[str, Any]
    bind: str | None = None
    env: Mapping[str, str] = {}
    voice: Voice = Voice()
    idempotent: bool = False
    timeout_ready: float | None = 600.0
    start_method: str = "warm"
    max_concurrency: int = 64
    cpus: Cpus | None = None
    may_share: bool = True
    keys: str = ""
    reload: bool = False
    container: ContainerPlan | None = None


class GatewayPlan(NamedTuple):
    """The process that serves everybody else. Its fields mean what they mean in WorkerPlan and Plan.

    identity: the folder of the keys that are ours where external Executors want to know; empty where none does.
    """

    name: str
    bind: str
    topology: Topology
    nodes: tuple[NodePlan, ...]
    env: Mapping[str, str] = {}
    voice: Voice = Voice()
    timeout_ready: float | None = 600.0
    start_method: str = "warm"
    keys: str = ""
    identity: str = ""


class HeadPlan(NamedTuple):
    """The process that stands before those of one Executor, for everybody else. Its fields mean what they do above."""

    name: str
    bind: str
    node: NodePlan
    env: Mapping[str, str] = {}
    voice: Voice = Voice()
    timeout_ready: float | None = 600.0
    start_method: str = "warm"
    keys: str = ""
    identity: str = ""


class Plan(NamedTuple):
    """All of a Flow, or of a Deployment. workers: the processes to start. gateway: the one that stands before them.
    nodes: what the graph is made of, external ones included."""

    workers: tuple[WorkerPlan, ...]
    gateway: GatewayPlan | HeadPlan | None
    topology: Topology
    nodes: tuple[NodePlan, ...]
    identity: str = ""


def plan_flow(spec: FlowSpec) -> Plan:
    """The plan of a Flow. Raises ConfigError for what cannot be run, TopologyError for a graph that cannot be."""
    refuse_peers(spec, "gateway")
    local = [executor for executor in spec.executors if not executor.external]
    gateway = _gateway(spec)
    workers = [worker for executor in local for worker in plan_workers(spec, executor.name)]
    return Plan(tuple(workers), gateway, gateway.topology, gateway.nodes, gateway.identity)


def plan_workers(spec: FlowSpec, name: str) -> tuple[WorkerPlan, ...]:
    """The processes of the Executor `name` in the plan of a Flow, whatever the others are like. Raises ConfigError."""
    [executor] = [executor for executor in spec.executors if executor.name == name]
    return tuple(worker._replace(keys=spec.keys) for worker in _workers(executor, bind_of(executor, spec)))


def plan_gateway(spec: FlowSpec) -> GatewayPlan:
    """The gateway of a Flow, alone: every Executor must run somewhere already. Raises ConfigError naming the others."""
    missing = missing_peers(spec, [executor for executor in spec.executors if not executor.external])
    if missing:
        raise ConfigError(
            f"a gateway alone starts no Executors; give {', '.join(missing)} host, port_in and external: true, or say "
            "in peers where they run; or start the whole Flow with `zflow flow`"
        )
    return _gateway(spec)


def plan_head(deployment: DeploymentSpec) -> HeadPlan:
    """The head of a Deployment, alone: its processes run somewhere already, where peers says. Raises ConfigError."""
    if not deployment.executor.name:
        raise ConfigError("name: a head alone imports no class; give the name that its Executor has")
    missing = missing_peers(deployment.front, [deployment.executor])
    if missing:
        raise ConfigError(
            f"a head alone starts no processes; say in peers where {', '.join(missing)} can be found, or start all of "
            "them with `zflow deployment`"
        )
    return _head(deployment)._replace(identity=deployment.front.keys)


def plan_standalone(
    spec: ExecutorSpec, *, insecure: bool = False, keys: str = "", shard_id: int | None = None
) -> WorkerPlan:
    """The one process of an Executor that stands alone on a port: of loopback, and chosen by the kernel, by default.

    Without a name it takes its class's. insecure, keys: as those of a Flow. shard_id: which of the shards it is, where
    somebody else starts the others. Raises ConfigError, also for options that only make sense in a Flow.
    """
    _check_alone(spec, shard_id)
    if is_container(spec.uses):
        raise ConfigError(f"{spec.uses}: a container is no process that can stand alone; make it a Deployment")
    for name in _OF_A_HEAD:
        if name in spec.given:
            raise ConfigError(
                f"{name}: nothing stands before the one process of this Executor that could do it; this is for an "
                "Executor with replicas or shards, a Deployment or a Flow"
            )
    description = _description(spec)
    name = spec.name or description.class_name
    bind = tcp_address(host_of(spec), spec.port_in or 0, name, is_safe=insecure or bool(keys))
    _checked_keys(keys)
    spec = replace(spec, name=name)
    [link] = _links(spec, shard_id or 0)
    return _worker(spec, link, description, bind, shard=shard_id or 0)._replace(keys=keys)


def _check_alone(spec: ExecutorSpec, shard_id: int | None) -> None:
    """Raise ConfigError for what is not one process."""
    if spec.external or (not spec.is_one_process and shard_id is None):
        wrong = "external" if spec.external else "replicas, shards"
        raise ConfigError(
            f"{wrong}: this is one process, started here; several are a Deployment, others are for a Flow"
        )
    if shard_id is None:
        return
    if not 0 <= shard_id < spec.shards:
        raise ConfigError(f"shard_id: there is no shard {shard_id} of {spec.shards}, counted from 0; give shards, too")
    for name in ("replicas", "polling", "uses_before", "uses_after", "allow_partial", "reload", "restart"):
        if spec.given.get(name):
            raise ConfigError(f"{name}: with shard_id this is one process of one shard; leave {name} to its head")


def plan_deployment(deployment: DeploymentSpec, name: str = "") -> Plan:
    """The plan of one Executor that stands alone, with a head before its processes.

    Without a name it takes `name`, or else its class's. Raises ConfigError.
    """
    refuse_peers(deployment.front, "head")
    spec = deployment.executor
    spec = replace(spec, name=spec.name or name or _name_of(spec))
    head = _head(deployment._replace(executor=spec))
    return Plan(tuple(_workers(spec, None)), head, Topology([Node(spec.name, (GATEWAY,))]), (head.node,))


def _name_of(spec: ExecutorSpec) -> str:
    if is_container(spec.uses):
        return name_of(image_of(str(spec.uses)))
    return _description(spec).class_name


def _head(deployment: DeploymentSpec) -> HeadPlan:
    spec, front = deployment.executor, deployment.front
    is_safe = front.insecure or bool(front.keys)
    return HeadPlan(
        name=f"{spec.name}/head",
        bind=tcp_address(deployment.host, deployment.port or 0, spec.name, is_safe=is_safe),
        node=_node(spec, _checked_keys(front.keys), front),
        env=spec.env,
        voice=voice_of(spec),
        timeout_ready=_seconds(spec.timeout_ready),
        start_method=_start_method(spec.start_method, spec.env),
        keys=front.keys,
    )


def _gateway(spec: FlowSpec) -> GatewayPlan:
    own_key = _checked_keys(spec.keys)
    calls_with_keys = any(executor.server_key for executor in spec.executors)
    if calls_with_keys and not spec.keys:
        key_files.load(key_files.default_folder())
    return GatewayPlan(
        name=GATEWAY,
        bind=tcp_address(spec.host, spec.port or 0, GATEWAY, is_safe=spec.insecure or bool(spec.keys)),
        topology=spec.topology(),
        nodes=tuple(_node(executor, own_key, spec) for executor in spec.executors),
        env=spec.env,
        voice=voice_of(spec),
        timeout_ready=_seconds(spec.timeout_ready),
        start_method=_start_method(spec.start_method, spec.env),
        keys=spec.keys,
        identity=spec.keys or (key_files.default_folder() if calls_with_keys else ""),
    )


def _workers(spec: ExecutorSpec, bind: str | None) -> Iterator[WorkerPlan]:
    """Every process of `spec`: the replicas of all shards, then those around the shards."""
    description = _description(spec)
    for shard in range(spec.shards):
        for replica, link in enumerate(_links(spec, shard)):
            yield _worker(spec, link, description, bind, replica, shard)
    for link, uses in ((_link_before(spec), spec.uses_before), (_link_after(spec), spec.uses_after)):
        if link:
            around = replace(spec, uses=uses, **_NOTHING_OF_ITS_CLASS, replicas=1, shards=1)
            yield _worker(around, link, _description(around), None)


def _worker(
    spec: ExecutorSpec,
    link: str,
    description: ExecutorDescription,
    bind: str | None,
    replica: int = 0,
    shard: int = 0,
) -> WorkerPlan:
    container = container_of(spec)
    return WorkerPlan(
        name=link,
        node=spec.name,
        description=description,
        runtime_args={
            "name": link,
            "replicas": spec.replicas,
            "replica_id": replica,
            "shards": spec.shards,
            "shard_id": shard,
            "workspace": spec.workspace,
        },
        bind=bind,
        env=spec.env,
        voice=voice_of(spec),
        idempotent=spec.idempotent,
        timeout_ready=_seconds(spec.timeout_ready),
        start_method=_start_method(spec.start_method, {} if container else spec.env),
        max_concurrency=spec.max_concurrency,
        cpus=spec.cpus,
        may_share=spec.start_method == "warm",
        reload=spec.reload and container is None,
        container=container,
    )


def _node(spec: ExecutorSpec, own_key: str, front: FlowSpec) -> NodePlan:
    """How `spec` is asked. front: whose peers are known, and what is said of keys."""
    return NodePlan(
        name=spec.name,
        replicas=tuple(_ways(spec, own_key, front)),
        retries=spec.retries,
        timeout_send=_seconds(spec.timeout_send),
        queue_bytes=spec.queue_bytes,
        idempotent=spec.idempotent,
        sharding=_sharding(spec, own_key, front),
    )


def _ways(spec: ExecutorSpec, own_key: str, front: FlowSpec) -> Iterator[ReplicaPlan]:
    """The ways to `spec`: the addresses of an external Executor, or the replicas of each shard."""
    server_keys = spec.server_key
    if isinstance(server_keys, str):
        server_keys = (server_keys,) * len(spec.addresses)
    for replica, (address, server_key) in enumerate(zip(spec.addresses, server_keys)):
        check_way(spec.name, address, server_key, front.insecure)
        yield ReplicaPlan(f"{spec.name}/rep-{replica}", f"tcp://{address}", server_key=server_key)
    for shard in range(0 if spec.external else spec.shards):
        if group_of_shard(spec, shard) in front.peers:
            yield from _elsewhere(group_of_shard(spec, shard), own_key, front, shard)
            continue
        for link in _links(spec, shard):
            yield ReplicaPlan(link, None, shard, own_key)


def _elsewhere(group: str, own_key: str, front: FlowSpec, shard: int = 0) -> Iterator[ReplicaPlan]:
    """The ways to processes that somebody else has started for us. They have the same keys as we."""
    for replica, address in enumerate(front.peers.get(group, ())):
        check_way(group, address, own_key, front.insecure)
        yield ReplicaPlan(f"{group}/rep-{replica}", f"tcp://{address}", shard, own_key)


def _sharding(spec: ExecutorSpec, own_key: str, front: FlowSpec) -> ShardingPlan | None:
    before, after = _link_before(spec), _link_after(spec)
    if spec.shards == 1 and not before and not after:
        return None
    around = tuple(way for group in groups_around(spec) for way in _elsewhere(group, own_key, front))
    return ShardingPlan(spec.shards, polling_table(spec.polling), spec.allow_partial, before, after, around)


def _links(spec: ExecutorSpec, shard: int) -> list[str]:
    return [f"{group_of_shard(spec, shard)}/rep-{replica}" for replica in range(spec.replicas)]


def _link_before(spec: ExecutorSpec) -> str:
    return "" if spec.uses_before is None else f"{spec.name}/uses-before/rep-0"


def _link_after(spec: ExecutorSpec) -> str:
    return "" if spec.uses_after is None else f"{spec.name}/uses-after/rep-0"


def _description(spec: ExecutorSpec) -> ExecutorDescription:
    if is_container(spec.uses):
        return ExecutorDescription(Executor)
    try:
        described = describe(
            spec.uses,
            uses_with=spec.uses_with,
            uses_metas=spec.uses_metas,
            uses_requests=spec.uses_requests,
            uses_dynamic_batching=spec.uses_dynamic_batching,
            py_modules=spec.py_modules,
            install_requirements=spec.install_requirements,
        )
        return described.to_be_read_again() if spec.reload else described
    except ConfigError as error:
        raise type(error)(f"{spec.name}: {error}" if spec.name else str(error)) from error


def _checked_keys(folder: str) -> str:
    """Our own public key, where there is a folder of keys. Raises ConfigError where they cannot be used."""
    if not folder:
        return ""
    own = key_files.load(folder).public
    for fault in key_files.read_allowed(folder).faults:
        raise ConfigError(fault)
    return own


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None or milliseconds == FOR_EVER else milliseconds / 1000


def _start_method(asked: str, env: Mapping[str, str]) -> str:
    """A forked process is too late for some variables."""
    return "spawn" if any(name.startswith(_READ_AT_BIRTH) for name in env) else asked
