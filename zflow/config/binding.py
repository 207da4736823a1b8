"""Where the processes of a plan bind, and who may therefore reach them: loopback, unless more was asked for aloud."""

from __future__ import annotations

from zflow.config.definition import is_container
from zflow.config.kinds import is_loopback, split_host
from zflow.config.spec import ExecutorSpec, FlowSpec
from zflow.errors import ConfigError
from zflow.topology import GATEWAY


def host_of(spec: ExecutorSpec) -> str:
    return spec.host if isinstance(spec.host, str) else spec.host[0]


def check_way(name: str, address: str, server_key: str, insecure: bool) -> None:
    host = split_host(address)[0]
    if not (server_key or insecure or is_loopback(host)):
        raise ConfigError(
            f"{name}: {address} is not on this host, and without keys anybody on the way could read, and be it; give "
            "server_key (what its public.key holds, see `zflow keygen`), or say insecure=True (--insecure)"
        )


def bind_of(spec: ExecutorSpec, flow: FlowSpec) -> str | None:
    """Where its processes bind: a private ipc path unless a port was asked for."""
    host = host_of(spec)
    if spec.port_in is not None and is_container(spec.uses):
        raise ConfigError(
            f"{spec.name}: port_in: no port leads into its container; leave port_in out and ask the Flow, or let it "
            "stand alone behind a head (zflow executor --uses docker://... --port-in)"
        )
    if spec.port_in is not None:
        if flow.keys and (spec.reload or spec.restart):
            raise ConfigError(
                f"{spec.name}: reload and restart cannot renew an Executor that has keys and a port of its own; leave "
                "port_in out, or let it stand alone (zflow executor --reload)"
            )
        return tcp_address(host, spec.port_in, spec.name, is_safe=flow.insecure or bool(flow.keys))
    if not is_loopback(host):
        raise ConfigError(
            f"{spec.name}: host {host!r} without port_in says nothing; give the port that it shall bind, or port_in "
            "and external=True for an Executor that runs there already"
        )
    return None


def tcp_address(host: str, port: int, name: str, *, is_safe: bool) -> str:
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
