"""Answers that come as they are made, calls beside each other, and work that ends when nobody waits for it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator

import pytest

from tests.support.peers import child, hold_until
from zflow import (
    AsyncClient,
    Client,
    DeadlineExceeded,
    Document,
    DocumentArray,
    Executor,
    ExecutorError,
    Flow,
    requests,
)
from zflow.asking import Asker


class Generating(Executor):
    """Tells at ``/told`` how many items it has made, and how its generators ended."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.made = 0
        self.ended = 0

    @requests(on="/count")
    def count(self, docs, parameters, **kwargs):
        self.made = 0
        try:
            for number in range(parameters["n"]):
                self.made += 1
                yield Document(text=f"{number}{''.join(docs.texts)}")
        finally:
            self.ended += 1

    @requests(on="/async")
    async def count_beside(self, docs, parameters, **kwargs):
        self.made = 0
        try:
            for number in range(parameters["n"]):
                self.made += 1
                await asyncio.sleep(0)
                yield Document(text=f"{number}{''.join(docs.texts)}")
        finally:
            self.ended += 1

    @requests(on="/mixed")
    def mixed(self, **kwargs):
        yield DocumentArray([Document(text="a"), Document(text="b")])
        yield {"half": True}
        yield [Document(text="c")]
        return {"whole": True}

    @requests(on="/fails")
    def fails(self, **kwargs):
        yield Document(text="one")
        raise ValueError("half way")

    @requests(on="/shout")
    def shout(self, doc, **kwargs):
        doc.text = doc.text.upper()

    @requests(on="/told")
    def told(self, **kwargs):
        return {"made": self.made, "ended": self.ended}

    @requests(on="/until-cancelled")
    def until_cancelled(self, **kwargs):
        until = time.monotonic() + 20
        while not self.cancelled and time.monotonic() < until:
            pass
        self.ended += time.monotonic() < until

    @requests(on="/meet")
    async def meet(self, docs, **kwargs):
        """Returns when `n` calls are here at once."""
        self.made += 1
        while self.made < 8:
            await asyncio.sleep(0.001)


@pytest.fixture(scope="module")
def flow() -> Iterator[Flow]:
    with Flow(quiet=True).add(uses=Generating, name="generating") as opened:
        yield opened


@pytest.fixture(params=["Flow", "Client"])
def asker(request: pytest.FixtureRequest, flow: Flow) -> Iterator[Asker]:
    if request.param == "Flow":
        yield flow
    else:
        with Client(port=flow.port) as client:
            yield client


def told(flow: Flow, key: str) -> int:
    [results] = flow.post("/told", return_responses=True)[0].results.values()
    return int(results[key])


@pytest.mark.parametrize("on", ["/count", "/async"])
def test_items_come_in_order_and_all_of_them(asker, on):
    stream = asker.stream(on, Document(text="!"), parameters={"n": 300})
    assert [document.text for document in stream] == [f"{number}!" for number in range(300)]


@pytest.mark.parametrize("on", ["/count", "/async"])
def test_a_reader_that_waits_stops_the_generator_and_one_that_leaves_ends_it(asker, flow, on):
    """A busy replica answers nobody else, so what the generator did is asked for after it was left."""
    ended = told(flow, "ended")
    stream = asker.stream(on, parameters={"n": 1_000_000}, prefetch=8)
    assert [next(stream).text for _ in range(3)] == ["0", "1", "2"]
    time.sleep(0.1)  # that it does not run ahead can only be seen by giving it the time to
    stream.close()
    hold_until(lambda: told(flow, "ended") > ended)
    assert told(flow, "made") <= 3 + 8 + 1  # taken, granted, and the one that waits for a grant


def test_what_is_yielded_may_be_arrays_lists_and_results(asker):
    responses = list(asker.stream("/mixed", return_responses=True))
    assert [response.docs.texts for response in responses] == [["a", "b"], [], ["c"], []]
    assert [list(response.results.values()) for response in responses] == [[], [{"half": True}], [], [{"whole": True}]]
    assert [document.text for document in asker.stream("/mixed")] == ["a", "b", "c"]


def test_post_gathers_what_is_yielded(asker):
    [response] = asker.post("/mixed", return_responses=True)
    assert response.docs.texts == ["a", "b", "c"]
    assert list(response.results.values()) == [{"half": True, "whole": True}]


def test_a_method_that_does_not_yield_gives_what_it_returns(asker):
    inputs = [Document(text=text) for text in "abc"]
    assert [document.text for document in asker.stream("/shout", inputs, request_size=2)] == ["A", "B", "C"]


def test_an_exception_comes_behind_the_items_before_it(asker):
    seen = []
    with pytest.raises(ExecutorError, match="half way") as raised:
        for document in asker.stream("/fails"):
            seen.append(document.text)
    assert seen == ["one"] and raised.value.maybe_executed


def test_a_deadline_ends_a_stream(asker, flow):
    ended = told(flow, "ended")
    with pytest.raises(DeadlineExceeded):
        for _ in asker.stream("/count", parameters={"n": 10**9}, timeout=0.2):
            pass
    hold_until(lambda: told(flow, "ended") > ended)


def test_the_last_executor_streams_and_those_before_it_are_whole():
    flow = Flow(quiet=True).add(uses=Generating, name="first").add(uses=Generating, name="last")
    with flow, Client(port=flow.port) as client:
        for asker in (flow, client):
            got = [document.text for document in asker.stream("/count", parameters={"n": 2})]
            assert got == ["001", "101"]  # the second one sees the texts 0 and 1


def test_a_stream_goes_through_a_flow_that_is_an_external_executor(flow):
    with Flow(quiet=True).add(host="localhost", port_in=flow.port, external=True) as outer:
        with Client(port=outer.port) as client:
            stream = client.stream("/count", parameters={"n": 1000}, prefetch=4)
            assert [next(stream).text, next(stream).text] == ["0", "1"]
            assert len(list(stream)) == 998


def test_asynchronous_clients_and_flows_iterate(flow):
    async def main() -> None:
        async with AsyncClient(port=flow.port) as client:
            got = [document.text async for document in client.stream("/count", parameters={"n": 200}, prefetch=4)]
            assert got == [str(number) for number in range(200)]
            stream = client.stream("/async", parameters={"n": 10**9})
            async for _ in stream:
                break
            await stream.aclose()
        with Flow(asyncio=True, quiet=True).add(uses=Generating) as opened:
            assert [document.text async for document in opened.stream("/mixed")] == ["a", "b", "c"]

    ended = told(flow, "ended")
    asyncio.run(main())
    hold_until(lambda: told(flow, "ended") >= ended + 2)


def test_streams_of_several_threads_do_not_mix(flow):
    got: dict[str, list[str]] = {}

    def read(mark: str) -> None:
        with Client(port=flow.port) as client:
            stream = client.stream("/async", Document(text=mark), parameters={"n": 200})
            got[mark] = [document.text for document in stream]

    threads = [threading.Thread(target=read, args=(mark,)) for mark in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == {mark: [f"{number}{mark}" for number in range(200)] for mark in "abcd"}


def test_many_streams_at_once_may_have_all_the_pieces_on_their_way_that_their_callers_take(flow):
    """Of 40 callers 64 each, and of one 4,000, which nothing on the way takes for those of one who does not read."""
    taken: list[int] = []

    def read(prefetch: int) -> None:
        with Client(port=flow.port) as client:
            taken.append(sum(1 for _ in client.stream("/async", parameters={"n": 500}, prefetch=prefetch)))

    threads = [threading.Thread(target=read, args=(64 if number else 4000,)) for number in range(41)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert taken == [500] * 41


def test_async_methods_run_at_once(flow):
    flow.post("/count", parameters={"n": 0})  # sets the counter back
    assert len(flow.post("/meet", DocumentArray.empty(8), request_size=1, timeout=10)) == 8


def test_a_method_can_ask_whether_anybody_waits(flow):
    ended = told(flow, "ended")
    with contextlib.suppress(DeadlineExceeded):  # the worker may know first, and its answer still be in time
        flow.post("/until-cancelled", timeout=0.2)
    assert told(flow, "ended") == ended + 1


READER = """
import sys
from zflow import Client
stream = Client(port=int(sys.argv[1])).stream("/count", parameters={"n": 1_000_000}, prefetch=4)
next(stream)
print("reading", flush=True)
sys.stdin.read()
"""


def test_the_generator_of_a_reader_that_was_killed_ends(flow):
    """It waits for a grant that never comes, so nothing is sent that could fail: the worker has to ask."""
    ended = told(flow, "ended")
    with child(READER, str(flow.port)) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "reading\n"
    assert flow.post("/told", timeout=10, return_responses=True)[0].results["generating/rep-0"]["ended"] > ended


def test_options_that_stream_does_not_have_are_refused_by_name(flow):
    with pytest.raises(ValueError, match="stream has no option 'prefech': did you mean 'prefetch'"):
        flow.stream("/count", prefech=3)
