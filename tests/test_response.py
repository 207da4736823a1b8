"""What one request came to: REPLYs and FAILUREs as Responses and typed errors."""

from __future__ import annotations

import pytest

from zflow import Document, DocumentArray
from zflow.errors import (
    BY_CODE,
    Cancelled,
    ExecutorError,
    ProtocolError,
    RemoteError,
    ResourceExhausted,
    Unavailable,
)
from zflow.response import Response, Status, error_of, read
from zflow.roles.contract import failure
from zflow.wire.frames import DETAILS, DOCUMENTS, RESULTS, part
from zflow.wire.header import Kind, Message
from zflow.wire.payload import encode_documents, encode_map

CALL = bytes(range(16))


def documents(*texts: str, label: str = "a", shard: int | None = None, ids: str = ""):
    docs = DocumentArray([Document(id=f"{ids}{number}", text=text) for number, text in enumerate(texts)])
    return part(DOCUMENTS, label, encode_documents(docs), shard)


def reply(*parts) -> Response:
    return read(Message(Kind.REPLY, CALL, parts=parts), DocumentArray(), {"asked": 1}, "/search")


def test_a_reply_has_documents_parameters_and_success() -> None:
    response = reply(documents("x", "y"))
    assert response.docs.texts == ["x", "y"] == response.data.docs.texts
    assert response.parameters == {"asked": 1} and response.results == {}
    assert (response.status.code, response.status.description) == (Status.SUCCESS, "")
    assert (response.request_id, response.endpoint) == (CALL.hex(), "/search")


def test_results_stand_beside_the_parameters_by_process() -> None:
    response = reply(
        documents("x"),
        part(RESULTS, "a/rep-0", [encode_map({"count": 1})]),
        part(RESULTS, "b/rep-1", [encode_map({"count": 2})]),
    )
    assert response.results == {"a/rep-0": {"count": 1}, "b/rep-1": {"count": 2}}
    assert response.parameters == {"asked": 1, "__results__": response.results}


def test_shards_of_a_node_are_reduced_and_branches_appended() -> None:
    both = reply(documents("", "one", shard=0), documents("zero", "other", shard=1))
    assert both.docs.texts == ["zero", "one"]
    apart = reply(documents("x", label="a"), documents("y", label="b"))
    assert apart.docs.texts == ["x", "y"]
    assert reply().docs.texts == []


def test_as_plain_data() -> None:
    plain = reply(documents("x")).to_dict()
    assert plain["header"]["status"] == {"code": 0, "description": ""}
    assert plain["parameters"] == {"asked": 1}
    assert plain["data"][0]["text"] == "x"


def test_a_failure_keeps_the_documents_that_were_asked() -> None:
    asked = DocumentArray([Document(text="mine")])
    error = ExecutorError(
        "a raised ValueError('v')",
        node="a",
        peer="a/rep-0",
        name="ValueError",
        description="ValueError('v')",
        traceback="Traceback...",
    )
    response = read(failure(CALL, error), asked, {}, "/")
    assert response.docs is asked
    assert (response.status.code, response.status.description) == (Status.ERROR, "ValueError('v')")
    found = response.status.exception
    assert isinstance(found, ExecutorError)
    assert (found.node, found.peer, found.name, found.traceback) == ("a", "a/rep-0", "ValueError", "Traceback...")
    assert "a raised ValueError('v')" in str(found) and "Traceback..." in str(found)


@pytest.mark.parametrize("kind", list(BY_CODE.values()), ids=lambda kind: kind.__name__)
def test_every_error_travels_as_itself(kind: type[RemoteError]) -> None:
    sent = kind("what happened", node="n", peer="p", maybe_executed=True)
    found = error_of(failure(CALL, sent))
    assert type(found) is kind
    assert (found.args[0], found.node, found.peer, found.maybe_executed) == ("what happened", "n", "p", True)


def test_whether_it_ran_and_when_to_ask_again_travel_too() -> None:
    started = error_of(failure(CALL, Unavailable("lost", maybe_executed=True)))
    fresh = error_of(failure(CALL, Unavailable("nobody"), not_started=True))
    assert (started.maybe_executed, fresh.maybe_executed) == (True, False)
    full = error_of(failure(CALL, ResourceExhausted("full", retry_after=0.25)))
    assert isinstance(full, ResourceExhausted) and full.retry_after == 0.25


def test_the_path_and_the_attempt_travel_and_are_told_where_they_say_more_than_the_message() -> None:
    told = failure(CALL, ExecutorError("b (b/rep-1) raised ValueError('x')", traceback="Traceback: all of it"))
    told.extra["path"] = [["tcp://127.0.0.1:1", 1], ["a/rep-0", 1], ["b/rep-1", 3]]
    error = error_of(told)
    assert (error.path, error.attempt) == (("a/rep-0", "b/rep-1"), 3)
    first, *_, last = str(error).splitlines()
    assert first == "b (b/rep-1) raised ValueError('x') (by way of a/rep-0 > b/rep-1, attempt 3)"
    assert last == "Traceback: all of it"
    told.extra["path"] = [["b/rep-1", 1]]
    assert str(error_of(told)).splitlines()[0] == "b (b/rep-1) raised ValueError('x')"


@pytest.mark.parametrize("foreign", [[], [[]], [["a"]], [[1, 2]], ["ab"], [["a", "x"]], [["a", 2.5, None]], [None]])
def test_a_foreign_path_does_no_harm(foreign: list) -> None:
    told = failure(CALL, Unavailable("gone"))
    told.extra["path"] = foreign
    error = error_of(told)
    assert error.path in ((), ("a",)) and type(error.attempt) is int


@pytest.mark.parametrize(
    "details",
    [{}, {"code": 999, "message": 3}, {"code": "x"}, {"code": 7, "retry_after": "soon"}, {"code": 2, "name": [1]}],
)
def test_foreign_details_become_some_error_and_nothing_else(details: dict) -> None:
    message = Message(Kind.FAILURE, CALL, parts=[part(DETAILS, "x", [encode_map(details)])])
    assert isinstance(error_of(message), RemoteError)
    assert isinstance(error_of(Message(Kind.FAILURE, CALL)), RemoteError)


def test_a_description_is_what_a_programmer_would_print() -> None:
    assert Status(Cancelled("gone")).description == "Cancelled('gone')"
    assert repr(Status()) == "Status(SUCCESS)" and "gone" in repr(Status(Cancelled("gone")))


def test_documents_that_cannot_be_read_are_a_protocol_error() -> None:
    with pytest.raises(ProtocolError):
        reply(part(DOCUMENTS, "a", [b"\xc1"]))


# -- shards that are missing -------------------------------------------------------------------------------------------


def test_an_answer_names_the_shards_that_it_lacks_and_why() -> None:
    message = Message(Kind.REPLY, CALL, extra={"missing": {"x/shard-1": Unavailable.code, "x/shard-2": 999}})
    response = read(message, DocumentArray(), {}, "/search")
    assert response.missing == {"x/shard-1": "Unavailable", "x/shard-2": "RemoteError"}
    assert response.header["missing"] == response.missing == response.to_dict()["header"]["missing"]
    assert "without x/shard-1, x/shard-2" in repr(response)
    assert response.error is None


def test_a_whole_answer_lacks_nothing_and_says_nothing_of_it() -> None:
    response = reply(documents("x"))
    assert response.missing == {} and "missing" not in response.header and "without" not in repr(response)


@pytest.mark.parametrize("foreign", [{1: 2}, {"x": "y"}, {"x": None}])
def test_foreign_names_and_codes_do_no_harm(foreign: dict) -> None:
    response = read(Message(Kind.REPLY, CALL, extra={"missing": foreign}), DocumentArray(), {}, "/")
    assert set(response.missing.values()) <= {"RemoteError"} and all(isinstance(name, str) for name in response.missing)


# -- order -------------------------------------------------------------------------------------------------------------


def filtered(sent: str, came: str, **extra) -> DocumentArray:
    asked = DocumentArray([Document(id=id) for id in sent])
    answer = DocumentArray([Document(id=id, text=id.upper()) for id in came])
    message = Message(Kind.REPLY, CALL, parts=[part(DOCUMENTS, "a", encode_documents(answer))], extra=extra)
    return read(message, asked, {}, "/").docs


def test_documents_that_went_ways_of_their_own_come_back_in_the_order_in_which_they_were_sent() -> None:
    docs = filtered("abcd", "bdac", filtered=True)
    assert (docs.ids, docs.texts) == (list("abcd"), list("ABCD"))
    assert filtered("abcd", "bdac").ids == list("bdac")


def test_those_that_were_not_sent_come_last_and_those_that_are_gone_leave_no_gap() -> None:
    assert filtered("abcd", "xdbyb", filtered=True).ids == list("bbdxy")
    assert filtered("", "ba", filtered=True).ids == list("ba")


def test_what_is_in_order_stays_packed() -> None:
    assert filtered("abcd", "abdx", filtered=True).is_packed
