"""What may be posted, cut lazily into requests.

Documents, and what makes one: a dict, a str, bytes or an array. One of these alone is one Document, but for an array,
which is as many as it has rows; an iterable of them is as many; a generator is read only as fast as its requests are
sent.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Generator, Iterable, Mapping
from typing import Any

from zflow.documents.document import Document
from zflow.documents.document_array import DocumentArray
from zflow.errors import InvalidRequest

Inputs = (
    Document | DocumentArray | Mapping[str, Any] | str | bytes | Iterable[Any] | AsyncIterable[Any] | Callable[[], Any]
) | None


def count_of(inputs: Any) -> int | None:
    """How many Documents `inputs` will give, None where only reading them would tell."""
    if inputs is None:
        return 0
    if isinstance(inputs, (Document, str, bytes, bytearray, Mapping)):
        return 1
    return len(inputs) if hasattr(inputs, "__len__") else None


def batches(inputs: Any, size: int) -> Generator[DocumentArray, None, None]:
    """`inputs` as one DocumentArray per request of `size` Documents; `size` <= 0: all in one. Never none at all."""
    _check_size(size)
    if isinstance(inputs, Document):  # the most frequent ones first: this is on the way of every post
        inputs = DocumentArray([inputs])
    elif not isinstance(inputs, DocumentArray):
        inputs = _called(inputs)
        if inputs is None:
            inputs = ()
        if isinstance(inputs, (Document, str, bytes, bytearray, Mapping)):
            inputs = DocumentArray([inputs])
    if isinstance(inputs, DocumentArray):
        if size <= 0 or len(inputs) <= size:
            yield inputs
            return
        for start in range(0, len(inputs), size):
            yield inputs[start : start + size]
        return
    if not isinstance(inputs, Iterable):
        raise _refused(inputs)
    batch: list[Any] = []
    is_first = True
    for item in inputs:
        batch.append(item)
        if len(batch) == size:
            yield DocumentArray(batch)
            batch = []
            is_first = False
    if batch or is_first:
        yield DocumentArray(batch)


async def async_batches(inputs: Any, size: int) -> AsyncIterator[DocumentArray]:
    """The same for an asynchronous caller, whose inputs may also be an async generator."""
    _check_size(size)
    inputs = _called(inputs)
    if not isinstance(inputs, AsyncIterable):
        for whole in batches(inputs, size):
            yield whole
        return
    batch: list[Any] = []
    is_first = True
    async for item in inputs:
        batch.append(item)
        if len(batch) == size:
            yield DocumentArray(batch)
            batch = []
            is_first = False
    if batch or is_first:
        yield DocumentArray(batch)


def _check_size(size: object) -> None:
    if isinstance(size, bool) or not isinstance(size, int):
        raise InvalidRequest(f"request_size: expected a whole number, got {size!r}")


def _called(inputs: Any) -> Any:
    """jina's users may post a function that makes the inputs."""
    if callable(inputs) and not isinstance(inputs, (Document, DocumentArray, Iterable)):
        return inputs()
    return inputs


def _refused(inputs: Any) -> InvalidRequest:
    hint = "; an async generator needs Client(asyncio=True)" if isinstance(inputs, AsyncIterable) else ""
    return InvalidRequest(
        f"inputs of type {type(inputs).__name__} cannot be posted; give a Document, a dict, text, bytes, an array, "
        f"or an iterable of them{hint}"
    )
