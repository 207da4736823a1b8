"""Posting on asyncio: AsyncClient and AsyncFlow, what ``Client(asyncio=True)`` and ``Flow(asyncio=True)`` make.

A room of its own, because importing asyncio costs a third of what `import zflow` may cost.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator
from functools import partial
from typing import Any

from zflow.asking import Asker
from zflow.client import address_of, head_asking
from zflow.documents.document_array import DocumentArray
from zflow.drivers.asynchronous import AsyncLanes, answers
from zflow.drivers.directory import Directory
from zflow.flow import Flow
from zflow.inputs import Inputs, async_batches
from zflow.posting import Posting
from zflow.response import Response
from zflow.roles.contract import Role


class AsyncPost:
    """One `post` of an asynchronous Client or Flow: ``await`` it for the whole result, or iterate for each answer.

    Iterating gives, per request, its documents (with ``return_responses`` its Response) as it is answered.
    """

    def __init__(self, lanes: AsyncLanes, posting: Posting, inputs: Inputs, request_size: int) -> None:
        self._lanes = lanes
        self._posting = posting
        self._inputs = inputs
        self._request_size = request_size

    def __await__(self) -> Generator[Any, None, Any]:
        return self._whole().__await__()

    async def __aiter__(self) -> AsyncIterator[Any]:
        async for response in self._responses():
            yield self._posting.value(response)

    async def _whole(self) -> Any:
        async for response in self._responses():
            self._posting.keep(response)
        return self._posting.result()

    async def _responses(self) -> AsyncIterator[Response]:
        lane, posting, caller = self._lanes.lane(), self._posting, self._posting.caller
        inbox: asyncio.Queue[Any] = asyncio.Queue()
        waiting = async_batches(self._inputs, self._request_size)
        try:
            batch: DocumentArray | None = await anext(waiting)
            while batch is not None or caller.is_waiting:
                while batch is not None and caller.may_ask:
                    lane.ask(posting.request(batch), inbox)
                    batch = await anext(waiting, None)
                async for outcome in answers(inbox):
                    for response in posting.settle(outcome):
                        yield response
        finally:
            for cancel in caller.cancel():
                lane.cancel(cancel.call_id)
            posting.finish()


class AsyncClient(Asker):
    """`Client` for asyncio: ``await client.post(...)``, or ``async for docs in client.post(...)``.

    It may serve several loops, each with connections of its own; `close` it inside the loop that used it.
    """

    def __init__(self, host: str = "127.0.0.1", port: int | None = None) -> None:
        self._peer = address_of(host, port)
        self._pool = AsyncLanes(partial(head_asking, self._peer), Directory({self._peer: self._peer}))

    @property
    def address(self) -> str:
        """Where it asks: ``tcp://host:port``."""
        return self._peer

    async def close(self) -> None:
        """Close the connections of the running loop, and of loops that have ended."""
        self._pool.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"AsyncClient({self._peer!r})"

    def _perform(self, posting: Posting, inputs: Inputs, request_size: int) -> AsyncPost:
        return AsyncPost(self._pool, posting, inputs, request_size)


class AsyncFlow(Flow):
    """A Flow whose `post` and its siblings are for ``await`` and ``async for``: what ``Flow(asyncio=True)`` makes."""

    async def __aenter__(self) -> AsyncFlow:
        return self.start()

    async def __aexit__(self, *error: object) -> None:
        self.close()

    def _perform(self, posting: Posting, inputs: Inputs, request_size: int) -> AsyncPost:
        return AsyncPost(self._opened().lanes, posting, inputs, request_size)

    @staticmethod
    def _new_lanes(role: Callable[[], Role], directory: Directory) -> Any:
        return AsyncLanes(role, directory)
