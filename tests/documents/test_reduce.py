"""Several DocumentArrays become one: the left-most non-empty field wins, unknown documents are appended."""

import copy

import numpy as np
import pytest

from zflow.documents import Document, DocumentArray
from zflow.documents.reduce import concatenate, reduce_all


def packed(documents):
    return DocumentArray.from_bytes(documents.to_bytes())


def unpacked(documents):
    return documents


def branches():
    return [
        DocumentArray([Document(id="a", text="left", tags={"x": [1]}), Document(id="b", weight=0)]),
        DocumentArray([Document(id="a", text="right", uri="u", tags={"y": 2}), Document(id="b", text="B", weight=5)]),
        DocumentArray([Document(id="a", blob=b"third", uri="lost"), Document(id="b", embedding=[1.0])]),
    ]


@pytest.mark.parametrize("form", [packed, unpacked])
def test_the_left_most_value_that_is_not_empty_wins(form):
    given = [form(array) for array in branches()]
    reduced = reduce_all(given)
    assert reduced.to_list() == [
        {"id": "a", "text": "left", "blob": b"third" and "dGhpcmQ=", "uri": "u", "tags": {"x": [1]}},
        {"id": "b", "text": "B", "embedding": [1.0], "weight": 0},
    ]
    assert given == branches()


def test_branches_of_the_same_documents_stay_packed():
    given = [packed(array) for array in branches()]
    assert reduce_all(given).is_packed and all(array.is_packed for array in given)


@pytest.mark.parametrize("form", [packed, unpacked])
def test_the_result_shares_no_document_and_no_dict(form):
    given = [form(array) for array in branches()]
    reduced = reduce_all(given)
    reduced[0].tags["x"].append(2)
    reduced[0].tags["new"] = 1
    reduced[1].text = "changed"
    assert given == branches()


def test_arrays_are_taken_by_reference():
    documents = DocumentArray([Document(id="a"), Document(id="b")])
    one, other = packed(documents), packed(documents)
    other.embeddings = matrix = np.ones((2, 3))
    assert reduce_all([one, other]).embeddings is matrix
    one[0].embedding = np.zeros(3)
    mixed = reduce_all([packed(one), other])
    assert mixed.is_packed and mixed.embeddings.tolist() == [[0, 0, 0], [1, 1, 1]]


@pytest.mark.parametrize("form", [packed, unpacked])
def test_unknown_documents_are_appended_in_order(form):
    given = [
        form(DocumentArray([Document(id=id, text=f"{at}{id}") for id in ids]))
        for at, ids in enumerate(["ba", "cad", "ec"])
    ]
    assert reduce_all(given).texts == ["0b", "0a", "1c", "1d", "2e"]


def test_two_documents_of_one_id_in_one_array_stay_two():
    one = DocumentArray([Document(id="a", text="1"), Document(id="a", text="2")])
    reduced = reduce_all([one, DocumentArray([Document(id="a", uri="u"), Document(id="b"), Document(id="b")])])
    assert reduced.ids == ["a", "a", "b", "b"] and reduced.uris == ["u", "", "", ""]


def family(**parts):
    return DocumentArray([Document(id="a", **parts)])


@pytest.mark.parametrize("form", [packed, unpacked])
def test_chunks_and_matches_are_reduced_likewise(form):
    one = family(chunks=[Document(id="c", text="left", chunks=[Document(id="cc")])])
    two = family(
        chunks=[Document(id="c", text="right", uri="u", chunks=[Document(id="cc", text="deep")]), Document(id="d")],
        matches=[Document(id="m", scores={"s": 1})],
    )
    given = [form(one), form(two)]
    before = copy.deepcopy(given)
    (document,) = reduce_all(given)
    assert document.chunks.ids == ["c", "d"] and document.chunks[0].chunks[0].text == "deep"
    assert (document.chunks[0].text, document.chunks[0].uri) == ("left", "u")
    assert document.matches[0].scores["s"].value == 1
    document.chunks[0].uri = "changed"
    document.matches[0].scores["s"].value = 2
    document.matches.append("new")
    assert given == before


def test_an_empty_string_off_the_wire_is_missing():
    one, other = packed(family()), packed(family(text="right"))
    one._columns.values["text"] = [""]
    assert reduce_all([one, other]).texts == ["right"]


def test_one_array_is_returned_as_it_is_and_none_gives_an_empty_one():
    (array,) = given = branches()[:1]
    assert reduce_all(given) is array and concatenate(given) is array
    assert reduce_all([]) == concatenate([]) == DocumentArray()


def test_concatenation_reduces_nothing():
    assert concatenate(branches()).ids == ["a", "b"] * 3
