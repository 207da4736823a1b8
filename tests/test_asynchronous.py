"""Posting on asyncio: awaited or iterated, fed by async generators, cancelled, on one loop after the other."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any

import pytest

from tests.support.executors import echo
from tests.support.peers import Gate, Served, hold_until
from zflow.asynchronous import AsyncClient
from zflow.client import Client
from zflow.documents.document import Document
from zflow.documents.document_array import DocumentArray
from zflow.errors import CallbackError, ConfigError, DeadlineExceeded, ExecutorError, InvalidRequest, Unavailable
from zflow.response import Response
from zflow.roles.contract import failure
from zflow.wire.header import Message

Body = Callable[[], Coroutine[Any, Any, Any]]


@pytest.fixture
def served() -> Iterator[Served]:
    with Served() as served:
        yield served


def on_a_loop(body: Body) -> Any:
    """Run `body` on a loop of its own; what the loop complains of fails the test."""
    complaints: list[dict[str, Any]] = []

    async def watched() -> Any:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
        return await asyncio.wait_for(body(), 20.0)

    result = asyncio.run(watched())
    assert complaints == []
    return result


async def letters(count: int) -> AsyncIterator[Document]:
    for number in range(count):
        await asyncio.sleep(0)
        yield Document(text="abcdefghij"[number])


# -- asking ----------------------------------------------------------------------------------------------------------


def test_awaiting_a_post_gives_its_whole_result(served):
    async def body() -> DocumentArray:
        async with AsyncClient(port=served.port) as client:
            return await client.post("/", ["a", "b"])

    assert on_a_loop(body).texts == ["a", "b"]


def test_iterating_over_a_post_gives_each_answer_as_it_comes(served):
    async def body() -> list[list[str]]:
        async with AsyncClient(port=served.port) as client:
            return [docs.texts async for docs in client.post("/", ["a", "b", "c"], request_size=2)]

    assert sorted(on_a_loop(body)) == [["a", "b"], ["c"]]


def test_iterating_gives_responses_where_asked_for(served):
    async def body() -> list[Any]:
        async with AsyncClient(port=served.port) as client:
            return [item async for item in client.post("/", "a", return_responses=True)]

    [response] = on_a_loop(body)
    assert isinstance(response, Response) and response.docs.texts == ["a"]


@pytest.mark.parametrize("inputs", [None, [], "async"])
def test_no_inputs_are_one_request(served, inputs):
    async def body() -> list[int]:
        async with AsyncClient(port=served.port) as client:
            return [len(docs) async for docs in client.post("/", letters(0) if inputs == "async" else inputs)]

    assert on_a_loop(body) == [0]


def test_an_async_generator_can_be_posted_and_a_function_that_makes_one(served):
    async def body() -> list[list[str]]:
        async with AsyncClient(port=served.port) as client:
            return [
                sorted((await client.post("/", inputs, request_size=2)).texts)
                for inputs in (letters(5), lambda: letters(5), iter("abcde"))
            ]

    assert on_a_loop(body) == [list("abcde")] * 3


def test_a_hundred_posts_at_once(served):
    async def body() -> list[str]:
        async with AsyncClient(port=served.port) as client:
            answered = await asyncio.gather(*[client.post("/", str(number)) for number in range(100)])
            return [text for docs in answered for text in docs.texts]

    assert on_a_loop(body) == [str(number) for number in range(100)]


def test_a_post_can_be_made_a_task_and_the_task_cancelled():
    """Nothing is answered before the task is cancelled, however slow the machine."""
    gate = Gate()

    async def body(port: int) -> list[str]:
        async with AsyncClient(port=port) as client:
            task = asyncio.create_task(client.post("/", "a"))
            given_up = asyncio.create_task(client.post("/", "b"))
            await asyncio.sleep(0)
            given_up.cancel()
            with pytest.raises(asyncio.CancelledError):
                await given_up
            gate.open()
            never_begun = client.post("/", "c")
            never_begun.close()
            return (await task).texts

    with Served(gate) as served:
        assert on_a_loop(lambda: body(served.port)) == ["a"]


def test_the_endpoints_of_every_day_have_methods():
    asked: list[Message] = []

    async def body() -> None:
        async with AsyncClient(port=served.port) as client:
            for name in ("index", "search", "update", "delete"):
                assert (await getattr(client, name)("a")).texts == ["a"]

    with Served(lambda request: asked.append(request) or echo(request)) as served:
        on_a_loop(body)
    assert [request.endpoint for request in asked] == ["/index", "/search", "/update", "/delete"]


def test_the_loop_goes_on_while_a_post_waits():
    gate = Gate()

    async def body() -> None:
        async with AsyncClient(port=served.port) as client:
            post = asyncio.ensure_future(_awaited(client.post("/", "a")))
            while not gate.entered.is_set():
                await asyncio.sleep(0.001)
            gate.open()
            assert (await post).texts == ["a"]

    with Served(gate) as served:
        on_a_loop(body)


async def _awaited(post: Any) -> Any:
    return await post


# -- how far ahead -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefetch, size, furthest", [(1, 1, 1), (3, 2, 6)])
def test_an_async_generator_is_read_no_further_than_its_prefetch(prefetch, size, furthest):
    gate, read = Gate(), []

    async def inputs() -> AsyncIterator[str]:
        for number in range(50):
            read.append(number)
            yield str(number)

    async def body() -> None:
        async with AsyncClient(port=served.port) as client:
            post = asyncio.ensure_future(_awaited(client.post("/", inputs(), request_size=size, prefetch=prefetch)))
            while not gate.entered.is_set():
                await asyncio.sleep(0.001)
            for _ in range(20):
                await asyncio.sleep(0.001)
            assert len(read) == furthest
            gate.open()
            assert len(await post) == 50

    with Served(gate, credit=100) as served:
        on_a_loop(body)


def test_an_answer_does_not_wait_for_the_next_input(served):
    """Given inputs that go by the answers they get, as in a conversation, then it does not stand still."""

    async def body() -> list[str]:
        answered: asyncio.Queue[str] = asyncio.Queue()
        heard = []

        async def conversation() -> AsyncIterator[Document]:
            yield Document(text="hello")
            for _ in range(4):
                yield Document(text=(await answered.get()) + "!")

        async with AsyncClient(port=served.port) as client:
            async for docs in client.post("/", conversation(), request_size=1):
                heard.append(docs[0].text)
                answered.put_nowait(docs[0].text)
        return heard

    assert on_a_loop(body) == ["hello", "hello!", "hello!!", "hello!!!", "hello!!!!"]


def test_answers_in_order_are_in_the_order_of_the_inputs(served):
    async def body() -> list[str]:
        async with AsyncClient(port=served.port) as client:
            return (await client.post("/", letters(10), request_size=1, results_in_order=True)).texts

    assert on_a_loop(body) == list("abcdefghij")


# -- ends --------------------------------------------------------------------------------------------------------------


def test_a_task_that_is_cancelled_gives_up_its_call_and_the_client_can_be_used_on():
    """Given one call running and one behind it, when the second is cancelled, then it never runs."""
    gate = Gate()
    ran: list[bytes] = []

    def local(request: Message) -> Message:
        ran.append(request.call_id)
        return gate(request)

    async def body() -> None:
        async with AsyncClient(port=served.port) as client:
            running = asyncio.ensure_future(_awaited(client.post("/", "running")))
            while not gate.entered.is_set():
                await asyncio.sleep(0.001)
            behind = [asyncio.ensure_future(_awaited(client.post("/", "behind"))) for _ in range(10)]
            await asyncio.sleep(0)
            for task in behind:
                task.cancel()
            ended = await asyncio.gather(*behind, return_exceptions=True)
            assert {type(item) for item in ended} == {asyncio.CancelledError}
            gate.open()
            assert (await running).texts == ["running"]
            assert (await client.post("/", "after")).texts == ["after"]

    with Served(local) as served:
        on_a_loop(body)
    assert len(ran) < 11


def test_a_time_limit_of_asyncios_own_ends_a_post_too():
    gate = Gate()

    async def body() -> None:
        async with AsyncClient(port=served.port) as client:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(_awaited(client.post("/", "a")), 0.05)
            with pytest.raises(DeadlineExceeded):
                await client.post("/", "a", timeout=0.05)
            gate.open()

    with Served(gate) as served:
        on_a_loop(body)


def test_leaving_the_iteration_early_gives_up_the_rest(served):
    read: list[int] = []
    ended: list[str] = []

    async def inputs() -> AsyncIterator[str]:
        try:
            for number in range(1000):
                read.append(number)
                yield str(number)
        finally:
            ended.append("inputs")

    async def body() -> None:
        async with AsyncClient(port=served.port) as client:
            async for _ in client.post("/", inputs(), request_size=1, prefetch=2):
                break
            while not ended:
                await asyncio.sleep(0.001)
            assert (await client.post("/", "after")).texts == ["after"]

    on_a_loop(body)
    assert len(read) < 10


@pytest.mark.parametrize("is_async", [False, True])
def test_inputs_that_raise_end_the_post_with_their_own_exception(served, is_async):
    def broken() -> Iterator[str]:
        yield "a"
        raise LookupError("no more pictures")

    async def async_broken() -> AsyncIterator[str]:
        yield "a"
        raise LookupError("no more pictures")

    async def body() -> None:
        async with AsyncClient(port=served.port) as client:
            with pytest.raises(LookupError, match="no more pictures"):
                await client.post("/", async_broken() if is_async else broken(), request_size=1)
            assert (await client.post("/", "after")).texts == ["after"]

    on_a_loop(body)


def test_an_error_of_the_executor_is_raised_and_the_rest_is_given_up():
    def local(request: Message) -> Message:
        return failure(request.call_id, ExecutorError("exec raised ValueError('bad')"))

    async def body() -> None:
        async with AsyncClient(port=served.port) as client:
            with pytest.raises(ExecutorError, match="bad"):
                await client.post("/", letters(10), request_size=1)
            heard: list[BaseException] = []
            assert len(await client.post("/", "a", on_error=lambda response, error: heard.append(error))) == 0
            assert [type(error) for error in heard] == [ExecutorError]
            with pytest.raises(CallbackError, match="ZeroDivisionError"):
                await client.post("/", "a", on_always=lambda response: 1 / 0)

    with Served(local) as served:
        on_a_loop(body)


def test_closing_ends_what_other_tasks_still_await():
    gate = Gate()

    async def body() -> None:
        client = AsyncClient(port=served.port)
        waiting = asyncio.ensure_future(_awaited(client.post("/", "a")))
        while not gate.entered.is_set():
            await asyncio.sleep(0.001)
        await client.close()
        with pytest.raises(Unavailable, match="closed") as caught:
            await waiting
        assert caught.value.maybe_executed
        gate.open()

    with Served(gate) as served:
        on_a_loop(body)


def test_a_post_that_is_still_asking_when_it_is_closed_ends_too(served):
    async def body() -> None:
        client = AsyncClient(port=served.port)

        async def inputs() -> AsyncIterator[str]:
            yield "a"
            await client.close()
            yield "b"

        with pytest.raises(Unavailable, match="closed"):
            await client.post("/", inputs(), request_size=1)

    on_a_loop(body)


def test_a_closed_client_refuses(served):
    async def body() -> None:
        client = AsyncClient(port=served.port)
        await client.post("/", "a")
        await client.close()
        with pytest.raises(Unavailable, match="closed already"):
            await client.post("/", "a")
        await client.close()

    on_a_loop(body)


def test_nobody_there_ends_in_an_error_that_says_so(monkeypatch):
    monkeypatch.setattr("zflow.roles.head.PATIENCE", 0.1)

    async def body() -> None:
        async with AsyncClient(port=1) as client:
            with pytest.raises(Unavailable, match=r"tcp://127\.0\.0\.1:1 cannot be reached .*nobody listens there"):
                await client.post("/", "a")

    on_a_loop(body)


def test_an_interrupt_ends_the_loop_and_leaves_nothing_open():
    """Ctrl-C while an answer is awaited."""
    gate = Gate()

    async def body() -> None:
        async with AsyncClient(port=served.port) as client:
            await client.post("/", "a")

    def interrupt() -> None:
        assert gate.entered.wait(5.0)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with Served(gate) as served:
        interrupter = threading.Thread(target=interrupt)
        interrupter.start()
        with pytest.raises(KeyboardInterrupt):
            asyncio.run(body())
        interrupter.join()
        gate.open()
    signal.signal(signal.SIGINT, before)


# -- loops -------------------------------------------------------------------------------------------------------------


def test_one_client_serves_one_loop_after_the_other_and_keeps_nothing_of_those_that_ended(served):
    client = AsyncClient(port=served.port)
    files = []
    for number in range(10):

        async def body(text: str = str(number)) -> DocumentArray:
            return await client.post("/", text)

        assert on_a_loop(body).texts == [str(number)]
        files.append(len(os.listdir("/proc/self/fd")))
    hold_until(lambda: len(os.listdir("/proc/self/fd")) <= files[1])
    on_a_loop(client.close)


def test_a_client_can_be_made_where_no_loop_runs_and_a_post_too(served):
    client = AsyncClient(port=served.port)
    post = client.post("/", "a")

    async def body() -> DocumentArray:
        answered = await post
        await client.close()
        return answered

    assert on_a_loop(body).texts == ["a"]


# -- options -----------------------------------------------------------------------------------------------------------


def test_a_client_with_asyncio_is_one_of_these(served):
    client = Client(port=served.port, asyncio=True)
    assert type(client) is AsyncClient
    assert client.address == served.address
    assert repr(client) == f"AsyncClient('{served.address}')"


@pytest.mark.parametrize(
    "options, error, told",
    [
        ({"request_sice": 3}, ConfigError, "did you mean 'request_size'"),
        ({"on": "no slash"}, InvalidRequest, "is no endpoint"),
        ({"prefetch": 0}, InvalidRequest, "prefetch"),
        ({"on_done": 5}, InvalidRequest, "on_done: expected a function"),
    ],
)
def test_wrong_options_are_refused_by_the_call_itself(options, error, told):
    with pytest.raises(error, match=told):
        AsyncClient(port=1).post(**options)


def test_a_size_that_is_none_is_refused_before_anything_is_sent(served):
    async def body() -> None:
        async with AsyncClient(port=served.port) as client:
            with pytest.raises(InvalidRequest, match="request_size: expected a whole number"):
                await client.post("/", letters(3), request_size=None)

    on_a_loop(body)


def test_a_post_can_be_awaited_once(served):
    """Its inputs may be used up; awaiting it again must not post half of them."""

    async def body() -> None:
        async with AsyncClient(port=served.port) as client:
            post = client.post("/", letters(3))
            assert len(await post) == 3
            with pytest.raises(RuntimeError, match="awaited already"):
                await post

    on_a_loop(body)
