"""What each field of a Document may hold, and what it gives when nothing is set.

Most documents set two or three of the thirteen fields. So `id` and `text` are slots of a Document, and everything
else is a `Field` here, kept in one dict that exists only once something is in it. A field set to None is *missing*,
and so, on the wire, is an empty one: it costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, overload

from zflow.documents.limits import MAX_ID
from zflow.documents.scores import Scores
from zflow.errors import InvalidDocument, nearest

if TYPE_CHECKING:
    from zflow.documents.document import Document
    from zflow.documents.document_array import DocumentArray

Value = TypeVar("Value")

STRINGS = ("uri", "mime_type", "modality")
ARRAYS = ("tensor", "embedding")
NESTED = ("chunks", "matches")
FIELDS = ("id", "text", "blob", *ARRAYS, *STRINGS, "weight", "tags", "scores", *NESTED)


def refusal(field: str, value: object, wanted: str) -> InvalidDocument:
    """The error for `value` in `field`, which holds `wanted`."""
    return InvalidDocument(f"{field} holds {wanted}, not {type(value).__name__}", field=field)


def unknown_field(name: object) -> InvalidDocument:
    """The error for a field that no Document has."""
    hint = nearest(name, FIELDS) if isinstance(name, str) else "names of fields are str"
    return InvalidDocument(f"a Document has no field {name!r}; {hint}", field=str(name))


def within(place: str, error: InvalidDocument) -> InvalidDocument:
    """The same error seen from one level further out: ``tensor`` becomes ``chunks[2].tensor``."""
    joint = "" if not error.field or error.field.startswith("[") else "."
    return InvalidDocument(f"{place}: {error}", field=f"{place}{joint}{error.field}")


def check_id(value: object) -> str:
    """`value` as an id: 1 to MAX_ID bytes of text."""
    if not isinstance(value, str):
        raise refusal("id", value, "a str")
    if not 0 < len(value) <= MAX_ID or len(value.encode("utf-8", "replace")) > MAX_ID:
        raise InvalidDocument(f"id holds 1 to {MAX_ID} bytes of text, not {len(value)} characters", field="id")
    return value


def check_string(field: str, value: object) -> str:
    """`value` if it is text."""
    if not isinstance(value, str):
        raise refusal(field, value, "a str")
    return value


def check_blob(field: str, value: object) -> bytes:
    """`value` as bytes; what could change behind our back is copied."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, (bytearray, memoryview)):
        return bytes(value)
    raise refusal(field, value, "bytes (numbers go into `tensor`, text into `text`)")


def check_weight(field: str, value: object) -> int | float:
    """`value` as a number of Python's."""
    if type(value) is float or type(value) is int:
        return value
    if isinstance(value, (bool, str)) or not hasattr(value, "__float__"):
        raise refusal(field, value, "a number")
    try:
        return float(value)
    except (TypeError, ValueError):
        raise refusal(field, value, "a number") from None


def check_tags(field: str, value: object) -> dict[str, Any]:
    """A dict is taken as it is, not copied; what its values may be is checked when they travel."""
    if not isinstance(value, Mapping):
        raise refusal(field, value, "a dict with str keys")
    for key in value:
        if not isinstance(key, str):
            raise InvalidDocument(f"{field} has the key {key!r}, but keys are str", field=f"{field}[{key!r}]")
    return value if isinstance(value, dict) else dict(value)


def check_scores(field: str, value: object) -> Scores:
    """`value` as Scores."""
    if isinstance(value, Scores):
        return value
    if not isinstance(value, Mapping):
        raise refusal(field, value, "a dict of name -> number or NamedScore")
    return Scores(value)


class Field(Generic[Value]):
    """A field beside id and text: `check(name, value)` gives what is kept or raises, `default` is what a missing one
    gives."""

    def __init__(self, name: str, check: Callable[[str, Any], Any], default: Value, doc: str) -> None:
        self._name = name
        self._check = check
        self._default = default
        self.__doc__ = doc

    @overload
    def __get__(self, document: None, owner: type) -> Field[Value]: ...
    @overload
    def __get__(self, document: Document, owner: type) -> Value: ...
    def __get__(self, document: Document | None, owner: type) -> Field[Value] | Value:
        if document is None:
            return self
        rest = document._rest
        if rest is not None:
            value: Value | None = rest.get(self._name)
            if value is not None:
                return value
        return self._missing(document)

    def __set__(self, document: Document, value: Any) -> None:
        if value is None:
            if document._rest is not None:
                document._rest.pop(self._name, None)
            return
        self._keep(document, self._check(self._name, value))

    def _missing(self, document: Document) -> Value:
        return self._default

    def _keep(self, document: Document, value: Any) -> None:
        if document._rest is None:
            document._rest = {self._name: value}
        else:
            document._rest[self._name] = value


class BlobField(Field[bytes]):
    """Bytes; those that came off the wire stay a view of their frame until somebody reads them."""

    @overload
    def __get__(self, document: None, owner: type) -> Field[bytes]: ...
    @overload
    def __get__(self, document: Document, owner: type) -> bytes: ...
    def __get__(self, document: Document | None, owner: type) -> Field[bytes] | bytes:
        if document is None:
            return self
        value: bytes | memoryview = super().__get__(document, owner)
        if not isinstance(value, bytes):
            value = bytes(value)
            self._keep(document, value)
        return value


class ContainerField(Field[Value]):
    """A field whose missing value is a fresh container that stays, so that ``doc.tags["x"] = 1`` does."""

    def __init__(self, name: str, check: Callable[[str, Any], Any], make: Callable[[], Value], doc: str) -> None:
        super().__init__(name, check, None, doc)  # type: ignore[arg-type]
        self._make = make

    def _missing(self, document: Document) -> Value:
        made = self._make()
        self._keep(document, made)
        return made


class NestedField(ContainerField["DocumentArray"]):
    """Documents within a document."""

    # Set by document_array.py: a Document holds DocumentArrays, which hold Documents, and one has to be first.
    array_type: ClassVar[type[DocumentArray]]

    def __init__(self, name: str, doc: str) -> None:
        super().__init__(name, self._documents, lambda: self.array_type(), doc)

    def _documents(self, field: str, value: Any) -> DocumentArray:
        if isinstance(value, self.array_type):
            return value
        if isinstance(value, (str, bytes)):
            raise refusal(field, value, "Documents")
        try:
            return self.array_type(value)
        except InvalidDocument as error:
            raise within(field, error) from error
