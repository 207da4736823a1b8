"""A generator is advanced as far as its caller grants, and ends within one item of being given up."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from tests.drivers.test_invocation import call
from zflow.documents.document import Document
from zflow.documents.document_array import DocumentArray
from zflow.drivers.streams import Stream
from zflow.errors import Cancelled, ExecutorError
from zflow.response import error_of, read
from zflow.wire.header import MAYBE_EXECUTED, Kind, Message


class Steps:
    """A stream of the texts 0, 1, 2... with what its generator did."""

    def __init__(self, count: int, *, items: int | None = None, returns: Any = None) -> None:
        self.made = 0
        self.is_closed = False
        self.reported: list[BaseException] = []
        self._count, self._returns = count, returns
        extra = {} if items is None else {"items": items}
        self.stream = Stream(call(partial=True, **extra), self._numbers(), report=self.reported.append)

    def _numbers(self) -> Generator[Any, None, Any]:
        try:
            for number in range(self._count):
                self.made += 1
                yield Document(text=str(number))
            return self._returns
        finally:
            self.is_closed = True

    def step(self) -> Message:
        said = self.stream.step()
        assert said is not None
        return said


def texts(said: Message) -> list[str]:
    return read(said, DocumentArray(), {}, "/").docs.texts


def test_each_step_is_one_piece_and_the_last_one_the_reply_without_what_was_told():
    steps = Steps(2, returns={"n": 2})
    said = [steps.step() for _ in range(3)]
    assert [(item.kind, texts(item)) for item in said] == [
        (Kind.PARTIAL, ["0"]),
        (Kind.PARTIAL, ["1"]),
        (Kind.REPLY, []),
    ]
    assert read(said[-1], DocumentArray(), {}, "/").results == {"writer/rep-1": {"n": 2}}
    assert steps.stream.is_over


def test_it_goes_no_further_than_was_granted():
    steps = Steps(100, items=2)
    while steps.stream.may_go_on:
        steps.step()
    assert steps.made == 2
    steps.stream.grant(1)
    steps.stream.grant(-5)  # grants nothing, and takes nothing back
    steps.step()
    assert steps.made == 3 and not steps.stream.may_go_on


def test_given_up_it_makes_nothing_more_even_without_a_grant():
    steps = Steps(100, items=1)
    steps.step()
    steps.stream.give_up()
    assert steps.stream.may_go_on and steps.stream.is_given_up
    outcome = steps.step()
    assert (outcome.kind, outcome.flags) == (Kind.FAILURE, MAYBE_EXECUTED)
    assert isinstance(error_of(outcome), Cancelled)
    assert (steps.made, steps.is_closed, steps.stream.is_over, steps.reported) == (1, True, True, [])


def test_a_bare_yield_says_nothing_and_costs_no_grant():
    def breathing() -> Generator[Any, None, Any]:
        yield None
        yield Document(text="a")

    stream = Stream(call(partial=True, items=1), breathing(), report=lambda error: None)
    assert stream.step() is None and stream.may_go_on
    assert texts(stream.step() or Message(Kind.PING)) == ["a"]


@pytest.mark.parametrize("wrong", [3, "text", [1]])
def test_a_wrong_item_ends_it_by_name_and_closes_the_generator(wrong):
    closed = []

    def yielding() -> Generator[Any, None, Any]:
        try:
            yield wrong
        finally:
            closed.append(True)

    reported: list[BaseException] = []
    stream = Stream(call(partial=True), yielding(), report=reported.append)
    error = error_of(stream.step() or Message(Kind.PING))
    assert isinstance(error, ExecutorError) and "Writer.write" in str(error)
    assert closed == [True] and len(reported) == 1 and stream.is_over


def test_an_exception_after_some_items_is_the_outcome():
    def failing() -> Generator[Any, None, Any]:
        yield Document(text="a")
        raise ValueError("half way")

    stream = Stream(call(partial=True), failing(), report=lambda error: None)
    stream.step()
    error = error_of(stream.step() or Message(Kind.PING))
    assert isinstance(error, ExecutorError) and error.description == "ValueError('half way')"


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_only_ctrl_c_is_let_through(kind):
    def leaving() -> Generator[Any, None, Any]:
        yield Document()
        raise kind(3)

    reported: list[BaseException] = []
    stream = Stream(call(partial=True), leaving(), report=reported.append)
    stream.step()
    if kind is KeyboardInterrupt:
        with pytest.raises(KeyboardInterrupt):
            stream.step()
        return
    error = error_of(stream.step() or Message(Kind.PING))
    assert isinstance(error, ExecutorError) and error.description == "SystemExit(3)"
    assert stream.is_over and len(reported) == 1


def test_closing_it_runs_the_generators_finally():
    steps = Steps(9)
    steps.step()
    steps.stream.close()
    assert steps.is_closed
