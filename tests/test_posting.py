"""What `post` means: requests made, callbacks called, answers gathered, errors raised. No peer is needed for that."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from zflow import Document, DocumentArray, Response
from zflow.errors import CallbackError, ExecutorError, InvalidDocument, InvalidRequest, ProtocolError
from zflow.posting import Posting
from zflow.roles.contract import failure
from zflow.wire.frames import DOCUMENTS, PARAMETERS, part
from zflow.wire.header import Kind, Message
from zflow.wire.payload import decode_map


def ask(posting: Posting, *texts: str) -> list[Message]:
    return [posting.request(DocumentArray([Document(text=text)])) for text in texts]


def reply(request: Message) -> Message:
    return Message(Kind.REPLY, request.call_id, parts=[item for item in request.parts if item.kind == DOCUMENTS])


def broken(request: Message) -> Message:
    return failure(request.call_id, ExecutorError("it broke", description="ValueError('v')"))


def settle(posting: Posting, *outcomes: Message) -> None:
    for outcome in outcomes:
        for response in posting.settle(outcome):
            posting.keep(response)


def test_requests_carry_endpoint_parameters_target_and_time() -> None:
    posting = Posting("/search", None, parameters={"top_k": 3}, target_executor="enc.*", timeout=1.5)
    first, second = ask(posting, "a", "b")
    assert (first.endpoint, first.budget, first.extra) == ("/search", 1_500_000, {"!target": "enc.*"})
    assert decode_map(first.parts[1].buffers()[0]) == {"top_k": 3}
    assert first.parts[1] is second.parts[1]  # encoded once for all requests
    assert first.call_id != second.call_id


def test_pieces_that_came_as_one_are_taken_one_by_one_and_more_is_asked_for_when_half_are_taken() -> None:
    posting = Posting("/", None, items=4)
    [request] = ask(posting, "a")
    assert request.extra == {"partial": True, "items": 4, "gathered": True}
    parts = [item for text in "xyz" for item in ask(Posting("/", None), text)[0].parts]
    whole = Message(Kind.PARTIAL, request.call_id, parts=parts, extra={"pieces": [1, 1, 1]})
    taken = [(response.docs.texts, more and more.extra) for response, more in posting.pieces(whole)]
    assert taken == [(["x"], None), (["y"], {"items": 2}), (["z"], None)]


@pytest.mark.parametrize("timeout", [None, float("inf"), 1e300])
def test_no_time_limit_is_no_budget(timeout: float | None) -> None:
    assert ask(Posting("/", None, timeout=timeout), "a")[0].budget is None


def test_without_parameters_there_is_no_part_for_them() -> None:
    [request] = ask(Posting("/", None), "a")
    assert [item.kind for item in request.parts] == [DOCUMENTS]
    assert PARAMETERS not in [item.kind for item in request.parts] and request.budget is None


def test_documents_come_back_in_the_order_of_completion_or_of_the_inputs() -> None:
    for in_order, expected in ((False, ["b", "a"]), (True, ["a", "b"])):
        posting = Posting("/", None, results_in_order=in_order)
        first, second = ask(posting, "a", "b")
        settle(posting, reply(second), reply(first))
        assert posting.result().texts == expected


def test_responses_where_asked_for() -> None:
    posting = Posting("/", None, return_responses=True)
    settle(posting, *map(reply, ask(posting, "a")))
    [response] = posting.result()
    assert isinstance(response, Response) and response.docs.texts == ["a"]


def test_an_answer_without_some_shards_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    posting = Posting("/search", None, return_responses=True)
    [request] = ask(posting, "a")
    answer = reply(request)
    answer.extra["missing"] = {"x/shard-1": 6}
    with caplog.at_level(logging.WARNING, "zflow"):
        settle(posting, answer)
    assert "was answered without x/shard-1 (Unavailable)" in caplog.text
    assert posting.result()[0].missing == {"x/shard-1": "Unavailable"}


def test_callbacks_take_the_place_of_the_result() -> None:
    heard: list[Any] = []
    posting = Posting(
        "/",
        None,
        on_done=lambda response: heard.append(("done", response.docs.texts)),
        on_error=lambda response, error: heard.append(("error", response.status.description, type(error).__name__)),
        on_always=lambda: heard.append("always"),
    )
    good, bad = ask(posting, "good", "bad")
    settle(posting, reply(good), broken(bad))
    assert heard == [("done", ["good"]), "always", ("error", "ValueError('v')", "ExecutorError"), "always"]
    assert posting.result() is None


def test_on_error_alone_leaves_the_others_in_the_result() -> None:
    posting = Posting("/", None, on_error=lambda: None)
    good, bad = ask(posting, "good", "bad")
    settle(posting, broken(bad), reply(good))
    assert posting.result().texts == ["good"]


@pytest.mark.parametrize(
    ("callback", "count"),
    [(lambda: 0, 0), (lambda r: 1, 1), (lambda r, e: 2, 2), (lambda r, e=None, *, more=3: 2, 2), (lambda *all: 2, 2)],
)
def test_a_callback_gets_as_many_arguments_as_it_accepts(callback: Any, count: int) -> None:
    given: list[int] = []
    wrapped = {
        0: lambda: given.append(0),
        1: lambda response: given.append(1),
        2: lambda response, error: given.append(2),
    }[count]
    assert callback(*[None] * count) == count
    posting = Posting("/", None, on_always=wrapped)
    settle(posting, *map(reply, ask(posting, "a")))
    assert given == [count]


def test_a_builtin_gets_the_response(capsys: pytest.CaptureFixture[str]) -> None:
    posting = Posting("/", None, on_done=print)
    settle(posting, *map(reply, ask(posting, "a")))
    assert capsys.readouterr().out.startswith("Response('/'")


def test_an_error_that_nobody_handles_is_raised() -> None:
    posting = Posting("/", None)
    with pytest.raises(ExecutorError, match="it broke"):
        settle(posting, *map(broken, ask(posting, "a")))


def test_continue_on_error_logs_it_and_leaves_its_documents_out(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("zflow").propagate = True
    posting = Posting("/", None, continue_on_error=True)
    good, bad = ask(posting, "good", "bad")
    settle(posting, broken(bad), reply(good))
    assert posting.result().texts == ["good"]
    assert "it broke" in caplog.text


def test_a_callback_that_raises_ends_the_post_unless_it_shall_go_on() -> None:
    def raising(response: Response) -> None:
        raise KeyError("mine")

    posting = Posting("/", None, on_done=raising)
    with pytest.raises(CallbackError, match="raising raised KeyError") as raised:
        settle(posting, *map(reply, ask(posting, "a")))
    assert isinstance(raised.value.__cause__, KeyError)
    going_on = Posting("/", None, on_done=raising, continue_on_error=True)
    settle(going_on, *map(reply, ask(going_on, "a", "b")))


def test_an_answer_that_cannot_be_read_is_an_error_of_its_own() -> None:
    posting = Posting("/", None)
    [request] = ask(posting, "a")
    nonsense = Message(Kind.REPLY, request.call_id, parts=[part(DOCUMENTS, "a", [b"\xc1"])])
    with pytest.raises(ProtocolError, match="cannot be read") as raised:
        settle(posting, nonsense)
    assert raised.value.maybe_executed


def test_an_answer_to_another_question_is_nothing() -> None:
    posting = Posting("/", None)
    settle(posting, Message(Kind.REPLY, bytes(16)))
    assert posting.result().texts == [] and posting.caller.dropped == 1


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"on": "no slash"}, "is no endpoint"),
        ({"on": "/a b"}, "is no endpoint"),
        ({"prefetch": 0}, "prefetch: expected a whole number of at least 1, got 0"),
        ({"prefetch": True}, "prefetch"),
        ({"timeout": 0}, "timeout: expected a positive number of seconds, got 0"),
        ({"timeout": float("nan")}, "timeout"),
        ({"timeout": "1"}, "timeout"),
        ({"parameters": {"x": {1, 2}}}, "x"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_sent(options: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidRequest, match=told):
        Posting(**{"on": "/", "inputs": None, **options})


def test_a_document_that_cannot_travel_names_its_field() -> None:
    document = Document()
    document.tags["x"] = object()
    with pytest.raises(InvalidDocument, match="tags"):
        Posting("/", None).request(DocumentArray([document]))
