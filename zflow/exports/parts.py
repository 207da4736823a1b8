"""What an application is made of when an engine starts its processes: its parts, and how they know each other.

A part is what the engine starts once or several times: the replicas of one shard, an Executor before or after shards,
a gateway, or the head of an Executor that stands alone. The gateway holds the heads of its Flow inside itself, as
everywhere. Parts differ from the plan of a Flow on one host in addresses only; those are the engine's affair, which
gives them to `front_words`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from zflow.config.container_options import Volume
from zflow.config.definition import is_container
from zflow.config.deployment import DeploymentSpec
from zflow.config.devices import VARIABLE, is_in_turn
from zflow.config.images import image_of, name_of
from zflow.config.kinds import FOR_EVER, is_loopback, split_host
from zflow.config.log_config import as_map, read_log_config
from zflow.config.options import options_of
from zflow.config.peers import groups_of
from zflow.config.plain_yaml import dump
from zflow.config.spec import ExecutorSpec, FlowSpec
from zflow.errors import ConfigError
from zflow.exports.images import Images, words_of

WORKER, HEAD, GATEWAY = "worker", "head", "gateway"
PORT = 8080
GRACE = 25  # seconds that zflow takes to drain at most, see processes/lifeline.py
WORKSPACE = "/workspace"
_OF_THE_GRAPH = (
    *("when", "floating", "quorum", "within", "on_timeout", "no_reduce", "timeout_send", "retries", "idempotent"),
    *("host", "port_in", "server_key", "external", "shards", "polling", "allow_partial"),
)
_LONGEST_NAME = 52  # of 63 that DNS allows: engines append to it
_ELSEWHERE = "Elsewhere"  # of a class that nobody here will look for


class Part(NamedTuple):
    """name: in DNS. node: the Executor's. group: what the peers of a front call it. words: for zflow. timeout_ready
    and longest_call in seconds; None for ever, or not known."""

    name: str
    role: str
    node: str
    group: str
    image: str
    words: tuple[str, ...]
    port: int = PORT
    replicas: int = 1
    env: Mapping[str, str] = {}
    keeps_data: bool = False
    timeout_ready: float | None = 600.0
    longest_call: float | None = None
    cpus: int | tuple[int, ...] | None = None
    entrypoint: tuple[str, ...] = ("zflow",)
    volumes: tuple[Volume, ...] = ()
    gpus: str = ""

    @property
    def has_own_workspace(self) -> bool:
        """Whether one of its volumes is mounted where others get theirs."""
        return any(volume.target == WORKSPACE for volume in self.volumes)


class Application(NamedTuple):
    """name: in DNS. workers: in the order of the graph. front: the gateway or head before them, None where the only
    process is asked itself. port: by which others ask. keys: the folder of the keys that all parts have, or empty.
    """

    name: str
    workers: tuple[Part, ...]
    front: Part | None
    port: int
    keys: str
    source: FlowSpec | DeploymentSpec

    @property
    def parts(self) -> tuple[Part, ...]:
        return (*self.workers, *((self.front,) if self.front is not None else ()))

    @property
    def entrance(self) -> Part | None:
        """Who is asked from outside; None where there is nobody in particular."""
        return self.front or (self.workers[0] if isinstance(self.source, DeploymentSpec) else None)


def parts_of_flow(spec: FlowSpec, images: Images, *, include_gateway: bool = True) -> Application:
    """A Flow. Raises ConfigError, naming the Executor, for what no engine can run."""
    spec.topology()
    local = [executor for executor in spec.executors if not executor.external]
    workers = tuple(part for executor in local for part in _workers(executor, images))
    front = None
    if include_gateway:
        front = Part("gateway", GATEWAY, "gateway", "gateway", images.front, ("gateway",), env=spec.env)
    name = dns_name(spec.name, "name")
    return _checked(Application(name, workers, front, spec.port or PORT, spec.keys, spec))


def parts_of_deployment(deployment: DeploymentSpec, images: Images) -> Application:
    """One Executor that stands alone: its one process, or a head before several. Raises ConfigError."""
    executor, front_spec = deployment.executor, deployment.front
    if not executor.name:
        executor = replace(executor, name=_name_of(executor.uses))
        deployment = deployment._replace(executor=executor)
    workers = tuple(_workers(executor, images))
    front = None
    if not executor.is_one_process:
        name, node = f"{dns_name(executor.name)}-head", executor.name
        front = Part(name, HEAD, node, f"{node}/head", images.front, ("head",), env=executor.env)
    name, port = dns_name(executor.name), deployment.port or PORT
    if front is None:
        workers = tuple(part._replace(port=port) for part in workers)
    return _checked(Application(name, workers, front, port, front_spec.keys, deployment))


def _workers(spec: ExecutorSpec, images: Images) -> Iterator[Part]:
    if is_in_turn(spec.env.get(VARIABLE, "")):
        told = "devices are given to containers by their engine; remove it from env, and give gpus"
        raise ConfigError(f"{spec.name}: {VARIABLE}={spec.env[VARIABLE]}: {told}")
    for option in ("reload", "restart"):
        if getattr(spec, option):
            raise ConfigError(f"{spec.name}: {option} is for development, where files change; leave it out")
    if spec.docker_kwargs:
        told = "is for containers that zflow starts itself; leave it out, and say it in the files that are written"
        raise ConfigError(f"{spec.name}: docker_kwargs {told}")
    for group in groups_of(spec):
        _, _, kind = group.partition("/")
        around = {"uses-before": spec.uses_before, "uses-after": spec.uses_after}
        uses = around[kind] if kind in around else spec.uses
        alone = replace(spec, shards=1, replicas=1, uses=uses) if kind in around else spec
        if kind in around:
            alone = replace(alone, uses_with={}, uses_metas={}, uses_requests={}, uses_dynamic_batching={})
        name = spec.name if kind not in around else f"{spec.name}_{kind.removeprefix('uses-')}"
        words = ["executor", "--name", name, *words_of(alone, uses, images.folder)]
        if log_config := _log_config(spec, spec.name, is_image=not images.native):
            words += ["--log-config", json.dumps(log_config)]
        if kind.startswith("shard-"):
            words += ["--shards", str(spec.shards), "--shard-id", kind.removeprefix("shard-")]
        yield Part(
            name=dns_name(f"{name}-{kind}" if kind.startswith("shard-") else name),
            role=WORKER,
            node=spec.name,
            group=group,
            image=images.of(spec, uses),
            words=tuple(words),
            port=spec.port_in or PORT,
            replicas=1 if kind in around else spec.replicas,
            env=spec.env,
            keeps_data=bool(spec.workspace) and kind not in around,
            timeout_ready=_seconds(spec.timeout_ready),
            longest_call=_seconds(spec.timeout_send),
            cpus=spec.cpus,
            **(_of_a_container(spec) if is_container(uses) else {}),
        )


def _of_a_container(spec: ExecutorSpec) -> dict[str, Any]:
    volumes = tuple(map(Volume.of, spec.volumes))
    return {"entrypoint": spec.entrypoint or ("zflow",), "volumes": volumes, "gpus": spec.gpus}


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None or milliseconds == FOR_EVER else milliseconds / 1000


def front_words(application: Application, addresses: Mapping[str, Sequence[str]]) -> tuple[str, str]:
    """What the gateway or head is told: its YAML, and the kind of it. addresses: of each group, host:port."""
    source = application.source
    peers = {part.group: list(addresses[part.group]) for part in application.workers}
    if isinstance(source, DeploymentSpec):
        executor = source.executor
        options = {"name": executor.name, **_graph_options(executor), **_logs(application, executor), "peers": peers}
        return dump({"jtype": "Deployment", "version": "1", "with": options}), "deployment.yml"
    executors = [
        {"name": executor.name, "needs": list(executor.needs), **_graph_options(executor)}
        for executor in source.executors
    ]
    options = {**_logs(application, source), **({"peers": peers} if peers else {})}
    flow = {"jtype": "Flow", "version": "1", "with": options}
    return dump({**flow, "executors": executors}), "flow.yml"


def _logs(application: Application, spec: FlowSpec | ExecutorSpec) -> dict[str, Any]:
    """What is said of the logs of the front."""
    is_image = application.front is not None and bool(application.front.image)
    log_config = _log_config(spec, "the front", is_image=is_image)
    told = {name: True for name in ("quiet", "quiet_error") if getattr(spec, name)}
    return {**told, **({"log_config": log_config} if log_config else {})}


def _log_config(spec: FlowSpec | ExecutorSpec, name: str, *, is_image: bool) -> dict[str, Any]:
    """log_config without the file that it may stand in. Raises ConfigError for lines that would go with a container."""
    config = read_log_config(spec.log_config)
    if config.file and is_image:
        raise ConfigError(
            f"{name}: log_config.file: {config.file} would be inside a container, and gone with it; leave `file` out, "
            "and let the engine keep what is written to stderr"
        )
    return as_map(config)


def binding_words(application: Application, part: Part, keys: str) -> list[str]:
    """Where a part in a container binds, and who may call it. keys: the folder in which it finds them."""
    flag = "--port-in" if part.role == WORKER else "--port"
    words = ["--host", "0.0.0.0", flag, str(part.port)]
    source = application.source
    front = source.front if isinstance(source, DeploymentSpec) else source
    words += ["--keys", keys] if application.keys else []
    return words + (["--insecure"] if not application.keys or (front.insecure and part.role != WORKER) else [])


def check_reachable(application: Application) -> None:
    """Raise ConfigError for external Executors that a container cannot find, or cannot prove to who it is."""
    source = application.source
    for executor in source.executors if isinstance(source, FlowSpec) else ():
        if executor.server_key and not application.keys:
            raise ConfigError(f"{executor.name}: server_key: who asks it needs keys as well; give the Flow keys=FOLDER")
        for address in executor.addresses:
            if is_loopback(split_host(address)[0]):
                told = "inside a container that is the container itself; name the host by which others reach it"
                raise ConfigError(f"{executor.name}: {address}: {told}")


def dns_name(name: str, place: str = "") -> str:
    """`name` as DNS, Compose and Kubernetes can have it: lower case, with hyphens. Raises ConfigError."""
    made = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    made = made if made[:1].isalpha() else f"x{made}" if made else ""
    if not made or len(made) > _LONGEST_NAME:
        raise ConfigError(f"{place or name}: no name for DNS can be made of {name!r:.80}; use at most 50 letters")
    return made


def _graph_options(spec: ExecutorSpec) -> dict[str, Any]:
    given = {item.name: spec.given.get(item.name) for item in options_of(ExecutorSpec)}
    entry = {name: given[name] for name in _OF_THE_GRAPH if given[name] is not None}
    if not spec.external:
        entry.pop("host", None)
        entry.pop("port_in", None)
    for name in ("uses_before", "uses_after"):
        if getattr(spec, name) is not None:
            entry[name] = _ELSEWHERE
    return {name: list(value) if isinstance(value, tuple) else value for name, value in entry.items()}


def _name_of(uses: Any) -> str:
    if is_container(uses):
        return name_of(image_of(uses))
    if isinstance(uses, type):
        stem = uses.__name__
    elif isinstance(uses, dict):
        stem = str(uses["jtype"])
    else:
        stem = "executor" if uses is None else str(uses).rpartition("/")[2].rpartition(":")[2].partition(".")[0]
    made = re.sub(r"\W", "_", stem)
    return made if made[:1].isalpha() else f"x{made}"


def _checked(application: Application) -> Application:
    seen: dict[str, str] = {}
    for part in application.parts:
        if part.name in seen:
            told = f"DNS knows no difference between {seen[part.name]} and {part.group}: both would be {part.name}"
            raise ConfigError(f"{told}; give one of them another name")
        seen[part.name] = part.group
    return application
