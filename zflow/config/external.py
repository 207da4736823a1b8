"""Where an Executor is, by options that must fit each other: what makes sense only for one that runs already
(external), and what makes none for it; what makes sense only for one in a container."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zflow.config.definition import is_container
from zflow.config.kinds import split_host
from zflow.config.places import Place

if TYPE_CHECKING:
    from zflow.config.spec import ExecutorSpec

_OF_A_CONTAINER = ("volumes", "gpus", "entrypoint", "docker_kwargs")
_OF_A_PROCESS = (  # options that say how to start one
    *("uses", "uses_with", "uses_metas", "uses_requests", "uses_dynamic_batching", "py_modules"),
    "install_requirements",
    *("workspace", "replicas", "env", "max_concurrency", "cpus", "timeout_ready", "start_method", "reload", "restart"),
    *_OF_A_CONTAINER,
)
_OF_SHARDS = ("shards", "polling", "uses_before", "uses_after", "allow_partial")


def check_addresses(spec: ExecutorSpec, place: Place) -> None:
    """Raise ConfigError for what does not fit the place of this Executor, and for the absence of what must be there."""
    hosts = (spec.host,) if isinstance(spec.host, str) else spec.host
    ports = [split_host(host)[1] for host in hosts]
    if not spec.external and spec.server_key:
        raise place.down("server_key").fault("it is for external=True; the Executors of this Flow have the Flow's keys")
    if isinstance(spec.server_key, tuple) and len(spec.server_key) != len(hosts):
        told = f"{len(spec.server_key)} keys for {len(hosts)} hosts; give one for all, or one for each"
        raise place.down("server_key").fault(told)
    if not spec.external:
        if len(hosts) > 1 or ports[0] is not None:
            told = "several hosts, or a host with a port, are for external=True"
            raise place.down("host").fault(f"{told}; an Executor of the Flow binds one host, and port_in")
        return
    for name in _OF_A_PROCESS:
        if name in spec.given:
            told = f"an external Executor runs already and is not started by this Flow; remove {name}"
            raise place.down(name).fault(told + (" and list its addresses in host" if name == "replicas" else ""))
    for name in _OF_SHARDS:
        if name in spec.given:
            told = f"the shards of an external Executor are its own head's affair; remove {name}"
            raise place.down(name).fault(f"{told}, and give it where the Executor is started (zflow executor --shards)")
    if not spec.port_in and not all(ports):
        raise place.down("port_in").fault("an external Executor is found by host and port_in; give its port")
    if spec.port_in and any(ports):
        raise place.down("port_in").fault("host names a port as well; give the port once")


def check_containers(spec: ExecutorSpec, place: Place) -> None:
    """Raise ConfigError for options of a container where there is none."""
    if not any(is_container(uses) for uses in (spec.uses, spec.uses_before, spec.uses_after)):
        for name in _OF_A_CONTAINER:
            if spec.given.get(name):
                raise place.down(name).fault("this is for a container; name an image in uses: docker://image:tag")
