"""Several DocumentArrays become one: the left-most non-empty field wins, unknown documents are appended."""

import copy

import numpy as np
import pytest

from zflow.documents import Document, DocumentArray
from zflow.documents.reduce import concatenate, divide, reduce_all


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


# -- batches -----------------------------------------------------------------------------------------------------------


def assorted(start, count):
    """Documents with every kind of column, missing values among them."""
    return DocumentArray(
        [
            Document(
                id=f"d{number}",
                text=f"t{number}" if number % 2 else None,
                tags={"n": number},
                weight=number or None,
                blob=bytes([number]) * (5000 if number % 3 == 0 else 5),
                embedding=np.full(3, number, "f4"),
                tensor=np.full((2, 2) if number % 2 else 3, number, "f8") if number % 4 else None,
                chunks=[Document(id=f"c{number}.{child}", embedding=[child]) for child in range(number % 3)],
            )
            for number in range(start, start + count)
        ]
    )


@pytest.mark.parametrize("form", [packed, unpacked])
def test_arrays_that_are_concatenated_and_divided_are_what_they_were(form):
    sizes = [3, 1, 0, 4, 2]
    given = [form(assorted(sum(sizes[:at]), size)) for at, size in enumerate(sizes)]
    whole = concatenate(given)
    assert whole.is_packed == (form is packed)
    assert whole == assorted(0, 10)
    parts = divide(concatenate([form(array) for array in given]), sizes)
    assert [part.is_packed for part in parts] == [form is packed] * 5
    assert parts == [assorted(sum(sizes[:at]), size) for at, size in enumerate(sizes)]
    assert [DocumentArray.from_bytes(part.to_bytes()) for part in parts] == parts


def test_what_is_set_in_the_whole_is_found_in_its_parts_without_making_a_document():
    whole = concatenate([packed(assorted(0, 2)), packed(assorted(2, 3))])
    whole.embeddings = np.arange(10, dtype="f4").reshape(5, 2)
    whole.texts = list("abcde")
    first, second = divide(whole, [2, 3])
    assert first.is_packed and second.is_packed
    assert (first.texts, second.texts) == (["a", "b"], ["c", "d", "e"])
    assert second.embeddings.tolist() == [[4, 5], [6, 7], [8, 9]]
    assert second.embeddings.base is not None and np.shares_memory(second.embeddings, whole.embeddings)


def test_arrays_of_one_shape_are_copied_once_and_others_grouped():
    alike = [packed(DocumentArray([Document(embedding=np.full(3, number, "f4"))])) for number in range(4)]
    whole = concatenate(alike)
    assert whole.embeddings.tolist() == [[number] * 3 for number in range(4)] and whole.is_packed
    odd = packed(DocumentArray([Document(embedding=np.zeros(2, "f4")), Document()]))
    mixed = concatenate([*alike, odd])
    assert mixed.is_packed
    assert [None if array is None else array.shape for array in mixed.embeddings] == [(3,)] * 4 + [(2,), None]


def test_one_array_is_divided_into_itself_and_nothing_into_nothing():
    given = packed(assorted(0, 2))
    assert divide(given, [2])[0] is given
    assert divide(DocumentArray(), []) == []
