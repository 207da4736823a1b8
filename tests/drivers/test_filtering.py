"""Only the documents that meet the conditions of a request pass, part by part."""

from __future__ import annotations

import pytest

from zflow.documents.document import Document
from zflow.documents.document_array import DocumentArray
from zflow.drivers.filtering import Sieve
from zflow.errors import InvalidRequest
from zflow.wire.conditions import encode_condition
from zflow.wire.frames import DOCUMENTS, PARAMETERS, part
from zflow.wire.header import Kind, Message
from zflow.wire.payload import encode_documents, encode_map

CALL = bytes(16)


def docs(*texts: str) -> DocumentArray:
    return DocumentArray([Document(text=text) for text in texts])


def sieve(*entries: list, parts: int = 1) -> Sieve:
    sent = [part(PARAMETERS, "", [encode_map({"a": 1})])]
    sent += [part(DOCUMENTS, "gateway", encode_documents(docs("x")))] * parts
    return Sieve(Message(Kind.REQUEST, CALL, parts=sent, extra={"!when": list(entries)}))


def is_not(text: str) -> bytes:
    return encode_condition({"text": {"$neq": text}})


def test_what_meets_all_conditions_passes_in_its_order():
    both = sieve([is_not("a"), None], [is_not("b"), None])
    assert both.pass_through(docs("c", "b", "d", "a", "c")).texts == ["c", "d", "c"]
    assert not both.has_kept_all_back


def test_a_condition_is_about_the_parts_that_it_names():
    some = sieve([is_not("a"), [1]], [is_not("b"), None], parts=2)
    assert some.pass_through(docs("a", "b")).texts == ["a"]
    assert some.pass_through(docs("a", "c")).texts == ["c"]


def test_an_array_of_which_all_pass_is_left_as_it_is():
    given = docs("a", "b")
    assert sieve([is_not("c"), None]).pass_through(given) is given


def test_it_tells_when_there_were_documents_and_none_has_passed():
    two = sieve([is_not("a"), None], parts=2)
    two.pass_through(docs("a"))
    assert two.has_kept_all_back
    two.pass_through(docs("b"))
    assert not two.has_kept_all_back
    nothing = sieve([is_not("a"), None])
    nothing.pass_through(docs())
    assert not nothing.has_kept_all_back


@pytest.mark.parametrize("entry", [[b"\xc1", None], [b"\x80", [1]], "text"])
def test_what_is_no_condition_is_an_invalid_request(entry):
    with pytest.raises(InvalidRequest, match="!when"):
        sieve(entry)
