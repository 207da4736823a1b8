"""Those who bear for the warm parent: for each Executor with a `preload`, a process in which it has run.

The warm parent forks such a family's parent when its first child is asked for, hands on what is asked, and passes on
what it tells of births and deaths, so that the supervisor sees no difference. Should one end, its children go with it;
the next that is asked for founds the family anew.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from typing import NamedTuple

from zflow.processes.channel import Channel, Words

_KILLED = -int(signal.SIGKILL)


class FamilyName(NamedTuple):
    """node: whose processes they are. edition: changes with the Executor's class and arguments."""

    node: str
    edition: str


class Family:
    """waiting: who was asked for and is not born yet, in that order. is_superseded: nobody is born of it any more."""

    def __init__(self, name: FamilyName, pid: int, channel: Channel) -> None:
        self.name = name
        self.pid = pid
        self.channel = channel
        self.waiting: list[str] = []
        self.children: set[int] = set()
        self.is_superseded = False


class Families:
    """All of one Flow's, as the warm parent knows them. tell: the supervisor."""

    def __init__(self, tell: Callable[[Words], None]) -> None:
        self._tell = tell
        self._families: list[Family] = []

    def channels(self) -> list[Channel]:
        """Of those who are alive: where words may come from."""
        return [family.channel for family in self._families if family.channel.fileno() >= 0]

    def find(self, name: FamilyName) -> Family | None:
        """Who bears children of that name."""
        fit = [family for family in self._families if family.name == name and not family.is_superseded]
        return fit[0] if fit else None

    def found(self, name: FamilyName, pid: int, channel: Channel) -> Family:
        """A new one."""
        family = Family(name, pid, channel)
        self._families.append(family)
        return family

    def ask(self, family: Family, asked: Words, descriptor: int) -> None:
        """Have it bear a child with the channel `descriptor`, which is handed over."""
        family.waiting.append(asked["child"])
        family.channel.send({**asked, "family": None}, [descriptor])

    def supersede(self, node: str) -> None:
        """The node's next child shall be born where `preload` has run anew; the present ones stay while they live."""
        for family in self._families:
            if family.name.node == node:
                family.is_superseded = True
                self._end_if_useless(family)

    def hear(self) -> None:
        """Pass on what they tell."""
        for family in list(self._families):
            self._hear(family)
            family.channel.flush()

    def kill(self, pid: int) -> None:
        """Have a child killed by who alone knows whether it still lives."""
        for family in self._families:
            if pid in family.children:
                family.channel.send({"kill": pid})

    def give_up(self, child: str) -> None:
        """End what takes so long that `child` is not wanted any more, unless others have come of it."""
        for family in self._families:
            if child in family.waiting and not family.children:
                os.kill(family.pid, signal.SIGKILL)  # it is not reaped, so the number is its own

    def ended(self, pid: int, status: int) -> bool:
        """A child of the warm parent has ended. Whether it was one of these."""
        for family in self._families:
            if family.pid == pid:
                self._hear(family)
                self._families.remove(family)
                family.channel.close()
                self._bury(family, status)
                return True
        return False

    def close(self) -> None:
        """Have all of them end what they have, and themselves."""
        for family in self._families:
            family.channel.close()

    @property
    def pids(self) -> list[int]:
        return [family.pid for family in self._families]

    def _hear(self, family: Family) -> None:
        if family.channel.fileno() < 0:
            return
        try:
            for words in family.channel.receive():
                self._pass_on(family, words)
        except EOFError:
            family.channel.close()  # how it ended is told when it is reaped
        self._end_if_useless(family)

    def _pass_on(self, family: Family, words: Words) -> None:
        if "child" in words:
            family.waiting = [name for name in family.waiting if name != words["child"]]
            if "pid" in words:
                family.children.add(words["pid"])
        elif "ended" in words:
            family.children.discard(words["ended"])
        self._tell(words)

    def _bury(self, family: Family, status: int) -> None:
        for name in family.waiting:
            because = f"the process in which its preload() runs ended with status {status}"
            self._tell({"child": name, "because": because})
        for pid in family.children:
            with contextlib.suppress(ProcessLookupError):  # it ends by itself when its parent does, if it can
                os.kill(pid, signal.SIGKILL)
            self._tell({"ended": pid, "status": _KILLED})

    def _end_if_useless(self, family: Family) -> None:
        if family.is_superseded and not family.children and not family.waiting:
            family.channel.close()
