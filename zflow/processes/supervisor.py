"""Starts a plan, waits until it is ready, watches it, restarts what dies, and ends all of it within a deadline.

One thread acts; whoever calls only asks it. Everything it must know arrives as words by a channel: a child says that
it is ready or why it is not, the warm parent says who was born and who ended. While it starts, one process that cannot
is the end of the whole plan; once it serves, a process that ends is started again as restart_policy.py decides.

While it serves, `change` brings replicas into service and out of it (turnover.py decides, staff.py carries out).
Ending goes against the direction of requests: the gateway drains before the workers that it still needs.
"""

from __future__ import annotations

import enum
import os
import threading
import time
from collections.abc import Callable, Sequence

from zflow.config.plan import GatewayPlan, HeadPlan, Plan, WorkerPlan
from zflow.drivers.directory import Directory
from zflow.errors import PortInUse, StartError, ZflowError
from zflow.processes.announcing import Announcer
from zflow.processes.births import Births
from zflow.processes.channel import Words
from zflow.processes.child import Child, ProcessStatus, State
from zflow.processes.lifeline import GRACE
from zflow.processes.logs import Log
from zflow.processes.placement import lines_about
from zflow.processes.roster import Roster
from zflow.processes.socket_directory import SocketDirectory, remove_stale
from zflow.processes.staff import MARGIN, Staff
from zflow.processes.switchboard import Switchboard
from zflow.processes.turnover import Turnover
from zflow.processes.watch import PULSE, Acting, Progress, Watch

_AFTER_FAILURE = 2.0  # seconds for the others to end when one could not start
_LAST_WAVE = 1.0  # seconds that workers have at least, however long the gateway took
_ANSWER = 0.5  # seconds for a late child to say what it is doing, and for a killed one to be gone

clock = time.monotonic


class Phase(enum.Enum):
    """Where the plan as a whole is; it only moves forward."""

    NEW = 0
    STARTING = 1
    SERVING = 2
    ENDING = 3
    ENDED = 4


class Supervisor:
    """The processes of `plan`. `directory` learns where each of them is.

    on_progress: is called in `start`, with the names of the nodes that are awaited and of those that are ready.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        directory: Directory,
        on_progress: Progress | None = None,
        log: Log | None = None,
    ) -> None:
        self._directory = directory
        self._on_progress = on_progress
        self._log = log or Log("Flow")
        self._watch = Watch()
        self._roster = Roster(plan)
        self._gateway = self._roster.gateway
        self._announcer = Announcer(directory, self._say_to_gateway)
        self._staff = Staff(
            self._roster,
            self._announcer,
            give_birth=self._give_birth,
            say=self._say,
            forget=self._forget,
            notify=self._watch.notify,
        )
        self._waves: list[list[Child]] = []  # in which they are asked to end
        self._wave: list[Child] = []
        self._phase = Phase.NEW
        self._failure: Exception | None = None
        self._asking = threading.Lock()
        self._owner = os.getpid()
        self._thread = Acting(self._run, "zflow-supervisor")
        self._switchboard: Switchboard
        self._sockets: SocketDirectory
        self._births: Births
        self._end_by = 0.0

    # -- for the callers ---------------------------------------------------------------------------------------------

    @property
    def gateway_address(self) -> str:
        """Where the gateway is really bound, or was and will be again; empty while that is not known."""
        return self._roster.front_address

    @property
    def alive(self) -> bool:
        """Whether the plan has been started and nobody has asked it to end."""
        return self._phase is Phase.SERVING

    @property
    def _children(self) -> list[Child]:
        return self._roster.children

    def status(self) -> list[ProcessStatus]:
        """What each process does, the gateway last."""
        return [child.status for child in self._children]

    def start(self) -> None:
        """Start everything and return when it is ready.

        Raises StartError with the traceback of the process that could not start or came too late, PortInUse, or
        ConfigError for a plan that cannot travel; nothing runs any more then.
        """
        for line in lines_about([child.plan for child in self._children]):
            self._log.info("%s", line)
        self._switchboard = Switchboard()
        self._sockets = SocketDirectory()
        self._births = Births(
            self._roster,
            self._switchboard,
            self._sockets,
            self._log,
            hear=self._hear_child,
            ended=self._child_ended,
        )
        self._phase = Phase.STARTING
        self._thread.start()
        try:
            self._watch.until(lambda: self._phase is not Phase.STARTING, self._roster.progress, self._on_progress)
        except BaseException:
            self.close(_AFTER_FAILURE)
            raise
        if self._phase is not Phase.SERVING:
            self._thread.join()
            raise self._failure or StartError("it was closed while it started")

    def sources(self, node: str) -> tuple[set[str], set[str]]:
        """The files and the folders that the processes of `node` are made of, where their plan wants to know."""
        return self._roster.sources(node)

    def change(
        self,
        node: str,
        workers: Sequence[WorkerPlan],
        *,
        renew: bool = False,
        waits: bool = True,
        because: str = "",
        on_progress: Progress | None = None,
    ) -> None:
        """Have `node` served by `workers`, and return when it is; renew: by new processes also where it is already.

        waits: also until the old ones have ended. because: what one of the old ones has to log. Raises what kept one of
        them from starting (StartError with its traceback): see turnover.py for what is then.
        """
        for line in lines_about(workers):
            self._log.info("%s", line)
        turnover = Turnover(node, workers, renew=renew, waits=waits)
        self._ask(lambda: self._begin(turnover, because))
        try:
            self._watch.until(lambda: turnover.is_over or not self.alive, turnover.progress, on_progress, PULSE)
        except BaseException:
            self._ask(lambda: turnover.give_up(StartError(f"the change of {node} was interrupted")))
            raise
        if turnover.error is not None or not turnover.is_over:
            raise turnover.error or StartError(f"the Flow was closed while {node} was changed")

    def change_front(self, plan: GatewayPlan | HeadPlan) -> None:
        """Have the process in front of the workers finish what it has, and start again by `plan` where it was. Raises
        StartError when it cannot; then it is tried again and again."""
        front = self._gateway
        assert front is not None
        asked = threading.Event()
        self._ask(lambda: self._staff.change_front(plan, asked) if self.alive else None)
        is_over = lambda: not self.alive or (asked.is_set() and front.is_settled)  # noqa: E731
        self._watch.until(is_over, self._roster.progress, None, PULSE)
        if front.state is not State.READY:
            raise StartError(f"{front.name} could not start again, and is {front.state.value}", peer=front.name)

    @property
    def control_path(self) -> str:
        """Where, in the private directory of the plan, the command line finds who changes it."""
        return self._sockets.control_path(self.gateway_address)

    def close(self, grace: float = GRACE) -> None:
        """End everything: ask, wait for at most `grace` seconds, kill. Again, or in a forked copy, it does nothing."""
        if os.getpid() != self._owner or self._phase is Phase.NEW:
            return
        self._ask(lambda: self._begin_to_end(grace))
        try:
            self._thread.join()
        except BaseException:  # a second Ctrl-C: whoever waits has lost patience
            self._ask(self._kill_everything)
            self._thread.join()
            raise

    def _ask(self, what: Callable[[], None]) -> None:
        with self._asking:
            if self._phase is not Phase.ENDED:
                self._switchboard.ask(what)

    def _begin(self, turnover: Turnover, because: str) -> None:
        if self._phase is Phase.SERVING:
            if because and not self._staff.tell(turnover.node, because):
                self._log.info("%s: %s", turnover.node, because)
            if turnover.renews:
                self._births.renew(turnover.node)
            self._staff.begin(turnover)

    # -- the thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            for child in reversed(self._children):  # the gateway needs less than the others before it is forked
                self._give_birth(child)
            self._serve_when_ready()
            while self._phase is not Phase.ENDED:
                self._turn()
        except ZflowError as error:
            self._failure = error
        except Exception as error:
            self._log.failure(error)
            self._failure = StartError(f"the supervisor itself failed: {error!r}")
        finally:
            self._leave()

    def _turn(self) -> None:
        dues = [due for due in (self._announcer.due, *(child.due for child in self._children)) if due is not None]
        self._switchboard.turn(max(0.0, min(dues) - clock()) if dues else None)
        now = clock()
        self._announcer.expire(now)
        for child in self._children:
            if child.due is not None and child.due <= now:
                self._its_time_has_come(child, now)

    def _enter(self, phase: Phase) -> None:
        with self._asking:
            self._phase = phase
        self._watch.notify()

    def _leave(self) -> None:
        self._births.close()
        for child in self._children:
            child.ended()
            self._directory.remove(child.link)
        self._sockets.close()
        self._enter(Phase.ENDED)
        self._switchboard.close()

    # -- birth -------------------------------------------------------------------------------------------------------

    def _give_birth(self, child: Child) -> None:
        """Ask for a process. Raises ZflowError when there can be none."""
        if child.is_gateway:
            self._births.give(child, self._directory.all(), self._directory.replicas())
        else:
            self._births.give(child)

    def _say(self, child: Child, words: Words) -> None:
        if child.channel is not None:
            self._switchboard.say(child.channel, words)

    def _say_to_gateway(self, words: Words) -> bool:
        if self._gateway is None or self._gateway.channel is None:
            return False
        self._say(self._gateway, words)
        return True

    def _hear_child(self, child: Child) -> None:
        channel = child.channel
        if channel is None:
            return
        try:
            for words in channel.receive():
                if "ready" in words:
                    child.sources = words.get("sources", child.sources)
                    self._became_ready(child, words["ready"])
                elif "failed" in words:
                    self._could_not_start(child, words)
                elif "where" in words:
                    self._is_late(child, words["where"])
                elif "seen" in words:
                    self._announcer.seen(words["seen"])
                elif "bound" in words:
                    self._staff.bound(child, words["bound"])
                elif "not bound" in words:
                    self._staff.not_bound(child, words["not bound"])
                elif "again" in words:
                    self._shall_come_again(child, words)
        except EOFError:
            self._switchboard.forget(channel)  # how its process ended is told by the warm parent

    def _became_ready(self, child: Child, address: str) -> None:
        if child.state is not State.STARTING:
            return
        child.ready(address, clock())
        self._watch.notify()
        if not child.is_gateway:
            self._staff.became_ready(child)
        if self._phase is Phase.SERVING:
            self._log.info("%s is ready%s", child.name, " again" if child.restarts else "")
        self._serve_when_ready()

    def _serve_when_ready(self) -> None:
        if self._phase is Phase.STARTING and all(child.state is State.READY for child in self._children):
            self._enter(Phase.SERVING)
            remove_stale()  # there is time for it now

    # -- death -------------------------------------------------------------------------------------------------------

    def _could_not_start(self, child: Child, words: Words) -> None:
        message, traceback = words["message"], words["traceback"]
        child.complaint = f"{child.name} could not start: {words['failed']}: {message}"
        if self._phase is not Phase.STARTING and not self._staff.is_coming(child):
            self._log.error("%s could not start again:\n%s", child.name, traceback)
        elif words["failed"] == PortInUse.__name__:
            self._fail(child, PortInUse(f"{child.name}: {message}"))
        else:
            self._fail(child, StartError(child.complaint, peer=child.name, traceback=traceback))

    def _is_late(self, child: Child, traceback: str) -> None:
        told = f"{child.name} was not ready within {child.plan.timeout_ready:g} s (timeout_ready)"
        is_coming = self._staff.is_coming(child)
        if (self._phase is Phase.STARTING or is_coming) and child.state is State.STARTING:
            doing = " and was still at work" if traceback else " and did not say what it was doing"
            self._fail(child, StartError(told + doing, peer=child.name, traceback=traceback))
            if is_coming:
                self._births.kill(child)
        elif child.state is State.STARTING:
            self._log.error("%s; it is killed while it did this:\n%s", told, traceback)
            self._births.kill(child)

    def _fail(self, child: Child, error: StartError | PortInUse) -> None:
        """`child` cannot start, for the first time: the end of what wanted it."""
        if self._staff.is_coming(child):
            self._staff.could_not_start(child, error)
        elif self._failure is None:
            self._failure = error
            self._begin_to_end(_AFTER_FAILURE)

    def _child_ended(self, child: Child, how: str) -> None:
        """Its process is no more: draw the conclusions."""
        if child.comes_again and self._phase in (Phase.STARTING, Phase.SERVING):
            if child.is_gateway:
                self._announcer.lost_gateway()
            self._bear_again(child)
            return
        pid, channel = child.pid, child.channel
        if channel is not None:
            self._switchboard.forget(channel)
        child.ended()
        if child.is_gateway:
            self._announcer.lost_gateway()
        has_left = self._staff.ended(child, how)
        if not has_left:
            self._forget(child)
        if self._phase is Phase.ENDING:
            self._end_next_wave()
        elif self._phase is Phase.STARTING:
            self._fail(child, StartError(f"{child.name} {how} before everything was ready", peer=child.name))
        elif not has_left:
            self._restart_later(child, f"{child.name} (pid {pid}) {how}")

    def _forget(self, child: Child) -> None:
        self._sockets.forget(child.bound)
        if not child.is_gateway:
            self._announcer.address(child.link, None)

    def _shall_come_again(self, child: Child, words: Words) -> None:
        child.shall_come_again(words)
        if words["because"]:
            told = "%s: each process runs preload() for itself, and they share nothing: %s"
            self._log.warning(told, child.node, words["because"])

    def _bear_again(self, child: Child) -> None:
        self._births.bury(child)
        try:
            self._give_birth(child)
        except (ZflowError, OSError) as error:
            self._child_ended(child, f"could not be started: {error}")

    def _restart_later(self, child: Child, what_happened: str) -> None:
        now = clock()
        after, failed = child.policy.ended(now)
        child.state, child.due = State.FAILED if failed else State.RESTING, now + after
        again = "too often: it has failed, and is tried again" if failed else "it is started again"
        self._log.error("%s; %s in %g s", what_happened, again, after)
        if failed and not child.is_gateway:
            self._announcer.given_up(child.link, child.complaint or what_happened)

    def _its_time_has_come(self, child: Child, now: float) -> None:
        child.due = None
        if child.state is State.STOPPING:
            self._births.kill(child)
        elif child.state is not State.STARTING:
            child.restarts += 1
            try:
                self._give_birth(child)
            except (ZflowError, OSError) as error:  # OSError: this process has no descriptors left
                self._restart_later(child, f"{child.name} could not be started: {error}")
        elif child.kills:
            self._births.kill(child)
        elif child.asked_where or child.channel is None:
            self._is_late(child, "")
        else:
            child.asked_where, child.due = True, now + _ANSWER
            self._switchboard.say(child.channel, {"where": True})

    # -- the end -----------------------------------------------------------------------------------------------------

    def _begin_to_end(self, grace: float) -> None:
        if self._phase in (Phase.ENDING, Phase.ENDED):
            return
        self._end_by = clock() + grace
        self._waves = [[self._gateway] if self._gateway is not None else [], self._roster.workers]
        self._staff.abandon(StartError("the Flow was closed while replicas came or went"))
        self._enter(Phase.ENDING)
        for child in self._children:
            if child.channel is None:
                child.state, child.due = State.GONE, None
        self._end_next_wave()

    def _end_next_wave(self) -> None:
        """Once all of a wave are gone, ask the next one to end."""
        while not any(child.state is State.STOPPING for child in self._wave):
            if not self._waves:
                self._enter(Phase.ENDED)
                return
            left = max(self._end_by - clock(), _LAST_WAVE)
            self._wave = self._waves.pop(0)
            for child in self._wave:
                if child.channel is not None:
                    child.state = State.STOPPING
                    child.due = clock() + left + MARGIN
                    self._switchboard.say(child.channel, {"stop": left})

    def _kill_everything(self) -> None:
        self._begin_to_end(0.0)
        self._waves.clear()
        self._wave = self._children
        for child in self._children:
            if child.channel is not None:
                child.state = State.STOPPING
                self._births.kill(child)
