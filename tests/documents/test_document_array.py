"""A DocumentArray: a list of Documents, found by place or id, packed until a Document is asked for."""

import copy
import pickle
from collections.abc import MutableSequence, Sequence

import numpy as np
import pytest

from zflow.documents import Document, DocumentArray
from zflow.errors import ConfigError, InvalidDocument


def of(*ids):
    return DocumentArray([Document(id=id, text=id.upper()) for id in ids])


def packed(documents):
    return DocumentArray.from_bytes(documents.to_bytes())


class TestMaking:
    @pytest.mark.parametrize(
        ("given", "texts"),
        [
            (None, []),
            (Document(text="a"), ["a"]),
            ("a", ["a"]),
            ({"text": "a"}, ["a"]),
            (["a", Document(text="b"), {"text": "c"}], ["a", "b", "c"]),
            ((text for text in "ab"), ["a", "b"]),
            (DocumentArray(["a"]), ["a"]),
        ],
        ids=["none", "document", "str", "dict", "list", "generator", "array"],
    )
    def test_from_what_becomes_documents(self, given, texts):
        assert DocumentArray(given).texts == texts

    def test_from_bytes_and_arrays(self):
        documents = DocumentArray([b"blob", np.ones(2)])
        assert documents[0].blob == b"blob" and documents[1].tensor.tolist() == [1, 1]
        assert DocumentArray(np.ones((3, 2)))[2].tensor.tolist() == [1, 1]

    @pytest.mark.parametrize("given", [5, [5], [None], [["a"]], [{"txt": 1}], object()])
    def test_from_nothing_else(self, given):
        with pytest.raises(InvalidDocument):
            DocumentArray(given)

    def test_a_fault_names_the_place(self):
        with pytest.raises(InvalidDocument) as refused:
            DocumentArray(["fine", {"text": 5}])
        assert refused.value.field == "[1].text"

    def test_another_array_shares_its_documents_unless_copied(self):
        documents = of("a")
        assert DocumentArray(documents)[0] is documents[0]
        made = DocumentArray(documents, copy=True)
        assert made == documents and made[0] is not documents[0]

    def test_empty_makes_documents_with_nothing_but_an_id(self):
        documents = DocumentArray.empty(3)
        assert documents.is_packed and len(set(documents.ids)) == 3
        assert [document.non_empty_fields for document in documents] == [("id",)] * 3
        assert len(DocumentArray.empty()) == 0

    def test_may_be_annotated_with_documents(self):
        assert DocumentArray[Document] is DocumentArray


class TestAsAList:
    def test_grows_and_shrinks(self):
        documents = DocumentArray()
        assert not documents
        documents.append(Document(id="b"))
        documents.append("text")
        documents.insert(0, Document(id="a"))
        documents.extend([Document(id="d"), Document(id="e")])
        assert documents[2].text == "text" and len(documents) == 5
        assert documents.pop().id == "e" and documents.pop(0).id == "a"
        documents.remove(documents[1])
        documents += of("x")
        assert documents.ids == ["b", "d", "x"]
        documents.remove("d")
        assert (documents + of("y")).ids == ["b", "x", "y"] and documents.ids == ["b", "x"]
        documents.clear()
        assert documents == DocumentArray()

    def test_refuses_what_is_no_document(self):
        with pytest.raises(InvalidDocument):
            DocumentArray().append(5)
        with pytest.raises(InvalidDocument):
            DocumentArray().extend([5])

    def test_changes_its_order(self):
        documents = of("b", "c", "a")
        documents.sort(key=lambda document: document.id)
        assert documents.ids == ["a", "b", "c"]
        documents.reverse()
        assert documents.ids == ["c", "b", "a"] and [document.id for document in reversed(documents)] == ["a", "b", "c"]
        documents.sort(key=lambda document: document.id, reverse=False)
        assert documents.index("b") == 1

    def test_knows_documents_by_id(self):
        documents = of("a", "b")
        assert "a" in documents and documents[1] in documents and Document(id="b") in documents
        assert "c" not in documents and 5 not in documents
        assert documents.index(documents[1]) == 1
        for lost in (documents.remove, documents.index):
            with pytest.raises(ValueError, match="'c'"):
                lost("c")

    def test_equal_arrays_have_equal_documents_in_order(self):
        assert of("a", "b") == of("a", "b") != of("b", "a")
        assert of("a") != [Document(id="a")]

    def test_is_a_sequence_to_those_who_ask(self):
        assert isinstance(DocumentArray(), Sequence) and isinstance(DocumentArray(), MutableSequence)
        with pytest.raises(TypeError):
            hash(DocumentArray())

    def test_shows_its_length(self):
        assert repr(of("a", "b")) == "<DocumentArray (length=2)>"

    @pytest.mark.parametrize("copier", [copy.deepcopy, lambda given: pickle.loads(pickle.dumps(given))])
    def test_deep_copies_are_equal_and_independent(self, copier):
        for documents in (of("a"), packed(of("a"))):
            made = copier(documents)
            assert made == documents and made[0] is not documents[0]

    def test_a_shallow_copy_shares_documents(self):
        documents = of("a")
        made = copy.copy(documents)
        made.append("b")
        assert len(documents) == 1 and made[0] is documents[0]


class TestLookupById:
    def test_follows_every_change(self):
        documents = of("a", "b", "c")
        assert documents["c"].id == "c"
        documents.append(Document(id="d"))
        assert documents["d"] is documents[3]
        documents.pop(0)
        assert documents["d"] is documents[2] and "a" not in documents
        documents.insert(0, Document(id="z"))
        documents.reverse()
        documents[0] = Document(id="new")
        assert documents["new"] is documents[0] and "d" not in documents
        del documents["new"]
        assert "new" not in documents and documents["z"] is documents[-1]
        documents.clear()
        assert "z" not in documents

    def test_follows_a_renamed_document(self):
        documents = of("a", "b")
        assert "a" in documents
        documents[0].id = "other"
        assert "a" not in documents and documents["other"] is documents[0]

    def test_finds_the_first_of_two(self):
        documents = of("a", "b", "a")
        assert documents["a"] is documents[0]
        documents.append(Document(id="b"))
        assert documents["b"] is documents[1]

    def test_says_which_id_is_missing(self):
        with pytest.raises(KeyError, match="'x' among 1"):
            of("a")["x"]

    def test_misses_stay_cheap(self):
        """Adding what is not there yet must not look at all documents each time."""
        documents = DocumentArray()
        for at in range(300):
            if f"id{at}" not in documents:
                documents.append(Document(id=f"id{at}"))
        places = documents._places
        assert f"id{0}" in documents and documents._places is places and len(documents) == 300


class TestPacked:
    def test_stays_packed_until_a_document_is_asked_for(self):
        documents = packed(of("a", "b"))
        documents.embeddings = np.ones((2, 3))
        documents.texts = ["x", "y"]
        assert (len(documents), documents.ids, documents.texts, "a" in documents) == (2, ["a", "b"], ["x", "y"], True)
        assert documents.uris == ["", ""] and documents.contents == ["x", "y"] and repr(documents)
        again = packed(documents)
        again.find([1.0, 0.0, 0.0])
        assert documents.is_packed and again.is_packed
        assert documents[0].text == "x" and not documents.is_packed
        assert again == documents

    @pytest.mark.parametrize(
        "touch",
        [
            lambda documents: documents[0],
            lambda documents: documents["a"],
            lambda documents: next(iter(documents)),
            lambda documents: documents[:1][0],
            lambda documents: documents[[0]][0],
            lambda documents: documents[[True, False]][0],
            lambda documents: next(documents.batch(1))[0],
            lambda documents: documents.find({"text": "A"})[0],
        ],
        ids=["place", "id", "iteration", "slice", "places", "mask", "batch", "condition"],
    )
    def test_a_change_of_one_document_shows_in_the_array(self, touch):
        documents = packed(of("a", "b"))
        touch(documents).text = "changed"
        assert documents.texts == ["changed", "B"]
        assert packed(documents).texts == ["changed", "B"]

    def test_batches_write_through(self):
        documents = packed(of(*"abcde"))
        for batch in documents.batch(2):
            batch.embeddings = np.full((len(batch), 3), len(batch))
        assert documents.embeddings[:, 0].tolist() == [2, 2, 2, 2, 1]

    def test_an_array_read_from_a_document_is_that_of_the_matrix(self):
        documents = packed(of("a", "b"))
        documents.embeddings = matrix = np.zeros((2, 3))
        documents[1].embedding[0] = 7
        assert documents.embeddings is matrix and matrix[1, 0] == 7


class TestParts:
    def test_batches_cover_all(self):
        documents = of(*"abcde")
        assert [batch.ids for batch in documents.batch(2)] == [["a", "b"], ["c", "d"], ["e"]]
        assert list(documents.batch_ids(3)) == [["a", "b", "c"], ["d", "e"]]
        assert sorted(id for ids in documents.batch_ids(2, shuffle=True) for id in ids) == list("abcde")
        assert sorted(document.id for batch in documents.batch(2, shuffle=True) for document in batch) == list("abcde")
        assert list(DocumentArray().batch(2)) == []

    @pytest.mark.parametrize("size", [0, -1, 1.5, None, True])
    def test_a_batch_size_is_a_whole_number(self, size):
        with pytest.raises(ConfigError, match="batch_size"):
            list(of("a").batch(size))

    def test_shuffle_and_sample_repeat_with_a_seed(self):
        documents = of(*"abcdefgh")
        assert documents.shuffle(seed=3).ids == documents.shuffle(seed=3).ids
        assert sorted(documents.shuffle().ids) == documents.ids == list("abcdefgh")
        assert len(set(documents.sample(3, seed=1).ids)) == 3
        with pytest.raises(ConfigError):
            documents.sample(9)

    def test_traversal(self):
        documents = of("a", "b")
        documents[0].chunks = [Document(id="c", matches=[Document(id="m")]), Document(id="d")]
        documents[1].chunks = [Document(id="e")]
        assert [found.ids for found in documents.traverse("c")] == [["c", "d"], ["e"]]
        assert documents.traverse_flat("r,c").ids == ["a", "b", "c", "d", "e"]
        assert documents.traverse_flat("c", filter_fn=lambda document: document.id > "c").ids == ["d", "e"]
        assert documents["@cm"].ids == ["m"] and documents["@cm"][0] is documents[0].chunks[0].matches[0]
        assert sorted(documents.flatten().ids) == ["a", "b", "c", "d", "e", "m"]


def test_reduce_changes_this_array():
    documents = DocumentArray([Document(id="a")])
    assert documents.reduce_all([of("a", "b"), of("c")]) is documents
    assert documents.texts == ["A", "B", "C"] and documents["c"].text == "C"


def test_find_takes_a_condition_a_vector_a_document_or_many():
    documents = of("a", "b")
    documents.embeddings = np.eye(2)
    assert documents.find({"text": "B"})[0] is documents[1]
    assert documents.find(np.array([0.0, 1.0])).ids == documents.find([0.0, 1.0]).ids == ["b", "a"]
    assert documents.find(Document(embedding=[0.0, 1.0]), limit=1).ids == ["b"]
    for many in (np.eye(2), np.eye(2).tolist(), list(np.eye(2)), documents):
        assert [found.ids for found in documents.find(many, limit=1)] == [["a"], ["b"]]
    assert [found.ids for found in documents.find(documents[:1], limit=1)] == [["a"]]
    assert [found.ids for found in documents.find(documents, limit=1, exclude_self=True)] == [["b"], ["a"]]
