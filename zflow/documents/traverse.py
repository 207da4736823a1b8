"""Paths into nested documents: ``r`` the documents themselves, ``c`` their chunks, ``m`` their matches.

Letters follow each other (``cm``: the matches of the chunks), several paths are separated by commas (``r,c``), and a
letter may have a slice: ``c[:3]``, ``r[0]c``. A leading ``@`` marks a path between brackets and may be left out
elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from zflow.errors import ConfigError

if TYPE_CHECKING:
    from zflow.documents.document import Document

Keep = Callable[["Document"], bool]
Step = tuple[str, slice]

_STEP = re.compile(r"([rcm])(?:\[(-?\d*)(?:(:)(-?\d*)(?:(:)(-?\d*))?)?\]|(?=[rcm]|$))")


def parse(path: str) -> list[list[Step]]:
    """The paths in `path`, each as its steps. Raises ConfigError for what is none."""
    return [_steps(one) for one in "".join(path.removeprefix("@").split()).split(",")]


def along(documents: Iterable[Document], steps: Sequence[Step], keep: Keep | None = None) -> Iterator[list[Document]]:
    """The lists of documents at the end of a path: one for the roots, else one per parent."""
    if not steps:
        yield [document for document in documents if keep(document)] if keep else list(documents)
        return
    (letter, part), *rest = steps
    if letter == "r":
        yield from along(list(documents)[part], rest, keep)
        return
    field = "chunks" if letter == "c" else "matches"
    for document in documents:
        if field in document.non_empty_fields:
            yield from along(list(getattr(document, field))[part], rest, keep)


def flat(documents: Iterable[Document], path: str, keep: Keep | None = None) -> list[Document]:
    """All documents that the paths lead to, path by path."""
    return [document for steps in parse(path) for found in along(documents, steps, keep) for document in found]


def everything(documents: Iterable[Document]) -> Iterator[Document]:
    """All documents however nested, each once, those within a document before it."""
    seen: set[int] = set()
    for document in documents:
        yield from _within(document, seen)


def _within(document: Document, seen: set[int]) -> Iterator[Document]:
    if id(document) in seen:
        return
    seen.add(id(document))
    for field in ("chunks", "matches"):
        if field in document.non_empty_fields:
            for child in getattr(document, field):
                yield from _within(child, seen)
    yield document


def _steps(path: str) -> list[Step]:
    steps = []
    at = 0
    while at < len(path):
        found = _STEP.match(path, at)
        if found is None:
            break
        steps.append((found[1], _slice(found)))
        at = found.end()
    if at < len(path) or not steps:
        raise ConfigError(f"{path!r} is no path: write r, c and m, as in '@c', '@cm', '@r,c' or '@c[:3]'")
    return steps


def _slice(found: re.Match[str]) -> slice:
    if found[2] is None:
        return slice(None)
    start, stop, step = (int(text) if text else None for text in (found[2], found[4], found[6]))
    if found[3]:
        if step == 0:
            raise ConfigError(f"{found[0]!r}: a slice's step is not 0")
        return slice(start, stop, step)
    if start is None:
        raise ConfigError(f"{found[0]!r}: a number or a slice stands between the brackets")
    return slice(start, start + 1 if start != -1 else None)
