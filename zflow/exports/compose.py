"""Parts -> a document of the Compose specification, as a dict.

Each part is a service; its replicas are containers that share its name, which front parts look up. Executors are in a
network without a way out, and only the entrance has a port on this host, bound to loopback. Whether a container is
healthy is read from the kernel's table of listening sockets: an Executor binds its port when it is ready, and no
interpreter need be started every few seconds to find that out.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from zflow.config.cores import THREAD_LIMITS, spelled
from zflow.config.keys import ALLOWED, SECRET
from zflow.exports.parts import (
    GRACE,
    WORKER,
    WORKSPACE,
    Application,
    Part,
    binding_words,
    check_reachable,
    front_words,
)
from zflow.exports.secrets import variables_of

USER = "65532:65532"
_KEYS = "/run/secrets"
_INSIDE, _OUTSIDE = "inside", "outside"
_FOR_EVER = 86_400


class ComposeWishes(NamedTuple):
    """network: its name; empty for one of the project. user: as whom containers run. gpus: of each container of an
    Executor. shm_size: of /dev/shm. internal: Executors reach nothing but each other. publish: where the entrance's
    port is bound on this host."""

    network: str = ""
    user: str = USER
    gpus: Mapping[str, int] = {}
    shm_size: str = "64m"
    internal: bool = True
    publish: str = "127.0.0.1"


def compose_document(application: Application, wishes: ComposeWishes) -> dict[str, Any]:
    """The whole document. Raises ConfigError for what containers cannot have."""
    check_reachable(application)
    volumes: dict[str, Any] = {_volume(part): {} for part in application.workers if _is_kept(part)}
    document: dict[str, Any] = {
        "services": {part.name: _service(part, application, wishes) for part in application.parts},
        "networks": {
            _INSIDE: {**({"name": wishes.network} if wishes.network else {}), "internal": wishes.internal},
            **({_OUTSIDE: {}} if application.entrance is not None else {}),
        },
    }
    if volumes:
        document["volumes"] = volumes
    if application.keys:
        files = {name: os.path.join(application.keys, name) for name in (SECRET, ALLOWED)}
        document["secrets"] = {_secret(name): {"file": escaped(path)} for name, path in files.items()}
    return document


def escaped(text: str) -> str:
    """Compose puts variables in for ``$NAME``, wherever it stands."""
    return text.replace("$", "$$")


def _service(part: Part, application: Application, wishes: ComposeWishes) -> dict[str, Any]:
    is_entrance = part is application.entrance
    service: dict[str, Any] = {
        "image": escaped(part.image),
        "entrypoint": [escaped(word) for word in part.entrypoint],
        "command": [escaped(word) for word in _command(part, application)],
        "environment": _environment(part),
        "networks": [_INSIDE, *([_OUTSIDE] if is_entrance else [])],
        "restart": "unless-stopped",
        "stop_grace_period": f"{GRACE + 5}s",
        "init": True,
        "read_only": True,
        "user": wishes.user,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "pids_limit": 256,
        "shm_size": wishes.shm_size,
        "tmpfs": ["/tmp", *([] if _is_kept(part) or part.has_own_workspace else [_scratch(wishes.user)])],
        "healthcheck": _health(part),
    }
    if is_entrance:
        service["ports"] = [f"{wishes.publish}:{application.port}:{part.port}"]
    if part.replicas > 1:
        service["scale"] = part.replicas
    if volumes := _volumes(part):
        service["volumes"] = volumes
    if application.keys:
        service["secrets"] = [{"source": _secret(name), "target": name} for name in (SECRET, ALLOWED)]
    if part is application.front and application.workers:
        service["depends_on"] = {worker.name: {"condition": "service_healthy"} for worker in application.workers}
    return {**service, **_resources(part, wishes)}


def _scratch(user: str) -> str:
    """A workspace that is forgotten. Its owner is named: an image that has the folder gives its mode to what is mounted
    there, whatever mode is asked for (runc), but not its owner."""
    uid, _, gid = user.partition(":")
    return f"{WORKSPACE}:uid={uid},gid={gid}"


def _command(part: Part, application: Application) -> list[str]:
    words = list(part.words)
    if part is application.front:
        addresses = {worker.group: [f"{worker.name}:{worker.port}"] for worker in application.workers}
        words += ["--uses", front_words(application, addresses)[0]]
    if part.keeps_data:
        words += ["--workspace", WORKSPACE]
    return words + binding_words(application, part, _KEYS)


def _environment(part: Part) -> dict[str, str]:
    """A variable that looks like a secret is taken over from where Compose runs, and demanded there."""
    variables = variables_of(part.env)
    limits = {name: str(part.cpus) for name in THREAD_LIMITS if isinstance(part.cpus, int) and name not in part.env}
    secret = {name: f"${{{name}:?is not exported because it looks like a secret}}" for name in variables.secret}
    return {
        "ZFLOW_WORKSPACE": WORKSPACE,
        **limits,
        **{name: escaped(value) for name, value in variables.shown.items()},
        **secret,
    }


def _health(part: Part) -> dict[str, Any]:
    """A line of /proc/net/tcp: any address, the port in hexadecimal, nobody at the other end, state LISTEN (0A)."""
    start = _FOR_EVER if part.timeout_ready is None else max(1, round(part.timeout_ready))
    return {
        "test": ["CMD", "grep", "-q", f":{part.port:04X} 00000000:0000 0A ", "/proc/net/tcp"],
        "interval": "2s",
        "timeout": "5s",
        "retries": 3,
        "start_period": f"{start}s",
    }


def _resources(part: Part, wishes: ComposeWishes) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if isinstance(part.cpus, tuple):
        found["cpuset"] = spelled(part.cpus)
    elif part.cpus is not None:
        found["cpus"] = float(part.cpus)
    gpus = str(wishes.gpus.get(part.node, "")) or part.gpus
    if gpus not in ("", "0") and part.role == WORKER:
        found["deploy"] = {"resources": {"reservations": {"devices": [_devices(gpus)]}}}
    return found


def _is_kept(part: Part) -> bool:
    """Whether its workspace is a volume of the engine's."""
    return part.keeps_data and not part.has_own_workspace


def _volumes(part: Part) -> list[Any]:
    """Folders of this machine are bound in the long form, in which the engine makes none that is not there."""
    bound = [
        {"type": "bind", "source": escaped(source), "target": escaped(target), "read_only": read_only}
        for source, target, read_only in part.volumes
    ]
    return [*([f"{_volume(part)}:{WORKSPACE}"] if _is_kept(part) else []), *bound]


def _devices(gpus: str) -> dict[str, Any]:
    kind, _, which = gpus.rpartition("=")
    wanted = {"device_ids": which.split(",")} if kind else {"count": which if which == "all" else int(which)}
    return {"driver": "nvidia", **wanted, "capabilities": ["gpu"]}


def _volume(part: Part) -> str:
    return f"{part.name}-workspace"


def _secret(name: str) -> str:
    return f"zflow-{name.replace('.', '-')}"
