"""Flow: `add` builds a spec, `with` starts the plan, `post` asks inline on the calling thread.

A Flow that is not open is a value: `add`, `needs` and `needs_all` return a new Flow and leave this one as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from zflow.banner import ready_lines
from zflow.client import address_of, head_asking, way_to
from zflow.config.definition import Definition
from zflow.config.keys import load
from zflow.config.log_config import voice_of
from zflow.config.plan import Plan, WorkerPlan, plan_flow, plan_workers
from zflow.config.spec import ExecutorSpec, FlowSpec
from zflow.config.yaml_file import dump_flow, load_flow
from zflow.drivers.assembly import gateway_role
from zflow.drivers.directory import Directory
from zflow.elsewhere import Elsewhere
from zflow.errors import ConfigError
from zflow.executor import Executor
from zflow.processes.logs import Log
from zflow.processes.supervisor import Supervisor
from zflow.service import StopEvent, WayIn, with_arguments

AnyFlow = TypeVar("AnyFlow", bound="Flow")
_LATER = ("name", "port", "host", "quiet", "log_config", "keys", "insecure", "asyncio")  # settled when it opens


class Flow(Elsewhere):
    """A graph of Executors.

    Options are those of `zflow.config.spec.FlowSpec`: name, port (of the gateway; the kernel chooses where none is
    given), host (127.0.0.1), workspace, quiet, quiet_error, log_config, env, timeout_ready (ms), start_method,
    asyncio, prefetch, keys, insecure, description. Raises ConfigError for one that is unknown or wrong.

    Open it with ``with flow:`` or `start`; then `post`, `index`, `search`... ask it from this process, from any
    thread, and Clients ask it at `port`.
    """

    _spec: FlowSpec

    def __new__(cls, *args: Any, asyncio: bool = False, **options: Any) -> Any:
        if asyncio and cls is Flow:
            from zflow.asynchronous import AsyncFlow  # asyncio costs a third of `import zflow`; few need it

            return super().__new__(AsyncFlow)
        return super().__new__(cls)

    def __init__(self, spec: FlowSpec | None = None, /, **options: Any) -> None:
        self._spec = FlowSpec.from_options(**options) if spec is None else spec
        super().__init__(Log.of(self._spec.name, voice_of(self._spec)))

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
        shards: int | None = None,
        polling: str | Mapping[str, str] | None = None,
        uses_before: type[Executor] | Definition | Mapping[str, Any] | str | None = None,
        uses_after: type[Executor] | Definition | Mapping[str, Any] | str | None = None,
        allow_partial: bool | None = None,
        max_concurrency: int | None = None,
        env: Mapping[str, str] | None = None,
        cpus: int | str | Sequence[int] | None = None,
        timeout_ready: int | None = None,
        timeout_send: int | None = None,
        on_timeout: str | None = None,
        retries: int | None = None,
        queue_bytes: int | None = None,
        idempotent: bool | None = None,
        no_reduce: bool | None = None,
        quiet: bool | None = None,
        quiet_error: bool | None = None,
        log_config: str | Path | Mapping[str, Any] | None = None,
        install_requirements: bool | None = None,
        start_method: str | None = None,
        reload: bool | None = None,
        restart: bool | None = None,
        volumes: str | Path | Sequence[str | Path] | None = None,
        gpus: str | int | Sequence[int] | None = None,
        entrypoint: str | Sequence[str] | None = None,
        docker_kwargs: Mapping[str, Any] | None = None,
        description: str | None = None,
        **aliases: Any,
    ) -> AnyFlow:
        """This Flow with one Executor more, which follows the one added before unless `needs` says otherwise.

        uses: an Executor class, its name, ``module:Class``, a YAML file, YAML text, a dict or ``hub://name:tag``; None
        passes documents through. needs: whom it waits for, in the order of its `docs_matrix`; ``'gateway'`` starts a
        branch. uses_with, uses_metas, uses_requests, uses_dynamic_batching: win over what YAML says, key by key.

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

        queue_bytes: how many bytes of requests may wait for it, and as many be with it; more is refused at once
            (ResourceExhausted). One that has nothing to do gets a request of any size.

        replicas, shards: how many processes serve it; replicas share the requests, shards the data. polling: whether a
        request goes to 'ANY' one of the shards or to 'ALL', also by endpoint: ``{'/search': 'ALL', '*': 'ANY'}``, which
        is how it is if nothing is said. What all make is put together by id, or by `uses_after`, which has it in its
        `docs_map`, a branch for each shard. allow_partial: answer without shards that fail; `Response.missing` names
        them.

        env: variables of its processes. ``CUDA_VISIBLE_DEVICES='RR'`` gives each replica one device, in turn,
        ``'RR1:3'`` and ``'RR0,2'`` out of some of them.

        cpus: keeps its processes, with all their threads, on cores: so many for each of them in turn (``2``), or these
        for all of them (``[0, 1]``, ``'0-3'``). Numeric libraries are told to use no more threads than that.

        host, port_in, external: an Executor that runs already; server_key: the public key by which it is known there.

        timeout_ready: milliseconds. The other options, their defaults and what they mean are listed by ``zflow executor
        --help``.

        reload: renew its processes whenever one of the Python files that it is made of is saved; restart: whenever the
        YAML file that `uses` names is. No request fails meanwhile, and what cannot start leaves in service what does.

        volumes, gpus, entrypoint, docker_kwargs: for ``uses='docker://image:tag'``, which runs in containers of its
        own. They are safe by default: no network, no privileges, nothing to write to but /tmp and the workspace. What
        ``docker run`` can loosen stands in docker_kwargs: ``{'network': 'bridge', 'memory': '2g'}``.

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
    def load_config(
        cls,
        source: str | Path | Mapping[str, Any],
        *,
        context: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Flow:
        """The Flow in a YAML file, in YAML text or in a dict. context: values for ``${{ CONTEXT.x }}``. options: those
        of `Flow`; they win over what is written there. With ``restart=True`` it becomes, while it is open, what the
        file describes whenever that changes; what the change does not concern goes on as it is.

        Raises ConfigError with file, line and path of the fault.
        """
        return cls._of(source, lambda: load_flow(source, context=context).override(**options))

    @classmethod
    def _of(cls, source: str | Path | Mapping[str, Any], read: Callable[[], FlowSpec]) -> Flow:
        """The Flow that `read` gives, and gives anew when `source`, if it is a file, has changed."""
        spec = read()
        if spec.asyncio:
            from zflow.asynchronous import AsyncFlow  # as in __new__

            return AsyncFlow(spec)._from(source, read)
        return Flow(spec)._from(source, read)

    def save_config(self, path: str | Path) -> None:
        """Write what was given, and nothing else, as YAML: `load_config` makes an equal Flow of it."""
        Path(path).write_text(dump_flow(self._spec, Path(path).parent), encoding="utf-8")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Flow) and self._spec == other._spec

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        names = " -> ".join(executor.name for executor in self._spec.executors)
        return f"<{type(self).__name__} {names or '(no Executors)'}, {self._state}>"

    # -- while it is open --------------------------------------------------------------------------------------------

    def scale(self, name: str, *, replicas: int) -> Any:
        """Have the Executor `name`, or each of its shards, served by so many processes, and return when it is.

        No request fails: more are asked as soon as each is ready, and of fewer the last ones finish what they have. Of
        an asynchronous Flow it is to be awaited. Raises ConfigError for a name or number that cannot be, StartError
        when a new process cannot start; then everything is as before.
        """
        return self._carry_out(lambda: self._scale(name, replicas))

    def rolling_update(self, name: str, *, uses_with: Mapping[str, Any] | None = None) -> Any:
        """Replace the processes of the Executor `name` one after the other by new ones, and return when all are.

        uses_with: other arguments for its ``__init__``; those that are not named stay as they were. No request fails.
        Of an asynchronous Flow it is to be awaited. Raises as `scale` does; when a new process cannot start, those that
        have been replaced stay so, and the others serve on as they are.
        """
        return self._carry_out(lambda: self._update(name, uses_with))

    def _changed(self, node: str, options: Mapping[str, Any]) -> tuple[FlowSpec, Sequence[WorkerPlan]]:
        present = {executor.name: executor for executor in self._spec.executors}.get(node)
        if present is not None and present.external:
            raise ConfigError(f"{node} is external: it is scaled and updated where it was started, not by this Flow")
        spec = self._spec.change(node, **with_arguments(options, present.uses_with if present is not None else {}))
        return spec, plan_workers(spec, node)

    @property
    def _follows(self) -> bool:
        return self._spec.restart and self._origin is not None

    def _followed(self, before: FlowSpec, now: FlowSpec) -> tuple[FlowSpec, list[str]]:
        """An Executor that the file describes as before stays as it runs, also where it was changed meanwhile."""
        was = {executor.name: executor for executor in before.executors}
        runs = {executor.name: executor for executor in self._spec.executors}
        executors = [
            runs[item.name] if was.get(item.name) == item and item.name in runs else item for item in now.executors
        ]
        later = [name for name in _LATER if getattr(now, name) != getattr(before, name)]
        kept = {name: getattr(self._spec, name) for name in _LATER}
        return replace(now, executors=tuple(executors), **kept), later

    def _partly(self, spec: FlowSpec, node: str) -> FlowSpec:
        new = {executor.name: executor for executor in spec.executors if executor.name == node}
        return replace(self._spec, executors=tuple(new.get(item.name, item) for item in self._spec.executors))

    def _planned(self, spec: FlowSpec) -> Plan:
        return plan_flow(spec)

    def _served(self) -> dict[str, ExecutorSpec]:
        return {executor.name: executor for executor in self._spec.executors if not executor.external}

    # -- what a Service asks of it -----------------------------------------------------------------------------------

    @property
    def host(self) -> str:
        """The address that the gateway binds."""
        return self._spec.host

    def _plan(self) -> Plan:
        return plan_flow(self._spec)

    def _way_in(self, plan: Plan, supervisor: Supervisor, directory: Directory) -> WayIn:
        """The role that posts of this process run, and where its peers are.

        Between two posts nobody runs a role of ours, but floating Executors are to go on then: where there are some,
        the gateway's process is asked, which is always there.
        """
        if not any(node.floating for node in plan.topology.nodes):
            return partial(gateway_role, plan.topology, plan.nodes), directory
        host, _, port = supervisor.gateway_address.removeprefix("tcp://").rpartition(":")
        peer, own = address_of(host, int(port)), self._spec.keys
        return partial(head_asking, peer), way_to(peer, keys=own, server_key=load(own).public if own else "")

    def _planned_port(self) -> int | None:
        return self._spec.port

    def _tell_ready(self, address: str) -> None:
        if self._spec.insecure and not self._spec.keys:
            self._log.warning("insecure=True: whoever reaches %s may call it", address)
        scaled = {item.name: (item.shards, item.replicas) for item in self._spec.executors if item.is_scaled}
        self._log.info("%s", ready_lines(self._spec.host, self.port, scaled=scaled))

    def _default_prefetch(self) -> int:
        return self._spec.prefetch


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
