"""Has children born by the warm parent, and killed; without one, or with one that does not answer, it takes another.

Runs on the supervisor's thread, like everything that concerns children.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from zflow.processes.channel import Words
from zflow.processes.child import Child
from zflow.processes.logs import Log
from zflow.processes.nursery import Nursery, end_orphan, exit_in_words
from zflow.processes.roster import Roster
from zflow.processes.socket_directory import SocketDirectory
from zflow.processes.switchboard import Switchboard

_ANSWER = 0.5  # seconds for a killed child to be gone
_PATIENCE = 4  # times that the warm parent is told to kill a child

clock = time.monotonic


class Births:
    """The births, and violent deaths, of those in `roster`.

    hear: has the supervisor hear what a child has said. ended: tells it that the process of one is no more, and how.
    """

    def __init__(
        self,
        roster: Roster,
        switchboard: Switchboard,
        sockets: SocketDirectory,
        log: Log,
        *,
        hear: Callable[[Child], None],
        ended: Callable[[Child, str], None],
    ) -> None:
        self.nursery: Nursery | None = None
        self._roster = roster
        self._switchboard = switchboard
        self._sockets = sockets
        self._log = log
        log.keep_in(sockets.path)
        self._hear = hear
        self._ended = ended
        self._incarnations = 0
        self._told_of_fallback = False

    def give(
        self,
        child: Child,
        addresses: Mapping[str, str] | None = None,
        replicas: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """Ask for a process of `child`, that is told `addresses` and `replicas`.

        Raises ZflowError when there can be none, OSError when this process has no descriptors left.
        """
        if self.nursery is None:
            self.nursery = Nursery(self._sockets.path)
            self._switchboard.listen(self.nursery.channel, self._hear_nursery)
        self._incarnations += 1
        bind = child.bind or self._sockets.address(child.name, self._incarnations)
        note = "" if child.is_gateway else self._sockets.note_path(child.link)
        words = child.first_words(bind, addresses or {}, self._log, replicas, note)
        fork = child.plan.start_method == "warm"
        family = child.family(words)
        channel = self.nursery.ask_for(child.link, fork=fork, preload=child.preload, env=child.env, family=family)
        child.born(channel, bind, clock())
        self._switchboard.flush_later(self.nursery.channel)
        self._switchboard.listen(channel, lambda: self._hear(child))
        self._switchboard.say(channel, words)

    def renew(self, node: str) -> None:
        """The next processes of `node` share nothing that has been loaded for those before them."""
        if self.nursery is not None:
            self.nursery.renew(node)
            self._switchboard.flush_later(self.nursery.channel)

    def kill(self, child: Child) -> None:
        """Have it killed, and look again soon. A warm parent that does not carry it out is itself at its end."""
        child.kills += 1
        child.due = clock() + _ANSWER
        if child.kills > _PATIENCE:
            self._lost_nursery()
        elif self.nursery is not None:
            if child.pid is not None:
                self.nursery.kill(child.pid)
            else:
                self.nursery.give_up(child.link)
            self._switchboard.flush_later(self.nursery.channel)

    def bury(self, child: Child) -> None:
        """Tidy up after the process of one that comes again."""
        if child.channel is not None:
            self._switchboard.forget(child.channel)
        child.ended()
        child.comes_again = False
        self._sockets.forget(child.bound)

    def close(self) -> str:
        """End the warm parent and whoever it has borne. Returns how it ended."""
        nursery, self.nursery = self.nursery, None
        if nursery is None:
            return ""
        self._switchboard.forget(nursery.channel)
        how = nursery.close()
        for child in self._roster.children:
            if child.pid is not None:
                end_orphan(child.pid)
        return how

    def _hear_nursery(self) -> None:
        nursery = self.nursery
        if nursery is None:
            return
        try:
            for words in nursery.channel.receive():
                self._obey(words)
        except EOFError:
            self._lost_nursery()

    def _obey(self, words: Words) -> None:
        if "ended" in words:
            for child in self._roster.children:
                if child.pid == words["ended"]:
                    self._hear(child)  # its last words, before they are forgotten
                    self._ended(child, exit_in_words(words["status"]))
            return
        asked_for = self._roster.by_link(words["child"])
        if asked_for is not None:
            self._was_born(asked_for, words)

    def _was_born(self, child: Child, words: Words) -> None:
        if "pid" not in words:
            self._hear(child)  # it, or who should have borne it, may have said more
            self._ended(child, f"could not be started: {words['because']}")
            return
        child.pid = words["pid"]
        if child.plan.start_method == "warm" and words["because"] and not self._told_of_fallback:
            self._told_of_fallback = True
            self._log.warning("processes start as fresh interpreters, not forked: %s", words["because"])

    def _lost_nursery(self) -> None:
        """The warm parent is gone, or does not answer, and with it who tells how children end: start anew."""
        orphans = [child for child in self._roster.children if child.channel is not None]
        how = self.close()
        self._log.error("the parent of all processes %s", how)
        for child in orphans:
            self._ended(child, f"was ended, because its parent {how}")
