"""The fields of a Document beside id and text: one dict that exists only when needed."""

import pytest

from zflow.documents import Document, DocumentArray
from zflow.documents.fields import FIELDS, check_weight, unknown_field, within
from zflow.errors import InvalidDocument


def test_every_field_can_be_read_and_made_missing():
    document = Document()
    for name in FIELDS:
        getattr(document, name)
        setattr(document, name, None)
    assert document.non_empty_fields == ("id",)


def test_a_document_with_id_and_text_has_no_dict():
    assert Document(id="a", text="t")._rest is None


def test_fields_have_docstrings_on_the_class():
    for name in FIELDS:
        assert len(getattr(Document, name).__doc__) > 10


def test_a_blob_off_the_wire_becomes_bytes_when_it_is_read():
    document = Document()
    document._rest = {"blob": memoryview(bytearray(b"frame"))}
    assert document.non_empty_fields == ("id", "blob")
    assert document.blob == b"frame" and type(document.blob) is bytes
    assert document.blob is document.blob


def test_a_blob_that_could_change_is_copied():
    given = bytearray(b"abc")
    document = Document(blob=given)
    given[0] = 0
    assert document.blob == b"abc"


def test_a_document_array_given_as_chunks_is_kept():
    chunks = DocumentArray([Document()])
    assert Document(chunks=chunks).chunks is chunks


def test_one_document_is_enough_for_chunks():
    child = Document()
    assert Document(chunks=child).chunks[0] is child


def test_tags_take_any_mapping_but_only_str_keys():
    from types import MappingProxyType

    assert Document(tags=MappingProxyType({"a": 1})).tags == {"a": 1}
    with pytest.raises(InvalidDocument, match="keys are str") as refused:
        Document(tags={1: 2})
    assert refused.value.field == "tags[1]"


def test_a_weight_that_only_seems_a_number_is_refused():
    class Odd:
        def __float__(self):
            raise ValueError

    with pytest.raises(InvalidDocument, match="a number"):
        check_weight("weight", Odd())


def test_within_prefixes_the_path():
    inner = within("[3]", unknown_field("txt"))
    assert within("chunks", inner).field == "chunks[3].txt"
    assert unknown_field(5).field == "5"
