"""The event loop of `async def` endpoints, on a thread of its own beside the worker's: calls run concurrently there.

Only bytes cross the threads: a call is decoded, run and encoded here, and its messages are handed to the worker's
thread by `say`, which must be safe to call from here.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import ContextVar
from typing import Any

from zflow.drivers.invocation import Call
from zflow.drivers.running import note
from zflow.errors import Cancelled
from zflow.roles.contract import failure
from zflow.wire.header import Kind, Message

_PATIENCE = 2.0  # seconds for cancelled tasks to end when the loop is closed

_running: ContextVar[_Running | None] = ContextVar("running call", default=None)


class _Running:
    """One call on the loop: its task, and how many pieces its caller takes."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.is_given_up = False
        self.task: asyncio.Task[None] | None = None
        self._granted = call.granted
        self._more: asyncio.Event | None = None

    async def take_one(self) -> None:
        """Wait until one more piece may be sent."""
        while self._granted is not None and self._granted <= 0:
            self._more = asyncio.Event()
            await self._more.wait()
        if self._granted is not None:
            self._granted -= 1

    def grant(self, items: int) -> None:
        if self._granted is not None and items > 0:
            self._granted += items
            if self._more is not None:
                self._more.set()

    def give_up(self) -> None:
        self.is_given_up = True
        if self.task is not None:
            self.task.cancel()


class EventLoop:
    """The loop and its thread, from the first call on.

    invoke: calls the endpoint with keyword arguments. say: is given each message, or what must end the process. report:
    is told each exception of user code's.
    """

    def __init__(
        self,
        *,
        invoke: Callable[[Call, dict[str, Any]], Any],
        say: Callable[[Message | BaseException], None],
        report: Callable[[BaseException], None],
    ) -> None:
        self._invoke = invoke
        self._say = say
        self._report = report
        self._loop = asyncio.new_event_loop()
        self._calls: dict[bytes, _Running] = {}
        self._thread = threading.Thread(target=self._run, name="zflow-event-loop", daemon=True)
        self._thread.start()

    def begin(self, call: Call) -> None:
        """Run `call`; its messages come by `say`."""
        running = self._calls[call.call_id] = _Running(call)
        self._loop.call_soon_threadsafe(self._start, running)

    def grant(self, call_id: bytes, items: int) -> None:
        """The caller takes so many items more."""
        running = self._calls.get(call_id)
        if running is not None:
            self._loop.call_soon_threadsafe(running.grant, items)

    def give_up(self, call_id: bytes) -> bool:
        """Nobody waits for the call any more: cancel its task. False for a call that is not here."""
        running = self._calls.get(call_id)
        if running is not None:
            self._loop.call_soon_threadsafe(running.give_up)
        return running is not None

    def wait_for(self, awaitable: Coroutine[Any, Any, Any]) -> Any:
        """What `awaitable` comes to, waited for by the worker's own thread."""
        return asyncio.run_coroutine_threadsafe(awaitable, self._loop).result()

    def close(self) -> None:
        """Cancel what runs, end the loop, and wait a while for it."""
        if self._loop.is_closed():
            return
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_PATIENCE)

    # -- on the loop's own thread ------------------------------------------------------------------------------------

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        except (KeyboardInterrupt, SystemExit) as leaving:  # user code's, in a task that is not ours
            self._say(leaving)
        finally:
            self._loop.run_until_complete(_end_tasks())
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    def _start(self, running: _Running) -> None:
        running.task = self._loop.create_task(self._serve(running))

    async def _serve(self, running: _Running) -> None:
        call = running.call
        _running.set(running)
        note(call.request)
        said: Message | BaseException
        try:
            said = await self._answer(running)
        except KeyboardInterrupt as leaving:
            said = leaving
        except BaseException as error:  # also SystemExit, and an inner task's CancelledError, which are no Exceptions
            if running.is_given_up and isinstance(error, asyncio.CancelledError):
                gone = Cancelled(f"{call.node}: cancelled while it ran", node=call.node, maybe_executed=True)
                said = failure(call.call_id, gone)
            else:
                self._report(error)
                said = failure(call.call_id, call.error(error))
        del self._calls[call.call_id]
        self._say(said)

    async def _answer(self, running: _Running) -> Message:
        call = running.call
        if not call.endpoint.per_doc:
            made = await self._finish(running, self._invoke(call, call.arguments()))
            return call.message(Kind.REPLY, made if isinstance(made, tuple) else call.made_of(made))
        documents = []
        for arguments in call.arguments_per_doc():
            made = await self._finish(running, self._invoke(call, arguments))
            if isinstance(made, tuple):  # it was a generator's
                documents.append(made[0])
            else:
                documents.append(call.made_of_doc(made, arguments["doc"]))
                if call.takes_pieces:
                    await self._tell(running, (documents.pop(), None))
        return call.message(Kind.REPLY, call.gathered(documents))

    async def _finish(self, running: _Running, returned: Any) -> Any:
        """What a method comes to: what it returned, or (documents, results) of what it yielded and nobody took yet."""
        if not hasattr(returned, "__anext__"):
            return await returned if isinstance(returned, Awaitable) else returned
        call, pieces = running.call, []
        try:
            async for yielded in returned:
                if yielded is None:
                    continue
                if call.takes_pieces:
                    await self._tell(running, call.made_of_piece(yielded))
                else:
                    pieces.append(yielded)
        finally:
            await returned.aclose()
        return call.gathered(pieces)

    async def _tell(self, running: _Running, made: Any) -> None:
        piece = running.call.message(Kind.PARTIAL, made)
        await running.take_one()
        self._say(piece)


def is_given_up() -> bool | None:
    """Whether nobody waits for the call that the calling task works on; None outside of any."""
    running = _running.get()
    return None if running is None else running.is_given_up


async def _end_tasks() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
