"""Inputs 59 to 65: documents that are too many, too deep or too long, or whose words mean something elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import msgpack
import pytest

from tests.hostile.door import SERVED, Door, asking, body, opened, rows
from zflow.documents import Document, DocumentArray
from zflow.documents.limits import MAX_DOCUMENTS, MAX_STRING
from zflow.errors import InvalidDocument, InvalidRequest, ProtocolError
from zflow.wire.payload import decode_documents, encode_documents

INVALID = "InvalidRequest"
DUNDERS = ("__class__", "__dict__", "__proto__", "__init__", "__reduce__", "__globals__", "_rest", "id", "text")


@pytest.fixture(scope="module")
def door() -> Iterator[Door]:
    """One for all: what one input has done to it would show with the next."""
    with opened() as door:
        yield door


def many(count: int) -> bytes:
    """The body of so many documents."""
    return msgpack.packb({"n": count, "id": [str(number) for number in range(count)]})  # type: ignore[no-any-return]


def nested(depth: int, name: str = "chunks") -> dict[str, Any]:
    """Columns of a document that has one within it, and so on."""
    inner = {"n": 1, "id": ["a"], **(nested(depth - 1, name) if depth else {})}
    return {name: [[1], inner]}


def deep(depth: int) -> Any:
    """Maps within maps."""
    return {"x": deep(depth - 1)} if depth else 1


CASES = [
    ("59 65,537 documents", [many(MAX_DOCUMENTS + 1)], INVALID),
    ("59 more documents than have ids", [body(n=MAX_DOCUMENTS)], INVALID),
    ("59 2^32 documents", [body(n=1 << 32)], INVALID),
    ("59 documents without ids", [msgpack.packb({"n": 2})], INVALID),
    ("60 chunks 4 deep", [body(**nested(3))], SERVED),
    ("60 chunks 5 deep", [body(**nested(4))], INVALID),
    ("60 matches 5 deep", [body(**nested(4, "matches"))], INVALID),
    ("60 chunks 200 deep", [body(**nested(200))], INVALID),
    ("60 a document in itself, by its id", [body(**nested(2))], SERVED),
    ("60 counts that do not add up", [body(chunks=[[2], {"n": 1, "id": ["b"]}])], INVALID),
    (
        "60 counts that are negative",
        [msgpack.packb({"n": 2, "id": ["a", "b"], "chunks": [[2, -1], {"n": 1, "id": ["c"]}]})],
        INVALID,
    ),
    ("60 a million counts for one document", [body(chunks=[[0] * 100_000, {"n": 0}])], INVALID),
    ("61 an id of 1 MB", [body(id=["i" * 1_000_000])], INVALID),
    ("61 an id of 257 bytes", [body(id=["i" * 257])], INVALID),
    ("61 an id of 129 letters in 258 bytes", [body(id=["\u00e9" * 129])], INVALID),
    ("61 an empty id", [body(id=[""])], INVALID),
    ("61 an id with a NUL and a newline", [body(id=["a\0\n"])], SERVED),
    ("61 an id that is a path", [body(id=["../../etc/passwd"])], SERVED),
    ("62 a uri of a file", [body(uri=["file:///etc/passwd"])], SERVED),
    ("62 a uri of the host's own network", [body(uri=["http://169.254.169.254/latest/meta-data"])], SERVED),
    ("63 a data: uri that is too long", [body(uri=["data:," + "x" * MAX_STRING])], INVALID),
    ("63 a data: uri of 1 MB", [body(uri=["data:text/plain;base64," + "eA==" * 250_000])], SERVED),
    ("64 both text and blob", [body(text=["x"], blob=[b"y"])], SERVED),
    ("64 text, blob and tensor", [body(text=["x"], blob=[b"y"], tensor=[[None, "u1", [1], b"z"]])], SERVED),
    ("65 tags 1,000 deep", [body(tags=[deep(500)])], INVALID),
    ("65 tags 17 deep", [body(tags=[deep(17)])], INVALID),
    *[(f"65 {name} in tags", [body(tags=[{name: "x"}])], SERVED) for name in DUNDERS],
    *[
        (f"65 a column called {name}", [body(**{name: ["x"]})], SERVED)
        for name in DUNDERS
        if name not in ("id", "text")
    ],
    *[(f"65 {name} in scores", [body(scores=[{name: 1.0}])], SERVED) for name in DUNDERS],
]


@pytest.mark.parametrize(("buffers", "outcome"), rows(*CASES))
def test_documents_have_one_outcome(door: Door, buffers: list[bytes], outcome: str) -> None:
    assert door.outcome(*asking(*buffers)) == outcome
    assert door.serves()


@pytest.mark.parametrize("uri", rows(("62 a file", "file:///etc/hostname"), ("62 an address", "http://127.0.0.1:1/x")))
def test_nothing_is_fetched(uri: str) -> None:
    """No file is opened and nobody is called while documents with a uri are read, looked at, written and described."""
    watched: list[tuple[Any, ...]] = []
    _watchers.append(watched)
    try:
        found = decode_documents([body(uri=[uri], mime_type=["text/html"])])
        (document,) = found
        assert document.uri == uri
        document.to_dict(), found.to_json(), str(document), encode_documents(found), found.find({"uri": uri})
    finally:
        _watchers.remove(watched)
    assert [event for event in watched if event[0] in ("open", "socket.connect", "socket.getaddrinfo", "os.exec")] == []


_watchers: list[list[tuple[Any, ...]]] = []
sys.addaudithook(lambda event, arguments: [watched.append((event, *arguments)) for watched in _watchers] and None)


@pytest.mark.parametrize("name", rows(*[(f"65 {name} is a key and nothing else", name) for name in DUNDERS]))
def test_names_of_keys_are_no_names_of_attributes(name: str) -> None:
    (document,) = decode_documents([body(tags=[{name: "x"}], scores=[{name: 1.0}])])
    assert type(document) is Document and document.tags == {name: "x"} and document.id == "a"
    assert len(DocumentArray([document]).find({f"tags__{name}": "x"})) == 1
    assert len(DocumentArray([document]).find({f"text__{name}": {"$exists": True}})) == 0
    assert document.scores[name].value == 1.0
    with pytest.raises((InvalidDocument, AttributeError, ValueError, TypeError)):
        Document(**{f"__{name}__": 1})


@pytest.mark.parametrize("depth", rows(("65 tags of depth 1,000, made here", 1_000), ("65 tags of 17", 17)))
def test_what_cannot_travel_is_refused_at_home(depth: int) -> None:
    tags: Any = 1
    for _ in range(depth):
        tags = {"x": tags}
    with pytest.raises((InvalidDocument, InvalidRequest, ProtocolError), match="tags"):
        encode_documents(DocumentArray([Document(tags=tags)]))


@pytest.mark.parametrize("length", rows(("61 an id of 1 MB, made here", 1_000_000), ("61 an id of 257", 257)))
def test_an_id_that_cannot_travel_is_refused_at_home(length: int) -> None:
    with pytest.raises(InvalidDocument, match="id"):
        encode_documents(DocumentArray([Document(id="i" * length)]))
