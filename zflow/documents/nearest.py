"""Nearest neighbours among Documents: whose embeddings lie nearest to a query's, as new Documents with a score each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from zflow.documents.columns import rows_of
from zflow.documents.distances import as_vectors, check_limit, check_metric, search
from zflow.documents.document import Document
from zflow.documents.scores import NamedScore
from zflow.errors import ConfigError, InvalidDocument

if TYPE_CHECKING:
    from zflow.documents.document_array import DocumentArray


def is_matrix(query: Any) -> bool:
    """Whether `query` is several vectors: an array of two dimensions or more, or a list of vectors."""
    if isinstance(query, (list, tuple)):
        return bool(query) and hasattr(query[0], "__len__")
    return bool(getattr(query, "ndim", 1) > 1)


def neighbours(
    index: DocumentArray, queries: Any, metric: str, limit: int | None, exclude_self: bool, only_id: bool
) -> list[DocumentArray]:
    """For each query the Documents of `index` nearest to it, nearest first, with ``scores[metric]``.

    `queries` are a DocumentArray with embeddings or a matrix, a row each. The Documents are copies without matches;
    with `only_id` they have nothing but the id and the score. With `exclude_self`, which needs Documents as queries,
    those with the query's own id are left out. Raises InvalidDocument, naming the Document, where an embedding is
    missing.
    """
    check_metric(metric)
    check_limit(limit)
    kind = type(index)
    ids = queries.ids if isinstance(queries, kind) and exclude_self else None
    vectors = _vectors(queries, "the queries") if isinstance(queries, kind) else as_vectors(queries, "the queries")
    if not len(index) or not len(vectors):
        return [kind() for _ in range(len(vectors))]
    indexed = index.ids
    counts = Counter(indexed)
    spare = 0 if ids is None else max(counts[id] for id in ids)
    rows, distances = search(_vectors(index, "the index"), vectors, metric, None if limit is None else limit + spare)
    found = []
    for at in range(len(vectors)):
        pairs = list(zip(rows[at].tolist(), distances[at].tolist()))
        if ids is not None:
            pairs = [pair for pair in pairs if indexed[pair[0]] != ids[at]]
        found.append(_scored(index, pairs[:limit], metric, only_id))
    return found


def match(
    documents: DocumentArray,
    index: DocumentArray,
    metric: str,
    limit: int | None,
    normalization: Sequence[float] | None,
    exclude_self: bool,
    only_id: bool,
) -> None:
    """Sets the matches of each of `documents` to its `neighbours` in `index`."""
    if not isinstance(index, type(documents)):
        raise ConfigError(f"match takes the DocumentArray to search in, not {type(index).__name__}")
    bounds = _bounds(normalization)
    for document, found in zip(documents, neighbours(index, documents, metric, limit, exclude_self, only_id)):
        if bounds is not None:
            _normalize([found_one.scores[metric] for found_one in found], *bounds)
        document.matches = found


def _vectors(documents: DocumentArray, what: str) -> Any:
    if not len(documents):
        return ()
    embeddings = documents.embeddings
    if embeddings is None or isinstance(embeddings, list):
        for at, embedding in enumerate(embeddings or [None]):
            if embedding is None:
                raise InvalidDocument(
                    f"{what}: the document {documents.ids[at]!r} at {at} has no embedding", field=f"[{at}].embedding"
                )
        raise InvalidDocument(f"{what} have embeddings of different shapes", field="embedding")
    return as_vectors(embeddings, what)


def _scored(index: DocumentArray, pairs: list[tuple[int, float]], metric: str, only_id: bool) -> DocumentArray:
    places = [at for at, _ in pairs]
    if only_id:
        ids = index.ids
        made = [Document(id=ids[at]) for at in places]
    elif index._columns is not None:
        made = [row.copy() for row in rows_of(index._columns.take(places))[0]]
    else:
        rows = index._list()
        made = [rows[at].copy() for at in places]
    for document, (_, distance) in zip(made, pairs):
        document.pop("matches")
        document.scores[metric] = NamedScore(distance)
    return type(index)._of_rows(made)


def _bounds(normalization: Sequence[float] | None) -> tuple[float, float] | None:
    if normalization is None:
        return None
    if not isinstance(normalization, (list, tuple)) or len(normalization) != 2:
        raise ConfigError(f"normalization is a pair such as (0, 1), not {normalization!r}")
    return float(normalization[0]), float(normalization[1])


def _normalize(scores: list[NamedScore], start: float, end: float) -> None:
    """Maps the distances of one result so that the smallest becomes `start` and the largest `end`."""
    if not scores:
        return
    values = [score.value for score in scores]
    least, span = min(values), max(values) - min(values)
    for score, value in zip(scores, values):
        score.value = start + (end - start) * (value - least) / span if span else start
