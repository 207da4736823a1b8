"""Where those wait who are asked for while `preload` still runs in the process that shall bear them.

Their supervisor talks to them as if they were born: it may want to know what takes so long, or want them no more. A
thread answers for them, because the main thread is in user code; it is gone before anybody is forked. What it has heard
stays in the channels, for the newborn to hear.
"""

from __future__ import annotations

import os
import select
import threading
from dataclasses import dataclass
from typing import NoReturn

from zflow.processes.channel import Channel, Words, parent_descriptor
from zflow.processes.lifeline import at_work

_LOOK_AGAIN_MS = 500


@dataclass
class Unborn:
    """asked: the words that asked for it. channel: its own, still held by us. heard: how many of its words."""

    asked: Words
    channel: Channel
    heard: int = 0

    @property
    def name(self) -> str:
        return str(self.asked["child"])


class WaitingRoom:
    """control: by which children are asked for. When nobody wants any, or who asks is gone, the process ends."""

    def __init__(self, control: Channel) -> None:
        self.waiting: list[Unborn] = []
        self._control = control
        self._main = threading.main_thread().ident or 0
        self._parent = os.getppid()
        self._parent_ended = parent_descriptor()
        self._wake_in, self._wake_out = os.pipe()
        self._is_open = True
        self._thread = threading.Thread(target=self._listen, name="zflow-waiting-room", daemon=True)

    def first_words(self) -> Words:
        """What the first one that was asked for has been told; wait for it."""
        while True:
            for unborn in list(self.waiting):
                try:
                    for words in unborn.channel.peek():
                        return words
                except EOFError:
                    self._give_up(unborn)
            self._turn()

    def open(self) -> None:
        """From now on the thread listens."""
        self._thread.start()

    def close(self) -> list[Unborn]:
        """End the thread. Returns those who wait."""
        self._is_open = False
        os.write(self._wake_out, b"!")
        if self._thread.ident is not None:
            self._thread.join()
        for fd in (self._wake_in, self._wake_out, self._parent_ended):
            if fd is not None:
                os.close(fd)
        return self.waiting

    def _listen(self) -> None:
        while self._is_open:
            self._turn()

    def _turn(self) -> None:
        poll = select.poll()
        for fd in (self._control.fileno(), self._wake_in, self._parent_ended, *map(_descriptor, self.waiting)):
            if fd is not None:
                poll.register(fd, select.POLLIN)
        ready = {fd for fd, _ in poll.poll(None if self._parent_ended is not None else _LOOK_AGAIN_MS)}
        if self._parent_ended in ready or os.getppid() != self._parent:
            _end()
        if self._control.fileno() in ready:
            self._hear_control()
        for unborn in [unborn for unborn in self.waiting if _descriptor(unborn) in ready]:
            self._hear(unborn)

    def _hear_control(self) -> None:
        try:
            for words in self._control.receive():
                if "child" in words:
                    self.waiting.append(Unborn(words, Channel.of_descriptor(self._control.received_fd())))
        except EOFError:
            _end()

    def _hear(self, unborn: Unborn) -> None:
        try:
            said = unborn.channel.peek()
        except EOFError:
            self._give_up(unborn)
            return
        news, unborn.heard = said[unborn.heard :], len(said)
        if any("stop" in words for words in news):
            self._give_up(unborn)
        elif any("where" in words for words in news):
            unborn.channel.send({"where": at_work(self._main)})

    def _give_up(self, unborn: Unborn) -> None:
        """Nobody wants it any more."""
        self.waiting.remove(unborn)
        unborn.channel.close()
        self._control.send({"child": unborn.name, "because": "nobody wanted it any more"})
        if not self.waiting:
            _end()


def _descriptor(unborn: Unborn) -> int:
    return unborn.channel.fileno()


def _end() -> NoReturn:
    """At once, whatever `preload` is doing: nothing here has served yet."""
    os._exit(0)
