"""The parent of a family: the process in which an Executor's `preload` runs once, before its processes are born.

It takes the place of its children as far as they are alike (paths, arguments, variables), finds the class, has it load,
and then is a warm parent like the one it was forked from. If that cannot be, it says so in the place of the children
who wait, and ends: `failed` with the user's traceback, or `again` where they shall be born one by one of the other one.
"""

from __future__ import annotations

import contextlib
import gc
import os
import threading
import time
from collections.abc import Callable
from typing import NoReturn

from zflow.loading import ExecutorDescription
from zflow.preloading import preload_once
from zflow.processes import entry, parcel
from zflow.processes.channel import Channel, Words
from zflow.processes.waiting_room import Unborn, WaitingRoom
from zflow.processes.warm_parent import WarmParent, end_idle_threads, leave, settle_down, warm_up, why_not_to_fork

_PATIENCE = 2.0  # seconds for a supervisor to hear why there is no child
_MOMENT = 0.5  # seconds
_DEVICES = "/dev/nvidia"


def main(control: int) -> NoReturn:
    """The same life in a fresh interpreter."""
    settle_down()
    warm_up([])
    leave(live(control))


def live(control: int) -> int:
    """Its life; `control` is the descriptor by which the warm parent asks for children. Returns an exit code, in a
    forked child that child's."""
    parent = FamilyParent(Channel.of_descriptor(control))
    parent.preload()
    lives = parent.bear_waiting() or parent.run()
    return lives() if lives is not None else 0


class FamilyParent(WarmParent):
    """A warm parent whose children share what it has loaded."""

    def __init__(self, control: Channel) -> None:
        super().__init__(control)
        self._room = WaitingRoom(control)
        self._waiting: list[Unborn] = []
        self._description: ExecutorDescription

    def preload(self) -> None:
        """Load, with an answer for whoever asks meanwhile. Does not return when nobody can be born here."""
        words = self._room.first_words()
        entry.become(words, f"{words['name'].partition('/')[0]}/preload")
        self._room.open()
        gc.enable()
        try:
            self._description = parcel.unpack(words["executor"])
            preload_once(self._description.find_class(), self._description.arguments)
        except BaseException as error:
            self._waiting = self._room.close()
            self._end(entry.NOT_STARTED, entry.last_words(error))
        self._waiting = self._room.close()
        gc.collect()
        gc.disable()
        _let_threads_end()
        if because := why_not_to_share():
            self._end(entry.DONE, {"again": "alone", "because": because}, {"again": "alone", "because": ""})

    def bear_waiting(self) -> Callable[[], int] | None:
        """Bear those who wait. Returns in such a child what it is to do."""
        while self._waiting:
            unborn = self._waiting.pop(0)
            lives = self._give_birth(unborn.asked, unborn.channel)
            if lives is not None:
                return lives
        return None

    def _give_birth(self, asked: Words, channel: Channel) -> Callable[[], int] | None:
        because = why_not_to_share()
        if because:
            channel.send({"again": "alone", "because": because})
            self._supervisor.send({"child": asked["child"], "because": because})
            channel.close()
            return None
        return self._fork(asked["child"], channel, lambda: entry.live(channel, self._description))

    def _close_own(self, kept: int) -> None:
        """Nothing else: what user code has opened belongs to the children as well."""
        for channel in (self._supervisor, *(unborn.channel for unborn in self._waiting)):
            channel.close()
        for fd in (self._wake_in, self._wake_out, self._parent_ended):
            if fd is not None:
                os.close(fd)

    def _end(self, code: int, words: Words, others: Words | None = None) -> NoReturn:
        """Have the first of those who wait say `words`, and the others theirs; once is enough to tell why."""
        first, *rest = self._waiting
        first.channel.send(words)
        if others is not None:
            for unborn in rest:
                unborn.channel.send(others)
        for unborn in self._waiting:
            unborn.channel.flush(_PATIENCE)
        leave(code, wait=False)


def _let_threads_end() -> None:
    """The system forgets a thread a moment after it was joined, as the waiting room's was."""
    end_idle_threads()
    until = time.monotonic() + _MOMENT
    while why_not_to_fork() and threading.active_count() == 1 and time.monotonic() < until:
        time.sleep(0.005)


def why_not_to_share() -> str:
    """The reason why no child may be forked here; empty when one may be."""
    if not why_not_to_fork():
        return "it opened a GPU" if _has_device() else ""
    names = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    told = ", ".join(names) if names else "of a library, not of Python"
    return f"it left threads running ({told})"


def _has_device() -> bool:
    with contextlib.suppress(OSError):
        for fd in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/self/fd/{fd}").startswith(_DEVICES):
                    return True
    return False
