"""The Indexer's methods, called directly: no Flow is needed for them."""

from __future__ import annotations

import numpy as np
import pytest
from indexer import Indexer

from zflow import Document, DocumentArray


def stored() -> Indexer:
    indexer = Indexer()
    points = {"east": [1.0, 0.0], "north": [0.0, 1.0], "west": [-1.0, 0.0]}
    indexer.index(DocumentArray([Document(text=name, embedding=np.array(at)) for name, at in points.items()]))
    return indexer


def test_matches_are_the_nearest_first() -> None:
    query = DocumentArray([Document(embedding=np.array([0.1, 2.0]))])
    stored().search(query, {"top_k": 2})
    assert [match.text for match in query[0].matches] == ["north", "east"]
    assert query[0].matches[0].scores["cosine"].value == pytest.approx(1 - 2 / 4.01**0.5)


def test_three_matches_are_given_unless_asked_otherwise() -> None:
    query = DocumentArray([Document(embedding=np.array([1.0, 1.0]))])
    stored().search(query, {})
    assert len(query[0].matches) == 3


def test_nothing_is_searched_for_nothing() -> None:
    stored().search(DocumentArray(), {})


def test_status_counts_what_is_stored() -> None:
    assert Indexer().status() == {"count": 0}
    assert stored().status() == {"count": 3}
