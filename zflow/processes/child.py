"""One process of a plan as its supervisor knows it: its state, its channel, its record of restarts."""

from __future__ import annotations

import enum
import sys
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

import msgpack

from zflow.config.plan import GatewayPlan, HeadPlan, WorkerPlan
from zflow.executor import Executor
from zflow.loading import ExecutorDescription
from zflow.preloading import has_preload
from zflow.processes.channel import Channel, Words
from zflow.processes.logs import Log
from zflow.processes.placement import Placement, common_env, placement_of
from zflow.processes.restart_policy import RestartPolicy

PeerPlan = WorkerPlan | GatewayPlan | HeadPlan

_APART = ExecutorDescription(Executor)  # stands in a plan for the one that travels beside it
# When memory runs out the kernel shall take a worker, which can be replaced, before what many callers are connected to,
# and that before the user's own process.
_OF_A_WORKER, _OF_A_GATEWAY = 500, 250


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
    bound: where this incarnation was told to bind. asked_where: it is late, and was asked what it is doing. kills: how
    often its end was ordered. link: by which heads ask it. is_member: whether they do. bind_later: where it shall bind
    besides, once its predecessor has left. preloads: where its Executor's `preload` runs: in a process that it is born
    of ("family"), in itself ("alone"), or only it can tell ("unknown"). comes_again: it ends to be born elsewhere.
    complaint: why the last incarnation that did not become ready did not. sources: the files and folders that its last
    incarnation was made of, where its plan wants to know.
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
        self.preloads = _where_it_preloads(plan)
        self.comes_again = False
        self.complaint = ""
        self.sources: tuple[Sequence[str], Sequence[str]] = ((), ())

    @property
    def preload(self) -> list[str]:
        """Modules that the warm parent imports before this one is born."""
        return [] if self.is_gateway or is_in_container(self.plan) else ["numpy"]

    @cached_property
    def placement(self) -> Placement:
        """Where it runs. Raises ConfigError where it asks for what is not here."""
        return placement_of(self.plan)

    @property
    def env(self) -> dict[str, str]:
        """What a fresh interpreter has in its environment besides."""
        return {} if is_in_container(self.plan) else {**common_env(self.plan), **self.placement.env}

    def family(self, words: Words) -> tuple[str, str, dict[str, str]] | None:
        """By its first words: the node whose family it belongs to, which edition of the Executor that has loaded, and
        what a fresh interpreter that founds it has in its environment."""
        if self.preloads != "family":
            return None
        import hashlib  # as above

        edition = hashlib.blake2b(msgpack.packb([words["executor"], words["env"]]), digest_size=16)
        return self.node, edition.hexdigest(), words["env"]

    @property
    def is_settled(self) -> bool:
        """Whether it is neither on its way out nor in: it serves, or has failed to."""
        return not self.comes_again and self.state is not State.STARTING

    def shall_become(self, plan: PeerPlan) -> None:
        """It ends to be born by another `plan`."""
        self.plan = plan
        vars(self).pop("placement", None)  # which has been worked out from the old one
        self.comes_again = True

    def shall_come_again(self, words: Words) -> None:
        """It has said that it must be born elsewhere."""
        self.comes_again = True
        self.preloads = words["again"]

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
        self.address, self.complaint = address, ""
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
        note: str = "",
    ) -> Words:
        """What it is told when it is born. Raises ConfigError for a plan that cannot travel."""
        from zflow.processes import parcel  # cloudpickle takes 25 ms, which pass while the warm parent starts

        plan, executor, placement = self.plan, b"", self.placement
        classes = (plan.description.target, plan.description.known) if isinstance(plan, WorkerPlan) else ()
        if isinstance(plan, WorkerPlan) and self.preloads == "family":  # which has unpacked it already
            executor = parcel.pack(self.name, plan.description, classes)
            plan = plan._replace(description=_APART)
        return {
            "name": self.name,
            "plan": parcel.pack(self.name, plan, classes),
            "executor": executor,
            "may_join": self.preloads == "unknown",
            "bind": bind,
            "note": note,
            "env": {} if is_in_container(plan) else common_env(plan),
            "is_shared": False,
            "own_env": placement.env,
            "cores": list(placement.cores),
            "oom_score_adj": _OF_A_GATEWAY if self.is_gateway else _OF_A_WORKER,
            "sys_path": [entry for entry in sys.path if isinstance(entry, str)],
            "argv": [str(argument) for argument in sys.argv],
            "addresses": dict(addresses),
            "replicas": {group: list(links) for group, links in (replicas or {}).items()},
            "level": log.level,
            "log_folder": log.folder,
            "voice": [log.quiet or plan.voice.quiet, plan.voice.quiet_error, plan.voice.config._asdict()],
        }


def is_in_container(plan: PeerPlan) -> bool:
    """Whether the process only attends to what serves: variables and modules are for that."""
    return isinstance(plan, WorkerPlan) and plan.container is not None


def _where_it_preloads(plan: PeerPlan) -> str:
    """As far as can be told without importing anything."""
    if not isinstance(plan, WorkerPlan) or not plan.may_share or plan.container is not None:
        return "alone"
    if plan.reload:
        return "unknown"  # the class that is known here may not be what its file holds by now
    target = plan.description.target
    known = target if isinstance(target, type) else plan.description.known
    if known is not None and has_preload(known):
        return "family"
    return "unknown" if isinstance(target, str) else "alone"
