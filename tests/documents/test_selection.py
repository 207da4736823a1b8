"""What stands between the brackets."""

import numpy as np
import pytest

from zflow.documents import Document, DocumentArray
from zflow.errors import InvalidDocument


@pytest.fixture
def documents():
    made = DocumentArray([Document(id=id, text=id.upper()) for id in "abcd"])
    made[0].chunks = [Document(id="a1", text="one"), Document(id="a2", text="two")]
    return made


@pytest.mark.parametrize(
    ("key", "ids"),
    [
        (slice(1, 3), ["b", "c"]),
        (slice(None, None, -2), ["d", "b"]),
        ([0, -1], ["a", "d"]),
        ((0, 2), ["a", "c"]),
        (["d", "a"], ["d", "a"]),
        (("b", "c"), ["b", "c"]),
        ([0, "d"], ["a", "d"]),
        ([True, False, False, True], ["a", "d"]),
        (np.array([True, False, True, False]), ["a", "c"]),
        (list(np.array([True, False, True, False])), ["a", "c"]),
        (np.array([2, 1]), ["c", "b"]),
        (range(2), ["a", "b"]),
        ([], []),
        ("@c", ["a1", "a2"]),
        ("@r, c", ["a", "b", "c", "d", "a1", "a2"]),
        ("@r[0]c[-1]", ["a2"]),
        (..., ["a1", "a2", "a", "b", "c", "d"]),
    ],
    ids=str,
)
def test_many(documents, key, ids):
    found = documents[key]
    assert isinstance(found, DocumentArray) and found.ids == ids
    everyone = {id(document) for document in documents[...]}
    assert all(id(document) in everyone for document in found)  # the same Documents, not copies


@pytest.mark.parametrize("key", [1, -3, np.int64(1), np.array(1), "b"], ids=repr)
def test_one(documents, key):
    assert documents[key].id == "b"


@pytest.mark.parametrize(
    ("key", "error"),
    [
        (4, IndexError),
        (-5, IndexError),
        ([4], IndexError),
        ("x", KeyError),
        (["a", "x"], KeyError),
        ([True], IndexError),
        (1.5, TypeError),
        (None, TypeError),
        ([[0]], TypeError),
        ("@x", ValueError),
        (np.ones((2, 2), bool), TypeError),
    ],
    ids=repr,
)
def test_none(documents, key, error):
    with pytest.raises(error):
        documents[key]


class TestFieldsOfMany:
    def test_reading(self, documents):
        assert documents[:2, "text"] == ["A", "B"] and documents[0, "text"] == documents["a", "text"] == "A"
        assert documents["@c", "text"] == ["one", "two"] and documents[..., "id"][:2] == ["a1", "a2"]
        assert documents[1:, ["id", "text"]] == [["b", "c", "d"], ["B", "C", "D"]]
        assert documents[0, ["id", "text"]] == ["a", "A"]

    def test_arrays_come_stacked(self, documents):
        documents.embeddings = np.arange(4.0)
        assert documents[1:, "embedding"].tolist() == [1, 2, 3]

    def test_setting(self, documents):
        documents["@c", "text"] = ["x", "y"]
        documents[1:3, ["text", "weight"]] = [["p", "q"], [1, None]]
        documents[3, "text"] = "r"
        documents[:, "uri"] = None
        assert documents[0].chunks.texts == ["x", "y"] and documents.texts == ["A", "p", "q", "r"]
        assert documents[:, "weight"] == [None, 1, None, None]

    @pytest.mark.parametrize(
        ("key", "values"),
        [((slice(None), "text"), ["x"]), ((slice(None), "text"), "abcd"), ((0, ["text", "uri"]), ["x"])],
    )
    def test_the_number_of_values_must_fit(self, documents, key, values):
        with pytest.raises(InvalidDocument):
            documents[key] = values
        assert documents.texts == ["A", "B", "C", "D"]

    def test_an_unknown_field_is_refused_with_the_nearest(self, documents):
        for key in ((slice(None), "txt"), ("@c", "txt"), (0, "txt"), (0, ["id", "txt"])):
            with pytest.raises(InvalidDocument, match="did you mean 'text'"):
                documents[key]


class TestReplacing:
    def test_a_str_at_a_place_becomes_a_document_with_that_text(self, documents):
        documents[0] = "executed MyExec"
        assert isinstance(documents[0], Document) and documents[0].text == "executed MyExec"
        assert documents.texts[0] == "executed MyExec"

    def test_a_packed_array_takes_it_too(self):
        documents = DocumentArray.empty(1)
        documents[0] = "executed MyExec"
        assert documents.texts == ["executed MyExec"]

    def test_documents_and_dicts(self, documents):
        documents["b"] = Document(id="new")
        documents[-1] = {"id": "last"}
        documents[np.int64(0)] = Document(id="first")
        assert documents.ids == ["first", "new", "c", "last"]

    def test_several(self, documents):
        documents[1:3] = ["x"]
        documents[[0, 2]] = [Document(id="p"), Document(id="q")]
        assert documents.texts == ["", "x", ""] and documents.ids[::2] == ["p", "q"]
        documents[[True, False, False]] = ["y"]
        assert documents.texts == ["y", "x", ""]

    def test_what_cannot_be_replaced(self, documents):
        for key in ("@c", ...):
            with pytest.raises(TypeError, match="cannot be replaced"):
                documents[key] = []
        with pytest.raises(InvalidDocument, match="1 Documents for 2 places"):
            documents[[0, 1]] = ["x"]
        with pytest.raises(IndexError):
            documents[9] = "x"
        with pytest.raises(InvalidDocument):
            documents[0] = None


class TestDeleting:
    @pytest.mark.parametrize(
        ("key", "left"),
        [
            (0, "bcd"),
            (-1, "abc"),
            ("b", "acd"),
            (slice(1, None), "a"),
            ([0, -1], "bc"),
            (["a", "c"], "bd"),
            ([False, True, True, False], "ad"),
        ],
        ids=repr,
    )
    def test_takes_them_out(self, documents, key, left):
        assert "a" in documents
        del documents[key]
        assert documents.ids == list(left) and ("a" in documents) == ("a" in left)

    @pytest.mark.parametrize("key", ["@c", ..., (slice(None), "text")], ids=repr)
    def test_refuses_the_rest(self, documents, key):
        with pytest.raises(TypeError, match="cannot be deleted"):
            del documents[key]
