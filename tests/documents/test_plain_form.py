"""Documents as dicts and JSON."""

import json

import numpy as np
import pytest

from zflow.documents import Document, DocumentArray, NamedScore
from zflow.errors import InvalidDocument


def full():
    return Document(
        id="x",
        text="t",
        blob=b"\x00\xff",
        tensor=[[1, 2], [3, 4]],
        embedding=[0.5, 1.5],
        uri="u",
        mime_type="m",
        modality="mo",
        weight=0.5,
        tags={"a": [1, {"b": None}], "ü": True},
        scores={"s": 0.5, "full": NamedScore(1.0, "op")},
        chunks=[Document(id="c", text="chunk", chunks=[Document(id="cc")])],
        matches=[Document(id="m", scores={"cosine": 0.1})],
    )


def test_only_set_fields_are_told():
    assert Document(id="x", text="t").to_dict() == {"id": "x", "text": "t"}


def test_a_dict_is_what_json_knows_and_comes_back_equal():
    document = full()
    told = document.to_dict()
    assert told["tensor"] == [[1, 2], [3, 4]] and told["blob"] == "AP8=" and told["scores"]["s"] == 0.5
    assert Document.from_dict(json.loads(json.dumps(told))) == document
    assert Document.from_json(document.to_json()) == document
    assert "ü" in document.to_json()


def test_arrays_of_documents_are_lists_of_dicts():
    documents = DocumentArray([full(), Document(id="y")])
    assert documents.to_list() == documents.to_dict() == documents.to_dicts() == [full().to_dict(), {"id": "y"}]
    assert DocumentArray.from_json(documents.to_json()) == documents
    assert DocumentArray.from_list(documents.to_list()) == documents


def test_bytes_are_understood_beside_base64():
    assert Document.from_dict({"blob": b"raw"}).blob == b"raw"
    with pytest.raises(InvalidDocument, match="base64"):
        Document.from_dict({"blob": "not base64!"})


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"txt": "typo"}, "txt"),
        ({"text": 5}, "text"),
        ({"chunks": [{}, {"matches": [{"tensor": "x"}]}]}, "chunks[1].matches[0].tensor"),
        ({"chunks": [5]}, "chunks[0]"),
        ({"chunks": "text"}, "chunks"),
        ({"tags": 5}, "tags"),
        ({5: 5}, "5"),
    ],
)
def test_a_fault_is_named_by_its_path(fields, path):
    with pytest.raises(InvalidDocument) as refused:
        Document.from_dict(fields)
    assert refused.value.field == path


def test_a_fault_in_an_array_names_the_place():
    with pytest.raises(InvalidDocument) as refused:
        DocumentArray.from_list([{}, {"text": 1}])
    assert refused.value.field == "[1].text"


@pytest.mark.parametrize("text", ["", "{", "[1]", "5", '"x"', "[" * 100_000, b"\xff"])
def test_what_is_no_document_in_json_is_refused(text):
    with pytest.raises(InvalidDocument):
        Document.from_json(text)


def test_a_dict_is_due():
    with pytest.raises(InvalidDocument, match="dict"):
        Document.from_dict(["text"])


def test_nesting_without_end_is_refused_both_ways():
    document = Document()
    document.chunks.append(document)
    with pytest.raises(InvalidDocument, match="own chunk"):
        document.to_dict()
    told = {}
    for _ in range(20_000):
        told = {"chunks": [told]}
    with pytest.raises(InvalidDocument):
        Document.from_dict(told)
    while told:  # taken apart by hand: freeing 20,000 levels at once is Python's own trouble
        told = told["chunks"].pop()


def test_what_json_cannot_say_is_refused():
    with pytest.raises(InvalidDocument, match="JSON"):
        Document(tags={"when": {1, 2}}).to_json()


def test_an_array_of_another_library_is_told_as_numbers():
    assert Document(tensor=memoryview(np.arange(2))).to_dict()["tensor"] == [0, 1]
