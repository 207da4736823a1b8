"""One change of the replicas of a node while it serves: more of them, fewer, or all of them anew.

Nothing that serves leaves before what takes its place is ready and asked:

1. More: all new processes start at once, and each is asked as soon as it is ready. If one cannot start, the others
   leave again, and the node is served as before.
2. Fewer: the last ones are asked no more, finish what they have, and end; so do all, of a node that is to be no more.
3. Anew: one after another, a new process starts, is asked instead of the old one, which then finishes and ends. If one
   cannot start, that is the end of it: the others stay, the old ones and those that are new already.

A worker with a port of its own is renewed like any other, because the new process begins on a private address; it
takes over the port as soon as the old one is gone. Decides only; the supervisor, the `House`, carries out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Protocol

from zflow.config.plan import WorkerPlan
from zflow.errors import StartError, ZflowError
from zflow.processes.child import Child, State


class House(Protocol):
    """What a turnover has done."""

    def bear(self, plan: WorkerPlan, turnover: Turnover) -> Child:
        """Start a process that nobody asks yet, on a private address if `turnover` renews.

        Raises ZflowError or OSError when there can be none.
        """

    def admit(self, newcomer: Child, instead_of: Child | None, turnover: Turnover) -> None:
        """Have `newcomer` asked from now on, and `instead_of` no more; that one then finishes and ends."""

    def dismiss(self, children: Sequence[Child], turnover: Turnover) -> None:
        """Have `children` asked no more; then they finish and end."""

    def take_port(self, child: Child, address: str) -> None:
        """Have `child` bind `address` as well."""

    def changed(self) -> None:
        """There is progress to be seen."""


class Turnover:
    """`node` shall be served by the processes of `wanted`. renew: also where one of that name serves already. waits:
    for the end of those that were renewed; otherwise only for the ports that they leave.

    error: why it did not come to that. is_over: nothing is under way any more.
    """

    def __init__(self, node: str, wanted: Sequence[WorkerPlan], *, renew: bool = False, waits: bool = True) -> None:
        self.node = node
        self.error: Exception | None = None
        self.is_over = False
        self.renews = renew
        self._waits = waits
        self._wanted = wanted
        self._to_come: deque[tuple[WorkerPlan, Child | None]] = deque()
        self._coming: dict[Child, Child | None] = {}  # newcomers, and whom they replace, until that one is gone
        self._arrived: list[Child] = []
        self._leaving: set[Child] = set()
        self._kept: list[tuple[Child, WorkerPlan]] = []
        self._at_once = 1

    def progress(self) -> tuple[list[str], list[str]]:
        """The names of those that are awaited, to come or to go, and of those that have come."""
        coming = [child.name for child in self._coming] + [plan.name for plan, _ in self._to_come]
        leaving = [child.name for child in self._leaving if child.name not in coming]
        return coming + leaving, [child.name for child in self._arrived if child not in self._coming]

    # -- what happens ------------------------------------------------------------------------------------------------

    def begin(self, house: House, present: Sequence[Child]) -> None:
        """Now the node is served by `present`."""
        self._house = house
        by_name = {child.name: child for child in present}
        if self.renews:
            self._to_come.extend((plan, by_name.get(plan.name)) for plan in self._wanted)
        else:
            self._to_come.extend((plan, None) for plan in self._wanted if plan.name not in by_name)
            self._kept = [(by_name[plan.name], plan) for plan in self._wanted if plan.name in by_name]
            self._at_once = len(self._to_come)
            self._let_go([child for child in present if child.name not in {plan.name for plan in self._wanted}])
        self._go_on()

    def became_ready(self, newcomer: Child) -> None:
        old = self._coming[newcomer]
        self._arrived.append(newcomer)
        if old is None or not (self._waits or old.bind):
            del self._coming[newcomer]
        else:
            self._leaving.add(old)
        self._house.admit(newcomer, old, self)
        self._go_on()

    def could_not_start(self, newcomer: Child, error: Exception) -> None:
        """It has said so, or is too late. Its end is still to be told."""
        self._fail(self._with_consequences(error))

    def ended(self, child: Child, how: str) -> None:
        """The process of a newcomer that was not ready, or of one that was leaving, is no more."""
        if child in self._coming and child not in self._arrived:
            del self._coming[child]
            self._fail(self._with_consequences(StartError(f"{child.name} {how} before it was ready", peer=child.name)))
        self._leaving.discard(child)
        for newcomer, old in list(self._coming.items()):
            if old is child and newcomer in self._arrived:
                if child.bind is None:
                    del self._coming[newcomer]
                else:
                    self._house.take_port(newcomer, child.bind)
        self._go_on()

    def took_port(self, newcomer: Child, error: Exception | None = None) -> None:
        if self._coming.pop(newcomer, None) is not None and error is not None:
            self._fail(error)
        self._go_on()

    def give_up(self, error: Exception) -> None:
        """Nobody wants it any more: what is not finished is undone."""
        if not self.is_over:
            self._fail(error)
            self._go_on()

    def abandon(self, error: Exception) -> None:
        """Everything ends, and this with it."""
        if not self.is_over:
            self.error = self.error or error
            self.is_over = True

    # -- what follows ------------------------------------------------------------------------------------------------

    def _go_on(self) -> None:
        while self._to_come and len(self._coming) < self._at_once and not self.is_over:
            plan, old = self._to_come.popleft()
            try:
                self._coming[self._house.bear(plan, self)] = old
            except (ZflowError, OSError) as error:
                self._fail(error if isinstance(error, ZflowError) else StartError(f"{plan.name}: {error}"))
        if not self._coming and not self._leaving and not self._to_come and not self.is_over:
            self.is_over = True
            if self.error is None:
                for child, plan in self._kept:
                    child.plan = plan  # what it is started from, should it have to be started again
        self._house.changed()

    def _let_go(self, surplus: list[Child]) -> None:
        if not surplus:
            return
        if self._wanted and not any(child.state is State.READY for child, _ in self._kept):
            told = ", ".join(f"{child.name} is {child.state.value}" for child, _ in self._kept)
            self._fail(StartError(f"{self.node} is left as it is, because nobody would serve it: {told}"))
            return
        self._leaving.update(surplus)
        self._house.dismiss(surplus, self)

    def _fail(self, error: Exception) -> None:
        if self.error is not None:
            return
        self.error = error
        self._to_come.clear()
        unwanted = [newcomer for newcomer in self._coming if newcomer not in self._arrived]
        if not self.renews:
            self._leaving.update(self._arrived)
            unwanted += self._arrived
        self._house.dismiss(unwanted, self)

    def _with_consequences(self, error: Exception) -> Exception:
        """`error`, with the versions that serve now where they differ."""
        if self.renews and self._arrived and self.error is None:
            new = ", ".join(child.name for child in self._arrived)
            error.args = (f"{error.args[0]} ({new} had been renewed before and stays so; the others are as they were)",)
        return error
