"""A Document: its fields and defaults, what they refuse, copies, equality, ids."""

import copy
import os
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest

from zflow.documents import Document, DocumentArray, NamedScore
from zflow.documents.document import new_id
from zflow.errors import InvalidDocument


def test_missing_fields_have_the_defaults_that_docarray_users_know():
    document = Document()
    assert (document.text, document.blob, document.uri, document.mime_type, document.modality) == ("", b"", "", "", "")
    assert document.tensor is None and document.embedding is None and document.weight is None
    assert document.tags == {} and document.scores == {}
    assert len(document.chunks) == 0 and isinstance(document.chunks, DocumentArray)
    assert document.content is None and document.content_type is None
    assert document.non_empty_fields == ("id",)


def test_every_field_is_kept_as_given():
    given = {
        "id": "x",
        "text": "hello",
        "blob": b"bytes",
        "uri": "file:///etc/passwd",  # kept, never opened
        "mime_type": "text/plain",
        "modality": "text",
        "weight": 0.5,
        "tags": {"kind": "a"},
    }
    document = Document(
        **given, tensor=[1, 2], embedding=np.ones(3), scores={"cosine": 0.25}, chunks=[Document(text="c")]
    )
    assert {name: getattr(document, name) for name in given} == given
    assert document.tensor.tolist() == [1, 2] and document.embedding.tolist() == [1, 1, 1]
    assert document.scores["cosine"].value == 0.25
    assert document.chunks[0].text == "c"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", 7),
        ("id", ""),
        ("id", "x" * 257),
        ("id", "ä" * 129),
        ("text", b"bytes"),
        ("text", 3),
        ("blob", "text"),
        ("blob", 5),  # bytes(5) would be five zeros
        ("tensor", "text"),
        ("tensor", b"bytes"),
        ("tensor", {"a": 1}),
        ("tensor", [[1], [1, 2]]),
        ("tensor", ["a"]),
        ("embedding", np.array([object()])),
        ("embedding", 1.5),
        ("uri", 1),
        ("mime_type", b"text/plain"),
        ("modality", []),
        ("weight", "heavy"),
        ("weight", True),
        ("tags", ["a"]),
        ("scores", 0.5),
        ("chunks", 5),
        ("chunks", "text"),
        ("matches", [None]),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_where_it_is_assigned(field, value):
    document = Document()
    with pytest.raises(InvalidDocument) as refused:
        setattr(document, field, value)
    assert refused.value.field.split("[")[0] == field
    with pytest.raises(InvalidDocument):
        Document(**{field: value})
    assert document.non_empty_fields == ("id",)


def test_an_unknown_field_is_refused_with_the_nearest_name():
    with pytest.raises(InvalidDocument, match="did you mean 'embedding'"):
        Document(embeding=[1])
    with pytest.raises(AttributeError):
        Document().txt = "typo"


def test_a_fault_within_a_chunk_is_named_by_its_path():
    with pytest.raises(InvalidDocument) as refused:
        Document(chunks=[{"text": "fine"}, {"tensor": "not an array"}])
    assert refused.value.field == "chunks[1].tensor"
    assert isinstance(refused.value, ValueError)


def test_none_makes_a_field_missing():
    document = Document(text="a", blob=b"b", tags={"x": 1}, weight=2, tensor=[1], uri="u")
    for name in document.non_empty_fields[1:]:
        setattr(document, name, None)
    assert document.non_empty_fields == ("id",)
    before = document.id
    document.id = None
    assert document.id != before


def test_containers_stay_once_read():
    document = Document()
    document.tags["x"] = 1
    document.chunks.append(Document(text="c"))
    document.scores["cosine"].value = 0.5
    assert document.tags == {"x": 1} and document.chunks[0].text == "c"
    assert document.scores == {"cosine": NamedScore(0.5)}


def test_tags_are_the_dict_that_was_given():
    tags = {}
    document = Document(tags=tags)
    tags["late"] = True
    assert document.tags == {"late": True}


def test_weights_become_numbers_of_python():
    assert type(Document(weight=np.float32(0.5)).weight) is float
    assert Document(weight=0).weight == 0 and "weight" in Document(weight=0).non_empty_fields


class TestContent:
    @pytest.mark.parametrize(
        ("value", "kind"), [("text", "text"), (b"blob", "blob"), (bytearray(b"blob"), "blob"), (np.ones(2), "tensor")]
    )
    def test_goes_where_its_type_belongs(self, value, kind):
        document = Document(content=value)
        assert document.content_type == kind
        assert np.array_equal(document.content, value) if kind == "tensor" else document.content == value

    def test_replaces_the_content_there_was(self):
        document = Document(text="old")
        document.content = b"new"
        assert (document.text, document.blob) == ("", b"new")
        document.content = None
        assert document.content is None

    def test_text_and_blob_may_both_be_set_and_text_is_the_content(self):
        document = Document(blob=b"page", text="its text")
        assert (document.content, document.blob) == ("its text", b"page")


class TestCopies:
    def make(self):
        return Document(
            text="t",
            tags={"list": [1]},
            tensor=np.ones(2),
            chunks=[Document(text="c")],
            scores={"a": 1},
            blob=b"b",
        )

    def test_a_shallow_copy_has_containers_of_its_own(self):
        document = self.make()
        made = Document(document)
        assert made == document and made is not document
        made.tags["new"] = 1
        made.chunks.append(Document())
        made.scores["a"].value = 2
        made.text = "other"
        assert document == self_with_id(self.make(), document)
        assert made.chunks[0] is document.chunks[0]

    def test_overrides_come_after_the_copy(self):
        document = self.make()
        made = Document(document, text="other", id="new")
        assert (made.id, made.text, made.blob) == ("new", "other", b"b")

    def test_a_deep_copy_shares_nothing(self):
        document = self.make()
        made = document.copy(deep=True)
        assert made == document
        made.tags["list"].append(2)
        made.tensor[0] = 5
        made.chunks[0].text = "other"
        assert document == self_with_id(self.make(), document)

    def test_a_document_among_its_own_chunks_can_be_copied(self):
        document = Document()
        document.chunks.append(document)
        made = copy.deepcopy(document)
        assert made.chunks[0] is made

    def test_pickle_is_left_to_users_and_works(self):
        document = self.make()
        document._rest["blob"] = memoryview(b"as it came off the wire")
        assert pickle.loads(pickle.dumps(document)) == document

    def test_a_dict_makes_one(self):
        assert Document({"id": "x", "text": "t"}, uri="u").to_dict() == {"id": "x", "text": "t", "uri": "u"}

    def test_a_positional_text_is_refused_with_the_way_to_say_it(self):
        with pytest.raises(InvalidDocument, match="text="):
            Document("hello")


def self_with_id(made, document):
    """`made` with the ids of `document` and its chunks, so that both compare equal."""
    made.id = document.id
    for one, other in zip(made.chunks, document.chunks):
        one.id = other.id
    return made


class TestEquality:
    def test_needs_the_same_id(self):
        assert Document(id="a", text="t") == Document(id="a", text="t")
        assert Document(text="t") != Document(text="t")
        assert Document(id="a") != "a"

    def test_compares_arrays_by_value(self):
        assert Document(id="a", tensor=[1.0, np.nan]) == Document(id="a", tensor=np.array([1.0, np.nan]))
        assert Document(id="a", tensor=[1]) != Document(id="a", tensor=[[1]])
        assert Document(id="a", tensor=[1]) != Document(id="a")

    def test_an_empty_container_is_a_missing_one(self):
        document = Document(id="a")
        assert len(document.chunks) == 0 and document.tags == {}
        assert document == Document(id="a")

    def test_looks_into_chunks(self):
        one, other = (Document(id="a", chunks=[Document(id="c", text=text)]) for text in "xy")
        assert one != other

    def test_documents_are_not_hashable(self):
        with pytest.raises(TypeError):
            {Document()}


class TestIds:
    def test_are_32_hex_digits_and_differ(self):
        made = {new_id() for _ in range(1000)}
        assert len(made) == 1000
        assert all(len(id) == 32 and int(id, 16) >= 0 for id in made)

    def test_differ_between_threads(self):
        made: list[str] = []
        threads = [threading.Thread(target=lambda: made.extend([new_id() for _ in range(2000)])) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(made)) == 8000

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
    def test_differ_in_a_forked_child(self):
        code = (
            "import os; from zflow.documents.document import new_id\n"
            "r, w = os.pipe()\n"
            "if os.fork() == 0: os.write(w, new_id().encode()); os._exit(0)\n"
            "os.wait(); print(os.read(r, 32).decode() == new_id())"
        )
        told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
        assert told.stdout.strip() == "False"


def test_update_takes_over_what_is_set_and_pop_and_clear_make_it_missing():
    document = Document(id="a", text="old", uri="u")
    document.update(Document(id="b", text="new", weight=1))
    assert (document.id, document.text, document.uri, document.weight) == ("a", "new", "u", 1)
    document.pop("uri", "text")
    assert document.non_empty_fields == ("id", "weight")
    with pytest.raises(InvalidDocument, match="did you mean 'weight'"):
        document.pop("weigth")
    document.clear()
    assert document.non_empty_fields == ("id",)


def test_match_is_that_of_an_array_of_one():
    index = DocumentArray([Document(id="near", embedding=[1.0, 0.0]), Document(id="far", embedding=[0.0, 1.0])])
    query = Document(embedding=[1.0, 0.1])
    query.match(index, limit=1)
    assert query.matches.ids == ["near"]


def test_bytes_keep_all_of_it():
    document = Document(text="t", tensor=np.ones((2, 3), "f4"), chunks=[Document(blob=b"b")], tags={"x": [1, None]})
    made = Document.from_bytes(document.to_bytes())
    assert made == document and made.tensor.dtype == np.float32


def test_importing_documents_does_not_import_numpy():
    code = (
        "import sys; from zflow.documents import Document, DocumentArray\n"
        "docs = DocumentArray([Document(text='a', blob=b'b', tags={'x': 1})]); docs[0].content; docs.contents\n"
        "again = DocumentArray.from_bytes(docs.to_bytes()); assert again == docs and again.texts == ['a']\n"
        "print('numpy' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert told.stdout.strip() == "False"
