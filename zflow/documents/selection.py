"""What stands between the brackets of ``docs[...]``: which documents a key means, for reading, setting and deleting.

A whole number, an id, a slice, a list of numbers, of ids or of bools (also as numpy arrays), a path such as ``'@c'``,
``...`` for everything however nested; and a pair of one of these and a field's name, for the field's values.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import index as as_index
from typing import TYPE_CHECKING, Any

from zflow.documents import traverse
from zflow.documents.arrays import is_ndarray, stack_present
from zflow.documents.document import Document
from zflow.documents.fields import ARRAYS, FIELDS, unknown_field
from zflow.errors import InvalidDocument

if TYPE_CHECKING:
    from zflow.documents.document_array import DocumentArray

_NAMES = (*FIELDS, "content")


def select(documents: DocumentArray, key: Any) -> Any:
    """The Document or the DocumentArray (of the same Documents) that `key` means, or the values of a field."""
    if isinstance(key, str):
        if key.startswith("@"):
            return type(documents)(traverse.flat(documents, key))
        return documents._list()[documents._position(key)]
    if isinstance(key, slice):
        return type(documents)._of_rows(documents._list()[key])
    if key is Ellipsis:
        return type(documents)(traverse.everything(documents))
    if _is_field_pair(key):
        return _values(select(documents, key[0]), key[1])
    many = _positions(documents, key)
    rows = documents._list()
    return rows[many] if isinstance(many, int) else type(documents)._of_rows([rows[at] for at in many])


def assign(documents: DocumentArray, key: Any, value: Any) -> None:
    """Puts `value` (a Document, or what becomes one) in the place that `key` means; many values for many places."""
    if _is_field_pair(key):
        _set_values(select(documents, key[0]), key[1], value)
        return
    if key is Ellipsis or (isinstance(key, str) and key.startswith("@")):
        raise TypeError(f"documents at {key!r} cannot be replaced; set a field of them: docs[{key!r}, 'text'] = [...]")
    if isinstance(key, slice):
        documents._list()[key] = type(documents)(value)._list()
    elif isinstance(many := _positions(documents, key), int):
        documents._list()[many] = as_document(value)
    else:
        _assign_many(documents, many, type(documents)(value)._list())
    documents._places = None


def delete(documents: DocumentArray, key: Any) -> None:
    """Takes out the documents that `key` means."""
    if key is Ellipsis or _is_field_pair(key) or (isinstance(key, str) and key.startswith("@")):
        raise TypeError(f"docs[{key!r}] cannot be deleted; use positions, ids, a slice or a mask")
    rows = documents._list()
    if isinstance(key, slice):
        del rows[key]
    elif isinstance(many := _positions(documents, key), int):
        del rows[many]
    else:
        gone = set(many)
        rows[:] = [row for at, row in enumerate(rows) if at not in gone]
    documents._places = None


def as_document(value: Any) -> Document:
    """`value` as a Document: itself, one with a str as its text, bytes as its blob, an array as its tensor, or a
    dict's fields. Raises InvalidDocument."""
    if isinstance(value, Document):
        return value
    if isinstance(value, str):
        return Document(text=value)
    if isinstance(value, Mapping):
        return Document(value)
    if value is None:
        raise InvalidDocument("None is no Document; an empty one is Document()")
    try:
        return Document(content=value)
    except InvalidDocument as error:
        raise InvalidDocument(
            f"{type(value).__name__} does not become a Document ({error}); give a Document, str, bytes, array or dict"
        ) from error


def _assign_many(documents: DocumentArray, places: Sequence[int], values: Sequence[Document]) -> None:
    if len(places) != len(values):
        raise InvalidDocument(f"{len(values)} Documents for {len(places)} places")
    rows = documents._list()
    for at, value in zip(places, values):
        rows[at] = value


def _is_field_pair(key: Any) -> bool:
    """Whether `key` is documents and the name, or a list of names, of a field; two ids are not."""
    if not isinstance(key, tuple) or len(key) != 2:
        return False
    which, names = key
    listed = [names] if isinstance(names, str) else names
    if not isinstance(listed, (list, tuple)) or not listed or not all(isinstance(name, str) for name in listed):
        return False
    unknown = [name for name in listed if name not in _NAMES]
    if unknown and isinstance(which, str) and isinstance(names, str) and not which.startswith("@"):
        return False
    if unknown:
        raise unknown_field(unknown[0])
    return True


def _values(selected: Any, names: Any) -> Any:
    if isinstance(names, str):
        if isinstance(selected, Document):
            return getattr(selected, names)
        values = [getattr(document, names) for document in selected]
        return stack_present(values) if names in ARRAYS else values
    return [_values(selected, name) for name in names]


def _set_values(selected: Any, names: Any, values: Any) -> None:
    if not isinstance(names, str):
        if len(names) != len(values):
            raise InvalidDocument(f"{len(values)} lists of values for {len(names)} fields")
        for name, column in zip(names, values):
            _set_values(selected, name, column)
    elif isinstance(selected, Document):
        setattr(selected, names, values)
    else:
        column = [None] * len(selected) if values is None else values
        if isinstance(column, (str, bytes)) or len(column) != len(selected):
            raise InvalidDocument(f"{names}: a list of {len(selected)} values is due, one per document", field=names)
        for document, value in zip(selected, column):
            setattr(document, names, value)


def _positions(documents: DocumentArray, key: Any) -> int | list[int]:
    """The place that `key` means, or the places, counted from 0."""
    if isinstance(key, str):
        return documents._position(key)
    if is_ndarray(key):
        key = key.tolist()
    if isinstance(key, Iterable):
        return _many_positions(documents, list(key))
    try:
        at = as_index(key)
    except TypeError:
        raise TypeError(f"docs[...] takes a number, an id, a slice, a list of these or a mask, not {key!r}") from None
    count = len(documents)
    if not -count <= at < count:
        raise IndexError(f"there is no document {at} among {count}")
    return at % count


def _many_positions(documents: DocumentArray, keys: list[Any]) -> list[int]:
    if keys and all(type(key).__name__ in ("bool", "bool_") for key in keys):  # Python's and numpy's
        if len(keys) != len(documents):
            raise IndexError(f"a mask of {len(keys)} for {len(documents)} documents")
        return [at for at, key in enumerate(keys) if key]
    if any(isinstance(key, (list, tuple)) for key in keys):
        raise TypeError("docs[[...]] takes a flat list of numbers, ids or bools")
    return [_positions(documents, key) for key in keys]  # type: ignore[misc]  # of one key it is one place
