"""The development loop: what serves follows its files, Python by `reload` and YAML by `restart`.

A new process takes the place of an old one as in a rolling update, so that no request fails. A Flow, or Deployment,
that was made from a file becomes what that file describes: `difference` says what must be done, and all else goes on.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from zflow.config.definition import is_file
from zflow.config.difference import Difference, difference
from zflow.config.plan import Plan
from zflow.config.spec import ExecutorSpec
from zflow.drivers.assembly import external_addresses, trust
from zflow.processes.lifeline import GRACE
from zflow.processes.watch import Progress
from zflow.renewing import Renewing, Subject, check_watched, forget_compiled, yaml_files
from zflow.service import Running, Service
from zflow.watching import Watched, watchfiles

AnyDeveloping = TypeVar("AnyDeveloping", bound="Developing")


class Origin(NamedTuple):
    """The YAML file that a Service was made from. read: what it describes now. spec: what it described last."""

    file: Path
    read: Callable[[], Any]
    spec: Any


class Developing(Service):
    """A Service that changes under its author's hands."""

    _origin: Origin | None = None
    _renewing: Renewing | None = None
    _is_watched = False
    _began = 0.0

    # -- what each kind of it decides for itself -----------------------------------------------------------------------

    @property
    def _follows(self) -> bool:
        """Whether it is to become what its file describes, whenever that changes."""
        return False

    def _followed(self, before: Any, now: Any) -> tuple[Any, list[str]]:
        """The spec that runs, with what its file describes otherwise `now` than `before`; and what of that cannot be
        changed while it is open, in words."""
        raise NotImplementedError

    def _partly(self, spec: Any, node: str) -> Any:
        """The spec that runs, with the options that `spec` has for the processes of `node`."""
        raise NotImplementedError

    def _planned(self, spec: Any) -> Plan:
        """The plan of a spec that what is open is to become."""
        raise NotImplementedError

    def _served(self) -> Mapping[str, ExecutorSpec]:
        """The Executors whose processes are ours, by name."""
        return {}

    def _from(self: AnyDeveloping, source: Any, read: Callable[[], Any]) -> AnyDeveloping:
        """This one, which remembers that `read` has its spec, from a file if `source` is one."""
        if isinstance(source, Path) or (isinstance(source, str) and "\n" not in source and is_file(source)):
            self._origin = Origin(Path(os.path.abspath(source)), read, self._spec)
        return self

    # -- its life ------------------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        executors = self._served()
        for name, spec in executors.items():
            check_watched(name, spec, is_in_file=self._origin is not None)
        is_watched = any(spec.reload or (spec.restart and yaml_files(spec)) for spec in executors.values())
        self._is_watched = is_watched or self._follows
        if self._is_watched:
            watchfiles()
        self._began = time.time()

    def _has_opened(self) -> None:
        if self._is_watched:
            self._renewing = Renewing(self._subjects, self._log, self._began)

    def _is_closing(self) -> Callable[[], None]:
        renewing, self._renewing = self._renewing, None
        if renewing is None:
            return super()._is_closing()
        renewing.close()
        return renewing.join

    # -- what changes ------------------------------------------------------------------------------------------------

    def _subjects(self) -> Iterator[Subject]:
        """What is renewed, and by changes of which files."""
        is_open = self._open
        if is_open is None:
            return
        for name, spec in self._served().items():
            if spec.reload:
                files, folders = is_open.supervisor.sources(name)
                yield Subject(name, Watched(frozenset(files), frozenset(folders)), partial(self._reload, name))
            if spec.restart:
                yield Subject(name, Watched(yaml_files(spec)), partial(self._restart, name))
        if self._follows and self._origin is not None:
            yield Subject(self._kind, Watched(frozenset([str(self._origin.file)])), self._follow)

    def _reload(self, node: str, paths: list[str], look: Progress) -> None:
        forget_compiled(paths)
        told = f"detected changes in: {paths}. Refreshing the Executor"
        self._change(node, {}, renew=True, keeps=True, waits=False, because=told, on_progress=look)

    def _restart(self, node: str, paths: list[str], look: Progress) -> None:
        told = "change in Executor configuration YAML %s observed, restarting Executor deployment"
        self._log.info(told, ", ".join(paths))
        self._change(node, {}, renew=True, waits=False, on_progress=look)

    def _follow(self, paths: list[str], look: Progress) -> None:
        """Become what the file describes now, and leave alone what it has not changed."""
        assert self._origin is not None
        with self._alone(self._kind, look):
            now = self._origin.read()
            spec, later = self._followed(self._origin.spec, now)
            plan = self._planned(spec)
            steps = difference(self._running, plan)
            told = "change in %s configuration YAML %s observed: %s"
            self._log.info(told, self._kind, ", ".join(paths), steps)
            for option in later:
                self._log.warning("%s stays as it is until the %s is started anew", option, self._kind)
            self._take_steps(steps, spec, plan, look)
            self._spec, self._running = spec, plan
            self._origin = self._origin._replace(spec=now)

    def _take_steps(self, steps: Difference, spec: Any, plan: Plan, look: Progress) -> None:
        is_open = self._opened()
        change = is_open.supervisor.change
        try:
            for node, workers in (*steps.coming.items(), *steps.renewed.items()):
                change(node, workers, renew=node in steps.renewed, waits=False, on_progress=look)
                if node in steps.renewed:
                    self._has_changed(node, self._partly(spec, node), workers)
        except BaseException:
            for node in steps.coming:
                change(node, [])
            raise
        if steps.in_front:
            self._stand_anew(plan, is_open)
        for node, workers in (*steps.renewed.items(), *steps.scaled.items()):
            change(node, workers)  # those that are too many
        for node in steps.leaving:
            change(node, [])

    def _stand_anew(self, plan: Plan, is_open: Running) -> None:
        """Ask by another graph."""
        assert plan.gateway is not None
        for link, address in external_addresses(plan.nodes).all().items():
            is_open.directory.set(link, address)
        trust(is_open.directory, plan.nodes, plan.identity)
        is_open.resolver.follow(plan.nodes)
        role, _ = self._way_in(plan, is_open.supervisor, is_open.directory)
        is_open.supervisor.change_front(plan.gateway)
        is_open.lanes.renew(role, GRACE)
