"""Sleeps until one of many sources can be read: of few by asking each, of many by having the kernel tell which.

libzmq's poll asks every socket, twice, so that each sleep costs as much as there are connections; a poll of 130 sockets
takes half a millisecond. Its descriptors in an epoll cost the same for any number, but they are edge-triggered: one is
readable when a socket *may* have got something, and no longer once the socket has been used in any way. So whoever
sends to a socket or reads from it says so (`touched`), and before the next sleep those, and only those, are asked.
"""

from __future__ import annotations

import select
import time
from typing import Any

import zmq
from zmq.backend import zmq_poll as poll

from zflow.drivers.sockets import POLLIN, has_input

MANY = 12  # sources from which on an epoll is cheaper, measured: with fewer, asking each costs less than being told
_LONGEST = 3600.0  # seconds of one sleep; poll counts milliseconds in 31 bits, and a caller's budget may be years


class Waiting:
    """Sockets and descriptors to wait for. many: from how many on the kernel is to tell.

    touched: sockets that were sent to or read from; add each. version: grows when there are other sources than before.
    """

    def __init__(self, many: int = MANY) -> None:
        self.touched: set[Any] = set()
        self.version = 0
        self._many = many if hasattr(select, "epoll") else 1 << 31
        self._sources: list[tuple[Any, int]] = []
        self._epoll: select.epoll | None = None
        self._by_descriptor: dict[int, Any] = {}

    def watch(self, source: Any) -> None:
        """`source`: a ZeroMQ socket, or the number of a descriptor."""
        self.version += 1
        self._sources.append((source, POLLIN))
        if self._epoll is not None:
            self._register(self._epoll, source)
        elif len(self._sources) >= self._many:
            self._epoll = select.epoll()
            for known, _ in self._sources:
                self._register(self._epoll, known)

    def unwatch(self, source: Any) -> None:
        """Before it is closed."""
        self.version += 1
        self._sources = [item for item in self._sources if item[0] is not source]
        self.touched.discard(source)
        if self._epoll is not None:
            descriptor = descriptor_of(source)
            if self._by_descriptor.pop(descriptor, None) is not None:
                self._epoll.unregister(descriptor)

    def sleep(self, seconds: float | None) -> list[Any]:
        """Until something can be read, at most `seconds`: what can be read. None of it only by mistake."""
        if seconds is None or seconds > _LONGEST:
            seconds = _LONGEST
        if self._epoll is not None:
            return self._ask_touched() or self._be_told(self._epoll, max(0.0, seconds))
        if self._sources:
            ready = poll(self._sources, int(seconds * 1000) + 1 if seconds > 0 else 0)
            return [source for source, _ in ready]
        time.sleep(max(0.0, seconds))  # with nothing to watch, pyzmq would return at once
        return []

    def close(self) -> None:
        """Forget everything."""
        if self._epoll is not None:
            self._epoll.close()
            self._epoll = None
        self._sources.clear()
        self._by_descriptor.clear()
        self.touched.clear()

    def _register(self, epoll: select.epoll, source: Any) -> None:
        descriptor = descriptor_of(source)
        self._by_descriptor[descriptor] = source
        epoll.register(descriptor, select.EPOLLIN)
        if not isinstance(source, int):
            self.touched.add(source)

    def _ask_touched(self) -> list[Any]:
        """What can be read of those that were used. To ask a socket is what makes its descriptor trustworthy again."""
        if not self.touched:
            return []
        asked = list(self.touched)
        self.touched.clear()
        return [source for source in asked if has_input(source)]

    def _be_told(self, epoll: select.epoll, seconds: float) -> list[Any]:
        sources = [self._by_descriptor[descriptor] for descriptor, _ in epoll.poll(seconds)]
        return [source for source in sources if isinstance(source, int) or has_input(source)]


def descriptor_of(source: Any) -> int:
    """What becomes readable when `source` may have something."""
    return source if isinstance(source, int) else int(source.getsockopt(zmq.FD))
