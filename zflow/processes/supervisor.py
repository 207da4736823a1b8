"""Starts a plan, waits until it is ready, watches it, restarts what dies, and ends all of it within a deadline.

One thread acts; whoever calls only asks it. Everything it must know arrives as words by a channel: a child says that
it is ready or why it is not, the warm parent says who was born and who ended. While it starts, one process that cannot
is the end of the whole plan; once it serves, a process that ends is started again as restart_policy.py decides.

Ending goes against the direction of requests: the gateway drains before the workers that it still needs.
"""

from __future__ import annotations

import enum
import os
import threading
import time
from collections.abc import Callable, Sequence

from zflow.config.plan import Plan
from zflow.drivers.directory import Directory
from zflow.errors import PortInUse, StartError, ZflowError
from zflow.processes.channel import Words
from zflow.processes.child import Child, ProcessStatus, State
from zflow.processes.lifeline import CLOSE_PATIENCE, GRACE
from zflow.processes.logs import Log
from zflow.processes.nursery import Nursery, end_orphan, exit_in_words
from zflow.processes.placement import lines_about
from zflow.processes.socket_directory import SocketDirectory, remove_stale
from zflow.processes.switchboard import Switchboard

Progress = Callable[[Sequence[str], Sequence[str]], None]

_AFTER_FAILURE = 2.0  # seconds for the others to end when one could not start
_MARGIN = CLOSE_PATIENCE + 0.75  # a child ends itself by force, and is killed only when even that failed
_LAST_WAVE = 1.0  # seconds that workers have at least, however long the gateway took
_ANSWER = 0.5  # seconds for a late child to say what it is doing, and for a killed one to be gone
_PATIENCE = 4  # times that the warm parent is told to kill a child

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
        self._gateway = Child(plan.gateway) if plan.gateway is not None else None
        self._workers = [Child(worker) for worker in plan.workers]
        gateways = [self._gateway] if self._gateway is not None else []
        self._children = [*self._workers, *gateways]
        self._waves = [gateways, self._workers]  # in which they are asked to end
        self._phase = Phase.NEW
        self._failure: Exception | None = None
        self._changed = threading.Condition()
        self._owner = os.getpid()
        self._thread = threading.Thread(target=self._run, name="zflow-supervisor", daemon=True)
        self._switchboard: Switchboard
        self._sockets: SocketDirectory
        self._nursery: Nursery | None = None
        self._incarnations = 0
        self._end_by = 0.0
        self._told_of_fallback = False

    # -- for the callers ---------------------------------------------------------------------------------------------

    @property
    def gateway_address(self) -> str:
        """Where the gateway is really bound; empty while there is none."""
        return self._gateway.address if self._gateway is not None else ""

    @property
    def alive(self) -> bool:
        """Whether the plan has been started and nobody has asked it to end."""
        return self._phase is Phase.SERVING

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
        self._phase = Phase.STARTING
        self._thread.start()
        try:
            self._await_readiness()
        except BaseException:
            self.close(_AFTER_FAILURE)
            raise
        if self._phase is not Phase.SERVING:
            self._thread.join()
            raise self._failure or StartError("it was closed while it started")

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
        with self._changed:
            if self._phase is not Phase.ENDED:
                self._switchboard.ask(what)

    def _await_readiness(self) -> None:
        told = None
        while True:
            with self._changed:
                while (seen := self._progress()) == told and self._phase is Phase.STARTING:
                    self._changed.wait()
                phase = self._phase
            if phase not in (Phase.STARTING, Phase.SERVING):
                return
            if seen != told and self._on_progress is not None:
                self._on_progress(*seen)
            if phase is Phase.SERVING:
                return
            told = seen

    def _progress(self) -> tuple[list[str], list[str]]:
        nodes = dict.fromkeys(child.node for child in self._children)
        waiting = {child.node for child in self._children if child.state is not State.READY}
        return [node for node in nodes if node in waiting], [node for node in nodes if node not in waiting]

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
        dues = [child.due for child in self._children if child.due is not None]
        self._switchboard.turn(max(0.0, min(dues) - clock()) if dues else None)
        now = clock()
        for child in self._children:
            if child.due is not None and child.due <= now:
                self._its_time_has_come(child, now)

    def _enter(self, phase: Phase) -> None:
        with self._changed:
            self._phase = phase
            self._changed.notify_all()

    def _leave(self) -> None:
        self._close_nursery()
        for child in self._children:
            child.ended()
            self._directory.remove(child.name)
        self._sockets.close()
        self._enter(Phase.ENDED)
        self._switchboard.close()

    # -- birth -------------------------------------------------------------------------------------------------------

    def _give_birth(self, child: Child) -> None:
        """Ask for a process. Raises ZflowError when there can be none."""
        if self._nursery is None:
            self._nursery = Nursery(self._sockets.path)
            self._switchboard.listen(self._nursery.channel, self._hear_nursery)
        self._incarnations += 1
        bind = child.bind or self._sockets.address(child.name, self._incarnations)
        addresses = self._directory.all() if child.is_gateway else {}
        words = child.first_words(bind, addresses, self._log)
        fork = child.plan.start_method == "warm"
        family = child.family(words)
        channel = self._nursery.ask_for(child.name, fork=fork, preload=child.preload, env=child.env, family=family)
        child.born(channel, bind, clock())
        self._switchboard.flush_later(self._nursery.channel)
        self._switchboard.listen(channel, lambda: self._hear_child(child))
        self._switchboard.say(channel, words)

    def _hear_nursery(self) -> None:
        nursery = self._nursery
        if nursery is None:
            return
        try:
            for words in nursery.channel.receive():
                self._obey_nursery(words)
        except EOFError:
            self._lost_nursery()

    def _obey_nursery(self, words: Words) -> None:
        if "ended" in words:
            for child in self._children:
                if child.pid == words["ended"]:
                    self._hear_child(child)  # its last words, before they are forgotten
                    self._child_ended(child, exit_in_words(words["status"]))
            return
        child = next(child for child in self._children if child.name == words["child"])
        if "pid" not in words:
            self._hear_child(child)  # it, or who should have borne it, may have said more
            self._child_ended(child, f"could not be started: {words['because']}")
            return
        child.pid = words["pid"]
        if child.plan.start_method == "warm" and words["because"] and not self._told_of_fallback:
            self._told_of_fallback = True
            self._log.warning("processes start as fresh interpreters, not forked: %s", words["because"])

    def _hear_child(self, child: Child) -> None:
        channel = child.channel
        if channel is None:
            return
        try:
            for words in channel.receive():
                if "ready" in words:
                    self._became_ready(child, words["ready"])
                elif "failed" in words:
                    self._could_not_start(child, words)
                elif "where" in words:
                    self._is_late(child, words["where"])
                elif "again" in words:
                    self._shall_come_again(child, words)
        except EOFError:
            self._switchboard.forget(channel)  # how its process ended is told by the warm parent

    def _became_ready(self, child: Child, address: str) -> None:
        if child.state is not State.STARTING:
            return
        with self._changed:
            child.ready(address, clock())
            self._changed.notify_all()
        if not child.is_gateway:
            self._announce(child.name, _as_seen_from_here(address))
        if self._phase is Phase.SERVING:
            self._log.info("%s is ready again", child.name)
        self._serve_when_ready()

    def _serve_when_ready(self) -> None:
        if self._phase is Phase.STARTING and all(child.state is State.READY for child in self._children):
            self._enter(Phase.SERVING)
            remove_stale()  # there is time for it now

    def _announce(self, link: str, address: str | None) -> None:
        if address is None:
            self._directory.remove(link)
        else:
            self._directory.set(link, address)
        if self._gateway is not None and self._gateway.channel is not None:
            self._switchboard.say(self._gateway.channel, {"address": [link, address]})

    # -- death -------------------------------------------------------------------------------------------------------

    def _could_not_start(self, child: Child, words: Words) -> None:
        message, traceback = words["message"], words["traceback"]
        if self._phase is not Phase.STARTING:
            self._log.error("%s could not start again:\n%s", child.name, traceback)
        elif words["failed"] == PortInUse.__name__:
            self._fail(PortInUse(f"{child.name}: {message}"))
        else:
            told = f"{child.name} could not start: {words['failed']}: {message}"
            self._fail(StartError(told, peer=child.name, traceback=traceback))

    def _is_late(self, child: Child, traceback: str) -> None:
        told = f"{child.name} was not ready within {child.plan.timeout_ready:g} s (timeout_ready)"
        if self._phase is Phase.STARTING:
            doing = " and was still at work" if traceback else " and did not say what it was doing"
            self._fail(StartError(told + doing, peer=child.name, traceback=traceback))
        elif child.state is State.STARTING:
            self._log.error("%s; it is killed while it did this:\n%s", told, traceback)
            self._kill(child)

    def _fail(self, error: Exception) -> None:
        if self._failure is None:
            self._failure = error
            self._begin_to_end(_AFTER_FAILURE)

    def _child_ended(self, child: Child, how: str) -> None:
        """Its process is no more: draw the conclusions."""
        if child.comes_again and self._phase in (Phase.STARTING, Phase.SERVING):
            self._bear_again(child)
            return
        pid, channel = child.pid, child.channel
        if channel is not None:
            self._switchboard.forget(channel)
        child.ended()
        self._sockets.forget(child.bound)
        if not child.is_gateway:
            self._announce(child.name, None)
        if self._phase is Phase.ENDING:
            self._end_next_wave()
        elif self._phase is Phase.STARTING:
            self._fail(StartError(f"{child.name} {how} before everything was ready", peer=child.name))
        else:
            self._restart_later(child, f"{child.name} (pid {pid}) {how}")

    def _shall_come_again(self, child: Child, words: Words) -> None:
        child.shall_come_again(words)
        if words["because"]:
            told = "%s: each process runs preload() for itself, and they share nothing: %s"
            self._log.warning(told, child.node, words["because"])

    def _bear_again(self, child: Child) -> None:
        if child.channel is not None:
            self._switchboard.forget(child.channel)
        child.ended()
        child.comes_again = False
        self._sockets.forget(child.bound)
        try:
            self._give_birth(child)
        except (ZflowError, OSError) as error:
            self._child_ended(child, f"could not be started: {error}")

    def _restart_later(self, child: Child, what_happened: str) -> None:
        now = clock()
        after, failed = child.policy.ended(now)
        child.state = State.FAILED if failed else State.RESTING
        child.due = now + after
        again = "too often: it has failed, and is tried again" if failed else "it is started again"
        self._log.error("%s; %s in %g s", what_happened, again, after)

    def _lost_nursery(self) -> None:
        """The warm parent is gone, or does not answer, and with it who tells how children end: start anew."""
        orphans = [child for child in self._children if child.channel is not None]
        how = self._close_nursery()
        self._log.error("the parent of all processes %s", how)
        for child in orphans:
            self._child_ended(child, f"was ended, because its parent {how}")

    def _close_nursery(self) -> str:
        nursery, self._nursery = self._nursery, None
        if nursery is None:
            return ""
        self._switchboard.forget(nursery.channel)
        how = nursery.close()
        for child in self._children:
            if child.pid is not None:
                end_orphan(child.pid)
        return how

    def _its_time_has_come(self, child: Child, now: float) -> None:
        child.due = None
        if child.state is State.STOPPING:
            self._kill(child)
        elif child.state is not State.STARTING:
            child.restarts += 1
            try:
                self._give_birth(child)
            except (ZflowError, OSError) as error:  # OSError: this process has no descriptors left
                self._restart_later(child, f"{child.name} could not be started: {error}")
        elif child.kills:
            self._kill(child)
        elif child.asked_where or child.channel is None:
            self._is_late(child, "")
        else:
            child.asked_where = True
            child.due = now + _ANSWER
            self._switchboard.say(child.channel, {"where": True})

    # -- the end -----------------------------------------------------------------------------------------------------

    def _begin_to_end(self, grace: float) -> None:
        if self._phase in (Phase.ENDING, Phase.ENDED):
            return
        self._end_by = clock() + grace
        self._enter(Phase.ENDING)
        for child in self._children:
            if child.channel is None:
                child.state, child.due = State.GONE, None
        self._end_next_wave()

    def _end_next_wave(self) -> None:
        """Once all of a wave are gone, ask the next one to end."""
        while not any(child.state is State.STOPPING for child in self._children):
            if not self._waves:
                self._enter(Phase.ENDED)
                return
            left = max(self._end_by - clock(), _LAST_WAVE)
            for child in self._waves.pop(0):
                if child.channel is not None:
                    child.state = State.STOPPING
                    child.due = clock() + left + _MARGIN
                    self._switchboard.say(child.channel, {"stop": left})

    def _kill_everything(self) -> None:
        self._begin_to_end(0.0)
        self._waves.clear()
        for child in self._children:
            if child.channel is not None:
                child.state = State.STOPPING
                self._kill(child)

    def _kill(self, child: Child) -> None:
        """Have it killed, and look again soon. A warm parent that does not carry it out is itself at its end."""
        child.kills += 1
        child.due = clock() + _ANSWER
        if child.kills > _PATIENCE:
            self._lost_nursery()
        elif self._nursery is not None:
            if child.pid is not None:
                self._nursery.kill(child.pid)
            else:
                self._nursery.give_up(child.name)
            self._switchboard.flush_later(self._nursery.channel)


def _as_seen_from_here(address: str) -> str:
    """A peer that listens on every interface is reached on this host by the loopback one."""
    return address.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
