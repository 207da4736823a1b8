"""The limits: what is just within them comes through the encoder and the decoder, what is beyond neither takes."""

import msgpack
import pytest

from zflow.documents import Document, DocumentArray, limits
from zflow.documents.packing import pack
from zflow.documents.unpacking import unpack
from zflow.errors import InvalidDocument, ProtocolError


def test_documents():
    documents = DocumentArray.empty(limits.MAX_DOCUMENTS)
    assert unpack(pack(documents._table())).count == limits.MAX_DOCUMENTS
    documents.append("one more")
    with pytest.raises(InvalidDocument, match="65537 documents, of at most 65536: send fewer"):
        pack(documents._table())
    with pytest.raises(ProtocolError, match="65537 documents"):
        unpack([msgpack.packb({"n": limits.MAX_DOCUMENTS + 1, "id": documents.ids})])


def test_items():
    many = list(range(limits.MAX_ITEMS // 2))
    documents = DocumentArray([Document(id="a", tags={"x": many})])
    assert unpack(pack(documents._table())).values["tags"] == [{"x": many}]
    documents[0].tags["y"] = many
    with pytest.raises(InvalidDocument, match="single values"):
        pack(documents._table())
    with pytest.raises(ProtocolError, match="more than 1000000 items"):
        unpack([msgpack.packb({"n": 1, "id": ["a"], "tags": [{"x": many, "y": many}]})])


def test_text():
    text = "x" * limits.MAX_STRING
    documents = DocumentArray([Document(id="a", text=text)])
    assert unpack(pack(documents._table())).values["text"] == [text]
    documents[0].text += "x"
    with pytest.raises(InvalidDocument, match="bytes of text") as refused:
        pack(documents._table())
    assert refused.value.field == "[0].text"
    with pytest.raises(ProtocolError, match="max_str_len"):
        unpack([msgpack.packb({"n": 1, "id": ["a"], "text": [documents[0].text]})])


def test_body():
    documents = DocumentArray([Document(text="x" * limits.MAX_STRING) for _ in range(4)])
    with pytest.raises(InvalidDocument, match="67108864: send fewer"):
        pack(documents._table())
    with pytest.raises(ProtocolError, match="a body of 67108865 bytes"):
        unpack([memoryview(bytes(limits.MAX_BODY + 1))])


def test_buffers():
    documents = DocumentArray([Document(blob=bytes(limits.MAX_INLINE + 1)) for _ in range(limits.MAX_BUFFERS)])
    assert len(pack(documents._table())) == 1 + limits.MAX_BUFFERS
    documents.append(Document(blob=bytes(limits.MAX_INLINE + 1)))
    with pytest.raises(InvalidDocument, match="send fewer documents"):
        pack(documents._table())


def test_middling_values_go_inside_when_there_are_many():
    documents = DocumentArray([Document(blob=bytes(limits.INLINE + 1)) for _ in range(2 * limits.MAX_BUFFERS)])
    buffers = pack(documents._table())
    assert len(buffers) == 1 + limits.MAX_BUFFERS // 2
    assert DocumentArray._of_columns(unpack(buffers)) == documents
