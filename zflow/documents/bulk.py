"""Whole fields of a DocumentArray: ``docs.texts``, ``docs.embeddings = matrix`` and their like.

Each is a `Bulk` here. While the documents are packed it reads and writes their column and makes no Document.
Setting None makes the field missing in all of them; a list of another length than there are documents is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from zflow.documents.arrays import accept_array, as_matrix, rows_of_matrix, stack_present
from zflow.documents.columns import ArrayGroup, Columns, Stacked, grouped
from zflow.documents.fields import check_blob, check_string, check_tags, within
from zflow.errors import InvalidDocument

if TYPE_CHECKING:
    from zflow.documents.document_array import DocumentArray

Values = TypeVar("Values")


class Bulk(Generic[Values]):
    """The values of one field of all documents, in their order."""

    def __init__(self, field: str, check: Callable[[str, Any], Any], missing: Any, doc: str) -> None:
        self._field = field
        self._check = check
        self._default = missing
        self.__doc__ = doc

    @overload
    def __get__(self, documents: None, owner: type) -> Bulk[Values]: ...
    @overload
    def __get__(self, documents: DocumentArray, owner: type) -> Values: ...
    def __get__(self, documents: DocumentArray | None, owner: type) -> Bulk[Values] | Values:
        if documents is None:
            return self
        columns = documents._columns
        values: Values
        if columns is None:
            field = self._field
            values = self._of_rows(documents, [getattr(document, field) for document in documents._list()])
        else:
            values = self._of_columns(columns)
        return values

    def __set__(self, documents: DocumentArray, values: Any) -> None:
        columns = documents._columns
        if columns is None:
            self._set_rows(documents, values)
        else:
            self._set_columns(columns, values)

    def _of_rows(self, documents: DocumentArray, values: list[Any]) -> Any:
        return values

    def _of_columns(self, columns: Columns) -> Any:
        column = columns.values.get(self._field)
        if column is None:
            return [self._default] * columns.count
        return [self._default if value is None else value for value in column]

    def _set_rows(self, documents: DocumentArray, values: Any) -> None:
        rows = documents._list()
        for row, value in zip(rows, self._checked(values, len(rows))):
            setattr(row, self._field, value)

    def _set_columns(self, columns: Columns, values: Any) -> None:
        column = self._checked(values, columns.count)
        if any(value is not None for value in column):
            columns.values[self._field] = column
        else:
            columns.values.pop(self._field, None)

    def _checked(self, values: Any, count: int) -> list[Any]:
        """`values` as a list of `count` values that the field can hold, None where one is missing."""
        if values is None:
            return [None] * count
        if isinstance(values, (str, bytes, dict)) or not isinstance(values, Iterable):
            raise InvalidDocument(f"{self._field}s takes a list, not {type(values).__name__}", field=self._field)
        column = list(values)
        if len(column) != count:
            raise InvalidDocument(f"{self._field}: {len(column)} values for {count} documents", field=self._field)
        return [None if value is None else self._checked_one(at, value) for at, value in enumerate(column)]

    def _checked_one(self, at: int, value: Any) -> Any:
        try:
            return self._check(self._field, value)
        except InvalidDocument as error:
            raise within(f"[{at}]", error) from error


class BulkTexts(Bulk[list[str]]):
    """Strings; a list of nothing but str is taken over as it is."""

    def __init__(self, field: str, doc: str) -> None:
        super().__init__(field, check_string, "", doc)

    def _checked(self, values: Any, count: int) -> list[Any]:
        if type(values) is list and len(values) == count and set(map(type, values)) <= {str}:
            return list(values)
        return super()._checked(values, count)


class BulkBlobs(Bulk[list[bytes]]):
    """Bytes, read out of the frames they came in when first asked for."""

    def __init__(self) -> None:
        super().__init__("blob", check_blob, b"", "The blobs of all documents, b'' where missing.")

    def _of_columns(self, columns: Columns) -> list[bytes]:
        column = columns.values.get("blob")
        if column is not None:
            columns.values["blob"] = [None if blob is None else bytes(blob) for blob in column]
        return super()._of_columns(columns)  # type: ignore[no-any-return]


class BulkTags(Bulk[list[dict[str, Any]]]):
    """The dicts themselves, so that a key set in one is set in its document."""

    def __init__(self) -> None:
        super().__init__("tags", check_tags, None, "The tags of all documents.")

    def _of_columns(self, columns: Columns) -> list[dict[str, Any]]:
        column = columns.values.get("tags") or [None] * columns.count
        columns.values["tags"] = kept = [{} if tags is None else tags for tags in column]
        return list(kept)


class BulkArrays(Bulk[Any]):
    """Arrays: one matrix, a row per document, when all have one and their shapes agree; None when none has one; else a
    list. A matrix set is kept as it is, and its rows are the documents' arrays."""

    def __init__(self, field: str, doc: str) -> None:
        super().__init__(field, accept_array, None, doc)

    def _of_rows(self, documents: DocumentArray, values: list[Any]) -> Any:
        known = documents._stacked.get(self._field)
        if known is not None and known.holds(values):
            return known.matrix
        return stack_present(values)

    def _of_columns(self, columns: Columns) -> Any:
        groups = columns.arrays.get(self._field)
        if groups and len(groups) == 1 and groups[0].rows is None:
            return groups[0].matrix()
        return stack_present(columns.array_column(self._field))

    def _set_rows(self, documents: DocumentArray, values: Any) -> None:
        rows = documents._list()
        matrix = None if values is None else as_matrix(self._field, values, len(rows))
        if matrix is None or not rows:
            super()._set_rows(documents, values)
            documents._stacked.pop(self._field, None)  # it would keep the old matrix in memory
            return
        views = rows_of_matrix(matrix)
        for row, view in zip(rows, views):
            setattr(row, self._field, view)
        documents._stacked[self._field] = Stacked(matrix, views)

    def _set_columns(self, columns: Columns, values: Any) -> None:
        matrix = None if values is None else as_matrix(self._field, values, columns.count)
        if values is None or not columns.count:
            columns.arrays.pop(self._field, None)
        elif matrix is not None:
            columns.arrays[self._field] = [ArrayGroup.of_matrix(None, matrix)]
        else:
            columns.arrays[self._field] = grouped(self._field, self._checked(values, columns.count))


class BulkContents:
    """The content of each document, whichever of text, blob and tensor it is in."""

    @overload
    def __get__(self, documents: None, owner: type) -> BulkContents: ...
    @overload
    def __get__(self, documents: DocumentArray, owner: type) -> list[Any]: ...
    def __get__(self, documents: DocumentArray | None, owner: type) -> BulkContents | list[Any]:
        if documents is None:
            return self
        columns = documents._columns
        if columns is None:
            return [document.content for document in documents._list()]
        texts, blobs = documents.texts, documents.blobs
        return [text or blob or array for text, blob, array in zip(texts, blobs, columns.array_column("tensor"))]

    def __set__(self, documents: DocumentArray, values: Any) -> None:
        rows = documents._list()
        column = [None] * len(rows) if values is None else values
        if isinstance(column, (str, bytes)) or len(column) != len(rows):
            raise InvalidDocument(f"contents: a list of {len(rows)} values is due, one per document", field="content")
        for row, value in zip(rows, column):
            row.content = value
