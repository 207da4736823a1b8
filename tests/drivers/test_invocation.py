"""What a request brings for one call of an endpoint, and what a method's values mean as a message."""

from __future__ import annotations

import pytest

from zflow.documents.document import Document
from zflow.documents.document_array import DocumentArray
from zflow.drivers.invocation import Call, parameters_for, pass_through
from zflow.endpoints import endpoints_of, requests
from zflow.executor import Executor
from zflow.response import read
from zflow.wire.frames import DOCUMENTS, PARAMETERS, part
from zflow.wire.header import Kind, Message
from zflow.wire.payload import encode_documents, encode_map

CALL = bytes(range(16))


class Writer(Executor):
    @requests
    def write(self, docs, **kwargs):
        """Its values are made up by the tests."""


def call(*texts: str, **extra: object) -> Call:
    parts = [
        part(DOCUMENTS, "gateway", encode_documents(DocumentArray([Document(text=text) for text in texts]))),
        part(PARAMETERS, "", [encode_map({"top_k": 3})]),
    ]
    request = Message(Kind.REQUEST, CALL, "/", parts=parts, extra=dict(extra))
    return Call(request, endpoints_of(Writer)["/default"], "writer/rep-1", "writer")


def test_a_call_tells_what_its_caller_takes():
    assert not call().takes_pieces and call().granted is None
    assert call(partial=True, items=3).takes_pieces and call(partial=True, items=3).granted == 3


def test_a_piece_that_is_a_dict_has_no_documents_and_a_document_no_results():
    for yielded, texts, results in (({"n": 1}, [], {"n": 1}), (Document(text="a"), ["a"], None)):
        made, told = call("in").made_of_piece(yielded)
        assert (made.texts, told) == (texts, results)
        said = call("in").message(Kind.PARTIAL, (made, told))
        response = read(said, DocumentArray(), {}, "/")
        assert response.docs.texts == texts
        assert response.results == ({"writer/rep-1": results} if results else {})


def test_what_a_generator_yielded_is_gathered_in_order_and_later_results_win():
    yielded = [Document(text="a"), {"n": 1, "m": 0}, DocumentArray([Document(text="b")]), {"n": 2}]
    made, results = call("in").gathered(yielded, {"m": 1})
    assert (made.texts, results) == (["a", "b"], {"n": 2, "m": 1})
    assert call("in").gathered([])[1] is None


def test_a_wrong_value_is_refused_by_method_and_endpoint():
    with pytest.raises(TypeError, match=r"Writer.write \(endpoint /default\) returned int"):
        call().made_of(3)
    with pytest.raises(TypeError, match="a dict for one Document"):
        call().made_of_doc({"n": 1}, Document())


def test_documents_pass_through_unopened_where_nobody_answers():
    parts = [part(DOCUMENTS, "a", [b"opaque"]), part(PARAMETERS, "", [b"\x80"])]
    reply = pass_through(Message(Kind.REQUEST, CALL, "/", parts=parts))
    assert [(item.kind, item.frames) for item in reply.parts] == [(DOCUMENTS, parts[0].frames)]


# -- parameters --------------------------------------------------------------------------------------------------------

MINE = "mine"
OTHERS = ("mine", "other", "my__own")


@pytest.mark.parametrize(
    "given, seen",
    [
        ({}, {}),
        ({"a": 1}, {"a": 1}),
        ({"mine__a": 1}, {"a": 1}),
        ({"other__a": 1}, {}),
        ({"stranger__a": 1}, {"stranger__a": 1}),
        ({"mine__a": 1, "a": 2}, {"a": 1}),
        ({"a": 2, "mine__a": 1}, {"a": 1}),
        ({"mine": {"a": 1}}, {"a": 1}),
        ({"other": {"a": 1}}, {}),
        ({"stranger": {"a": 1}}, {"stranger": {"a": 1}}),
        ({"mine": {"a": 1}, "a": 2}, {"a": 1}),
        ({"mine": 5, "other": 6}, {"mine": 5, "other": 6}),
        ({"mine": {}}, {}),
        ({"mine__a__b": 1}, {"a__b": 1}),
        ({"mine__": 1, "__a": 2, "__": 3}, {"mine__": 1, "__a": 2, "__": 3}),
        ({"mine___a": 1}, {"_a": 1}),
        ({"my__own__a": 1}, {}),
        ({"my__a": 1}, {"my__a": 1}),
        ({"mine__a": {"b": 1}}, {"a": {"b": 1}}),
        ({"mine": {"other__a": 1}}, {"other__a": 1}),
    ],
)
def test_what_an_executor_sees_of_the_parameters(given, seen):
    before = repr(given)
    assert parameters_for(given, MINE, OTHERS) == seen
    assert repr(given) == before


def test_a_name_with_two_underscores_is_reached_as_well():
    assert parameters_for({"my__own__a": 1, "my__own": {"b": 2}}, "my__own", ("my__own", "my")) == {"a": 1, "b": 2}
    assert parameters_for({"my__own__a": 1}, "my", ("my__own", "my")) == {}
    assert parameters_for({"my__other": 1}, "my", ("my__own", "my")) == {"other": 1}


def test_without_a_flow_only_its_own_prefix_means_something():
    assert parameters_for({"mine__a": 1, "other__a": 2, "other": {"b": 3}}, MINE) == {
        "a": 1,
        "other__a": 2,
        "other": {"b": 3},
    }
