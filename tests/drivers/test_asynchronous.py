"""The asyncio driver: a lane per loop, woken by what comes in and by time, and an outcome for whoever waits, always."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from tests.support.peers import Gate, Served, hold_until
from zflow.drivers import carrier
from zflow.drivers.asynchronous import AsyncLane, AsyncLanes, answers
from zflow.drivers.directory import Directory
from zflow.drivers.identity import new_id
from zflow.errors import Unavailable
from zflow.response import error_of
from zflow.roles.head import Head
from zflow.wire.header import MAYBE_EXECUTED, Kind, Message

PROMPT = 1.0  # seconds; what happens at once happens well before


@pytest.fixture
def served() -> Iterator[Served]:
    with Served() as served:
        yield served


def directory_of(address: str) -> Directory:
    return Directory({"peer": address})


def lane_to(address: str | Directory) -> AsyncLane:
    directory = directory_of(address) if isinstance(address, str) else address
    return AsyncLane(Head("peer", ["peer"], new_id=new_id), directory)


def lanes_to(address: str) -> AsyncLanes:
    return AsyncLanes(lambda: Head("peer", ["peer"], new_id=new_id), directory_of(address))


def question(**places: object) -> Message:
    return Message(Kind.REQUEST, new_id(), "/", **places)  # type: ignore[arg-type]


async def answer_to(lane: AsyncLane, request: Message | None = None) -> Message:
    """The outcome of one question; it must come within the patience of a test."""
    inbox: asyncio.Queue[Message] = asyncio.Queue()
    request = request or question()
    lane.ask(request, inbox)
    answer = await asyncio.wait_for(inbox.get(), 10.0)
    assert answer.call_id == request.call_id
    return answer


def on_a_loop(body: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run `body` on a loop of its own; what the loop complains of fails the test."""
    complaints: list[dict[str, Any]] = []

    async def watched() -> Any:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
        return await body()

    result = asyncio.run(watched())
    assert complaints == []
    return result


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


# -- one lane --------------------------------------------------------------------------------------------------------


def test_what_is_asked_is_answered(served):
    async def body() -> None:
        lane = lane_to(served.address)
        for _ in range(3):
            assert (await answer_to(lane)).kind is Kind.REPLY
        lane.close()

    on_a_loop(body)


def test_many_calls_at_once_share_its_connection(served):
    async def body() -> list[Message]:
        lane = lane_to(served.address)
        answered = await asyncio.gather(*[answer_to(lane) for _ in range(200)])
        lane.close()
        return answered

    assert {message.kind for message in on_a_loop(body)} == {Kind.REPLY}


def test_the_loop_goes_on_while_an_answer_is_awaited():
    gate = Gate()

    async def body() -> Message:
        lane = lane_to(served.address)
        waiting = asyncio.ensure_future(answer_to(lane))
        while not gate.entered.is_set():
            await asyncio.sleep(0.001)
        gate.open()
        answered = await waiting
        lane.close()
        return answered

    with Served(gate) as served:
        assert on_a_loop(body).kind is Kind.REPLY


def test_a_deadline_wakes_it_although_nothing_comes():
    gate = Gate()

    async def body() -> None:
        lane = lane_to(served.address)
        await answer_to(lane, question(budget=50_000))
        before = time.monotonic()
        late = await answer_to(lane, question(budget=100_000))
        assert late.kind is Kind.FAILURE
        assert 0.09 < time.monotonic() - before < PROMPT
        gate.open()
        lane.close()

    with Served(gate) as served:
        on_a_loop(body)


def test_a_peer_that_comes_later_is_found(served):
    async def body() -> None:
        directory = Directory()
        lane = lane_to(directory)
        waiting = asyncio.ensure_future(answer_to(lane))
        await asyncio.sleep(0.03)
        assert not waiting.done()
        directory.set("peer", served.address)
        assert (await waiting).kind is Kind.REPLY
        lane.close()

    on_a_loop(body)


def test_a_peer_that_breaks_off_is_left_and_dialled_again(monkeypatch):
    """Given that the new connection gets the descriptors of the old one, then the loop watches them all the same."""
    monkeypatch.setattr(carrier.random, "random", lambda: 0.0)

    async def body() -> None:
        first = Served()
        directory = directory_of(first.address)
        lane = lane_to(directory)
        with first:
            await answer_to(lane)
        for _ in range(4):
            with Served() as served:
                directory.set("peer", served.address)
                assert (await answer_to(lane)).kind is Kind.REPLY
        lane.close()

    on_a_loop(body)


def test_a_call_that_was_cancelled_gets_no_answer_and_the_peer_is_told():
    gate = Gate()

    async def body() -> None:
        lane = lane_to(served.address)
        running = asyncio.ensure_future(answer_to(lane))
        while not gate.entered.is_set():
            await asyncio.sleep(0.001)
        inbox: asyncio.Queue[Message] = asyncio.Queue()
        given_up = question()
        lane.ask(given_up, inbox)
        lane.cancel(given_up.call_id)
        lane.cancel(given_up.call_id)
        lane.cancel(b"never heard of it")
        gate.open()
        assert (await running).kind is Kind.REPLY
        await answer_to(lane)
        assert inbox.empty()
        lane.close()

    with Served(gate) as served:
        on_a_loop(body)


def test_closing_it_ends_what_is_still_awaited():
    """Nobody would ever answer: the sockets are gone."""
    gate = Gate()

    async def body() -> None:
        lane = lane_to(served.address)
        waiting = asyncio.ensure_future(answer_to(lane))
        while not gate.entered.is_set():
            await asyncio.sleep(0.001)
        lane.close()
        outcome = await asyncio.wait_for(waiting, 2.0)
        assert outcome.kind is Kind.FAILURE and outcome.flags & MAYBE_EXECUTED
        assert isinstance(error_of(outcome), Unavailable)
        assert "closed" in str(error_of(outcome))
        gate.open()

    with Served(gate) as served:
        on_a_loop(body)


def test_a_closed_lane_refuses_what_is_asked_and_is_not_hurt_by_the_rest(served):
    async def body() -> None:
        lane = lane_to(served.address)
        await answer_to(lane)
        lane.close()
        with pytest.raises(Unavailable, match="closed"):
            lane.ask(question(), asyncio.Queue())
        lane.cancel(b"c" * 16)
        lane.close()

    on_a_loop(body)


def test_its_loop_is_rid_of_it_after_its_end(served):
    async def body() -> None:
        before = open_files()
        lane = lane_to(served.address)
        await answer_to(lane)
        lane.close()
        loop = asyncio.get_running_loop()
        assert not [handle for handle in loop._selector.get_map().values() if handle.fd in lane._watched]  # type: ignore[attr-defined]
        while open_files() > before:
            await asyncio.sleep(0.005)

    on_a_loop(body)


# -- a lane for each loop --------------------------------------------------------------------------------------------


def test_one_loop_has_one_lane(served):
    async def body() -> None:
        lanes = lanes_to(served.address)
        assert lanes.lane() is lanes.lane()
        lanes.close()

    on_a_loop(body)


def test_loops_one_after_the_other_have_lanes_of_their_own_and_leave_none_behind(served):
    lanes = lanes_to(served.address)

    async def body() -> Kind:
        return (await answer_to(lanes.lane())).kind

    assert on_a_loop(body) is Kind.REPLY
    files = open_files()
    for _ in range(20):
        assert on_a_loop(body) is Kind.REPLY
    hold_until(lambda: open_files() <= files)
    lanes.close()


def test_loops_in_several_threads_ask_at_once(served):
    lanes = lanes_to(served.address)
    answered: list[Kind] = []

    async def body() -> None:
        for _ in range(20):
            answered.append((await answer_to(lanes.lane())).kind)

    threads = [threading.Thread(target=on_a_loop, args=(body,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20.0)
    lanes.close()
    assert answered == [Kind.REPLY] * 60


def test_after_its_end_nothing_can_be_asked(served):
    lanes = lanes_to(served.address)

    async def body() -> None:
        await answer_to(lanes.lane())
        lanes.close()
        with pytest.raises(Unavailable, match="closed already; use it inside its `with` block"):
            lanes.lane()

    on_a_loop(body)
    lanes.close()


def test_it_can_be_closed_where_no_loop_runs(served):
    before = open_files()
    lanes = lanes_to(served.address)

    async def body() -> None:
        await answer_to(lanes.lane())

    on_a_loop(body)
    lanes.close()
    hold_until(lambda: open_files() <= before)


def test_there_is_no_lane_without_a_loop(served):
    with pytest.raises(RuntimeError, match="no running event loop"):
        lanes_to(served.address).lane()


# -- outcomes ----------------------------------------------------------------------------------------------------------


def test_outcomes_that_came_together_are_given_together():
    async def body() -> None:
        inbox: asyncio.Queue[Message] = asyncio.Queue()
        for number in range(3):
            inbox.put_nowait(Message(Kind.REPLY, bytes([number]) * 16))
        assert [message.call_id[0] async for message in answers(inbox)] == [0, 1, 2]

    on_a_loop(body)


def test_the_first_outcome_is_waited_for():
    async def body() -> None:
        inbox: asyncio.Queue[Message] = asyncio.Queue()
        asyncio.get_running_loop().call_later(0.01, inbox.put_nowait, Message(Kind.REPLY, bytes(16)))
        assert len([message async for message in answers(inbox)]) == 1

    on_a_loop(body)
