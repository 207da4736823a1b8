"""Deployment: one Executor that stands alone, with replicas and shards of its own, asked as a Flow is.

A Flow that taps it (``Flow().add(host=..., port_in=..., external=True)``) sees it as one Executor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from zflow.banner import ready_lines
from zflow.config.deployment import DeploymentSpec, dump_deployment, load_deployment
from zflow.config.log_config import voice_of
from zflow.config.options import Surface
from zflow.config.places import Place
from zflow.config.plan import Plan, WorkerPlan, plan_deployment
from zflow.config.spec import ExecutorSpec
from zflow.drivers.assembly import head_peer_role
from zflow.drivers.directory import Directory
from zflow.elsewhere import Elsewhere
from zflow.errors import ConfigError, nearest
from zflow.processes.logs import Log
from zflow.processes.supervisor import Supervisor
from zflow.service import WayIn, with_arguments

_LATER = ("name", "host", "port_in", "quiet", "log_config")  # settled when it opens


class Deployment(Elsewhere):
    """One Executor, its replicas and shards, and a head before them at `port`.

    Options are those of `Flow.add` (uses, uses_with, replicas, shards, polling, env, workspace, host, port_in...)
    except those that are about its place in a graph, and of `Flow` port (the same as port_in; the kernel chooses where
    none is given), prefetch, asyncio, insecure. Without a name it takes its class's. Raises ConfigError for one
    that is unknown or wrong.

    Open it with ``with deployment:`` or `start`; then `post`, `index`, `search`... ask it from this process, from any
    thread, and Flows and Clients ask it at `port`.
    """

    _spec: DeploymentSpec

    def __new__(cls, *args: Any, asyncio: bool = False, **options: Any) -> Any:
        if asyncio and cls is Deployment:
            from zflow.asynchronous import AsyncDeployment  # asyncio costs a third of `import zflow`; few need it

            return super().__new__(AsyncDeployment)
        return super().__new__(cls)

    def __init__(self, spec: DeploymentSpec | None = None, /, **options: Any) -> None:
        self._spec = DeploymentSpec.from_options(**options) if spec is None else spec
        self._node = ""
        super().__init__(Log.of(self._spec.name, voice_of(self._spec.executor)))

    @classmethod
    def load_config(
        cls,
        source: str | Path | Mapping[str, Any],
        *,
        context: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Deployment:
        """The Deployment in a YAML file, in YAML text or in a dict, as `Flow.load_config` has a Flow."""
        return cls._of(source, lambda: _overridden(load_deployment(source, context=context), options))

    @classmethod
    def _of(cls, source: str | Path | Mapping[str, Any], read: Callable[[], DeploymentSpec]) -> Deployment:
        """The Deployment that `read` gives, and gives anew when `source`, if it is a file, has changed."""
        spec = read()
        if spec.front.asyncio:
            from zflow.asynchronous import AsyncDeployment  # as in __new__

            return AsyncDeployment(spec)._from(source, read)
        return Deployment(spec)._from(source, read)

    def save_config(self, path: str | Path) -> None:
        """Write what was given, and nothing else, as YAML: `load_config` makes an equal Deployment of it."""
        Path(path).write_text(dump_deployment(self._spec, Path(path).parent), encoding="utf-8")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Deployment) and self._spec == other._spec

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._spec.executor.name or '(unnamed)'}, {self._state}>"

    # -- while it is open --------------------------------------------------------------------------------------------

    def scale(self, *, replicas: int) -> Any:
        """Have it, or each of its shards, served by so many processes; see `Flow.scale`."""
        return self._carry_out(lambda: self._scale(self._name, replicas))

    def rolling_update(self, *, uses_with: Mapping[str, Any] | None = None) -> Any:
        """Replace its processes one after the other by new ones; see `Flow.rolling_update`."""
        return self._carry_out(lambda: self._update(self._name, uses_with))

    @property
    def _name(self) -> str:
        """What it is called while it is open, also when its class has become another one."""
        return self._node or self._plan().nodes[0].name

    def _changed(self, node: str, options: Mapping[str, Any]) -> tuple[DeploymentSpec, Sequence[WorkerPlan]]:
        if node != self._name:
            raise ConfigError(f"there is no Executor {node!r:.80} in this Deployment: {nearest(node, [self._name])}")
        options = with_arguments(options, self._spec.executor.uses_with)
        spec = self._spec.override(Place(), Surface.PYTHON, **options)
        return spec, plan_deployment(spec, node).workers

    @property
    def _follows(self) -> bool:
        return self._spec.executor.restart and self._origin is not None

    def _followed(self, before: DeploymentSpec, now: DeploymentSpec) -> tuple[DeploymentSpec, list[str]]:
        executor = self._spec.executor if now.executor == before.executor else now.executor
        later = [name for name in _LATER if getattr(now.executor, name) != getattr(before.executor, name)]
        later += [] if now.front == before.front else ["what is said of its head"]
        kept = {name: getattr(self._spec.executor, name) for name in _LATER}
        return DeploymentSpec(replace(executor, **kept), self._spec.front), later

    def _partly(self, spec: DeploymentSpec, node: str) -> DeploymentSpec:
        return spec

    def _planned(self, spec: DeploymentSpec) -> Plan:
        return plan_deployment(spec, self._name)

    def _served(self) -> dict[str, ExecutorSpec]:
        return {self._name: self._spec.executor}

    # -- what a Service asks of it ------------------------------------------------------------------------------------

    @property
    def host(self) -> str:
        """The address that its head binds."""
        return self._spec.host

    def _plan(self) -> Plan:
        return plan_deployment(self._spec)

    def _way_in(self, plan: Plan, supervisor: Supervisor, directory: Directory) -> WayIn:
        """Posts of this process go to the workers without a detour: each lane is a head of its own."""
        [node] = plan.nodes
        self._node = node.name
        return partial(head_peer_role, node), directory

    def _planned_port(self) -> int | None:
        return self._spec.port

    def _tell_ready(self, address: str) -> None:
        executor = self._spec.executor
        if self._spec.front.insecure and not self._spec.front.keys:
            self._log.warning("insecure=True: whoever reaches %s may call it", address)
        scaled = {self._spec.name: (executor.shards, executor.replicas)} if executor.is_scaled else {}
        self._log.info("%s", ready_lines(self.host, self.port, "Deployment", scaled))

    def _default_prefetch(self) -> int:
        return self._spec.front.prefetch


def _overridden(spec: DeploymentSpec, options: Mapping[str, Any]) -> DeploymentSpec:
    return spec.override(Place(), Surface.PYTHON, **options) if options else spec
