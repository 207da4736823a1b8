"""Parts -> unit files of systemd, for a machine on which everything runs: an edge board, a server without containers.

Each process is a service of its own, restarted by systemd, in a target that starts and stops all of them. They find
each other at ports of loopback. A service is ready when its process says so, and a gateway or head that says nothing
for a while is ended; so is a worker for which somebody has said how long a call may take at most (timeout_send).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from zflow.config.cores import spelled
from zflow.config.deployment import DeploymentSpec
from zflow.config.keys import ALLOWED, SECRET
from zflow.config.references import is_reference
from zflow.exports.parts import GRACE, WORKER, Application, Part, front_words
from zflow.exports.secrets import variables_of

FIRST_PORT = 18080
_ALIVE = 30  # seconds without a sign of life
_LONGEST_USER = 31
_PLAIN = re.compile(r"[A-Za-z0-9_./:=,@+-]+")


class SystemdWishes(NamedTuple):
    """program: the zflow command. folder: in which Executors find their files. first_port: of the processes behind the
    front. config: the folder of the files that units read. gpus: Executors whose processes may see devices. host: where
    the entrance binds; all others bind loopback."""

    program: str
    folder: str
    first_port: int = FIRST_PORT
    config: str = "/etc/zflow"
    gpus: Mapping[str, int] = {}
    host: str = "127.0.0.1"


class Process(NamedTuple):
    """One of the replicas of a part. port: its own, on loopback."""

    part: Part
    unit: str
    port: int
    replica: int


def units(application: Application, wishes: SystemdWishes) -> dict[str, str]:
    """File name -> text. Raises ConfigError for what is no process of this machine."""
    processes = _processes(application, wishes)
    target = f"{application.name}.target"
    files = {target: _target(application, processes)}
    front = application.front
    if front is not None:
        addresses: dict[str, list[str]] = {}
        for process in processes:
            addresses.setdefault(process.part.group, []).append(f"127.0.0.1:{process.port}")
        text, name = front_words(application, addresses)
        files[f"{application.name}-{name}"] = text
    for process in processes:
        files[process.unit] = _service(process, application, wishes, target, processes)
    return files


def systemd_notes(application: Application, wishes: SystemdWishes, files: Sequence[str]) -> str:
    """What a person must do: where the files go, the secrets that none of them has, and the command."""
    configs = [name for name in files if name.endswith(".yml")]
    secret = sorted({name for part in application.parts for name in variables_of(part.env).secret})
    lines = ["Written by `zflow export systemd`. To have it run, as root and in this folder:", ""]
    lines += [f"    mkdir -p {wishes.config}"] if configs or secret else []
    lines += [f"    cp {name} {wishes.config}/" for name in configs]
    if secret:
        lines += [
            f"    install -m 600 /dev/null {wishes.config}/{application.name}.env",
            f"    (and write a line NAME=VALUE to it for each of {', '.join(secret)})",
        ]
    return "\n".join(
        [
            *lines,
            "    cp *.service *.target /etc/systemd/system/",
            "    systemctl daemon-reload",
            f"    systemctl enable --now {application.name}.target",
            "",
            f"The files of the Executors are expected in {wishes.folder}, readable for everybody.",
            "",
        ]
    )


def quoted(word: str) -> str:
    """One word of a command line: systemd has quotes, backslashes, ``%`` and ``$`` of its own."""
    if _PLAIN.fullmatch(word):
        return word
    return '"' + _escaped(word).replace("$", "$$") + '"'


def _escaped(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return escaped.replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")


def _processes(application: Application, wishes: SystemdWishes) -> list[Process]:
    made: list[Process] = []
    for part in application.parts:
        for replica in range(part.replicas):
            stem = part.name if part.name.startswith(application.name) else f"{application.name}-{part.name}"
            unit = f"{stem}-{replica}.service" if part.replicas > 1 else f"{stem}.service"
            port = application.port if part is application.entrance else wishes.first_port + len(made)
            made.append(Process(part, unit, port, replica))
    return made


def _target(application: Application, processes: list[Process]) -> str:
    return _file(
        [
            "[Unit]",
            f"Description=zflow: {application.name}",
            *(f"Wants={process.unit}" for process in processes),
            "",
            "[Install]",
            "WantedBy=multi-user.target",
        ]
    )


def _service(
    process: Process, application: Application, wishes: SystemdWishes, target: str, processes: list[Process]
) -> str:
    part, front = process.part, application.front
    behind = [other.unit for other in processes if part is front and other is not process]
    which = f", replica {process.replica}" if part.replicas > 1 else ""
    return _file(
        [
            "[Unit]",
            f"Description=zflow: {application.name}, {_escaped(part.group)}{which}",
            f"PartOf={target}",
            f"After={' '.join(['network.target', *behind])}",
            "StartLimitIntervalSec=0",
            "",
            "[Service]",
            "Type=notify",
            "NotifyAccess=main",
            f"ExecStart={' '.join(map(quoted, _command(process, application, wishes)))}{_own_keys(application)}",
            f"WorkingDirectory={_escaped(wishes.folder)}",
            *_environment(part, application, wishes),
            *_life(part, front),
            *_keys(application),
            *_hardening(process, application, wishes),
            "",
            "[Install]",
            f"WantedBy={target}",
        ]
    )


def _file(lines: list[str]) -> str:
    return "\n".join(
        ["# Written by `zflow export systemd`; changes made here are lost when it is written again.", *lines, ""]
    )


def _command(process: Process, application: Application, wishes: SystemdWishes) -> list[str]:
    part = process.part
    words = [wishes.program, *part.words]
    if part is application.front:
        _, name = front_words(application, {worker.group: ["127.0.0.1:1"] for worker in application.workers})
        words += ["--uses", f"{wishes.config}/{application.name}-{name}"]
    is_entrance, source = part is application.entrance, application.source
    host = wishes.host if is_entrance else "127.0.0.1"
    words += ["--host", host, "--port-in" if part.role == WORKER else "--port", str(process.port)]
    if is_entrance and (source.front if isinstance(source, DeploymentSpec) else source).insecure:
        words.append("--insecure")
    if part.keeps_data:
        words += ["--workspace", f"/var/lib/zflow/{application.name}"]
    return words


def _own_keys(application: Application) -> str:
    """Where systemd puts what LoadCredential names."""
    return " --keys ${CREDENTIALS_DIRECTORY}" if application.keys else ""


def _environment(part: Part, application: Application, wishes: SystemdWishes) -> list[str]:
    variables = variables_of(part.env)
    state = f"/var/lib/zflow/{application.name}"
    given = {"ZFLOW_WORKSPACE": state, "PYTHONUNBUFFERED": "1"}
    if any(map(is_reference, part.words)):
        given["ZFLOW_HUB_CACHE"] = f"{state}/.hub"  # a home that can be written to there is none
    given |= variables.shown
    lines = [f'Environment="{name}={_escaped(value)}"' for name, value in given.items()]
    if variables.secret:
        told = f"# {', '.join(variables.secret)}: not exported, expected in this file, which only root should read"
        lines += [told, f"EnvironmentFile={wishes.config}/{application.name}.env"]
    return lines


def _life(part: Part, front: Part | None) -> list[str]:
    start = "infinity" if part.timeout_ready is None else str(math.ceil(part.timeout_ready))
    lines = [f"TimeoutStartSec={start}", f"TimeoutStopSec={GRACE + 5}", "Restart=always", "RestartSec=2"]
    if part is front:
        lines.append(f"WatchdogSec={_ALIVE}")
    elif part.longest_call is not None:
        lines.append(f"WatchdogSec={math.ceil(part.longest_call) + _ALIVE}")
    lines.append("KillMode=mixed")
    if part.role == WORKER:
        lines.append("OOMScoreAdjust=500")
    if part.cpus is not None:
        lines.append(
            f"CPUAffinity={spelled(part.cpus)}" if isinstance(part.cpus, tuple) else f"CPUQuota={part.cpus}00%"
        )
    return lines


def _keys(application: Application) -> list[str]:
    """The service manager reads them, as root, and gives each process a copy that only it can read."""
    if not application.keys:
        return []
    return [f"LoadCredential={name}:{_escaped(application.keys)}/{name}" for name in (SECRET, ALLOWED)]


def _hardening(process: Process, application: Application, wishes: SystemdWishes) -> list[str]:
    """The user is made when a unit starts; all of this application share it, and what it has in /var/lib/zflow."""
    devices = "no" if wishes.gpus.get(process.part.node) else "yes"
    return [
        "DynamicUser=yes",
        f"User={f'zflow-{application.name}'[:_LONGEST_USER].rstrip('-')}",
        f"StateDirectory=zflow/{application.name}",
        f"RuntimeDirectory=zflow/{process.unit.removesuffix('.service')}",
        "UMask=0077",
        "NoNewPrivileges=yes",
        "CapabilityBoundingSet=",
        "ProtectSystem=strict",
        "ProtectHome=read-only",
        "PrivateTmp=yes",
        f"PrivateDevices={devices}",
        "ProtectClock=yes",
        "ProtectHostname=yes",
        "ProtectKernelTunables=yes",
        "ProtectKernelModules=yes",
        "ProtectKernelLogs=yes",
        "ProtectControlGroups=yes",
        "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK",
        "RestrictNamespaces=yes",
        "RestrictRealtime=yes",
        "RestrictSUIDSGID=yes",
        "LockPersonality=yes",
        "SystemCallArchitectures=native",
        "SystemCallFilter=@system-service",
        "SystemCallErrorNumber=EPERM",
    ]
