"""What follows from a spec: every process, its links and addresses. Replicas are multiplied here and nowhere else.

A plan is plain data and can travel to another process. Supervisor and exports read the same plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from zflow.config import keys as key_files
from zflow.config.kinds import FOR_EVER, is_loopback, split_host
from zflow.config.spec import ExecutorSpec, FlowSpec
from zflow.errors import ConfigError
from zflow.loading import ExecutorDescription, describe
from zflow.topology import GATEWAY, Topology

# What the interpreter, the dynamic linker or a library that the warm parent has loaded reads once, when it starts.
_READ_AT_BIRTH = ("PYTHON", "LD_", "DYLD_", "MALLOC_", "GLIBC_", "OPENBLAS_", "GOTO_", "OMP_", "MKL_", "BLIS_", "NPY_")


class ReplicaPlan(NamedTuple):
    """One way to a node. address: of an external one; None for a process of ours, which reports its own.

    server_key: by which it is known, where its connection is secured.
    """

    link: str
    address: str | None = None
    server_key: str = ""


class NodePlan(NamedTuple):
    """A node of the graph as its head sees it. timeout_send in seconds; retries None: the head's own rule."""

    name: str
    replicas: tuple[ReplicaPlan, ...]
    retries: int | None = None
    timeout_send: float | None = None
    idempotent: bool = False


class WorkerPlan(NamedTuple):
    """One process that serves one Executor.

    bind: a tcp address that was asked for; None for a private ipc path, new for each incarnation. timeout_ready in
    seconds, None for ever. start_method: ``warm`` (forked from the warm parent) or ``spawn`` (a fresh interpreter).
    keys: the folder of the keys that callers by tcp must have; empty for none.
    """

    name: str
    node: str
    description: ExecutorDescription
    runtime_args: Mapping[str, Any]
    bind: str | None = None
    env: Mapping[str, str] = {}
    quiet_error: bool = False
    idempotent: bool = False
    timeout_ready: float | None = 600.0
    start_method: str = "warm"
    max_concurrency: int = 64
    keys: str = ""


class GatewayPlan(NamedTuple):
    """The process that serves everybody else. Its fields mean what they mean in WorkerPlan and Plan.

    identity: the folder of the keys that are ours where external Executors want to know; empty where none does.
    """

    name: str
    bind: str
    topology: Topology
    nodes: tuple[NodePlan, ...]
    env: Mapping[str, str] = {}
    quiet_error: bool = False
    timeout_ready: float | None = 600.0
    start_method: str = "warm"
    keys: str = ""
    identity: str = ""


class Plan(NamedTuple):
    """All of a Flow. workers: the processes to start; nodes: what the graph is made of, external ones included."""

    workers: tuple[WorkerPlan, ...]
    gateway: GatewayPlan | None
    topology: Topology
    nodes: tuple[NodePlan, ...]
    identity: str = ""


def plan_flow(spec: FlowSpec) -> Plan:
    """The plan of a Flow. Raises ConfigError for what cannot be run, TopologyError for a graph that cannot be."""
    local = [executor for executor in spec.executors if not executor.external]
    gateway = _gateway(spec)
    workers = [
        _worker(executor, link, replica, description, bind)._replace(keys=spec.keys)
        for executor in local
        for description, bind in [(_description(executor), _bind(executor, spec))]
        for replica, link in enumerate(_links(executor.name, executor.replicas))
    ]
    return Plan(tuple(workers), gateway, gateway.topology, gateway.nodes, gateway.identity)


def plan_gateway(spec: FlowSpec) -> GatewayPlan:
    """The gateway of a Flow, alone: every Executor must run somewhere already. Raises ConfigError naming the others."""
    local = [executor.name for executor in spec.executors if not executor.external]
    if local:
        raise ConfigError(
            f"a gateway alone starts no Executors; give {', '.join(local)} host, port_in and external: true, "
            "or start the whole Flow with `zflow flow`"
        )
    return _gateway(spec)


def plan_standalone(spec: ExecutorSpec, *, insecure: bool = False, keys: str = "") -> WorkerPlan:
    """The one process of an Executor that stands alone on a port: of loopback, and chosen by the kernel, by default.

    Without a name it takes its class's. insecure, keys: as those of a Flow. Raises ConfigError, also for options that
    only make sense in a Flow.
    """
    if spec.replicas > 1 or spec.external:
        wrong = "replicas" if spec.replicas > 1 else "external"
        raise ConfigError(f"{wrong}: a standalone Executor is one process, started here; this is for a Flow")
    description = _description(spec)
    name = spec.name or description.class_name
    bind = _tcp_address(_host(spec), spec.port_in or 0, name, is_safe=insecure or bool(keys))
    _checked_keys(keys)
    return _worker(replace(spec, name=name), _links(name, 1)[0], 0, description, bind)._replace(keys=keys)


def _gateway(spec: FlowSpec) -> GatewayPlan:
    own_key = _checked_keys(spec.keys)
    calls_with_keys = any(executor.server_key for executor in spec.executors)
    if calls_with_keys and not spec.keys:
        key_files.load(key_files.default_folder())
    return GatewayPlan(
        name=GATEWAY,
        bind=_tcp_address(spec.host, spec.port or 0, GATEWAY, is_safe=spec.insecure or bool(spec.keys)),
        topology=spec.topology(),
        nodes=tuple(_node(executor, own_key, spec.insecure) for executor in spec.executors),
        env=spec.env,
        quiet_error=spec.quiet_error,
        timeout_ready=_seconds(spec.timeout_ready),
        start_method=_start_method(spec.start_method, spec.env),
        keys=spec.keys,
        identity=spec.keys or (key_files.default_folder() if calls_with_keys else ""),
    )


def _worker(
    spec: ExecutorSpec, link: str, replica: int, description: ExecutorDescription, bind: str | None
) -> WorkerPlan:
    return WorkerPlan(
        name=link,
        node=spec.name,
        description=description,
        runtime_args={
            "name": link,
            "replicas": spec.replicas,
            "replica_id": replica,
            "shards": 1,
            "shard_id": 0,
            "workspace": spec.workspace,
        },
        bind=bind,
        env=spec.env,
        quiet_error=spec.quiet_error,
        idempotent=spec.idempotent,
        timeout_ready=_seconds(spec.timeout_ready),
        start_method=_start_method(spec.start_method, spec.env),
        max_concurrency=spec.max_concurrency,
    )


def _node(spec: ExecutorSpec, own_key: str, insecure: bool) -> NodePlan:
    addresses = [f"tcp://{address}" for address in spec.addresses] if spec.external else [None] * spec.replicas
    known_by = spec.server_key if spec.external else own_key
    if isinstance(known_by, str):
        known_by = (known_by,) * len(addresses)
    for address, server_key in zip(spec.addresses, known_by):
        _check_way(spec.name, address, server_key, insecure)
    return NodePlan(
        name=spec.name,
        replicas=tuple(map(ReplicaPlan, _links(spec.name, len(addresses)), addresses, known_by)),
        retries=spec.retries,
        timeout_send=_seconds(spec.timeout_send),
        idempotent=spec.idempotent,
    )


def _links(name: str, replicas: int) -> list[str]:
    return [f"{name}/rep-{replica}" for replica in range(replicas)]


def _description(spec: ExecutorSpec) -> ExecutorDescription:
    try:
        return describe(
            spec.uses,
            uses_with=spec.uses_with,
            uses_metas=spec.uses_metas,
            uses_requests=spec.uses_requests,
            uses_dynamic_batching=spec.uses_dynamic_batching,
            py_modules=spec.py_modules,
        )
    except ConfigError as error:
        raise type(error)(f"{spec.name}: {error}" if spec.name else str(error)) from error


def _host(spec: ExecutorSpec) -> str:
    return spec.host if isinstance(spec.host, str) else spec.host[0]


def _checked_keys(folder: str) -> str:
    """Our own public key, where there is a folder of keys. Raises ConfigError where they cannot be used."""
    if not folder:
        return ""
    own = key_files.load(folder).public
    for fault in key_files.read_allowed(folder).faults:
        raise ConfigError(fault)
    return own


def _check_way(name: str, address: str, server_key: str, insecure: bool) -> None:
    host = split_host(address)[0]
    if not (server_key or insecure or is_loopback(host)):
        raise ConfigError(
            f"{name}: {address} is not on this host, and without keys anybody on the way could read, and be it; give "
            "server_key (what its public.key holds, see `zflow keygen`), or say insecure=True (--insecure)"
        )


def _bind(spec: ExecutorSpec, flow: FlowSpec) -> str | None:
    """Where its processes bind: a private ipc path unless a port was asked for."""
    host = _host(spec)
    if spec.port_in is not None:
        return _tcp_address(host, spec.port_in, spec.name, is_safe=flow.insecure or bool(flow.keys))
    if not is_loopback(host):
        raise ConfigError(
            f"{spec.name}: host {host!r} without port_in says nothing; give the port that it shall bind, or port_in "
            "and external=True for an Executor that runs there already"
        )
    return None


def _tcp_address(host: str, port: int, name: str, *, is_safe: bool) -> str:
    """Raises ConfigError for an address that others can reach, unless that was said to be wanted."""
    if not is_safe and not is_loopback(host):
        found = "" if name == GATEWAY else "; an Executor that runs there already needs external=True"
        raise ConfigError(
            f"{name}: binding {host} would let everybody who can reach this host call it; bind a loopback address "
            f"(127.0.0.1), give keys (`zflow keygen`, then keys=FOLDER, --keys or ZFLOW_KEYS), or say insecure=True "
            f"(--insecure){found}"
        )
    host = "127.0.0.1" if host == "localhost" else host
    return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None or milliseconds == FOR_EVER else milliseconds / 1000


def _start_method(asked: str, env: Mapping[str, str]) -> str:
    """A forked process is too late for some variables."""
    return "spawn" if any(name.startswith(_READ_AT_BIRTH) for name in env) else asked
