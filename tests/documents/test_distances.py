"""Exact search on matrices: against a search by hand, across blocks, for all metrics."""

import numpy as np
import pytest

from zflow.documents import distances
from zflow.documents.distances import METRICS, as_vectors, check_limit, check_metric, search
from zflow.errors import ConfigError, InvalidDocument


def by_hand(index, query, metric):
    index, query = index.astype("f8"), query.astype("f8")
    if metric == "cosine":
        return 1 - (index @ query) / np.maximum(np.linalg.norm(index, axis=1) * np.linalg.norm(query), 1e-12)
    squared = ((index - query) ** 2).sum(axis=1)
    return squared if metric == "sqeuclidean" else np.sqrt(squared)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("limit", [1, 7, None])
def test_agrees_with_a_search_by_hand(monkeypatch, metric, dtype, limit):
    monkeypatch.setattr(distances, "_INDEXED", 16)
    monkeypatch.setattr(distances, "_QUERIES", 3)
    random = np.random.default_rng(5)
    index, queries = random.normal(size=(101, 8)).astype(dtype), random.normal(size=(7, 8)).astype(dtype)
    rows, found = search(index, queries, metric, limit)
    assert rows.shape == found.shape == (7, limit or 101)
    for at, query in enumerate(queries):
        expected = by_hand(index, query, metric)
        order = np.argsort(expected, kind="stable")[:limit]
        assert rows[at].tolist() == order.tolist()
        assert np.allclose(found[at], expected[order], atol=1e-12)


@pytest.mark.parametrize("metric", METRICS)
def test_equal_distances_keep_the_order_of_the_index(monkeypatch, metric):
    monkeypatch.setattr(distances, "_INDEXED", 4)
    rows, _ = search(np.ones((10, 3)), np.ones((1, 3)), metric, 3)
    assert rows.tolist() == [[0, 1, 2]]


def test_near_duplicates_are_told_apart_in_single_precision():
    index = np.full((50, 4), 1000, "f4")
    index[:, 0] += np.arange(50, dtype="f4")[::-1] / 16
    rows, found = search(index, index[-1:], "euclidean", 3)
    assert rows.tolist() == [[49, 48, 47]] and found[0, 0] == 0


def test_zero_vectors_have_a_distance():
    rows, found = search(np.array([[0.0, 0.0], [1.0, 0.0]]), np.array([[1.0, 0.0]]), "cosine", None)
    assert rows.tolist() == [[1, 0]] and found.tolist() == [[0.0, 1.0]]


def test_nothing_to_find():
    for index, queries in ((np.empty((0, 3)), np.ones((2, 3))), (np.ones((2, 3)), np.empty((0, 3)))):
        rows, found = search(index, queries, "cosine", 5)
        assert rows.shape == found.shape == (len(queries), min(5, len(index)))


def test_dimensions_must_agree():
    with pytest.raises(InvalidDocument, match="2 numbers, those of the index have 3"):
        search(np.ones((4, 3)), np.ones((1, 2)), "cosine", 1)


def test_vectors_are_rows_of_floats():
    assert as_vectors(np.ones((2, 3, 4), "u1"), "they").shape == (2, 12)
    assert as_vectors(np.ones((2, 3), "f4"), "they").dtype == np.float32
    assert as_vectors([[1, 2]], "they").dtype == np.float64
    for wrong in (np.ones(3), [["a"]], np.ones((2, 2), "c8")):
        with pytest.raises(InvalidDocument, match="no vectors"):
            as_vectors(wrong, "they")


def test_options_are_checked():
    with pytest.raises(ConfigError, match="did you mean 'cosine'"):
        check_metric("cosin")
    for limit in (0, -1, 1.5, "3", True):
        with pytest.raises(ConfigError, match="limit"):
            check_limit(limit)
    assert check_limit(None) is None
