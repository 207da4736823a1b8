"""A link that is long, slow or unreliable: it stands before a port of this host, and carries bytes as such a one would.

What it has taken up it holds back, so that heartbeats and data are delayed alike; what it cannot take up waits in the
buffers of who sends it, which are kept small. A kernel may have no `netem` to make such links with; this needs none.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
from contextlib import suppress

HOST = "127.0.0.1"
_BITE = 16 * 1024
_BUFFER = 128 * 1024
_MOST_UNDER_WAY = 4096  # bites
_AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER: a close is a reset


class Link:
    """Carries what comes to `port` to the port `to`, and back.

    delay, jitter: seconds one way, and by how much they vary. rate: bytes in a second, each way. breaks: the
    probability that what it has been given to carry, either way, ends in a reset of its connection instead.
    made, broken: how many connections there were, and how many were reset here.
    """

    def __init__(
        self, to: int, *, delay: float = 0.0, jitter: float = 0.0, rate: float = 0.0, breaks: float = 0.0, seed: int = 1
    ) -> None:
        self.made = 0
        self.broken = 0
        self.port = 0
        self._to = to
        self._delay, self._jitter, self._rate, self._breaks = delay, jitter, rate, breaks
        self._chance = random.Random(seed)
        self._is_open = threading.Event()
        self._thread = threading.Thread(target=self._run, name="link")
        self._tasks: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Link:
        self._loop = asyncio.new_event_loop()
        self._thread.start()
        assert self._is_open.wait(5.0), "the link does not come up"
        return self

    def __exit__(self, *told: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        loop = self._loop
        listening = _small_socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((HOST, 0))
        self.port = listening.getsockname()[1]
        server = loop.run_until_complete(asyncio.start_server(self._accept, sock=listening))
        self._is_open.set()
        loop.run_forever()
        server.close()
        loop.run_until_complete(self._end())
        loop.close()

    async def _end(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.made += 1
        with suppress(OSError, asyncio.CancelledError):  # the cable of who is not there is dead, as any is at the end
            await self._join(reader, writer)
        _reset(writer)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry both ways until one of the two ends it."""
        beyond = _small_socket()
        beyond.setblocking(False)
        try:
            await self._loop.sock_connect(beyond, (HOST, self._to))
        except OSError:
            beyond.close()
            raise
        far_reader, far_writer = await asyncio.open_connection(sock=beyond)
        ways = [asyncio.ensure_future(self._carry(*way)) for way in ((reader, far_writer), (far_reader, writer))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            _reset(far_writer)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_MOST_UNDER_WAY)
        arriving = asyncio.ensure_future(self._arrive(under_way, writer))
        due = 0.0
        try:
            while bite := await reader.read(_BITE):
                if self._chance.random() < self._breaks:
                    self.broken += 1
                    return
                due = max(due, self._loop.time() + self._delay + self._chance.uniform(-self._jitter, self._jitter))
                await under_way.put((due, bite))
            await under_way.put((due, b""))
            await arriving
        finally:
            arriving.cancel()

    async def _arrive(self, under_way: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        free_at = 0.0
        while True:
            due, bite = await under_way.get()
            begins = max(due, free_at)
            if begins > (now := self._loop.time()):
                await asyncio.sleep(begins - now)
            if not bite:
                return
            if self._rate:
                free_at = max(free_at, due, now - 0.05) + len(bite) / self._rate  # a timer may be late, not the rate
            writer.write(bite)
            await writer.drain()


def _small_socket() -> socket.socket:
    made = socket.socket()
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        made.setsockopt(socket.SOL_SOCKET, option, _BUFFER)
    return made


def _reset(writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
    writer.transport.abort()
