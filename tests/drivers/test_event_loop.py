"""Async methods run beside each other on a loop of their own; each call ends in one outcome, whatever becomes of it."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from zflow.documents.document import Document
from zflow.documents.document_array import DocumentArray
from zflow.drivers.event_loop import EventLoop, is_given_up
from zflow.drivers.invocation import Call
from zflow.endpoints import endpoints_of, requests
from zflow.errors import Cancelled, ExecutorError
from zflow.executor import Executor
from zflow.response import error_of, read
from zflow.wire.frames import DOCUMENTS, part
from zflow.wire.header import Kind, Message
from zflow.wire.payload import encode_documents

WAIT = 5.0


class Loop:
    """A loop that runs `method`; what it says comes by `next`."""

    def __init__(self, method: Callable[..., Any]) -> None:
        self._cls = type("Asked", (Executor,), {"method": requests(method)})
        executor = self._cls()
        self._said: queue.Queue[Message | BaseException] = queue.Queue()
        self.reported: list[BaseException] = []
        self.loop = EventLoop(
            invoke=lambda call, arguments: call.endpoint.function(executor, **arguments),
            say=self._said.put,
            report=self.reported.append,
        )

    def begin(self, number: int = 0, *texts: str, **extra: Any) -> bytes:
        call_id = number.to_bytes(16, "big")
        documents = DocumentArray([Document(text=text) for text in texts])
        request = Message(Kind.REQUEST, call_id, parts=[part(DOCUMENTS, "x", encode_documents(documents))], extra=extra)
        self.loop.begin(Call(request, endpoints_of(self._cls)["/default"], "asked/rep-0", "asked"))
        return call_id

    def next(self) -> Message:
        said = self._said.get(timeout=WAIT)
        assert isinstance(said, Message), said
        return said

    def left(self) -> BaseException:
        said = self._said.get(timeout=WAIT)
        assert isinstance(said, BaseException), said
        return said


@contextmanager
def running(method: Callable[..., Any]) -> Iterator[Loop]:
    made = Loop(method)
    try:
        yield made
    finally:
        made.loop.close()
        made.loop.close()  # again, it does nothing


def texts(said: Message) -> list[str]:
    return read(said, DocumentArray(), {}, "/").docs.texts


def test_calls_run_beside_each_other():
    """The first waits for the second, which could never begin otherwise."""
    second = asyncio.Event()

    async def method(self, docs, **kwargs):
        if docs[0].text == "first":
            await second.wait()
        else:
            second.set()

    with running(method) as loop:
        for number, text in enumerate(("first", "second")):
            loop.begin(number, text)
        assert sorted(texts(loop.next()) + texts(loop.next())) == ["first", "second"]


def test_an_async_generator_waits_for_grants_and_its_reply_repeats_nothing():
    made = []

    async def method(self, **kwargs):
        for number in range(4):
            made.append(number)
            yield Document(text=str(number))

    with running(method) as loop:
        call_id = loop.begin(partial=True, items=1)
        assert (loop.next().kind, len(made) <= 2) == (Kind.PARTIAL, True)
        loop.loop.grant(call_id, 9)
        said = [loop.next() for _ in range(4)]
        assert [item.kind for item in said] == [Kind.PARTIAL] * 3 + [Kind.REPLY]
        assert [texts(item) for item in said] == [["1"], ["2"], ["3"], []]


def test_without_a_caller_for_pieces_it_is_gathered():
    async def method(self, doc, **kwargs):
        yield Document(text=doc.text + "1")
        yield Document(text=doc.text + "2")

    with running(method) as loop:
        loop.begin(0, "a", "b")
        assert texts(loop.next()) == ["a1", "a2", "b1", "b2"]


def test_a_method_of_one_document_gives_each_as_a_piece():
    async def method(self, doc, **kwargs):
        doc.text = doc.text.upper()

    with running(method) as loop:
        loop.begin(0, "a", "b", partial=True, items=9)
        assert [texts(loop.next()) for _ in range(3)] == [["A"], ["B"], []]
        loop.begin(1, "a", "b")
        assert texts(loop.next()) == ["A", "B"]


@pytest.mark.parametrize("streams", [False, True])
def test_a_call_that_is_given_up_is_cancelled_where_it_waits(streams):
    closed = []
    entered = queue.Queue()

    async def plain(self, **kwargs):
        try:
            entered.put(is_given_up())
            await asyncio.sleep(60)
        finally:
            closed.append(is_given_up())

    async def yielding(self, **kwargs):
        try:
            entered.put(is_given_up())
            while True:
                yield Document()
        finally:
            closed.append(is_given_up())

    with running(yielding if streams else plain) as loop:
        call_id = loop.begin(partial=True, items=0)
        assert entered.get(timeout=WAIT) is False
        assert loop.loop.give_up(call_id) and not loop.loop.give_up(b"unknown")
        assert isinstance(error_of(loop.next()), Cancelled)
        assert closed == [True] and loop.reported == []


def test_an_exception_is_its_calls_outcome_and_the_loop_goes_on():
    async def method(self, docs, **kwargs):
        if docs[0].text == "bad":
            raise ValueError("bad")

    with running(method) as loop:
        loop.begin(0, "bad")
        error = error_of(loop.next())
        assert isinstance(error, ExecutorError) and error.description == "ValueError('bad')"
        assert "zflow/drivers/event_loop" not in error.traceback
        loop.begin(1, "good")
        assert texts(loop.next()) == ["good"]
        assert len(loop.reported) == 1


def test_ctrl_c_is_said_as_it_is():
    async def method(self, **kwargs):
        raise KeyboardInterrupt

    with running(method) as loop:
        loop.begin()
        assert isinstance(loop.left(), KeyboardInterrupt)


def test_a_coroutine_can_be_waited_for_from_outside():
    async def method(self, **kwargs):
        """Nobody asks it."""

    async def answer() -> int:
        await asyncio.sleep(0)
        return 42

    with running(method) as loop:
        assert loop.loop.wait_for(answer()) == 42


def test_outside_of_any_call_nobody_has_given_up():
    assert is_given_up() is None
