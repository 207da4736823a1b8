"""Brings replicas into service and out of it: what turnovers decide is carried out here, on the supervisor's thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

from zflow.config.plan import GatewayPlan, HeadPlan, WorkerPlan
from zflow.errors import PortInUse, StartError
from zflow.processes.announcing import Announcer
from zflow.processes.channel import Words
from zflow.processes.child import Child, State
from zflow.processes.lifeline import CLOSE_PATIENCE, GRACE
from zflow.processes.roster import Roster
from zflow.processes.turnover import Turnover
from zflow.roles.contract import group_of

MARGIN = CLOSE_PATIENCE + 0.75  # a child ends itself by force, and is killed only when even that failed
_FOR_EVER = 86_400.0  # seconds that one may finish in which may take for ever to start
_NOT_READY = 2.0  # seconds to end for one that nobody has asked anything yet

clock = time.monotonic


class Staff:
    """Those who come and go in `roster`.

    give_birth: starts the process of a child; raises ZflowError or OSError. say: says words to one. forget: tidies up
    after one that has left. notify: wakes whoever watches the progress.
    """

    def __init__(
        self,
        roster: Roster,
        announcer: Announcer,
        *,
        give_birth: Callable[[Child], None],
        say: Callable[[Child, Words], None],
        forget: Callable[[Child], None],
        notify: Callable[[], None],
    ) -> None:
        self._roster = roster
        self._announcer = announcer
        self._give_birth = give_birth
        self._say = say
        self._forget = forget
        self._notify = notify
        self._turnovers: dict[Child, Turnover] = {}  # of those who are coming or going

    def begin(self, turnover: Turnover) -> None:
        turnover.begin(self, self._roster.serving(turnover.node))

    def tell(self, node: str, text: str) -> bool:
        """Have one of those that serve `node` log `text`. Returns whether there is one."""
        present = [child for child in self._roster.serving(node) if child.channel is not None]
        for child in present[:1]:
            self._say(child, {"log": text})
        return bool(present)

    def change_front(self, plan: GatewayPlan | HeadPlan, asked: threading.Event) -> None:
        """Have the process in front end in order, and be born by another `plan`. asked: is set when it is told to."""
        front = self._roster.gateway
        assert front is not None
        front.shall_become(plan)
        asked.set()
        if front.channel is None:  # it has ended by itself, and is about to be started again
            front.comes_again = False
            return
        front.state = State.STOPPING
        front.due = clock() + GRACE + MARGIN
        self._say(front, {"stop": GRACE})

    def is_coming(self, child: Child) -> bool:
        """Whether it is started for the first time, and nobody counts on it yet."""
        return not child.is_member and child in self._turnovers

    # -- what happens to those who come and go -------------------------------------------------------------------------

    def became_ready(self, child: Child) -> None:
        if child.is_member:
            self._announcer.address(child.link, _as_seen_from_here(child.address))
        else:
            self._turnovers[child].became_ready(child)
        if child.bind_later:
            self._say(child, {"bind": child.bind_later})

    def could_not_start(self, child: Child, error: StartError | PortInUse) -> None:
        self._turnovers[child].could_not_start(child, error)

    def ended(self, child: Child, how: str) -> bool:
        """Returns whether it has left for good; otherwise it is to be started again."""
        if child.is_member:
            if child.bind is not None:  # it may have been asked to take it over, and binds it when it is born again
                self._took_port(child, None)
            return False
        self._roster.remove(child)
        self._forget(child)
        turnover = self._turnovers.pop(child, None)
        if turnover is not None:
            turnover.ended(child, how)
        return True

    def bound(self, child: Child, address: str) -> None:
        child.bind, child.bind_later = address, ""
        self._took_port(child, None)

    def not_bound(self, child: Child, why: str) -> None:
        child.bind_later = ""
        self._took_port(child, PortInUse(f"{child.name} serves this Flow, but not at its port: {why}"))

    def abandon(self, error: Exception) -> None:
        """Everything ends."""
        for turnover in list(self._turnovers.values()):
            turnover.abandon(error)

    def _took_port(self, child: Child, error: Exception | None) -> None:
        turnover = self._turnovers.pop(child, None)
        if turnover is not None:
            turnover.took_port(child, error)

    # -- what turnovers have done --------------------------------------------------------------------------------------

    def bear(self, plan: WorkerPlan, turnover: Turnover) -> Child:
        child = self._roster.add(plan)
        if turnover.renews:
            child.bind = None
        try:
            self._give_birth(child)
        except BaseException:
            self._roster.remove(child)
            raise
        self._turnovers[child] = turnover
        return child

    def admit(self, newcomer: Child, instead_of: Child | None, turnover: Turnover) -> None:
        newcomer.is_member = True
        if instead_of is None or instead_of.bind is None:
            self._turnovers.pop(newcomer, None)
        leaving = [] if instead_of is None else [instead_of]
        self._dismiss(leaving, turnover, {newcomer.link: _as_seen_from_here(newcomer.address)})

    def dismiss(self, children: Sequence[Child], turnover: Turnover) -> None:
        members = [child for child in children if child.is_member]
        if members:
            self._dismiss(members, turnover, {})
        for child in children:
            if child not in members:
                self._end(child)

    def take_port(self, child: Child, address: str) -> None:
        child.bind_later = address
        if child.state is State.READY:
            self._say(child, {"bind": address})
        elif child.channel is None:  # it has ended meanwhile: it will be born there
            self.bound(child, address)

    def changed(self) -> None:
        self._notify()

    def _dismiss(self, leaving: Sequence[Child], turnover: Turnover, addresses: dict[str, str]) -> None:
        for child in leaving:
            child.is_member = False
            self._turnovers[child] = turnover
        for group in dict.fromkeys([group_of(link) for link in [*addresses, *(child.link for child in leaving)]]):
            those = [child for child in leaving if group_of(child.link) == group]
            self._announcer.replicas(
                group, self._roster.links(group), addresses, partial(self._end_all, those), clock()
            )

    def _end_all(self, children: Sequence[Child]) -> None:
        for child in children:
            self._end(child)

    def _end(self, child: Child) -> None:
        """Nobody asks it any more: let it finish what it has."""
        if child.channel is None:  # it had ended by itself, and was to be started again
            child.ended()
            self.ended(child, "had ended before")
            return
        timeout = child.plan.timeout_ready
        grace = _NOT_READY if child.state is State.STARTING else max(GRACE, _FOR_EVER if timeout is None else timeout)
        child.state = State.STOPPING
        child.due = clock() + grace + MARGIN
        self._say(child, {"stop": grace})


def _as_seen_from_here(address: str) -> str:
    """A peer that listens on every interface is reached on this host by the loopback one."""
    return address.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
