"""Documents as CSV: a row each, a column per simple field, a column ``tag__key`` per tag.

Arrays, blobs and nested documents have no place in a CSV file. They are refused unless named in `exclude`: nothing is
left out in silence.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from zflow.documents.document import Document
from zflow.documents.fields import FIELDS, STRINGS, unknown_field, within
from zflow.errors import InvalidDocument

if TYPE_CHECKING:
    from pathlib import Path

_COLUMNS = ("id", "text", *STRINGS, "weight")
_TAG = "tag__"


def save(documents: Iterable[Document], path: str | Path, exclude: Iterable[str] = ()) -> None:
    """Writes `documents` to the file `path`, without the fields in `exclude`. Raises InvalidDocument for fields that
    CSV cannot hold."""
    skipped = set(exclude)
    for name in skipped - set(FIELDS):
        raise unknown_field(name)
    rows = [_row(at, document, skipped) for at, document in enumerate(documents)]
    names = dict.fromkeys(name for row in rows for name in row)
    header = [name for name in _COLUMNS if name in names] + [name for name in names if name not in _COLUMNS]
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, header, restval="")
        writer.writeheader()
        writer.writerows(rows)


def read(path: str | Path, columns: Mapping[str, str] | None = None) -> Iterator[Document]:
    """The Documents in the file `path`. A column is the field of its name, or the one that `columns` maps it to; any
    other becomes a tag, a str. Empty cells are missing values."""
    with open(path, newline="", encoding="utf-8") as file:
        for line, cells in enumerate(csv.DictReader(file), start=2):
            if None in cells or None in cells.values():
                raise InvalidDocument(f"{path}:{line}: another number of cells than the header has")
            try:
                yield _document(cells, columns or {})
            except InvalidDocument as error:
                raise within(f"{path}:{line}", error) from error


def _row(at: int, document: Document, skipped: set[str]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name in document.non_empty_fields:
        if name in skipped:
            continue
        if name == "tags":
            row.update({f"{_TAG}{key}": _cell(at, key, value) for key, value in document.tags.items()})
        elif name in _COLUMNS:
            row[name] = getattr(document, name)
        else:
            field = f"[{at}].{name}"
            raise InvalidDocument(f"{field}: CSV cannot hold it; exclude=['{name}'], or use to_bytes", field=field)
    return row


def _cell(at: int, key: str, value: Any) -> Any:
    if isinstance(value, (Mapping, list, tuple, bytes)):
        field = f"[{at}].tags[{key!r}]"
        raise InvalidDocument(
            f"{field}: CSV cannot hold what has parts; exclude=['tags'], or use to_bytes", field=field
        )
    return value


def _document(cells: Mapping[str, str], columns: Mapping[str, str]) -> Document:
    made = Document()
    for column, cell in cells.items():
        name = columns.get(column, column)
        if cell == "":
            continue
        if name in _COLUMNS:
            setattr(made, name, _number(cell) if name == "weight" else cell)
        else:
            made.tags[name.removeprefix(_TAG)] = cell
    return made


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        raise InvalidDocument(f"weight holds a number, not {cell!r}", field="weight") from None
