"""What is started, asked and closed: the life that a Flow and a Deployment have in common."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from zflow.asking import Asker
from zflow.banner import Waiting
from zflow.config.plan import Plan, WorkerPlan
from zflow.drivers.assembly import external_addresses, trust
from zflow.drivers.directory import Directory
from zflow.drivers.inline import Lanes
from zflow.drivers.resolver import Resolver
from zflow.errors import ConfigError
from zflow.processes.child import ProcessStatus
from zflow.processes.control_desk import ControlDesk
from zflow.processes.lifeline import GRACE
from zflow.processes.logs import Log
from zflow.processes.supervisor import Supervisor
from zflow.processes.watch import PULSE, Progress
from zflow.roles.contract import Role

AnyService = TypeVar("AnyService", bound="Service")
WayIn = tuple[Callable[[], Role], Directory]


class StopEvent(Protocol):
    """A `threading.Event`, a `multiprocessing.Event`, or what behaves like them."""

    def wait(self, timeout: float) -> bool:
        """Return True as soon as it is set, False after `timeout` seconds."""


class Running(NamedTuple):
    """What an open Service has."""

    supervisor: Supervisor
    lanes: Any  # Lanes; of an asynchronous one, AsyncLanes
    desk: ControlDesk
    directory: Directory
    resolver: Resolver


class Service(Asker):
    """Processes of a plan, asked from this process by `post` and its siblings, and by Clients at `port`.

    Open it with ``with service:`` or `start`. log: what its own lines go to.
    """

    _spec: Any  # FlowSpec or DeploymentSpec

    def __init__(self, log: Log) -> None:
        self._log = log
        self._open: Running | None = None
        self._running: Plan
        self._changing = threading.Lock()
        self._sigterm = _Sigterm()
        self._turning = threading.Lock()  # one change of replicas at a time; `close` does not wait for it

    # -- what each kind of it decides for itself -----------------------------------------------------------------------

    @property
    def host(self) -> str:
        """The address that is bound for everybody else."""
        raise NotImplementedError

    def _plan(self) -> Plan:
        raise NotImplementedError

    def _way_in(self, plan: Plan, supervisor: Supervisor, directory: Directory) -> WayIn:
        """The role that posts of this process run, and where its peers are."""
        raise NotImplementedError

    def _planned_port(self) -> int | None:
        raise NotImplementedError

    def _tell_ready(self, address: str) -> None:
        """Say on the log that it can be reached at `address`."""
        raise NotImplementedError

    def _orders(self) -> Mapping[str, Callable[..., None]]:
        """What may be ordered from the command line, by name: see control_desk.py."""
        return {"scale": self._scale, "rolling_update": self._update}

    def _scale(self, name: str, replicas: int, on_progress: Progress | None = None) -> None:
        self._change(name, {"replicas": replicas}, keeps=True, on_progress=on_progress)

    def _update(
        self, name: str, uses_with: Mapping[str, Any] | None = None, on_progress: Progress | None = None
    ) -> None:
        self._change(name, {"uses_with": uses_with} if uses_with else {}, renew=True, on_progress=on_progress)

    def _changed(self, node: str, options: Mapping[str, Any]) -> tuple[Any, Sequence[WorkerPlan]]:
        """The spec with other `options` of the Executor `node`, and the processes of that. Raises ConfigError."""
        raise NotImplementedError

    def _prepare(self) -> None:
        """It is about to be opened. Raises ConfigError where that cannot be."""

    def _has_opened(self) -> None:
        """It has just been opened."""

    def _is_closing(self) -> Callable[[], None]:
        """Change nothing any more. Returns what waits, once everything has ended, until nothing is under way."""
        return lambda: None

    def _carry_out(self, change: Callable[[], None]) -> Any:
        """Make a change that takes its time; an asynchronous one gives something to be awaited."""
        change()

    # -- life --------------------------------------------------------------------------------------------------------

    def start(self: AnyService) -> AnyService:
        """Start every process and return when all are ready.

        Raises StartError with the traceback of the one that could not start, or PortInUse; nothing runs then.
        """
        with self._changing:
            if self._open is not None:
                raise ConfigError(f"this {self._kind} is open already")
            plan = self._plan()
            self._prepare()
            directory = external_addresses(plan.nodes)
            trust(directory, plan.nodes, plan.identity)
            waiting = Waiting(quiet=not self._log.is_for_people)
            supervisor = Supervisor(plan, directory=directory, on_progress=waiting.show, log=self._log)
            try:
                supervisor.start()
            finally:
                waiting.clear()
            try:
                lanes = self._new_lanes(*self._way_in(plan, supervisor, directory))
                desk = ControlDesk(supervisor.control_path, supervisor.gateway_address, self._orders())
            except BaseException:
                supervisor.close()
                raise
            resolver = Resolver(directory, plan.nodes)
            resolver.start()
            self._open = Running(supervisor, lanes, desk, directory, resolver)
            self._running = plan
            self._has_opened()
        self._tell_ready(supervisor.gateway_address)
        return self

    def close(self, grace: float = GRACE) -> None:
        """Let what is under way finish, for at most `grace` seconds, then end every process. Again, it does nothing."""
        with self._changing:
            is_open, self._open = self._open, None
            end = self._is_closing()
        try:
            if is_open is not None:
                with _telling_why(self._log, grace):
                    _close(is_open, grace)
                    end()
        finally:
            self._sigterm.end()

    def __enter__(self: AnyService) -> AnyService:
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.close()

    def block(self, stop_event: StopEvent | None = None) -> None:
        """Serve until `stop_event` is set, Ctrl-C is pressed or the process is told to end (SIGTERM)."""
        self._opened()
        event: StopEvent = stop_event or threading.Event()
        self._sigterm.begin()
        try:
            while not event.wait(_LOOK_UP):
                pass
        except KeyboardInterrupt:
            self._log.info("stopping")
        finally:
            if not self._sigterm.has_come:
                self._sigterm.end()

    @property
    def port(self) -> int:
        """The port at which others reach it: the real one while it is open."""
        if self._open is None:
            planned = self._planned_port()
            if not planned:
                raise ConfigError(f"the {self._kind} has no port before it is open: the system chooses one")
            return planned
        return int(self._open.supervisor.gateway_address.rpartition(":")[2])

    def _change(
        self,
        node: str,
        options: Mapping[str, Any],
        *,
        renew: bool = False,
        keeps: bool = False,
        waits: bool = True,
        because: str = "",
        on_progress: Progress | None = None,
    ) -> None:
        """Have `node` served by the processes that it has with other `options`; renew: all of them new ones.

        No request fails: who comes is ready before it is asked, who leaves finishes what it has. keeps: new ones are of
        the class, with the arguments, that the old ones have, whatever their YAML says by now. waits: until that is
        done. because: what one of the old ones has to log. on_progress: is told the names of the processes that are
        awaited, and of those that have come. Raises ConfigError for options that cannot be; StartError, and leaves the
        old ones in service, when a new one cannot start.
        """
        waiting = Waiting("to be renewed" if renew else "to come or go", quiet=not self._log.is_for_people)
        tell = on_progress or waiting.show
        try:
            with self._alone(node, tell):
                spec, workers = self._changed(node, options)
                workers = _described_as(self._running.workers, workers) if keeps else workers
                if renew and any(worker.keys and worker.bind for worker in workers):
                    told = "has a port of its own and keys: close the Flow and start it again instead"
                    raise ConfigError(f"{node} {told}")
                change = self._opened().supervisor.change
                change(node, workers, renew=renew, waits=waits, because=because, on_progress=tell)
                self._has_changed(node, spec, workers)
        finally:
            waiting.clear()

    @contextmanager
    def _alone(self, node: str, tell: Progress) -> Iterator[None]:
        """One change of what is open at a time."""
        while not self._turning.acquire(timeout=PULSE):
            tell([node], [])
        try:
            self._opened()
            yield
        finally:
            self._turning.release()

    def _has_changed(self, node: str, spec: Any, workers: Sequence[WorkerPlan]) -> None:
        others = [worker for worker in self._running.workers if worker.node != node]
        self._spec = spec
        self._running = self._running._replace(workers=(*others, *workers))

    def plot(self, path: str | Path) -> None:
        """Draw its Executors and what they need into the file `path`: ``.svg``, or ``.mmd`` for Mermaid.

        It need not be open. Raises ConfigError for another kind of file.
        """
        from zflow.exports.picture import write_picture  # few ever draw

        write_picture(self._spec, path)

    def _repr_svg_(self) -> str:
        """What a notebook shows."""
        from zflow.exports.drawing import drawing_of
        from zflow.exports.svg import svg

        return svg(drawing_of(self._spec))

    def status(self) -> list[ProcessStatus]:
        """What each process does: name, pid, state, restarts."""
        return self._opened().supervisor.status()

    @property
    def _kind(self) -> str:
        return type(self).__name__.removeprefix("Async")

    @property
    def _state(self) -> str:
        return f"open at {self.host}:{self.port}" if self._open else "not open"

    def _opened(self) -> Running:
        if self._open is None:
            name = self._kind.lower()
            raise ConfigError(f"this {self._kind} is not open: use it inside `with {name}:`, or call start() first")
        return self._open

    @staticmethod
    def _new_lanes(role: Callable[[], Role], directory: Directory) -> Any:
        return Lanes(role, directory)

    def _lanes(self) -> Lanes:
        lanes: Lanes = self._opened().lanes
        return lanes


def _described_as(old: Sequence[WorkerPlan], new: Sequence[WorkerPlan]) -> Sequence[WorkerPlan]:
    """`new`, with the descriptions of those of `old` that do the same: before, behind or as one of the shards."""
    known = {(worker.node, _part(worker)): worker.description for worker in old}
    return [item._replace(description=known.get((item.node, _part(item)), item.description)) for item in new]


def _part(worker: WorkerPlan) -> str:
    return next((part for part in ("/uses-before/", "/uses-after/") if part in worker.name), "")


def with_arguments(options: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """`options`, with those arguments of `before` that they do not give anew."""
    given = options.get("uses_with")
    return {**options, "uses_with": {**before, **given}} if isinstance(given, Mapping) else dict(options)


_TOLD_AFTER = 1.0  # seconds that closing may take until a person is told why
_LOOK_UP = 0.5  # seconds between two looks at a stop event: some cannot be interrupted while they wait


@contextmanager
def _telling_why(log: Log, grace: float) -> Iterator[None]:
    """Whoever has to wait is told what for."""
    told = f"waiting for what is under way to end, for at most {grace:g} s; a second Ctrl-C ends it at once"
    telling = threading.Timer(_TOLD_AFTER, log.info, [told])
    telling.daemon = True
    telling.start()
    try:
        yield
    finally:
        telling.cancel()
        telling.join()


def _close(running: Running, grace: float) -> None:
    running.resolver.close()
    try:
        running.lanes.close(grace)
    finally:
        running.supervisor.close(grace)
        running.desk.close()  # whose orders were given up by that, and who gave them is told


class _Sigterm:
    """SIGTERM while a Service is open: the first one ends `block` as Ctrl-C does, so that all is closed in order; the
    others are passed over until that is done. ``timeout`` and supervisors send it to a whole group, so that it comes
    twice. Only the main thread hears it."""

    def __init__(self) -> None:
        self.has_come = False
        self._previous: Any = None
        self._is_heard = False

    def begin(self) -> None:
        if not self._is_heard and threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGTERM, self._hear)
            self._is_heard = True

    def end(self) -> None:
        if self._is_heard and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.SIG_DFL if self._previous is None else self._previous)
            self._is_heard = self.has_come = False

    def _hear(self, number: int, frame: object) -> None:
        if not self.has_come:
            self.has_come = True
            raise KeyboardInterrupt
