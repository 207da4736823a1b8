"""Whole fields: the same answers packed and unpacked, and setters that check."""

import numpy as np
import pytest

from zflow.documents import Document, DocumentArray
from zflow.documents.document import is_given
from zflow.errors import InvalidDocument


def make(form):
    documents = DocumentArray(
        [
            Document(id="a", text="A", blob=b"1", tags={"x": 1}, uri="u", tensor=[1, 2]),
            Document(id="b", tensor=[3, 4]),
        ]
    )
    return DocumentArray.from_bytes(documents.to_bytes()) if form == "packed" else documents


@pytest.fixture(params=["packed", "unpacked"])
def documents(request):
    made = make(request.param)
    yield made
    assert len(made) == 2


def test_getters(documents):
    assert documents.texts == ["A", ""] and documents.uris == ["u", ""] and documents.blobs == [b"1", b""]
    assert documents.tags == [{"x": 1}, {}]
    assert documents.tensors.tolist() == [[1, 2], [3, 4]] and documents.embeddings is None
    assert documents.contents[0] == "A" and documents.contents[1].tolist() == [3, 4]


def test_setters(documents):
    documents.texts = ["x", "y"]
    documents.uris = (uri for uri in ("v", None))
    documents.blobs = [None, bytearray(b"2")]
    documents.tags = [{"y": 2}, {}]
    documents.embeddings = np.array([[1.0], [2.0]])
    documents.tensors = [np.ones(3), None]
    assert [document.text for document in documents] == ["x", "y"]
    assert [document.uri for document in documents] == ["v", ""]
    assert [document.blob for document in documents] == [b"", b"2"]
    assert [document.tags for document in documents] == [{"y": 2}, {}]
    assert documents.embeddings.tolist() == [[1.0], [2.0]]
    assert documents[0].tensor.tolist() == [1, 1, 1] and documents[1].tensor is None
    assert documents.tensors[1] is None


def test_the_lists_given_out_and_in_are_not_the_columns(documents):
    texts = ["x", "y"]
    documents.texts = texts
    texts[0] = "changed"
    documents.texts[1] = "changed"
    assert documents.texts == ["x", "y"]


def test_tags_given_out_are_those_of_the_documents(documents):
    documents.tags[1]["late"] = True
    assert documents.tags[1] == {"late": True} and documents[1].tags == {"late": True}


@pytest.mark.parametrize("name", ["texts", "uris", "blobs", "tags", "tensors", "embeddings", "contents"])
def test_none_clears(documents, name):
    setattr(documents, name, None)
    for document in documents:
        assert not is_given(getattr(document, name if name == "tags" else name.removesuffix("s")))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("texts", ["one"]),
        ("texts", "ab"),
        ("texts", 5),
        ("texts", ["a", 5]),
        ("uris", ["a", b"b"]),
        ("blobs", ["a", "b"]),
        ("tags", [1, 2]),
        ("tags", {"a": 1, "b": 2}),
        ("embeddings", np.ones((3, 2))),
        ("embeddings", [[1], "x"]),
        ("embeddings", np.array(["a", "b"])),
        ("tensors", [1, 2]),
        ("contents", ["a"]),
        ("contents", "ab"),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(documents, name, values):
    with pytest.raises(InvalidDocument):
        setattr(documents, name, values)
    assert documents.texts == ["A", ""] and documents.tensors.tolist() == [[1, 2], [3, 4]]


def test_a_fault_in_a_list_names_its_place(documents):
    with pytest.raises(InvalidDocument) as refused:
        documents.texts = ["fine", 5]
    assert refused.value.field == "[1].text"


def test_contents_go_where_they_belong(documents):
    documents.contents = [b"blob", "text"]
    assert documents.blobs == [b"blob", b""] and documents.texts == ["", "text"] and documents.tensors is None


def test_a_matrix_is_kept_and_its_rows_are_the_documents_arrays(documents):
    matrix = np.zeros((2, 3), "f4")
    documents.embeddings = matrix
    assert documents.embeddings is matrix
    documents[1].embedding[:] = 5
    assert documents.embeddings is matrix and matrix[1, 0] == 5
    documents[0].embedding = np.ones(3, "f4")
    assert documents.embeddings.tolist() == [[1, 1, 1], [5, 5, 5]] and matrix[0, 0] == 0


def test_a_matrix_follows_the_order_of_the_documents(documents):
    documents.embeddings = np.arange(2.0)
    documents.reverse()
    assert documents.embeddings.tolist() == [1.0, 0.0]
    documents.append(documents.pop(0))
    assert documents.embeddings.tolist() == [0.0, 1.0]


def test_shapes_that_differ_give_a_list(documents):
    documents.tensors = [[1], [1, 2]]
    assert [array.tolist() for array in documents.tensors] == [[1], [1, 2]]


@pytest.mark.parametrize("empty", [DocumentArray(), DocumentArray.empty(0)], ids=["unpacked", "packed"])
def test_an_empty_array_has_empty_fields(empty):
    assert empty.texts == empty.blobs == empty.tags == empty.contents == [] and empty.embeddings is None
    empty.texts = []
    empty.embeddings = np.zeros((0, 4))
    assert empty.embeddings is None
    assert DocumentArray.from_bytes(empty.to_bytes()) == empty


def test_fields_have_docstrings_on_the_class():
    assert "embeddings" in DocumentArray.embeddings.__doc__ and "content" in DocumentArray.contents.__doc__
