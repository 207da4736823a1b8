"""Several DocumentArrays become one: the branches at a join, the answers of shards, the requests of a batch (which is
divided again). Done by whoever decodes them.

Documents are the same when their ids are. Of each field the left-most value that is not empty wins; chunks and matches
are reduced in the same way; what the arrays before did not have is appended. The arrays given stay as they are: the
result has Documents and containers of its own, and shares with them only texts, bytes and the memory of arrays.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate, chain
from typing import TYPE_CHECKING, Any

from zflow.documents.columns import Columns, appended, grouped
from zflow.documents.document import Document, is_given
from zflow.documents.fields import NESTED, NestedField

if TYPE_CHECKING:
    from zflow.documents.document_array import DocumentArray


def reduce_all(arrays: Iterable[DocumentArray]) -> DocumentArray:
    """The arrays reduced by id, as the text above says. A single array is returned as it is."""
    given = list(arrays)
    if len(given) == 1:
        return given[0]
    kind = NestedField.array_type
    tables = [array._columns for array in given if array._columns is not None]
    if given and len(tables) == len(given) and all(not table.nested and table.ids == tables[0].ids for table in tables):
        return kind._of_columns(_merged_tables(tables))
    rows: list[Document] = []
    for array in given:
        merge_into(rows, array)
    return kind._of_rows(rows)


def concatenate(arrays: Iterable[DocumentArray]) -> DocumentArray:
    """The Documents of all arrays one after the other, none reduced. A single array is returned as it is.

    Packed ones give a packed one, whose Documents are its own.
    """
    given = list(arrays)
    if len(given) == 1:
        return given[0]
    tables = [array._columns for array in given if array._columns is not None]
    if given and len(tables) == len(given):
        return NestedField.array_type._of_columns(appended(tables))
    return NestedField.array_type(chain.from_iterable(given))


def divide(documents: DocumentArray, sizes: Sequence[int]) -> list[DocumentArray]:
    """`documents` as arrays of so many Documents each, in their order; packed ones if it is packed."""
    if len(sizes) == 1:
        return [documents]
    kind = NestedField.array_type
    bounds = [(end - size, end) for size, end in zip(sizes, accumulate(sizes))]
    columns = documents._columns
    if columns is not None:
        return [kind._of_columns(columns.between(start, end)) for start, end in bounds]
    rows = documents._list()
    return [kind._of_rows(rows[start:end]) for start, end in bounds]


def merge_into(rows: list[Document], documents: Iterable[Document]) -> None:
    """Reduces `documents` into `rows`: fills the fields that are empty there, and appends copies of what is not there.

    Two documents of one id within `documents` stay two: only what came from elsewhere is the same.
    """
    known = {row._id: row for row in reversed(rows)}
    for document in documents:
        mine = known.get(document._id)
        if mine is None:
            rows.append(_own(document))
        else:
            _fill(mine, document)


def _fill(mine: Document, other: Document) -> None:
    given = mine.non_empty_fields
    for name in other.non_empty_fields:
        if name in NESTED:
            merge_into(getattr(mine, name)._changing(), getattr(other, name))
        elif name not in given:
            setattr(mine, name, _own_value(getattr(other, name)))


def _own(document: Document) -> Document:
    made = document.copy()
    for name in made.non_empty_fields:
        value = getattr(made, name)
        if name in NESTED:
            setattr(made, name, NestedField.array_type._of_rows([_own(child) for child in value]))
        elif name == "tags":
            made.tags = _own_value(value)
    return made


def _own_value(value: Any) -> Any:
    """Containers copied to the bottom, the rest as it is."""
    if type(value) is dict:
        return {key: _own_value(item) for key, item in value.items()}
    if type(value) is list:
        return [_own_value(item) for item in value]
    return value.copy() if isinstance(value, dict) else value


def _merged_tables(tables: Sequence[Columns]) -> Columns:
    """The usual join, branches of the same documents that nobody has looked into: reduced without making any."""
    merged = Columns(list(tables[0].ids))
    for name in dict.fromkeys(chain.from_iterable(table.values for table in tables)):
        columns = [table.values[name] for table in tables if name in table.values]
        merged.values[name] = [_own_value(value) for value in _leftmost(columns)]
    for name in dict.fromkeys(chain.from_iterable(table.arrays for table in tables)):
        whole = [table for table in tables if name in table.arrays]
        groups = whole[0].arrays[name]
        if len(whole) == 1 or (len(groups) == 1 and groups[0].rows is None):
            merged.arrays[name] = list(groups)
        else:
            merged.arrays[name] = grouped(name, list(_leftmost([table.array_column(name) for table in whole])))
    return merged


def _leftmost(columns: Sequence[Sequence[Any]]) -> Iterable[Any]:
    if len(columns) == 1:
        return columns[0]
    return (next((value for value in values if is_given(value)), None) for values in zip(*columns))
