"""Flow: `add` builds a spec, `with` starts the plan, `post` asks inline on the calling thread.

A Flow that is not open is a value: `add`, `needs` and `needs_all` return a new Flow and leave this one as it was.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from zflow.asking import Asker
from zflow.banner import Waiting, ready_lines
from zflow.client import address_of, head_asking, way_to
from zflow.config.definition import Definition
from zflow.config.keys import load
from zflow.config.plan import Plan, plan_flow
from zflow.config.spec import FlowSpec
from zflow.config.yaml_file import dump_flow, load_flow
from zflow.drivers.assembly import external_addresses, gateway_role, trust
from zflow.drivers.directory import Directory
from zflow.drivers.inline import Lanes
from zflow.errors import ConfigError
from zflow.executor import Executor
from zflow.processes.child import ProcessStatus
from zflow.processes.lifeline import GRACE
from zflow.processes.logs import Log
from zflow.processes.supervisor import Supervisor
from zflow.roles.contract import Role

AnyFlow = TypeVar("AnyFlow", bound="Flow")


class StopEvent(Protocol):
    """A `threading.Event`, a `multiprocessing.Event`, or what behaves like them."""

    def wait(self, timeout: float) -> bool:
        """Return True as soon as it is set, False after `timeout` seconds."""


class _Open(NamedTuple):
    """What an open Flow has."""

    supervisor: Supervisor
    lanes: Any  # Lanes; of an AsyncFlow, AsyncLanes


class Flow(Asker):
    """A graph of Executors.

    Options are those of `zflow.config.spec.FlowSpec`: name, port (of the gateway; the kernel chooses where none is
    given), host (127.0.0.1), workspace, quiet, quiet_error, env, timeout_ready (ms), start_method, asyncio, prefetch,
    keys, insecure, description. Raises ConfigError for one that is unknown or wrong.

    Open it with ``with flow:`` or `start`; then `post`, `index`, `search`... ask it from this process, from any
    thread, and Clients ask it at `port`.
    """

    def __new__(cls, *args: Any, asyncio: bool = False, **options: Any) -> Any:
        if asyncio and cls is Flow:
            from zflow.asynchronous import AsyncFlow  # asyncio costs a third of `import zflow`; few need it

            return super().__new__(AsyncFlow)
        return super().__new__(cls)

    def __init__(self, spec: FlowSpec | None = None, /, **options: Any) -> None:
        self._spec = FlowSpec.from_options(**options) if spec is None else spec
        self._log = Log(self._spec.name, quiet=self._spec.quiet, quiet_error=self._spec.quiet_error)
        self._open: _Open | None = None
        self._changing = threading.Lock()

    # -- building ----------------------------------------------------------------------------------------------------

    def add(
        self: AnyFlow,
        *,
        uses: type[Executor] | Definition | Mapping[str, Any] | str | None = None,
        name: str | None = None,
        needs: str | Sequence[str] | None = None,
        when: Mapping[str, Any] | None = None,
        floating: bool | None = None,
        quorum: int | None = None,
        within: int | None = None,
        uses_with: Mapping[str, Any] | None = None,
        uses_metas: Mapping[str, Any] | None = None,
        uses_requests: Mapping[str, str] | None = None,
        uses_dynamic_batching: Mapping[str, Any] | None = None,
        py_modules: str | Sequence[str] | None = None,
        workspace: str | Path | None = None,
        host: str | Sequence[str] | None = None,
        port_in: int | None = None,
        server_key: str | Sequence[str] | None = None,
        external: bool | None = None,
        replicas: int | None = None,
        max_concurrency: int | None = None,
        env: Mapping[str, str] | None = None,
        timeout_ready: int | None = None,
        timeout_send: int | None = None,
        on_timeout: str | None = None,
        retries: int | None = None,
        idempotent: bool | None = None,
        no_reduce: bool | None = None,
        quiet_error: bool | None = None,
        start_method: str | None = None,
        description: str | None = None,
        **aliases: Any,
    ) -> AnyFlow:
        """This Flow with one Executor more, which follows the one added before unless `needs` says otherwise.

        uses: an Executor class, its name, ``module:Class``, a YAML file, YAML text or a dict; None passes documents
        through. needs: whom it waits for, in the order of its `docs_matrix`; ``'gateway'`` starts a branch.
        uses_with, uses_metas, uses_requests, uses_dynamic_batching: win over what YAML says, key by key.

        when: a condition as for `DocumentArray.find`, such as ``{'tags__kind': {'$eq': 'a'}}``. Documents that do not
        meet it are not given to this Executor, and do not go on from it: in a chain they are gone, so let branches with
        conditions that complete each other join, and every document comes back once, in the order in which it was sent.
        If none of the documents of a request meets it, no method is called.

        floating: neither the reply nor the next `add` waits for it; its results are nobody's, its failures are logged.

        quorum, within: for a join. It begins as soon as `quorum` of its `needs` have ended; with `within` it waits for
        all of them, but no longer than so many milliseconds after the first, and then for no more than `quorum` (one).
        Those that are not there then are given up, and missing in `docs_map` and `docs_matrix`. The failure of a branch
        on which only such joins wait fails the request only when there can be no quorum without it.

        timeout_send, on_timeout: how many milliseconds a call to it may take, and whether one that takes longer fails
        the request ('fail') or skips this Executor ('skip'), which then has no documents: a join misses it in its
        `docs_map`, whoever follows it alone gets none.

        host, port_in, external: an Executor that runs already; server_key: the public key by which it is known there.

        timeout_ready: milliseconds. The other options, their defaults and what they mean are listed by ``zflow executor
        --help``.

        Raises ConfigError for an unknown or wrong option, TopologyError for a graph that cannot be.
        """
        options = {key: value for key, value in locals().items() if key not in ("self", "aliases")}
        return self._with(self._spec.add(**options, **aliases))

    def needs(self: AnyFlow, needs: Sequence[str], **options: Any) -> AnyFlow:
        """This Flow with an Executor more that joins `needs`; by default ``joiner``, which passes documents through."""
        return self._with(self._spec.needs(needs, **options))

    def needs_all(self: AnyFlow, **options: Any) -> AnyFlow:
        """This Flow with an Executor that joins every one that nothing needs yet."""
        return self._with(self._spec.needs_all(**options))

    def _with(self: AnyFlow, spec: FlowSpec) -> AnyFlow:
        spec.topology()  # a wrong graph is refused where it is built
        return type(self)(spec)

    # -- YAML --------------------------------------------------------------------------------------------------------

    @classmethod
    def load_config(cls, source: str | Path | Mapping[str, Any], *, context: Mapping[str, Any] | None = None) -> Flow:
        """The Flow in a YAML file, in YAML text or in a dict. context: values for ``${{ CONTEXT.x }}``.

        Raises ConfigError with file, line and path of the fault.
        """
        spec = load_flow(source, context=context)
        if spec.asyncio:
            from zflow.asynchronous import AsyncFlow  # as in __new__

            return AsyncFlow(spec)
        return Flow(spec)

    def save_config(self, path: str | Path) -> None:
        """Write what was given, and nothing else, as YAML: `load_config` makes an equal Flow of it."""
        Path(path).write_text(dump_flow(self._spec, Path(path).parent), encoding="utf-8")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Flow) and self._spec == other._spec

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        names = " -> ".join(executor.name for executor in self._spec.executors)
        state = f"open at {self._spec.host}:{self.port}" if self._open else "not open"
        return f"<{type(self).__name__} {names or '(no Executors)'}, {state}>"

    # -- life --------------------------------------------------------------------------------------------------------

    def start(self: AnyFlow) -> AnyFlow:
        """Start every process and return when all are ready.

        Raises StartError with the traceback of the one that could not start, or PortInUse; nothing runs then.
        """
        with self._changing:
            if self._open is not None:
                raise ConfigError("this Flow is open already")
            plan = plan_flow(self._spec)
            directory = external_addresses(plan.nodes)
            trust(directory, plan.nodes, plan.identity)
            waiting = Waiting(quiet=self._spec.quiet)
            supervisor = Supervisor(plan, directory=directory, on_progress=waiting.show, log=self._log)
            try:
                supervisor.start()
            finally:
                waiting.clear()
            self._open = _Open(supervisor, self._new_lanes(*_way_in(plan, supervisor, directory)))
        if self._spec.insecure and not self._spec.keys:
            self._log.warning("insecure=True: whoever reaches %s may call it", supervisor.gateway_address)
        self._log.info("%s", ready_lines(self._spec.host, self.port))
        return self

    def close(self, grace: float = GRACE) -> None:
        """Let what is under way finish, for at most `grace` seconds, then end every process. Again, it does nothing."""
        with self._changing:
            is_open, self._open = self._open, None
        if is_open is not None:
            try:
                is_open.lanes.close(grace)
            finally:
                is_open.supervisor.close(grace)

    def __enter__(self: AnyFlow) -> AnyFlow:
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.close()

    def block(self, stop_event: StopEvent | None = None) -> None:
        """Serve until `stop_event` is set, Ctrl-C is pressed or the process is told to end (SIGTERM)."""
        self._opened()
        event: StopEvent = stop_event or threading.Event()
        try:
            with _sigterm_interrupts():
                while not event.wait(_LOOK_UP):
                    pass
        except KeyboardInterrupt:
            self._log.info("stopping")

    @property
    def port(self) -> int:
        """The gateway's port: the real one while the Flow is open."""
        if self._open is None:
            if not self._spec.port:
                raise ConfigError("the Flow has no port before it is open: the system chooses one")
            return self._spec.port
        return int(self._open.supervisor.gateway_address.rpartition(":")[2])

    @property
    def host(self) -> str:
        """The address that the gateway binds."""
        return self._spec.host

    def status(self) -> list[ProcessStatus]:
        """What each process does: name, pid, state, restarts."""
        return self._opened().supervisor.status()

    def _opened(self) -> _Open:
        if self._open is None:
            raise ConfigError("this Flow is not open: use it inside `with flow:`, or call start() first")
        return self._open

    @staticmethod
    def _new_lanes(role: Callable[[], Role], directory: Directory) -> Any:
        return Lanes(role, directory)

    def _lanes(self) -> Lanes:
        lanes: Lanes = self._opened().lanes
        return lanes

    def _default_prefetch(self) -> int:
        return self._spec.prefetch


def _way_in(plan: Plan, supervisor: Supervisor, directory: Directory) -> tuple[Callable[[], Role], Directory]:
    """The role that posts of this process run, and where its peers are.

    Between two posts nobody runs a role of ours, but floating Executors are to go on then: where there are some, the
    gateway's process is asked, which is always there.
    """
    if not any(node.floating for node in plan.topology.nodes):
        return partial(gateway_role, plan.topology, plan.nodes), directory
    host, _, port = supervisor.gateway_address.removeprefix("tcp://").rpartition(":")
    peer = address_of(host, int(port))
    own = plan.gateway.keys if plan.gateway is not None else ""
    return partial(head_asking, peer), way_to(peer, keys=own, server_key=load(own).public if own else "")


def serve(
    executor: type[Executor],
    *,
    uses_with: Mapping[str, Any] | None = None,
    uses_metas: Mapping[str, Any] | None = None,
    uses_requests: Mapping[str, str] | None = None,
    uses_dynamic_batching: Mapping[str, Any] | None = None,
    stop_event: StopEvent | None = None,
    **options: Any,
) -> None:
    """Serve `executor` behind a gateway until `stop_event`, Ctrl-C or SIGTERM; `options` are those of the Flow."""
    flow = Flow(**options).add(
        uses=executor,
        uses_with=uses_with,
        uses_metas=uses_metas,
        uses_requests=uses_requests,
        uses_dynamic_batching=uses_dynamic_batching,
    )
    with flow:
        flow.block(stop_event)


_LOOK_UP = 0.5  # seconds between two looks at a stop event: some cannot be interrupted while they wait


@contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """While blocking on the main thread, SIGTERM ends the wait as Ctrl-C does, so that the Flow is closed in order."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
