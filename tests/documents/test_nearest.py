"""Nearest neighbours as Documents: copies with scores, without matches, and nothing shared that should not be."""

import numpy as np
import pytest

from zflow.documents import Document, DocumentArray
from zflow.errors import ConfigError, InvalidDocument


def index(form="unpacked"):
    documents = DocumentArray(
        [Document(id=f"d{at}", text=f"t{at}", embedding=np.array([np.cos(at / 3), np.sin(at / 3)])) for at in range(5)]
    )
    documents[1].matches = [Document(id="old")]
    documents[1].tags = {"kept": True}
    documents[1].scores["own"].value = 7
    documents[1].chunks = [Document(id="part")]
    return DocumentArray.from_bytes(documents.to_bytes()) if form == "packed" else documents


@pytest.mark.parametrize("form", ["packed", "unpacked"])
def test_matches_are_copies_with_scores_and_without_matches(form):
    documents, queries = (
        index(form),
        DocumentArray([Document(id="q", embedding=[1.0, 0.0]), Document(embedding=[0.0, 1])]),
    )
    queries.match(documents, limit=3)
    assert [query.matches.ids for query in queries] == [["d0", "d1", "d2"], ["d4", "d3", "d2"]]
    assert documents.is_packed == (form == "packed")
    found = queries[0].matches[1]
    assert (found.text, found.tags, found.chunks.ids, len(found.matches)) == ("t1", {"kept": True}, ["part"], 0)
    assert found.scores["cosine"].value == pytest.approx(1 - np.cos(1 / 3)) and found.scores["own"].value == 7
    found.tags["new"] = 1
    found.matches.append(Document())
    found.text = "changed"
    assert documents[1] == index()[1] or form == "unpacked"
    assert (documents[1].text, documents[1].tags, documents[1].matches.ids) == ("t1", {"kept": True}, ["old"])
    assert "cosine" not in documents[1].scores


@pytest.mark.parametrize("metric", ["euclidean", "sqeuclidean"])
def test_the_metric_names_the_score(metric):
    queries = DocumentArray([Document(embedding=[2.0, 0.0])])
    queries.match(index(), metric=metric, limit=1)
    assert queries[0].matches[0].scores == {metric: Document(scores={metric: 1.0}).scores[metric]}


def test_only_ids():
    (found,) = index().find(np.array([[1.0, 0.0]]), only_id=True, limit=1)
    assert found[0].non_empty_fields == ("id", "scores")


def test_exclude_self_leaves_out_all_of_the_same_id():
    documents = index()
    documents.append(Document(id="d0", embedding=[1.0, 0.0]))
    documents.match(documents, limit=2, exclude_self=True)
    assert documents[0].matches.ids == ["d1", "d2"]
    assert documents[2].matches.ids in (["d1", "d3"], ["d3", "d1"])


def test_limit_none_finds_all():
    assert len(index().find([1.0, 0.0], limit=None)) == 5
    assert len(index().find([1.0, 0.0], limit=100)) == 5


def test_normalization_maps_the_distances_of_each_result():
    queries = DocumentArray([Document(embedding=[1.0, 0.0])])
    queries.match(index(), normalization=(1, 0), limit=3)
    values = [found.scores["cosine"].value for found in queries[0].matches]
    assert values[0] == 1 and values[-1] == 0 and values == sorted(values, reverse=True)
    queries.match(index(), normalization=(0, 1), limit=1)
    assert queries[0].matches[0].scores["cosine"].value == 0
    with pytest.raises(ConfigError, match="normalization"):
        queries.match(index(), normalization=5)


@pytest.mark.parametrize("form", ["packed", "unpacked"])
def test_a_missing_embedding_is_named(form):
    documents = index()
    documents.append(Document(id="bare"))
    documents = DocumentArray.from_bytes(documents.to_bytes()) if form == "packed" else documents
    with pytest.raises(InvalidDocument, match="'bare' at 5") as refused:
        documents.find([1.0, 0.0])
    assert refused.value.field == "[5].embedding"
    with pytest.raises(InvalidDocument, match="the queries: the document 'q'"):
        DocumentArray([Document(id="q")]).match(index())


def test_embeddings_of_different_shapes_are_refused():
    documents = DocumentArray([Document(embedding=[1.0]), Document(embedding=[1.0, 2.0])])
    with pytest.raises(InvalidDocument, match="different shapes"):
        documents.find([1.0])


def test_an_empty_index_or_no_queries():
    queries = DocumentArray([Document(embedding=[1.0, 0.0])])
    queries.match(DocumentArray())
    assert len(queries[0].matches) == 0
    assert index().find(DocumentArray()) == []
    assert index().find(DocumentArray(), exclude_self=True) == []


def test_match_needs_an_array_and_known_options():
    with pytest.raises(ConfigError, match="DocumentArray"):
        index().match([1, 2])
    with pytest.raises(ConfigError, match="did you mean 'euclidean'"):
        index().match(index(), metric="euclid")
    with pytest.raises(ConfigError, match="limit"):
        index().match(index(), limit=0)


def test_matches_can_travel():
    documents = index()
    documents.match(documents, limit=2)
    again = DocumentArray.from_bytes(documents.to_bytes())
    assert again == documents and again[3].matches[0].scores["cosine"].value == pytest.approx(0)
