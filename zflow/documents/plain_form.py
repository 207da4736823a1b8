"""Documents as dicts and JSON: what an HTTP edge, a log or a file for people shows.

Arrays become nested lists (their dtype is not kept), blobs base64 text, scores numbers. What is missing is left out.
Only set fields cross, and every field is checked on its way back, since the dict may come from anywhere.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from zflow.documents.arrays import as_array
from zflow.documents.fields import ARRAYS, FIELDS, NESTED, unknown_field, within
from zflow.errors import InvalidDocument

if TYPE_CHECKING:
    from zflow.documents.document import Document

Kind = TypeVar("Kind", bound="Document")
_DEEPEST = 16  # documents within documents: bounds a Document that is among its own chunks


def dict_of(document: Document, depth: int = 0) -> dict[str, Any]:
    """The set fields of `document`, as values that JSON knows."""
    if depth > _DEEPEST:
        raise InvalidDocument(f"documents are nested more than {_DEEPEST} deep; is one its own chunk or match?")
    told: dict[str, Any] = {}
    for name in document.non_empty_fields:
        value = getattr(document, name)
        if name in ARRAYS:
            value = as_array(name, value).tolist()
        elif name in NESTED:
            value = [dict_of(child, depth + 1) for child in value]
        elif name == "blob":
            value = base64.b64encode(value).decode("ascii")
        elif name == "scores":
            value = value.plain()
        told[name] = value
    return told


def read_dict(kind: type[Kind], fields: Mapping[str, Any]) -> Kind:
    """A Document with `fields`; base64 text is understood where bytes are due. Raises InvalidDocument."""
    if not isinstance(fields, Mapping):
        raise InvalidDocument(f"a Document is read from a dict of its fields, not {type(fields).__name__}")
    made = kind()
    for name, value in fields.items():
        if name not in FIELDS and name != "content":
            raise unknown_field(name)
        if name == "blob" and isinstance(value, str):
            value = _bytes_of(value)
        elif name in NESTED and isinstance(value, (list, tuple)):
            value = _documents_of(kind, name, value)
        setattr(made, name, value)
    return made


def _documents_of(kind: type[Kind], name: str, items: list[Any] | tuple[Any, ...]) -> list[Any]:
    made = []
    for at, item in enumerate(items):
        try:
            made.append(read_dict(kind, item) if isinstance(item, Mapping) else item)
        except InvalidDocument as error:
            raise within(f"{name}[{at}]", error) from error
        except RecursionError:
            raise InvalidDocument(f"{name} are nested too deep", field=name) from None
    return made


def _bytes_of(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidDocument(f"blob is no base64 text: {error}", field="blob") from error


def to_json(value: Any) -> str:
    """`value` as JSON; raises InvalidDocument for what JSON cannot say, such as bytes in tags."""
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidDocument(f"JSON cannot say it: {error}; use to_bytes, or plain values in tags") from error


def from_json(text: str | bytes, kind: type) -> Any:
    """The value of JSON `text`, which must be a `kind`."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidDocument(f"this is no JSON: {error}") from error
    if not isinstance(value, kind):
        raise InvalidDocument(f"this JSON is a {type(value).__name__}, not a {kind.__name__}")
    return value
