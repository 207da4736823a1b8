"""Posting on asyncio: AsyncClient and AsyncFlow, what ``Client(asyncio=True)`` and ``Flow(asyncio=True)`` make.

A room of its own, because importing asyncio costs a third of what `import zflow` may cost.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Generator
from functools import partial
from typing import Any

from zflow.asking import Asker
from zflow.client import address_of, head_asking, way_to
from zflow.deployment import Deployment
from zflow.documents.document_array import DocumentArray
from zflow.drivers.asynchronous import AsyncLane, AsyncLanes, answers
from zflow.drivers.directory import Directory
from zflow.flow import Flow
from zflow.inputs import Inputs, async_batches
from zflow.posting import Posting
from zflow.response import Response
from zflow.roles.contract import Role
from zflow.service import AnyService, Service
from zflow.wire.header import Message


class AsyncPost(Coroutine[Any, Any, Any]):
    """One `post` of an asynchronous Client or Flow: ``await`` it for the whole result, or iterate for each answer.

    Iterating gives, per request, its documents (with ``return_responses`` its Response) as it is answered.
    """

    def __init__(self, lanes: AsyncLanes, posting: Posting, inputs: Inputs, request_size: int) -> None:
        self._lanes = lanes
        self._posting = posting
        self._inputs = inputs
        self._request_size = request_size
        self._is_begun = False
        self._coroutine: Coroutine[Any, Any, Any] | None = None

    def __await__(self) -> Generator[Any, None, Any]:
        return self._whole().__await__()

    # It is a coroutine for those who take nothing else, such as `asyncio.create_task`.

    def send(self, value: Any) -> Any:
        return self._begun().send(value)

    def throw(self, *error: Any) -> Any:
        return self._begun().throw(*error)

    def close(self) -> None:
        if self._coroutine is not None:
            self._coroutine.close()

    def _begun(self) -> Coroutine[Any, Any, Any]:
        if self._coroutine is None:
            self._coroutine = self._whole()
        return self._coroutine

    async def __aiter__(self) -> AsyncIterator[Any]:
        async for response in self._responses():
            yield self._posting.value(response)

    async def _whole(self) -> Any:
        async for response in self._responses():
            self._posting.keep(response)
        return self._posting.result()

    async def _responses(self) -> AsyncIterator[Response]:
        if self._is_begun:
            raise RuntimeError("this post was awaited already, and its inputs may be used up; post again")
        self._is_begun = True
        lane, posting, caller = self._lanes.lane(), self._posting, self._posting.caller
        inbox: asyncio.Queue[Message | None] = asyncio.Queue()
        waiting = async_batches(self._inputs, self._request_size)
        room = asyncio.Event()
        feeding: asyncio.Task[None] | None = None
        if isinstance(self._inputs, AsyncIterable) or callable(self._inputs):
            feeding = asyncio.ensure_future(self._feed(lane, inbox, waiting, room))
        is_more = True
        try:
            while is_more or caller.is_waiting:
                if feeding is None and is_more:
                    is_more = await self._ask(lane, inbox, waiting)
                    if not caller.is_waiting:
                        continue
                async for outcome in answers(inbox):
                    if outcome is None and feeding is not None:
                        is_more = False
                        feeding.result()  # raises what the inputs raised
                    elif outcome is not None:
                        for response in posting.settle(outcome):
                            room.set()
                            yield response
        finally:
            for cancel in caller.cancel():
                lane.cancel(cancel.call_id)
            posting.finish()
            if feeding is not None:
                feeding.cancel()
                await asyncio.gather(feeding, return_exceptions=True)

    async def _ask(self, lane: AsyncLane, inbox: asyncio.Queue[Any], waiting: AsyncIterator[DocumentArray]) -> bool:
        """Ask as long as there is room. Returns whether there is more to ask."""
        while self._posting.caller.may_ask:
            batch = await anext(waiting, None)
            if batch is None:
                return False
            lane.ask(self._posting.request(batch), inbox)
        return True

    async def _feed(
        self, lane: AsyncLane, inbox: asyncio.Queue[Any], waiting: AsyncIterator[DocumentArray], room: asyncio.Event
    ) -> None:
        """Ask until nothing is left: a task of its own, where an answer would wait for the next input otherwise."""
        try:
            while await self._ask(lane, inbox, waiting):
                room.clear()
                await room.wait()
        finally:
            inbox.put_nowait(None)


async def _in_pieces(
    owner: object, lanes: AsyncLanes, posting: Posting, inputs: Inputs, request_size: int
) -> AsyncIterator[Any]:
    """Ask, and give what comes as it comes. A reader who leaves cancels what is open. owner: see zflow.asking."""
    lane, caller = lanes.lane(), posting.caller
    inbox: asyncio.Queue[Message] = asyncio.Queue()
    try:
        async for batch in async_batches(inputs, request_size):
            lane.ask(posting.request(batch), inbox)
            while caller.is_waiting:
                async for said in answers(inbox):
                    for response, more in posting.pieces(said):
                        for item in posting.items(response):
                            yield item
                        if more is not None:
                            lane.tell(more)
    finally:
        for cancel in caller.cancel():
            lane.cancel(cancel.call_id)


class AsyncClient(Asker):
    """`Client` for asyncio: ``await client.post(...)``, or ``async for docs in client.post(...)``.

    It may serve several loops, each with connections of its own; `close` it inside the loop that used it.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int | None = None,
        *,
        keys: str | os.PathLike[str] | None = None,
        server_key: str | None = None,
        insecure: bool = False,
    ) -> None:
        self._peer = address_of(host, port)
        way = way_to(self._peer, keys=keys, server_key=server_key, insecure=insecure)
        self._pool = AsyncLanes(partial(head_asking, self._peer), way)

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

    def _perform_in_pieces(self, posting: Posting, inputs: Inputs, request_size: int) -> AsyncIterator[Any]:
        return _in_pieces(self, self._pool, posting, inputs, request_size)


class AsyncService(Service):
    """What is common to an AsyncFlow and an AsyncDeployment: everything but what they are made of."""

    async def __aenter__(self: AnyService) -> AnyService:
        return self.start()

    async def __aexit__(self, *error: object) -> None:
        self.close()

    def _perform(self, posting: Posting, inputs: Inputs, request_size: int) -> AsyncPost:
        return AsyncPost(self._opened().lanes, posting, inputs, request_size)

    def _perform_in_pieces(self, posting: Posting, inputs: Inputs, request_size: int) -> AsyncIterator[Any]:
        return _in_pieces(self, self._opened().lanes, posting, inputs, request_size)

    def _carry_out(self, change: Callable[[], None]) -> Any:
        """In a thread: the loop must go on meanwhile, so that what is under way can finish."""
        return asyncio.to_thread(change)

    @staticmethod
    def _new_lanes(role: Callable[[], Role], directory: Directory) -> Any:
        return AsyncLanes(role, directory)


class AsyncFlow(AsyncService, Flow):
    """A Flow whose `post` and its siblings are for ``await`` and ``async for``: what ``Flow(asyncio=True)`` makes."""


class AsyncDeployment(AsyncService, Deployment):
    """The same of a Deployment: what ``Deployment(asyncio=True)`` makes."""
