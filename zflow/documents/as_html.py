"""What Documents look like in a notebook: tables, with the pictures that are in them.

Documents may come from anybody. All that they hold is escaped, cut to a length that a page bears, and nothing is
fetched from elsewhere to show it.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING, Any

from zflow.documents import thumbnail
from zflow.documents.arrays import is_ndarray
from zflow.documents.fields import ARRAYS, FIELDS, NESTED
from zflow.documents.summary import kind, short

if TYPE_CHECKING:
    from zflow.documents.document import Document
    from zflow.documents.document_array import DocumentArray

_ROWS = 10
_TEXT = 300  # characters
_NUMBERS = 4
_DEEPEST = 2
_LEFT = 'style="text-align: left; vertical-align: top; white-space: pre-wrap; max-width: 40em"'


def of_document(document: Document, depth: int = 0) -> str:
    """Its fields, a row each, and below them, folded, the Documents within it."""
    fields = [name for name in document.non_empty_fields if name not in NESTED]
    rows = ((escape(name), _cell(name, getattr(document, name))) for name in fields)
    return f"{_table((), rows)}{_within(document, depth)}"


def of_array(documents: DocumentArray, depth: int = 0) -> str:
    """The first Documents, a row each, with a column for each field that one of them has."""
    shown = list(documents[:_ROWS])
    present = {name for document in shown for name in document.non_empty_fields}
    fields = [name for name in FIELDS if name in present]
    rows = [[_cell(name, getattr(document, name)) for name in fields] for document in shown]
    more = f"<p>... {len(documents) - len(shown)} more</p>" if len(documents) > len(shown) else ""
    within = "".join(_within(document, depth) for document in shown) if depth else ""
    return f"<p>{type(documents).__name__} of {len(documents)}</p>{_table(fields, rows)}{more}{within}"


def _within(document: Document, depth: int) -> str:
    if depth >= _DEEPEST:
        return ""
    return "".join(
        f"<details><summary>{name}: {len(inner)}</summary>{of_array(inner, depth + 1)}</details>"
        for name in NESTED
        if len(inner := getattr(document, name))
    )


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = "".join(f"<th {_LEFT}>{escape(name)}</th>" for name in heads)
    body = "".join(f"<tr>{''.join(f'<td {_LEFT}>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table>{f'<thead><tr>{head}</tr></thead>' if head else ''}<tbody>{body}</tbody></table>"


def _cell(name: str, value: Any) -> str:
    """HTML of what a field holds."""
    if name in ARRAYS:
        return _picture(thumbnail.of_tensor(value)) + escape(_numbers(name, value)) if value is not None else ""
    if isinstance(value, bytes):
        return _picture(thumbnail.of_blob(value)) + escape(short(name, value)) if value else ""
    if isinstance(value, str):
        return escape(value if len(value) <= _TEXT else f"{value[:_TEXT]}...")
    return escape(short(name, value)) if value or name == "weight" and value is not None else ""


def _numbers(name: str, value: Any) -> str:
    """What kind of array it is, and of a vector how it begins."""
    if not is_ndarray(value) or value.ndim != 1 or not value.size:
        return kind(name, value)
    first = ", ".join(f"{number:.4g}" for number in value[:_NUMBERS].tolist())
    return f"{kind(name, value)}: {first}{', ...' if value.size > _NUMBERS else ''}"


def _picture(source: str) -> str:
    return f'<img src="{source}" style="max-width: 12em; max-height: 12em; display: block">' if source else ""
