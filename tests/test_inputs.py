"""What may be posted, and how it is cut into requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import numpy as np
import pytest

from zflow import Document, DocumentArray
from zflow.errors import InvalidRequest
from zflow.inputs import async_batches, batches, count_of


def sizes(inputs: object, size: int) -> list[int]:
    return [len(batch) for batch in batches(inputs, size)]


@pytest.mark.parametrize(
    ("inputs", "size", "expected"),
    [
        (None, 3, [0]),
        ([], 3, [0]),
        (DocumentArray(), 3, [0]),
        (iter(()), 3, [0]),
        (Document(), 3, [1]),
        ("one text, not its letters", 3, [1]),
        (b"one blob", 3, [1]),
        ({"text": "one document"}, 3, [1]),
        (["a", "b", "c", "d"], 3, [3, 1]),
        (DocumentArray.empty(6), 3, [3, 3]),
        (DocumentArray.empty(6), 0, [6]),
        (["a"] * 5, -1, [5]),
        (np.zeros((4, 2)), 3, [3, 1]),
        (lambda: ["a", "b"], 1, [1, 1]),
    ],
)
def test_everything_becomes_requests_and_never_none_at_all(inputs: object, size: int, expected: list[int]) -> None:
    assert sizes(inputs, size) == expected


def test_a_generator_is_read_one_request_at_a_time() -> None:
    read = []

    def documents() -> Iterator[Document]:
        for number in range(10):
            read.append(number)
            yield Document()

    waiting = batches(documents(), 2)
    next(waiting)
    assert len(read) == 2


def test_whole_arrays_are_posted_as_they_are() -> None:
    docs = DocumentArray.empty(3)
    assert next(batches(docs, 3)) is docs


@pytest.mark.parametrize(("inputs", "hint"), [(3, "int"), (object(), "object")])
def test_what_cannot_be_posted_is_named(inputs: object, hint: str) -> None:
    with pytest.raises(InvalidRequest, match=hint):
        list(batches(inputs, 1))


async def numbers(count: int) -> AsyncIterator[str]:
    for number in range(count):
        yield str(number)


def test_async_generators_are_for_asynchronous_callers() -> None:
    async def gather(inputs: object, size: int) -> list[list[str]]:
        return [batch.texts async for batch in async_batches(inputs, size)]

    assert asyncio.run(gather(numbers(3), 2)) == [["0", "1"], ["2"]]
    assert asyncio.run(gather(numbers(0), 2)) == [[]]
    assert asyncio.run(gather(numbers(3), 0)) == [["0", "1", "2"]]
    assert asyncio.run(gather(["a", "b"], 1)) == [["a"], ["b"]]
    with pytest.raises(InvalidRequest, match="asyncio=True"):
        list(batches(numbers(1), 1))


@pytest.mark.parametrize(
    ("inputs", "count"), [(None, 0), ("text", 1), ({}, 1), (["a", "b"], 2), (iter("ab"), None), (lambda: [], None)]
)
def test_a_count_is_known_only_where_nothing_must_be_read(inputs: object, count: int | None) -> None:
    assert count_of(inputs) == count
