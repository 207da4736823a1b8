"""Where on this machine each process of an Executor runs: the device that it sees, the cores that it is kept on.

Decided by whoever starts a process, from its number among those of its Executor; so it stays when it is started again,
and whoever is added goes on where the others ended.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Sequence
from typing import NamedTuple

from zflow.config import devices, environment
from zflow.config.cores import THREAD_LIMITS, cores_of, spelled
from zflow.config.devices import VARIABLE
from zflow.config.plan import GatewayPlan, HeadPlan, WorkerPlan
from zflow.errors import ConfigError

_TOTAL = "CUDA_TOTAL_DEVICES"
_DRIVER = "/proc/driver/nvidia/gpus"
_PATIENCE = 5.0  # seconds for nvidia-smi


class Placement(NamedTuple):
    """env: variables of this process alone. cores: that it is kept on; empty for all of them."""

    env: dict[str, str]
    cores: tuple[int, ...] = ()


class Devices(NamedTuple):
    """names: of all that can be seen here; None if nobody knows. source: who says so."""

    names: tuple[str, ...] | None
    source: str


def placement_of(plan: WorkerPlan | GatewayPlan | HeadPlan) -> Placement:
    """Where the process of `plan` shall run. Raises ConfigError where it asks for what is not here."""
    if not isinstance(plan, WorkerPlan):
        return Placement({})
    env: dict[str, str] = {}
    cores: tuple[int, ...] = ()
    try:
        asked = _devices_asked(plan)
        if asked:
            env[VARIABLE] = devices.device_of(_turn(plan), asked, devices_here().names)
        if plan.cpus is not None:
            cores = cores_of(_turn(plan), plan.cpus, cores_here())
            env.update({name: str(len(cores)) for name in THREAD_LIMITS if name not in plan.env})
    except ConfigError as error:
        raise ConfigError(f"{plan.node}: {error}") from None
    return Placement(env, cores)


def common_env(plan: WorkerPlan | GatewayPlan | HeadPlan) -> dict[str, str]:
    """What is the same for all processes of an Executor."""
    return {name: value for name, value in plan.env.items() if name != VARIABLE or not devices.is_in_turn(value)}


def lines_about(plans: Sequence[object]) -> list[str]:
    """One line for every Executor whose processes are given something: which of them gets what."""
    lines = []
    workers = [plan for plan in plans if isinstance(plan, WorkerPlan)]
    for node in dict.fromkeys(plan.node for plan in workers):
        members = [plan for plan in workers if plan.node == node]
        if _devices_asked(members[0]):
            got = ", ".join(f"{_short(plan)}: {placement_of(plan).env[VARIABLE]}" for plan in members)
            lines.append(f"{node}: {VARIABLE} is {got} ({devices_here().source})")
        if members[0].cpus is not None:
            got = ", ".join(f"{_short(plan)}: {spelled(placement_of(plan).cores)}" for plan in members)
            kept = "" if hasattr(os, "sched_setaffinity") else "; this system cannot keep them there"
            lines.append(f"{node}: cores are {got}{kept}")
    return lines


def keep_on(cores: Sequence[int]) -> None:
    """Keep this process, and all threads that it will have, on `cores`: those of ZeroMQ are started later."""
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)


def cores_here() -> Sequence[int]:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return range(os.cpu_count() or 1)


def devices_here() -> Devices:
    """The devices that can be seen here, and who says so."""
    visible = environment.foreign(VARIABLE)
    if visible is not None and not devices.is_in_turn(visible):
        names = tuple(name.strip() for name in visible.split(",") if name.strip())
        return Devices(names, f"of {visible}, which {VARIABLE} allows here")
    total = environment.foreign(_TOTAL)
    if total is not None:
        if not total.isdigit():
            raise ConfigError(f"{_TOTAL}: expected the number of devices, got {total!r:.80}")
        return _numbered(int(total), _TOTAL)
    return _counted()


def _numbered(count: int, source: str) -> Devices:
    return Devices(tuple(map(str, range(count))), f"of {count}, says {source}")


@functools.cache
def _counted() -> Devices:
    with contextlib.suppress(OSError):
        return _numbered(len(os.listdir(_DRIVER)), "the driver")
    import subprocess  # 8 ms that a fork need not wait for

    with contextlib.suppress(OSError, subprocess.SubprocessError):
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=_PATIENCE, check=True)
        return _numbered(sum(line.startswith("GPU ") for line in listed.stdout.splitlines()), "nvidia-smi")
    return Devices(None, f"how many there are is not known, so replicas are counted; set {_TOTAL} to tell")


def _devices_asked(plan: WorkerPlan) -> str:
    """How devices are to be given out; empty if they are not. The Flow's own environment counts, as a user's word."""
    value = plan.env.get(VARIABLE) or environment.foreign(VARIABLE) or ""
    return value if devices.is_in_turn(value) else ""


def _turn(plan: WorkerPlan) -> int:
    """Its number among all processes of its Executor."""
    known = plan.runtime_args
    return int(known.get("shard_id") or 0) * int(known.get("replicas") or 1) + int(known.get("replica_id") or 0)


def _short(plan: WorkerPlan) -> str:
    return plan.name.removeprefix(f"{plan.node}/")
