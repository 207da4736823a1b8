"""One process of a plan as its supervisor knows it: its state, its channel, its record of restarts."""

from __future__ import annotations

import enum
import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from zflow.config.plan import GatewayPlan, HeadPlan, WorkerPlan
from zflow.processes.channel import Channel, Words
from zflow.processes.logs import Log
from zflow.processes.restart_policy import RestartPolicy

PeerPlan = WorkerPlan | GatewayPlan | HeadPlan


class State(enum.Enum):
    """What a process is about to do.

    STARTING -> READY -> (ended unasked) RESTING or FAILED -> STARTING ...; any -> STOPPING -> GONE.
    """

    STARTING = "starting"
    READY = "ready"
    RESTING = "waiting to be restarted"
    FAILED = "failed"
    STOPPING = "stopping"
    GONE = "gone"


class ProcessStatus(NamedTuple):
    """What `Supervisor.status` tells of a process; pid is None while there is none."""

    name: str
    pid: int | None
    state: str
    restarts: int


class Child:
    """A process of `plan`, through all its incarnations.

    bind: where it was asked to be bound; for tcp what the first incarnation got, so that callers find the next one.
    due: when something is to be done about it: the end of its time to become ready, of its rest, or of its grace.
    bound: where this incarnation was told to bind. asked_where: it is late, and was asked what it is doing.
    kills: how often its end was ordered. link: by which heads ask it. is_member: whether they do. bind_later: where it
    shall bind besides, once its predecessor has left.
    """

    def __init__(self, plan: PeerPlan, link: str = "") -> None:
        self.plan = plan
        self.name = plan.name
        self.link = link or plan.name
        self.is_member = True
        self.bind_later = ""
        self.is_gateway = not isinstance(plan, WorkerPlan)  # or the head of a Deployment
        self.node = plan.node if isinstance(plan, WorkerPlan) else plan.name
        self.bind = plan.bind
        self.state = State.STARTING
        self.policy = RestartPolicy()
        self.channel: Channel | None = None
        self.pid: int | None = None
        self.address = ""
        self.restarts = 0
        self.due: float | None = None
        self.bound = ""
        self.asked_where = False
        self.kills = 0

    @property
    def preload(self) -> list[str]:
        """Modules that the warm parent imports before this one is born."""
        return [] if self.is_gateway else ["numpy"]

    @property
    def status(self) -> ProcessStatus:
        return ProcessStatus(self.name, self.pid, self.state.value, self.restarts)

    def born(self, channel: Channel, bind: str, now: float) -> None:
        """A process was asked for. Until its end is told it has a channel, and from its birth on a pid."""
        self.state = State.STARTING
        self.channel = channel
        self.bound = bind
        self.pid = None
        self.asked_where = False
        self.kills = 0
        timeout = self.plan.timeout_ready
        self.due = None if timeout is None else now + timeout

    def ready(self, address: str, now: float) -> None:
        self.state = State.READY
        self.due = None
        self.address = address
        if address.startswith("tcp://"):
            self.bind, self.bind_later = address, ""
        self.policy.ready(now)

    def ended(self) -> None:
        """Its process is no more. First the state: `status`, read by another thread, must not call nobody ready."""
        self.state = State.GONE
        if self.bind_later:
            self.bind, self.bind_later = self.bind_later, ""
        if self.channel is not None:
            self.channel.close()
        self.channel = None
        self.pid = None
        self.address = ""
        self.due = None

    def first_words(
        self,
        bind: str,
        addresses: Mapping[str, str],
        log: Log,
        replicas: Mapping[str, Sequence[str]] | None = None,
    ) -> Words:
        """What it is told when it is born. Raises ConfigError for a plan that cannot travel."""
        from zflow.processes import parcel  # cloudpickle takes 25 ms, which pass while the warm parent starts

        plan = self.plan
        classes = (plan.description.target, plan.description.known) if isinstance(plan, WorkerPlan) else ()
        return {
            "name": self.name,
            "plan": parcel.pack(self.name, plan, classes),
            "bind": bind,
            "env": dict(plan.env),
            "sys_path": [entry for entry in sys.path if isinstance(entry, str)],
            "argv": [str(argument) for argument in sys.argv],
            "addresses": dict(addresses),
            "replicas": {group: list(links) for group, links in (replicas or {}).items()},
            "level": log.level,
            "quiet": log.quiet,
            "quiet_error": plan.quiet_error,
        }
