"""What Documents look like to people: one line for a prompt, a tree and a table for `summary()`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from zflow.documents.fields import ARRAYS, NESTED

if TYPE_CHECKING:
    from zflow.documents.document import Document
    from zflow.documents.document_array import DocumentArray

_TEXT = 40  # characters of a text shown
_DEEPEST = 8
_WIDEST = 10  # chunks or matches shown of one document


def one_line(document: Document) -> str:
    """``Document(id='…', text='hello', tensor=f4[2, 3], chunks=2)``."""
    told = [f"{name}={short(name, getattr(document, name))}" for name in document.non_empty_fields]
    return f"Document({', '.join(told)})"


def tree(document: Document, indent: str = "", depth: int = 0) -> str:
    """The document, and below it, indented, its chunks and matches."""
    lines = [f"{indent}{one_line(document)}"]
    for name in NESTED:
        children = getattr(document, name)
        if not children:
            continue
        lines.append(f"{indent}  {name}: {len(children)}")
        if depth < _DEEPEST:
            lines.extend(tree(child, f"{indent}    ", depth + 1) for child in list(children)[:_WIDEST])
            if len(children) > _WIDEST:
                lines.append(f"{indent}    ... {len(children) - _WIDEST} more")
    return "\n".join(lines)


def table(documents: DocumentArray) -> str:
    """How many documents there are, and per field how many set it, what kinds of values it has, and the first."""
    rows = [("field", "set in", "values", "the first")]
    counts: Counter[str] = Counter()
    kinds: dict[str, Counter[str]] = {}
    firsts: dict[str, str] = {}
    for document in documents:
        for name in document.non_empty_fields:
            counts[name] += 1
            value = getattr(document, name)
            kinds.setdefault(name, Counter())[kind(name, value)] += 1
            if name not in firsts:
                firsts[name] = "" if name in ARRAYS else short(name, value)
    for name in counts:
        seen = [kind for kind, _ in kinds[name].most_common(3)]
        told = ", ".join(seen) + (" ..." if len(kinds[name]) > 3 else "")
        rows.append((name, str(counts[name]), told, firsts[name]))
    return "\n".join([f"DocumentArray of {len(documents)}", *_aligned(rows)])


def _aligned(rows: Iterable[tuple[str, str, str, str]]) -> list[str]:
    lines = list(rows)
    first, second, third = (max(len(line[at]) for line in lines) for at in (0, 1, 2))
    told = (f"  {name:<{first}}  {count:>{second}}  {values:<{third}}  {value}" for name, count, values, value in lines)
    return [line.rstrip() for line in told]


def short(name: str, value: Any) -> str:
    """What a field holds, in some characters."""
    if name in ARRAYS:
        return kind(name, value)
    if name in NESTED:
        return str(len(value))
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    if isinstance(value, str) and name != "id" and len(value) > _TEXT:
        return repr(value[: _TEXT - 3] + "...")
    told = repr(value)
    return told if len(told) <= 2 * _TEXT else f"{told[: 2 * _TEXT - 3]}..."


def kind(name: str, value: Any) -> str:
    """Of what kind it is: of an array its dtype and shape."""
    if name in ARRAYS:
        return f"{getattr(value, 'dtype', type(value).__name__)}{list(getattr(value, 'shape', ()))}"
    return type(value).__name__
