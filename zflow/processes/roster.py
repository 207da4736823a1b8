"""Who belongs to a plan while it runs: its gateway, its workers, and which of these heads may ask.

Processes keep their names; links are never used twice, because who asks by a link must not take a process for the one
that had its name before: after ``encoder/rep-0`` comes ``encoder/rep-0.1``, which is called encoder/rep-0 as well.
"""

from __future__ import annotations

from collections import Counter

from zflow.config.plan import Plan, WorkerPlan
from zflow.processes.child import Child, State
from zflow.roles.contract import group_of


class Roster:
    """The processes of `plan`. children: all of them, the gateway last; a new list with every change."""

    def __init__(self, plan: Plan) -> None:
        self.gateway = Child(plan.gateway) if plan.gateway is not None else None
        workers = [Child(worker) for worker in plan.workers]
        self._names = Counter(worker.name for worker in workers)
        self.children: list[Child] = workers
        if self.gateway is not None:
            self.children = [*workers, self.gateway]

    @property
    def workers(self) -> list[Child]:
        """Also those that are leaving."""
        return [child for child in self.children if not child.is_gateway]

    def serving(self, node: str) -> list[Child]:
        """The workers that serve `node`, or are about to again."""
        return [child for child in self.workers if child.node == node and child.is_member]

    def links(self, group: str) -> list[str]:
        """By which heads ask the replicas of `group`."""
        return [child.link for child in self.workers if child.is_member and group_of(child.link) == group]

    @property
    def front_address(self) -> str:
        """Where the process in front is bound, or was and will be again; empty while that is not known."""
        if self.gateway is None:
            return ""
        return self.gateway.address or ("" if self.gateway.bound.endswith(":0") else self.gateway.bound)

    def progress(self) -> tuple[list[str], list[str]]:
        """The nodes some of whose processes are awaited, and the others."""
        nodes = dict.fromkeys(child.node for child in self.children)
        waiting = {child.node for child in self.children if child.state is not State.READY}
        return [node for node in nodes if node in waiting], [node for node in nodes if node not in waiting]

    def sources(self, node: str) -> tuple[set[str], set[str]]:
        """The files and the folders that its processes have told to be made of."""
        told = [child.sources for child in self.children if child.node == node]
        return {file for files, _ in told for file in files}, {folder for _, folders in told for folder in folders}

    def add(self, plan: WorkerPlan) -> Child:
        """A worker more, which nobody asks yet."""
        number = self._names[plan.name]
        self._names[plan.name] += 1
        child = Child(plan, link=f"{plan.name}.{number}" if number else plan.name)
        child.is_member = False
        group = group_of(child.link)
        siblings = [at for at, other in enumerate(self.children) if group_of(other.link) == group]
        at = siblings[-1] + 1 if siblings else 0
        self.children = [*self.children[:at], child, *self.children[at:]]
        return child

    def remove(self, child: Child) -> None:
        """It has left."""
        self.children = [other for other in self.children if other is not child]

    def by_link(self, link: str) -> Child | None:
        return next((child for child in self.children if child.link == link), None)
