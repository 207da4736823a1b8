"""Columns -> logical buffers: one msgpack body, then the large values, each a buffer of its own.

The body is a map with a list per field ('n' is the number of documents). What is large stays outside and is named by
its place among the buffers after the body, counted from 0. They come in a fixed order: blob, tensor, embedding, then
those of chunks, then those of matches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgpack

from zflow.documents.arrays import Buffer
from zflow.documents.columns import ArrayGroup, Columns, of_child
from zflow.documents.fields import ARRAYS, NESTED
from zflow.documents.limits import (
    COUNT_FROM,
    INLINE,
    MAX_BODY,
    MAX_BUFFERS,
    MAX_DIMENSIONS,
    MAX_DOCUMENTS,
    MAX_INLINE,
    MAX_ITEMS,
    MAX_STRING,
)
from zflow.documents.plain_values import Untravelable, are_flat, check_scalars, count_items, plain
from zflow.errors import InvalidDocument

_SPLIT_IT = "send fewer documents in one request (request_size)"
_TEXTUAL = ("text", "uri", "mime_type", "modality", "weight")

# A Packer keeps its memory, and a new one costs as much as a small message; one in use is nobody else's.
_packers: list[msgpack.Packer] = []


def pack_body(body: object) -> bytes:
    """`body` as msgpack. Raises what msgpack raises."""
    try:
        packer = _packers.pop()
    except IndexError:
        packer = msgpack.Packer()
    packed: bytes = packer.pack(body)
    if len(packed) <= COUNT_FROM:  # one that has grown larger is not kept, nor is one whose value raised
        _packers.append(packer)
    return packed


def pack_plain(mapping: Mapping[str, Any], name: str) -> bytes:
    """A map of plain values as msgpack. Raises Untravelable with the path, beginning with `name`, of what is none."""
    values = plain(mapping, name)
    try:
        packed = pack_body(values)
    except (OverflowError, ValueError):
        packed = b""
    if not packed or len(packed) > MAX_STRING:
        check_scalars(values, name)
    if len(packed) > MAX_BODY:
        raise Untravelable(name, f"{len(packed)} bytes, of at most {MAX_BODY}; send large values as Documents")
    if len(packed) > COUNT_FROM and count_items(values) > MAX_ITEMS:
        raise Untravelable(name, f"more than {MAX_ITEMS} items; send many numbers as a Document's tensor")
    return packed


def pack(table: Columns) -> list[Buffer]:
    """The body and the out-of-band buffers of a table, arrays and blobs by reference.

    Raises InvalidDocument, naming row and field, for values that cannot travel or are too large or too many.
    """
    outside: list[Buffer] = []
    return [_packed(_body(table, outside)), *outside]


def has_texts_alone(table: Columns) -> bool:
    """Whether nothing that the documents hold can be changed in its place."""
    return not table.arrays and not table.nested and table.values.keys() <= set(_TEXTUAL)


def packer_of_rows(table: Columns) -> Callable[[int, int], list[Buffer]]:
    """What packs the rows of `table` from one place to before another, and raises, as `pack` does.

    Where documents have texts alone it makes no table of theirs.
    """
    if not has_texts_alone(table):
        return lambda start, stop: pack(table.between(start, stop))
    ids, columns = table.ids, [(name, table.values[name]) for name in _TEXTUAL if name in table.values]

    def pack_rows(start: int, stop: int) -> list[Buffer]:
        body: dict[str, Any] = {"n": stop - start, "id": ids[start:stop]}
        for name, column in columns:
            body[name] = column[start:stop]
        return [_packed(body)]

    return pack_rows


def _packed(body: dict[str, Any]) -> bytes:
    if body["n"] > MAX_DOCUMENTS:
        raise InvalidDocument(f"{body['n']} documents, of at most {MAX_DOCUMENTS}: {_SPLIT_IT}")
    try:
        packed = pack_body(body)
    except (OverflowError, ValueError):  # an int of 65 bits, a lone surrogate: msgpack does not say where
        packed = b""
    if not packed or len(packed) > MAX_STRING:
        _find_offence(body)
    if len(packed) > MAX_BODY:
        raise InvalidDocument(f"{len(packed)} bytes beside arrays and blobs, of at most {MAX_BODY}: {_SPLIT_IT}")
    if len(packed) > COUNT_FROM and count_items(body) > MAX_ITEMS:
        raise InvalidDocument(f"more than {MAX_ITEMS} single values: {_SPLIT_IT}")
    return packed


def _body(table: Columns, outside: list[Buffer]) -> dict[str, Any]:
    values = table.values
    body: dict[str, Any] = {"n": table.count, "id": table.ids}
    for name in _TEXTUAL:
        if name in values:
            body[name] = values[name]
    if "tags" in values:
        body["tags"] = _tags(values["tags"])
    if "scores" in values:
        body["scores"] = [None if scores is None else scores.plain() for scores in values["scores"]]
    if "blob" in values:
        body["blob"] = [None if blob is None else _place(blob, outside) for blob in values["blob"]]
    for name in ARRAYS:
        if table.arrays.get(name):
            body[name] = [_group(name, group, outside) for group in table.arrays[name]]
    for name in NESTED:
        if name in table.nested:
            counts, inner = table.nested[name]
            try:
                body[name] = [counts, _body(inner, outside)]
            except InvalidDocument as error:
                raise of_child(name, counts, error) from error
    return body


def _tags(column: Sequence[dict[str, Any] | None]) -> Sequence[Any]:
    if are_flat(tags for tags in column if tags is not None):
        return column
    try:
        return [None if tags is None else plain(tags, f"[{row}].tags") for row, tags in enumerate(column)]
    except Untravelable as error:
        raise InvalidDocument(str(error), field=error.path) from error


def _group(name: str, group: ArrayGroup, outside: list[Buffer]) -> list[Any]:
    if len(group.shape) > MAX_DIMENSIONS:
        field = f"[{group.rows[0] if group.rows else 0}].{name}"
        raise InvalidDocument(f"{field}: {len(group.shape)} dimensions, of at most {MAX_DIMENSIONS}", field=field)
    return [group.rows, group.code, list(group.shape), _place(group.data(), outside)]


def _place(value: Buffer, outside: list[Buffer]) -> bytes | int:
    """Where a binary value goes: into the body (its bytes) or beside it (its place there).

    Many values of middling size would take more frames than a message has, so they go inside once half of them are
    used.
    """
    if len(value) <= (INLINE if 2 * len(outside) < MAX_BUFFERS else MAX_INLINE):
        return bytes(value)
    if len(outside) == MAX_BUFFERS:
        raise InvalidDocument(f"more than {MAX_BUFFERS} blobs and arrays of different shapes: {_SPLIT_IT}")
    outside.append(value)
    return len(outside) - 1


def _find_offence(body: dict[str, Any]) -> None:
    """Raises for the first value of `body` that msgpack could not pack or that is too large."""
    for name in ("id", *_TEXTUAL, "tags", "scores"):
        for row, value in enumerate(body.get(name, ())):
            try:
                check_scalars(value, f"[{row}].{name}")
            except Untravelable as error:
                raise InvalidDocument(str(error), field=error.path) from error
    for name in NESTED:
        if name in body:
            counts, inner = body[name]
            try:
                _find_offence(inner)
            except InvalidDocument as error:
                raise of_child(name, counts, error) from error
