"""The local link "executor": calls the endpoints of one Executor; whatever user code does comes to one outcome.

Methods run on the worker's own thread, one at a time; a generator is advanced there item by item (streams.py).
`async def` methods run on an event loop beside it, concurrently (event_loop.py). An exception becomes a FAILURE with
its traceback.
"""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from zflow.documents.reduce import concatenate
from zflow.drivers.invocation import Call, Made, pass_through
from zflow.drivers.note import Note
from zflow.drivers.running import note
from zflow.drivers.streams import Stream
from zflow.drivers.unanswered import Unanswered
from zflow.drivers.watchdog import Watchdog, clock
from zflow.errors import InvalidDocument, InvalidRequest, ProtocolError
from zflow.executor import Executor
from zflow.roles.batching import Weigh
from zflow.roles.contract import failure
from zflow.wire.header import Kind, Message

if TYPE_CHECKING:
    from zflow.drivers.event_loop import EventLoop

Report = Callable[[BaseException], None]
Remark = Callable[[str], None]


def _nothing() -> None:
    """What a driver that does not wait for anything else is woken by, and looks at."""


def unheard(remark: str) -> None:
    """Where nobody wants to hear remarks."""


class UserCode:
    """Runs the endpoints of `executor`.

    name: of the process, as in ``executor0/rep-0``. report: is told each exception of the user's code, for the log.
    remark: what else belongs there. noted: where it is noted what runs, for whoever comes after a death of the process.
    """

    weigh: Weigh | None = None  # says what a request costs that runs in a batch; None where none does
    has_porter = True  # whether requests may be read while user code runs: not where user code has a say in that

    def __init__(
        self, executor: Executor, *, name: str, report: Report, remark: Remark = unheard, noted: Note | None = None
    ) -> None:
        self._executor = executor
        self._name = name
        self._report = report
        self._noted = noted
        self._unanswered = Unanswered(list(Executor.endpoints(executor)), remark)
        self._loop: EventLoop | None = None
        self._stream: Stream | None = None
        self._stream_due: float | None = None
        self._said: deque[Message | BaseException] = deque()  # by the event loop
        self._wake: Callable[[], None] = _nothing
        self._look: Callable[[], None] = _nothing
        self._running = b""
        self._is_given_up = False
        self._watchdog = Watchdog()
        executor._zflow.is_cancelled = self._is_cancelled

    def attach(self, *, wake: Callable[[], None], look: Callable[[], None]) -> None:
        """wake: ends the driver's sleep, from any thread. look: has it read what waits, on the thread that calls us."""
        self._wake, self._look = wake, look

    def __call__(self, message: Message) -> Message | None:
        """Hear a REQUEST, and give its REPLY or FAILURE, or None where that comes by `step`; or a CANCEL or MORE.

        Only KeyboardInterrupt is let through: a method that calls ``sys.exit`` fails, and the process goes on.
        """
        if message.kind is Kind.REQUEST:
            return self._begin(message) if self._noted is None else self._begin_noted(message, self._noted)
        if message.kind is Kind.CANCEL:
            self._give_up(message.call_id)
        elif message.kind is Kind.MORE:
            self._grant(message.call_id, message.extra.get("items", 0))
        return None

    @property
    def is_ready(self) -> bool:
        """Whether `step` has something to do."""
        return bool(self._said) or (self._stream is not None and self._stream.may_go_on)

    def step(self) -> Message | None:
        """The next piece or outcome of what is under way, if there is any yet."""
        if self._said:
            heard = self._said.popleft()
            if isinstance(heard, BaseException):
                raise heard
            return self._note_end(heard)
        stream = self._stream
        if stream is None or not stream.may_go_on:
            return None
        if self._stream_due is not None:
            self._watchdog.watch((self._stream_due - clock()) * 1e6)
        said = stream.step()
        if self._stream_due is not None:
            self._watchdog.rest()
        if stream.is_over:
            self._stream = None
        return self._note_end(said)

    def close(self) -> None:
        """End what is under way: a generator, the event loop and the tasks on it."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()
        if self._loop is not None:
            self._loop.close()
            self._loop = None

    # -- a call ------------------------------------------------------------------------------------------------------

    def _begin_noted(self, request: Message, noted: Note) -> Message | None:
        noted.runs(request.call_id)
        said = self._begin(request)
        if said is None:  # it goes on beside others, or piece by piece
            noted.begin(request.call_id)
        noted.rests()
        return said

    def _note_end(self, said: Message | None) -> Message | None:
        if self._noted is not None and said is not None and said.kind is not Kind.PARTIAL:
            self._noted.end(said.call_id)
        return said

    def _begin(self, request: Message) -> Message | None:
        node = self._node(request)
        try:
            endpoint = Executor.endpoint(self._executor, request.endpoint)  # users may use the name
            if endpoint is None:
                self._unanswered.tell(request.endpoint, request.extra.get("nodes") or ())
                return pass_through(request)
            call = Call(request, endpoint, self._name, node)
            if call.is_for_others:
                return pass_through(request)
        except (ProtocolError, InvalidDocument, InvalidRequest) as error:
            return self._unreadable(request, node, error)
        if endpoint.is_async:
            self._event_loop().begin(call)
            return None
        if call.takes_pieces:
            self._stream = Stream(call, self._pieces(call), report=self._report)
            self._stream_due = None if request.budget is None else clock() + request.budget / 1e6
            return None
        self._running, self._is_given_up = request.call_id, False
        note(request)
        if request.budget is not None:
            self._watchdog.watch(request.budget)
        try:
            return call.message(Kind.REPLY, self._run(call))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # also SystemExit, and an inner task's CancelledError, which are no Exceptions
            self._report(error)
            return failure(request.call_id, call.error(error))
        finally:
            self._running = b""
            note()
            if request.budget is not None:
                self._watchdog.rest()

    def _node(self, request: Message) -> str:
        return str(request.extra.get("node") or self._name.partition("/")[0])

    def _unreadable(self, request: Message, node: str, error: Exception) -> Message:
        invalid = InvalidRequest(f"{node}: {error}", node=node, peer=self._name)
        return failure(request.call_id, invalid, not_started=True)

    def _run(self, call: Call) -> Made:
        if not call.endpoint.per_doc:
            returned = self._invoke(call, call.arguments())
            return _gather(call, returned) if inspect.isgenerator(returned) else call.made_of(returned)
        documents = []
        for arguments in call.arguments_per_doc():
            returned = self._invoke(call, arguments)
            if inspect.isgenerator(returned):
                documents.append(_gather(call, returned)[0])
            else:
                documents.append(call.made_of_doc(returned, arguments["doc"]))
        return concatenate(documents), None

    def _pieces(self, call: Call) -> Generator[Any, None, Any]:
        """What the endpoint yields, piece by piece; one that does not yield makes one piece for each call of it."""
        if not call.endpoint.per_doc:
            returned = self._invoke(call, call.arguments())
            if inspect.isgenerator(returned):
                return (yield from returned)
            documents, results = call.made_of(returned)
            yield documents
            return results
        for arguments in call.arguments_per_doc():
            returned = self._invoke(call, arguments)
            if inspect.isgenerator(returned):
                yield from returned
            else:
                yield call.made_of_doc(returned, arguments["doc"])
        return None

    def _invoke(self, call: Call, arguments: dict[str, Any]) -> Any:
        returned = call.endpoint.function(self._executor, **arguments)
        if inspect.iscoroutine(returned) and not call.endpoint.is_async:  # a decorator hid that it is one
            return self._event_loop().wait_for(returned)
        return returned

    # -- while it runs -----------------------------------------------------------------------------------------------

    def _give_up(self, call_id: bytes) -> None:
        if self._stream is not None and self._stream.call.call_id == call_id:
            self._stream.give_up()
        elif call_id == self._running:
            self._is_given_up = True
        elif self._loop is not None:
            self._loop.give_up(call_id)

    def _grant(self, call_id: bytes, items: int) -> None:
        if self._stream is not None and self._stream.call.call_id == call_id:
            self._stream.grant(items)
        elif self._loop is not None:
            self._loop.grant(call_id, items)

    def _is_cancelled(self) -> bool:
        """Whether nobody waits any more for the call that user code, which asks, works on."""
        if self._loop is not None:
            from zflow.drivers.event_loop import is_given_up  # there is a loop, so it is imported

            of_task = is_given_up()
            if of_task is not None:
                return of_task
        self._look()
        self._watchdog.heard()
        return self._stream.is_given_up if self._stream is not None else self._is_given_up

    def _event_loop(self) -> EventLoop:
        if self._loop is None:
            from zflow.drivers.event_loop import EventLoop  # asyncio takes 20 ms and 2 MB that few Executors need

            self._loop = EventLoop(invoke=self._invoke, say=self._hear_loop, report=self._report)
        return self._loop

    def _hear_loop(self, said: Message | BaseException) -> None:
        self._said.append(said)
        self._wake()


def _gather(call: Call, generator: Generator[Any, Any, Any]) -> Made:
    """All that it yields, as one answer: the caller takes no pieces."""
    pieces: list[Any] = []
    while True:
        try:
            yielded = next(generator)
        except StopIteration as end:
            return call.gathered(pieces, end.value)
        if yielded is not None:
            pieces.append(yielded)
