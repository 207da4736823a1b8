"""One thread's ears and mouth: it listens to many channels, and to whoever asks something of it from another thread."""

from __future__ import annotations

import contextlib
import os
import selectors
from collections import deque
from collections.abc import Callable

from zflow.processes.channel import Channel, Words


class Switchboard:
    """`turn` calls what `listen` was given whenever its channel has something to tell. Only `ask` is thread-safe."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._wake_in, self._wake_out = os.pipe()
        for end in (self._wake_in, self._wake_out):
            os.set_blocking(end, False)
        self._selector.register(self._wake_in, selectors.EVENT_READ, self._answer)
        self._asked: deque[Callable[[], None]] = deque()

    def ask(self, what: Callable[[], None]) -> None:
        """Have `what` called by the thread of `turn`."""
        self._asked.append(what)
        with contextlib.suppress(BlockingIOError):  # full of earlier requests, so it will wake
            os.write(self._wake_out, b"!")

    def listen(self, channel: Channel, hear: Callable[[], None]) -> None:
        self._selector.register(channel, selectors.EVENT_READ, hear)
        self.flush_later(channel)

    def say(self, channel: Channel, words: Words) -> None:
        channel.send(words)
        self.flush_later(channel)

    def forget(self, channel: Channel) -> None:
        with contextlib.suppress(KeyError):  # forgotten already, when its other end went
            self._selector.unregister(channel)

    def turn(self, timeout: float | None) -> None:
        """Sleep until something happens, at most `timeout` seconds; then see to it."""
        for key, events in self._selector.select(timeout):
            if events & selectors.EVENT_WRITE and isinstance(key.fileobj, Channel) and key.fileobj.flush():
                self._selector.modify(key.fileobj, selectors.EVENT_READ, key.data)
            if events & selectors.EVENT_READ and key.fd in self._selector.get_map():  # not forgotten by an earlier one
                key.data()

    def close(self) -> None:
        self._selector.close()
        for end in (self._wake_in, self._wake_out):
            os.close(end)

    def flush_later(self, channel: Channel) -> None:
        """What `channel` could not send at once leaves when its reader has room."""
        if channel.is_waiting_to_send:
            with contextlib.suppress(KeyError):
                hear = self._selector.get_key(channel).data
                self._selector.modify(channel, selectors.EVENT_READ | selectors.EVENT_WRITE, hear)

    def _answer(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_in, 4096)
        while self._asked:
            self._asked.popleft()()
