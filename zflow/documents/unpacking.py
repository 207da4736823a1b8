"""Logical buffers -> Columns: the only way in for foreign bytes, and therefore bounded.

Whatever the bytes are, the outcome is a table that every other module may trust, or a ProtocolError that says what is
wrong. Nothing is built before the structure of the body is proved complete (a msgpack array may claim 2^32 elements
that never come), nothing is allocated that the received bytes do not back, and no value is believed: types, counts,
shapes times item sizes, and that each out-of-band buffer belongs to exactly one value, in order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from operator import ge
from typing import Any, TypeVar

import msgpack

from zflow.documents.arrays import ITEM_SIZES, Buffer
from zflow.documents.columns import ArrayGroup, Columns
from zflow.documents.fields import ARRAYS, NESTED
from zflow.documents.limits import (
    COUNT_FROM,
    MAX_ARRAY_BYTES,
    MAX_BODY,
    MAX_DIMENSIONS,
    MAX_DOCUMENTS,
    MAX_ID,
    MAX_INLINE,
    MAX_ITEMS,
    MAX_NESTING,
    MAX_STRING,
    PROBE_FROM,
)
from zflow.documents.plain_values import are_flat, foreign_fault
from zflow.documents.scores import Scores
from zflow.errors import InvalidDocument, ProtocolError, nearest

Made = TypeVar("Made")

_NONE = type(None)
_STRING = frozenset((str, _NONE))
_KINDS = {
    "uri": _STRING,
    "mime_type": _STRING,
    "modality": _STRING,
    "weight": frozenset((int, float, _NONE)),
    "tags": frozenset((dict, _NONE)),
    "scores": frozenset((dict, _NONE)),
    "blob": frozenset((bytes, int, _NONE)),
}


def unpack(buffers: Sequence[Buffer]) -> Columns:
    """The table of documents in `buffers`, its arrays views of them. Raises ProtocolError for anything malformed."""
    return guarded("documents", lambda: _Reader(buffers).table())


def unpack_plain(buffer: Buffer, name: str) -> dict[str, Any]:
    """The map of plain values in `buffer`. Raises ProtocolError, naming `name`."""
    return guarded(name, lambda: _plain_map(buffer))


def guarded(name: str, read: Callable[[], Made]) -> Made:
    """What `read` gives; whatever it raises becomes one ProtocolError about `name`.

    The catch is wide on purpose: MemoryError, RecursionError, UnicodeDecodeError or an error of a library's own are
    all answers that some foreign bytes have found, and no bytes may end a peer.
    """
    try:
        return read()
    except ProtocolError as error:
        raise ProtocolError(f"{name}: {error}") from error.__cause__
    except Exception as error:
        raise ProtocolError(f"{name}: {type(error).__name__}: {str(error)[:200]}") from error


def _plain_map(buffer: Buffer) -> dict[str, Any]:
    mapping = unpack_body(buffer)
    if type(mapping) is not dict:
        raise ProtocolError(f"a {type(mapping).__name__} instead of a map")
    if mapping and not are_flat((mapping,)) and (fault := foreign_fault(mapping)):
        raise ProtocolError(fault)
    return mapping


def unpack_body(buffer: Buffer) -> Any:
    """One msgpack value, within the limits; raises whatever is the matter."""
    size = len(buffer)
    if size > MAX_BODY:
        raise ProtocolError(f"a body of {size} bytes, of at most {MAX_BODY}")
    if size > PROBE_FROM:
        probe = msgpack.Unpacker(max_buffer_size=size)
        probe.feed(buffer)
        probe.skip()  # builds nothing, and fails unless every claimed element is there
    count = None
    if size > COUNT_FROM:
        count = _count_items(MAX_ITEMS)
    return msgpack.unpackb(
        buffer,
        list_hook=None if count is None else lambda items: count(len(items)) or items,
        object_pairs_hook=_map if count is None else lambda pairs: count(2 * len(pairs)) or _map(pairs),
        max_str_len=MAX_STRING,
        max_bin_len=MAX_INLINE,
        max_ext_len=0,
        max_array_len=MAX_ITEMS,
        max_map_len=MAX_ITEMS,
    )


def _map(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ProtocolError("a map has the same key twice")
    return made


def _count_items(left: int) -> Callable[[int], None]:
    def count(items: int) -> None:
        nonlocal left
        left -= items
        if left < 0:
            raise ProtocolError(f"more than {MAX_ITEMS} items")

    return count


class _Reader:
    """Reads one payload: its body, and the buffers outside it, each of which is taken exactly once and in order."""

    def __init__(self, buffers: Sequence[Buffer]) -> None:
        if not buffers:
            raise ProtocolError("no body")
        self.body = unpack_body(buffers[0])
        self.outside = buffers
        self.taken = 0  # of the buffers after the body

    def table(self) -> Columns:
        table = self._table(self.body, "", 0)
        if table.count > MAX_DOCUMENTS:
            raise ProtocolError(f"{table.count} documents, of at most {MAX_DOCUMENTS}")
        if self.taken + 1 != len(self.outside):
            raise ProtocolError(f"{len(self.outside) - 1} buffers after the body, which names {self.taken}")
        return table

    def _table(self, body: Any, where: str, depth: int) -> Columns:
        if type(body) is not dict:
            raise ProtocolError(f"{where or 'the body'} is a {type(body).__name__} instead of a map")
        table = Columns(_ids(body, where))
        if "text" in body:
            _check_column(body["text"], f"{where}text", table.count, _STRING)
            table.values["text"] = body["text"]
        if len(body) > 1 + ("id" in body) + len(table.values):  # most documents have an id and a text, and nothing else
            self._other_columns(table, body, where, depth)
        return table

    def _other_columns(self, table: Columns, body: dict[Any, Any], where: str, depth: int) -> None:
        """All but ids and texts, in the order in which their buffers come."""
        for name, kinds in _KINDS.items():
            if name in body:
                column = body[name]
                _check_column(column, f"{where}{name}", table.count, kinds)
                table.values[name] = column
        for name, read in (("tags", _tags), ("scores", _scores), ("blob", self._blobs)):
            if name in table.values:
                table.values[name] = read(table.values[name], f"{where}{name}")
        for name in ARRAYS:
            if name in body:
                table.arrays[name] = self._groups(body[name], f"{where}{name}", table.count)
        for name in NESTED:
            if name in body:
                table.nested[name] = self._nested(body[name], f"{where}{name}", table.count, depth)

    def _blobs(self, column: list[Any], where: str) -> list[Any]:
        return [self._outside(value, where) if type(value) is int else value for value in column]

    def _outside(self, at: Any, where: str) -> Buffer:
        if type(at) is not int or at != self.taken:
            named = at if type(at) is int else f"by a {type(at).__name__}"
            raise ProtocolError(f"{where}: names buffer {named}, where {self.taken} is the next one")
        self.taken += 1
        if self.taken >= len(self.outside):
            raise ProtocolError(f"{where}: names buffer {at}, but there are {len(self.outside) - 1}")
        return self.outside[self.taken]

    def _groups(self, groups: Any, where: str, count: int) -> list[ArrayGroup]:
        if type(groups) is not list:
            raise ProtocolError(f"{where} is a {type(groups).__name__} instead of a list of groups")
        seen: set[int] = set()
        made = []
        for group in groups:
            if type(group) is not list or len(group) != 4:
                raise ProtocolError(f"{where}: a group is a list of rows, dtype, shape, place")
            rows, code, shape, at = group
            size = _checked_rows(rows, where, count, seen)
            expected = _size_of(code, shape, size, where)
            data = at if type(at) is bytes else self._outside(at, where)
            if len(data) != expected:
                raise ProtocolError(f"{where}: {len(data)} bytes for {size} x {shape} of {code}, which take {expected}")
            # Small arrays are copied out of the body: as views they would be read-only and hold all of it alive.
            made.append(ArrayGroup(rows, code, shape, size, memoryview(bytearray(data)) if data is at else data))
        return made

    def _nested(self, pair: Any, where: str, count: int, depth: int) -> tuple[list[int], Columns]:
        if depth == MAX_NESTING:
            raise ProtocolError(f"{where}: documents are nested more than {MAX_NESTING} deep")
        if type(pair) is not list or len(pair) != 2:
            raise ProtocolError(f"{where} is no pair of counts and a table")
        counts, body = pair
        _check_column(counts, f"{where} counts", count, frozenset((int,)))
        table = self._table(body, f"{where}.", depth + 1)
        if (counts and min(counts) < 0) or sum(counts) != table.count:
            raise ProtocolError(f"{where}: the counts do not add up to the {table.count} documents there are")
        return counts, table


def _ids(body: dict[Any, Any], where: str) -> list[str]:
    count = body.get("n")
    if type(count) is not int or not 0 <= count <= MAX_ITEMS:
        found = count if type(count) is int else f"a {type(count).__name__}"
        raise ProtocolError(f"{where}n is {found}, not the number of documents")
    ids = body.get("id", [])
    _check_column(ids, f"{where}id", count, frozenset((str,)))
    if not count:
        return []
    longest = max(map(len, ids))
    if longest > MAX_ID or (longest > MAX_ID // 4 and max(len(id.encode()) for id in ids) > MAX_ID):
        raise ProtocolError(f"{where}id: one has more than {MAX_ID} bytes")
    if "" in ids:
        raise ProtocolError(f"{where}id: one is empty")
    checked: list[str] = ids
    return checked


def _check_column(column: Any, where: str, count: int, kinds: frozenset[Any]) -> None:
    if type(column) is not list or len(column) != count:
        found = f"{len(column)} values" if type(column) is list else f"a {type(column).__name__}"
        raise ProtocolError(f"{where}: {found}, where a list of {count} is due")
    if not set(map(type, column)) <= kinds:
        row = next(row for row, value in enumerate(column) if type(value) not in kinds)
        wanted = " or ".join(sorted(kind.__name__ for kind in kinds if kind is not _NONE))
        raise ProtocolError(f"{where}[{row}] is {type(column[row]).__name__}, not {wanted}")


def _tags(column: list[Any], where: str) -> list[Any]:
    if not are_flat(tags for tags in column if tags is not None):
        for row, tags in enumerate(column):
            if tags is not None and (fault := foreign_fault(tags)):
                raise ProtocolError(f"{where}[{row}]: {fault}")
    return column


def _scores(column: list[Any], where: str) -> list[Any]:
    made = []
    for row, scores in enumerate(column):
        if scores is not None and (fault := foreign_fault(scores)):
            raise ProtocolError(f"{where}[{row}]: {fault}")
        try:
            made.append(None if scores is None else Scores(scores))
        except InvalidDocument as error:
            raise ProtocolError(f"{where}[{row}]: {error}") from error
    return made


def _checked_rows(rows: Any, where: str, count: int, seen: set[int]) -> int:
    """How many rows a group is for; each row has one array at most."""
    if rows is None:
        if seen or not count:
            raise ProtocolError(f"{where}: a group for all rows is not the only one, or there are no rows")
        seen.update((0, -1))  # so that no other group fits beside it
        return count
    if type(rows) is not list or not rows or not set(map(type, rows)) <= {int}:
        raise ProtocolError(f"{where}: the rows of a group are a list of whole numbers")
    if rows[0] < 0 or rows[-1] >= count or any(map(ge, rows, rows[1:])):
        raise ProtocolError(f"{where}: the rows of a group ascend from 0 to {count - 1} at most")
    if -1 in seen or not seen.isdisjoint(rows):
        raise ProtocolError(f"{where}: a row has two arrays")
    seen.update(rows)
    return len(rows)


def _size_of(code: Any, shape: Any, rows: int, where: str) -> int:
    """The bytes of `rows` arrays, computed in Python's ints: numpy's would wrap around."""
    if type(code) is not str or code not in ITEM_SIZES:
        told = code[:16] if type(code) is str else type(code).__name__
        raise ProtocolError(f"{where}: unknown dtype {told!r}; {nearest(str(told), ITEM_SIZES)}")
    if type(shape) is not list or len(shape) > MAX_DIMENSIONS or not set(map(type, shape)) <= {int}:
        raise ProtocolError(f"{where}: a shape is a list of at most {MAX_DIMENSIONS} whole numbers")
    if shape and min(shape) < 0:
        raise ProtocolError(f"{where}: the shape {shape} has a negative dimension")
    # Also for arrays of no elements, numpy wants the product of the other dimensions to be an address.
    if prod(max(size, 1) for size in shape) * rows * ITEM_SIZES[code] > MAX_ARRAY_BYTES:
        raise ProtocolError(f"{where}: an array of shape {shape} is larger than {MAX_ARRAY_BYTES} bytes")
    return prod(shape) * rows * ITEM_SIZES[code]
