"""Columns: documents as the wire has them, one list per field, and the way from there to Documents and back.

A `DocumentArray` that came off the wire is such a table until somebody asks it for a single Document. Whole fields are
read, set and sent again without making one.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, chain, repeat
from operator import is_
from typing import TYPE_CHECKING, Any, NamedTuple

from zflow.documents.arrays import (
    Buffer,
    as_array,
    bytes_of,
    code_of,
    concatenated,
    is_ndarray,
    matrix_of,
    rows_of_matrix,
    stack,
)
from zflow.documents.document import Document
from zflow.documents.fields import ARRAYS, FIELDS, NESTED, NestedField
from zflow.documents.limits import MAX_NESTING
from zflow.errors import InvalidDocument

if TYPE_CHECKING:
    import numpy as np

_EMPTY: dict[str, Any] = {}  # nobody writes to it


class ArrayGroup:
    """Arrays of one dtype and shape as a matrix: of the rows in `rows` (ascending), or of all of them where it is None.

    What came off the wire stays `data` until `matrix()` is asked for, so that handing it on needs no numpy.
    """

    __slots__ = ("_data", "_matrix", "code", "count", "rows", "shape")

    def __init__(
        self, rows: Sequence[int] | None, code: str, shape: Sequence[int], count: int, data: Buffer | None
    ) -> None:
        self.rows = rows
        self.code = code
        self.shape = shape  # of one row
        self.count = count  # of rows
        self._data = data
        self._matrix: np.ndarray[Any, Any] | None = None

    @classmethod
    def of_matrix(cls, rows: Sequence[int] | None, matrix: np.ndarray[Any, Any]) -> ArrayGroup:
        """The group of a matrix whose dtype can travel (`arrays.as_array` saw to that)."""
        made = cls(rows, code_of(matrix) or "", matrix.shape[1:], len(matrix), None)
        made._matrix = matrix
        return made

    def matrix(self) -> np.ndarray[Any, Any]:
        """The arrays as one of shape (count, *shape)."""
        if self._matrix is None:
            assert self._data is not None
            self._matrix = matrix_of(self._data, self.code, (self.count, *self.shape))
        return self._matrix

    def data(self) -> Buffer:
        """The bytes of the matrix, by reference where it lies in C order."""
        if self._matrix is None:
            assert self._data is not None
            return self._data
        return bytes_of(self._matrix)

    def between(self, start: int, stop: int) -> ArrayGroup:
        """The arrays of the rows from `start` to before `stop`, as views, counted from `start`."""
        if self.rows is None:
            return ArrayGroup.of_matrix(None, self.matrix()[start:stop])
        first, last = bisect_left(self.rows, start), bisect_left(self.rows, stop)
        rows = [row - start for row in self.rows[first:last]]
        return ArrayGroup.of_matrix(None if len(rows) == stop - start else rows, self.matrix()[first:last])

    def arrays(self) -> Iterator[tuple[int, np.ndarray[Any, Any]]]:
        """(row, array) for each row of the group."""
        return zip(range(self.count) if self.rows is None else self.rows, rows_of_matrix(self.matrix()))


class Columns:
    """`count` documents as columns. A field that no document sets has no column; a None in one is a missing value.

    `values` has the lists of the simple fields, `arrays` the groups of tensor and embedding, `nested`, for chunks and
    matches, how many each row has and the table of all of them.
    """

    __slots__ = ("arrays", "count", "ids", "nested", "values")

    def __init__(self, ids: list[str]) -> None:
        self.count = len(ids)
        self.ids = ids
        self.values: dict[str, list[Any]] = {}
        self.arrays: dict[str, list[ArrayGroup]] = {}
        self.nested: dict[str, tuple[list[int], Columns]] = {}

    def array_column(self, name: str) -> list[Any]:
        """The arrays of field `name`, one per row, None where missing."""
        column: list[Any] = [None] * self.count
        for group in self.arrays.get(name, ()):
            for row, array in group.arrays():
                column[row] = array
        return column

    def take(self, rows: Sequence[int]) -> Columns:
        """The table of the given rows, in that order. Arrays are copied, other values shared."""
        taken = Columns([self.ids[row] for row in rows])
        for name, column in self.values.items():
            taken.values[name] = [column[row] for row in rows]
        for name, groups in self.arrays.items():
            if rows and len(groups) == 1 and groups[0].rows is None:
                taken.arrays[name] = [ArrayGroup.of_matrix(None, groups[0].matrix()[list(rows)])]
            else:
                column = self.array_column(name)
                taken.arrays[name] = grouped(name, [column[row] for row in rows])
        for name, (counts, table) in self.nested.items():
            ends = list(accumulate(counts))
            inner = chain.from_iterable(range(ends[row] - counts[row], ends[row]) for row in rows)
            taken.nested[name] = [counts[row] for row in rows], table.take(list(inner))
        return taken

    def between(self, start: int, stop: int) -> Columns:
        """The table of the rows from `start` to before `stop`. Arrays are views of these, other values shared."""
        part = Columns(self.ids[start:stop])
        for name, column in self.values.items():
            part.values[name] = column[start:stop]
        for name, groups in self.arrays.items():
            inside = [group.between(start, stop) for group in groups]
            part.arrays[name] = [group for group in inside if group.count]
        for name, (counts, table) in self.nested.items():
            first, mine = sum(counts[:start]), counts[start:stop]
            part.nested[name] = mine, table.between(first, first + sum(mine))
        return part


def appended(tables: Sequence[Columns]) -> Columns:
    """The rows of all tables, one table after the other. Arrays are copied, other values shared."""
    whole = Columns(list(chain.from_iterable(table.ids for table in tables)))
    for name in _names(table.values for table in tables):
        whole.values[name] = list(
            chain.from_iterable(table.values.get(name) or [None] * table.count for table in tables)
        )
    for name in _names(table.arrays for table in tables):
        whole.arrays[name] = _appended_arrays(name, tables)
    for name in _names(table.nested for table in tables):
        inner = [table.nested.get(name) or ([0] * table.count, Columns([])) for table in tables]
        counts = list(chain.from_iterable(counts for counts, _ in inner))
        whole.nested[name] = counts, appended([table for _, table in inner])
    return whole


def _names(fields: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    return dict.fromkeys(chain.from_iterable(fields))


def _appended_arrays(name: str, tables: Sequence[Columns]) -> list[ArrayGroup]:
    """One copy where each table has one matrix and all are alike: the usual case, without an object for each row."""
    groups: list[list[ArrayGroup]] = [table.arrays.get(name, []) for table in tables if table.count]
    if all(len(mine) == 1 and mine[0].rows is None for mine in groups):
        alike = {(mine[0].code, tuple(mine[0].shape)) for mine in groups}
        if len(alike) == 1:
            return [ArrayGroup.of_matrix(None, concatenated([mine[0].matrix() for mine in groups]))]
    return grouped(name, list(chain.from_iterable(table.array_column(name) for table in tables)))


class Stacked(NamedTuple):
    """A matrix whose rows are `views`: as long as the documents still hold these very objects, in this order, the
    matrix is what they hold, and can be given away or sent without being stacked again."""

    matrix: Any
    views: list[Any]

    def holds(self, column: list[Any]) -> bool:
        return len(column) == len(self.views) and all(map(is_, column, self.views))


def rows_of(table: Columns) -> tuple[list[Document], dict[str, Stacked]]:
    """The documents of a table, and which of their arrays are rows of one matrix."""
    rows: list[Document] = []
    append, new = rows.append, object.__new__
    for id, text in zip(table.ids, table.values.get("text") or repeat(None)):
        row = new(Document)  # 0.1 us; through __init__ it would be 0.8
        row._id = id
        row._text = text or ""
        row._rest = None
        append(row)
    for name, column in table.values.items():
        if name != "text":
            _put(rows, name, column)
    stacked = {}
    for name, groups in table.arrays.items():
        if len(groups) == 1 and groups[0].rows is None:
            matrix = groups[0].matrix()
            views = rows_of_matrix(matrix)
            stacked[name] = Stacked(matrix, views)
            _put(rows, name, views)
        else:
            _put(rows, name, table.array_column(name))
    for name, (counts, inner) in table.nested.items():
        _put(rows, name, _split(rows_of(inner)[0], counts))
    return rows, stacked


def columns_of(rows: Sequence[Document], stacked: Mapping[str, Stacked] = _EMPTY, depth: int = 0) -> Columns:
    """The table of `rows`. Raises InvalidDocument, naming row and field, for arrays that cannot travel and for
    documents nested too deep (or among their own chunks)."""
    table = Columns([row._id for row in rows])
    texts = [row._text or None for row in rows]
    if any(texts):
        table.values["text"] = texts
    rests = [row._rest for row in rows]
    if any(rests):
        _add_other_columns(table, [rest or _EMPTY for rest in rests], stacked, depth)
    return table


def _add_other_columns(table: Columns, rests: list[dict[str, Any]], stacked: Mapping[str, Stacked], depth: int) -> None:
    present = set(chain.from_iterable(rests))
    for name in FIELDS:  # in this order, so that equal documents make equal bytes
        if name not in present:
            continue
        column = [rest.get(name) for rest in rests]
        if name in ARRAYS:
            known = stacked.get(name)
            if known is not None and known.holds(column):
                table.arrays[name] = [ArrayGroup.of_matrix(None, known.matrix)]
            else:
                table.arrays[name] = grouped(name, column)
        elif name in NESTED:
            _add_nested(table, name, column, depth)
        else:
            if name != "weight":  # 0.0 is a weight, but {} is no tags
                column = [value or None for value in column]
            if any(value is not None for value in column):
                table.values[name] = column


def _add_nested(table: Columns, name: str, column: list[Any], depth: int) -> None:
    counts = [0 if children is None else len(children) for children in column]
    if not any(counts):
        return
    if depth == MAX_NESTING:
        field = f"[{next(row for row, count in enumerate(counts) if count)}].{name}"
        raise InvalidDocument(
            f"{field}: documents nested more than {MAX_NESTING} deep cannot travel; is one its own chunk or match?",
            field=field,
        )
    children = chain.from_iterable(children for children in column if children is not None)
    try:
        table.nested[name] = counts, columns_of(list(children), depth=depth + 1)
    except InvalidDocument as error:
        raise of_child(name, counts, error) from error


def of_child(name: str, counts: list[int], error: InvalidDocument) -> InvalidDocument:
    """An error about row k of all children as one about child i of row j: ``[7].text`` as ``[2].chunks[1].text``."""
    reason = str(error).removeprefix(f"{error.field}: ")
    found = re.match(r"\[(\d+)\]", error.field)
    if found is None:  # it is about all of them
        return error
    child, ends = int(found[1]), list(accumulate(counts))
    row = bisect_right(ends, child)
    field = f"[{row}].{name}[{child - ends[row] + counts[row]}]{error.field[found.end() :]}"
    return InvalidDocument(f"{field}: {reason}", field=field)


def grouped(name: str, column: Sequence[Any]) -> list[ArrayGroup]:
    """A column of arrays (None where missing) as groups of one dtype and shape each, stacked: one copy per group."""
    if column and _alike(column):
        as_array(f"[0].{name}", column[0])
        return [ArrayGroup.of_matrix(None, stack(column))]
    groups: dict[Any, tuple[list[int], list[Any]]] = {}
    for row, value in enumerate(column):
        if value is not None:
            array = as_array(f"[{row}].{name}", value)
            rows, arrays = groups.setdefault((array.shape, array.dtype), ([], []))
            rows.append(row)
            arrays.append(array)
    whole = len(column)
    return [
        ArrayGroup.of_matrix(None if len(rows) == whole else rows, stack(arrays)) for rows, arrays in groups.values()
    ]


def _alike(column: Sequence[Any]) -> bool:
    """Whether all are ndarrays of one shape and one native dtype: the common case, told in a third of the time."""
    first = column[0]
    if not is_ndarray(first) or not first.dtype.isnative:
        return False
    kind, shape, dtype = type(first), first.shape, first.dtype
    return all(type(array) is kind and array.shape == shape and array.dtype is dtype for array in column)


def _put(rows: list[Document], name: str, column: Iterable[Any]) -> None:
    for row, value in zip(rows, column):
        if value is not None:
            rest = row._rest
            if rest is None:
                row._rest = {name: value}
            else:
                rest[name] = value


def _split(children: list[Document], counts: list[int]) -> Iterator[Any]:
    at = 0
    for count in counts:
        yield NestedField.array_type(children[at : at + count]) if count else None
        at += count
