"""Distances between vectors, and the nearest exactly: every one is computed, block by block, so memory stays bounded.

Distances are first taken with one matrix product per block, in the precision of the vectors; the few that come out
smallest are then computed again in float64 and sorted by that, equal ones by their place in the index.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zflow.errors import ConfigError, InvalidDocument, nearest

if TYPE_CHECKING:
    import numpy as np

METRICS = ("cosine", "euclidean", "sqeuclidean")
_QUERIES = 256  # rows of queries and of the index looked at together: 16 MB of distances
_INDEXED = 16_384
_SPARE = 8  # candidates beyond those wanted: rounding in float32 may have swapped the last ones
_TINY = 1e-12


def check_metric(metric: str) -> str:
    """`metric`, if it is one of METRICS."""
    if metric not in METRICS:
        raise ConfigError(f"unknown metric {metric!r}; {nearest(str(metric), METRICS)}")
    return metric


def check_limit(limit: int | None) -> int | None:
    """`limit`, if it is a whole number above 0 or None for no limit."""
    if limit is not None and (type(limit) is not int or limit <= 0):
        raise ConfigError(f"limit is a whole number above 0, or None for all, not {limit!r}")
    return limit


def as_vectors(values: Any, what: str) -> np.ndarray[Any, Any]:
    """Vectors as rows of a float matrix; rows of more dimensions are flattened. Raises InvalidDocument."""
    import numpy as np  # not paid by processes that search nothing

    matrix = np.asarray(values)
    if matrix.ndim < 2 or matrix.dtype.kind not in "fiub":
        raise InvalidDocument(f"{what} are no vectors of real numbers: shape {matrix.shape}, dtype {matrix.dtype}")
    matrix = matrix.reshape(len(matrix), -1)
    return matrix if matrix.dtype.name in ("float32", "float64") else matrix.astype(np.float64)


def search(
    index: np.ndarray[Any, Any], queries: np.ndarray[Any, Any], metric: str, limit: int | None
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The rows of `index` nearest to each of `queries`, and their distances, both of shape (queries, up to limit),
    nearest first."""
    import numpy as np  # not paid by processes that search nothing

    if len(index) and len(queries) and index.shape[1] != queries.shape[1]:
        raise InvalidDocument(
            f"the query's embedding has {queries.shape[1]} numbers, those of the index have {index.shape[1]}"
        )
    wanted = len(index) if limit is None else min(limit, len(index))
    rows = np.empty((len(queries), wanted), dtype=np.int64)
    distances = np.empty((len(queries), wanted))
    if not wanted:
        return rows, distances
    for start in range(0, len(queries), _QUERIES):
        block = queries[start : start + _QUERIES]
        candidates = _candidates(index, block, metric, wanted + _SPARE)
        for at, query in enumerate(block):
            chosen = np.sort(candidates[at])
            exact = _exact(index[chosen], query, metric)
            order = np.argsort(exact, kind="stable")[:wanted]
            rows[start + at], distances[start + at] = chosen[order], exact[order]
    return rows, distances


def _candidates(
    index: np.ndarray[Any, Any], queries: np.ndarray[Any, Any], metric: str, count: int
) -> np.ndarray[Any, Any]:
    """The rows of `index` among which the `count` nearest to each query are, without an order."""
    import numpy as np  # not paid by processes that search nothing

    best = np.empty((len(queries), 0))
    found = np.empty((len(queries), 0), dtype=np.int64)
    for start in range(0, len(index), _INDEXED):
        block = index[start : start + _INDEXED]
        distances = np.concatenate([best, _rough(block, queries, metric)], axis=1)
        here = np.broadcast_to(np.arange(start, start + len(block)), (len(queries), len(block)))
        known = np.concatenate([found, here], axis=1)
        if distances.shape[1] <= count:
            best, found = distances, known
        else:
            chosen = np.argpartition(distances, count - 1, axis=1)[:, :count]
            best, found = np.take_along_axis(distances, chosen, 1), np.take_along_axis(known, chosen, 1)
    return found


def _rough(block: np.ndarray[Any, Any], queries: np.ndarray[Any, Any], metric: str) -> np.ndarray[Any, Any]:
    """Something that orders `block` by its distance to each query: (queries, block)."""
    import numpy as np  # not paid by processes that search nothing

    products = queries @ block.T
    if metric == "cosine":
        lengths = np.sqrt(np.einsum("ij,ij->i", block, block))
        rough = -products / np.maximum(lengths, _TINY)
    else:
        rough = np.einsum("ij,ij->i", block, block) - 2 * products
    return np.asarray(rough)


def _exact(rows: np.ndarray[Any, Any], query: np.ndarray[Any, Any], metric: str) -> np.ndarray[Any, Any]:
    import numpy as np  # not paid by processes that search nothing

    rows, query = rows.astype(np.float64), query.astype(np.float64)
    if metric == "cosine":
        lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows)) * np.sqrt(query @ query)
        return np.asarray(1.0 - np.clip((rows @ query) / np.maximum(lengths, _TINY), -1.0, 1.0))
    difference = rows - query
    squared = np.einsum("ij,ij->i", difference, difference)
    return np.asarray(squared if metric == "sqeuclidean" else np.sqrt(squared))
