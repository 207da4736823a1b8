"""Posting on asyncio: AsyncClient and AsyncFlow, what ``Client(asyncio=True)`` and ``Flow(asyncio=True)`` make.

A room of its own, because importing asyncio costs a third of what `import zflow` may cost.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator
from functools import partial
from typing import Any

from zflow.asking import refuse_unknown
from zflow.client import address_of, head_asking
from zflow.documents.document_array import DocumentArray
from zflow.drivers.asynchronous import AsyncLane, AsyncLanes, answers
from zflow.drivers.directory import Directory
from zflow.flow import Flow
from zflow.inputs import Inputs, async_batches
from zflow.posting import PREFETCH, REQUEST_SIZE, Callback, Posting
from zflow.response import Response
from zflow.roles.contract import Role


class AsyncPost:
    """One `post` of an asynchronous Client or Flow: ``await`` it for the whole result, or iterate for each answer.

    Iterating gives, per request, its documents (with ``return_responses`` its Response) as it is answered.
    """

    def __init__(self, new_lane: Callable[[], AsyncLane], posting: Posting, inputs: Inputs, request_size: int) -> None:
        self._new_lane = new_lane
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
        lane, posting, caller = self._new_lane(), self._posting, self._posting.caller
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


class AsyncAsker:
    """What posts on an asyncio loop."""

    def _async_lane(self) -> AsyncLane:
        """The lane of the running loop; raises when nothing is open."""
        raise NotImplementedError

    def _default_prefetch(self) -> int:
        return PREFETCH

    def post(
        self,
        on: str = "/",
        inputs: Inputs = None,
        on_done: Callback | None = None,
        on_error: Callback | None = None,
        on_always: Callback | None = None,
        parameters: dict[str, Any] | None = None,
        target_executor: str | None = None,
        request_size: int = REQUEST_SIZE,
        show_progress: bool = False,
        continue_on_error: bool = False,
        return_responses: bool = False,
        results_in_order: bool = False,
        prefetch: int | None = None,
        timeout: float | None = None,
        **options: Any,
    ) -> AsyncPost:
        """As `Asker.post`; `inputs` may also be an async generator. Await the result, or iterate over the answers."""
        refuse_unknown(options)
        posting = Posting(
            on,
            inputs,
            on_done=on_done,
            on_error=on_error,
            on_always=on_always,
            parameters=parameters,
            target_executor=target_executor,
            show_progress=show_progress,
            continue_on_error=continue_on_error,
            return_responses=return_responses,
            results_in_order=results_in_order,
            prefetch=self._default_prefetch() if prefetch is None else prefetch,
            timeout=timeout,
        )
        return AsyncPost(self._async_lane, posting, inputs, request_size)

    def index(self, inputs: Inputs = None, **options: Any) -> AsyncPost:
        """`post` to ``/index``."""
        return self.post("/index", inputs, **options)

    def search(self, inputs: Inputs = None, **options: Any) -> AsyncPost:
        """`post` to ``/search``."""
        return self.post("/search", inputs, **options)

    def update(self, inputs: Inputs = None, **options: Any) -> AsyncPost:
        """`post` to ``/update``."""
        return self.post("/update", inputs, **options)

    def delete(self, inputs: Inputs = None, **options: Any) -> AsyncPost:
        """`post` to ``/delete``."""
        return self.post("/delete", inputs, **options)


class AsyncClient(AsyncAsker):
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

    def _async_lane(self) -> AsyncLane:
        return self._pool.lane()


class AsyncFlow(AsyncAsker, Flow):
    """A Flow whose `post` and its siblings are for ``await`` and ``async for``: what ``Flow(asyncio=True)`` makes."""

    async def __aenter__(self) -> AsyncFlow:
        return self.start()

    async def __aexit__(self, *error: object) -> None:
        self.close()

    def _async_lane(self) -> AsyncLane:
        lane: AsyncLane = self._opened().lanes.lane()
        return lane

    @staticmethod
    def _new_lanes(role: Callable[[], Role], directory: Directory) -> Any:
        return AsyncLanes(role, directory)
