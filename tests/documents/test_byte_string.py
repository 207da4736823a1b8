"""Documents as one byte string."""

import struct

import numpy as np
import pytest

from zflow.documents import Document, DocumentArray
from zflow.documents.byte_string import join, split
from zflow.errors import ProtocolError


def test_buffers_come_back():
    buffers = [b"body", b"", memoryview(b"array")]
    data = join(buffers)
    assert data.startswith(b"zflow-docs\x01\x03\x00\x00\x00")
    assert [bytes(view) for view in split(data)] == [b"body", b"", b"array"]


def test_what_is_read_is_a_writable_copy():
    data = bytearray(DocumentArray([Document(tensor=np.zeros(5000))]).to_bytes())
    made = DocumentArray.from_bytes(data)
    made[0].tensor[0] = 1
    assert DocumentArray.from_bytes(data)[0].tensor[0] == 0


GOOD = join([b"body", b"array"])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"zflow-docs",
        b"PK\x03\x04" + bytes(100),
        b"\x80\x04\x95pickle............",
        GOOD[:-1],
        GOOD + b"x",
        GOOD[:10] + b"\x02" + GOOD[11:],
        GOOD[:11] + struct.pack("<I", 2**32 - 1) + GOOD[15:],
        GOOD[:15] + struct.pack("<Q", 2**64 - 1) + GOOD[23:],
        GOOD[:15] + struct.pack("<2Q", 2**63, 2**63) + GOOD[31:],
    ],
    ids=["empty", "short", "zip", "pickle", "cut", "longer", "version", "count", "size", "sizes"],
)
def test_anything_else_is_refused(data):
    with pytest.raises(ProtocolError, match="documents as bytes"):
        split(data)


def test_a_byte_string_of_no_buffers_is_refused_as_documents():
    with pytest.raises(ProtocolError, match="no body"):
        DocumentArray.from_bytes(join([]))


def test_one_document_has_a_byte_string_too():
    document = Document(text="t")
    assert Document.from_bytes(document.to_bytes()) == document
    with pytest.raises(ProtocolError):
        Document.from_bytes(b"no document")
