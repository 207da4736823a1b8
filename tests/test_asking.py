"""Posting on the caller's own thread: how far inputs are read, when answers are heard, how a post ends."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from tests.support.executors import echo
from tests.support.peers import Gate, Served, hold_until
from zflow.asking import Asker
from zflow.client import Client
from zflow.documents.document import Document
from zflow.documents.document_array import DocumentArray
from zflow.errors import (
    CallbackError,
    ConfigError,
    DeadlineExceeded,
    ExecutorError,
    InvalidDocument,
    InvalidRequest,
    RemoteError,
    Unavailable,
)
from zflow.response import Response
from zflow.roles import head
from zflow.roles.contract import failure
from zflow.wire.frames import DOCUMENTS
from zflow.wire.header import Message
from zflow.wire.payload import decode_documents


def texts_of(request: Message) -> list[str]:
    """The texts of the documents in a request, as its peer sees them."""
    return [text for item in request.parts if item.kind == DOCUMENTS for text in decode_documents(item.buffers()).texts]


class Peer:
    """An echo that writes down what it was asked, and fails where a text says so."""

    def __init__(self) -> None:
        self.requests: list[Message] = []

    def __call__(self, request: Message) -> Message:
        self.requests.append(request)
        if "bad" in texts_of(request):
            told = ExecutorError("exec raised ValueError('bad')", node="exec", description="ValueError('bad')")
            return failure(request.call_id, told)
        return echo(request)


@pytest.fixture
def peer() -> Peer:
    return Peer()


@pytest.fixture
def client(peer: Peer) -> Iterator[Client]:
    with Served(peer) as served, Client(port=served.port) as client:
        yield client


class Reading:
    """A generator of documents, and how far it was read."""

    def __init__(self, count: int = 1000) -> None:
        self.count = 0
        self.was_closed = False
        self._most = count

    def __iter__(self) -> Iterator[Document]:
        try:
            while self.count < self._most:
                self.count += 1
                yield Document(text=str(self.count))
        finally:
            self.was_closed = True


# -- requests --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("inputs", [None, [], DocumentArray(), iter(())])
def test_no_inputs_are_one_request_without_documents(client, peer, inputs):
    assert len(client.post("/", inputs)) == 0
    [request] = peer.requests
    assert texts_of(request) == []


@pytest.mark.parametrize(
    "size, expected", [(100, [5]), (2, [2, 2, 1]), (1, [1] * 5), (5, [5]), (6, [5]), (0, [5]), (-3, [5])]
)
@pytest.mark.parametrize("kind", [list, DocumentArray, iter])
def test_inputs_are_cut_into_requests_of_the_size_that_was_given(client, peer, size, expected, kind):
    answered = client.post("/", kind([Document(text=letter) for letter in "abcde"]), request_size=size)
    assert sorted(answered.texts) == list("abcde")
    assert [len(texts_of(request)) for request in peer.requests] == expected


@pytest.mark.parametrize("size", ["2", None, 2.5, True])
def test_a_size_that_is_none_is_refused_before_anything_is_sent(client, peer, size):
    with pytest.raises(InvalidRequest, match="request_size: expected a whole number"):
        client.post("/", [Document(), Document()], request_size=size)
    assert peer.requests == []


def test_hundred_documents_make_a_request_by_default(client, peer):
    client.post("/", DocumentArray.empty(250))
    assert sorted(len(decode_documents(item.parts[0].buffers())) for item in peer.requests) == [50, 100, 100]


@pytest.mark.parametrize("name", ["index", "search", "update", "delete"])
def test_the_endpoints_of_every_day_have_methods(client, peer, name):
    assert getattr(client, name)(["a", "b"], request_size=1, results_in_order=True).texts == ["a", "b"]
    assert [request.endpoint for request in peer.requests] == [f"/{name}"] * 2


def test_a_post_without_anything_is_one_to_the_root(client, peer):
    client.post()
    client.post("")
    assert [request.endpoint for request in peer.requests] == ["/", ""]


# -- how far ahead -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("in_order", [False, True])
@pytest.mark.parametrize("prefetch, size, furthest", [(1, 1, 1), (3, 1, 3), (3, 2, 6), (None, 1, 64)])
def test_a_generator_is_read_no_further_than_its_prefetch(prefetch, size, furthest, in_order):
    """Given a peer that answers nothing yet, then so many requests are read and no more."""
    gate, inputs = Gate(), Reading()
    with Served(gate, credit=100) as served, Client(port=served.port) as client:
        post = threading.Thread(
            target=lambda: client.post(
                "/", inputs, request_size=size, prefetch=prefetch, results_in_order=in_order, on_done=lambda: None
            )
        )
        post.start()
        assert gate.entered.wait(5.0)
        hold_until(lambda: inputs.count >= furthest)
        time.sleep(0.05)  # if it went on reading, it would be much further by now
        assert inputs.count == furthest
        gate.open()
        post.join(20.0)
    assert inputs.count == 1000


def test_the_next_input_is_read_only_when_there_is_room_for_it(client):
    """So that a generator may go by the answers it got: with a prefetch of 1 each is there before the next is made."""
    answered: list[str] = []

    def conversation() -> Iterator[Document]:
        for number in range(5):
            assert len(answered) == number, "it was read ahead"
            yield Document(text=str(number))

    client.post("/", conversation(), request_size=1, prefetch=1, on_done=lambda r: answered.extend(r.docs.texts))
    assert answered == list("01234")


def test_answers_are_heard_while_a_slow_generator_takes_its_time(client):
    """A camera, say: the first answers must not wait until as many pictures were taken as may be on their way."""
    heard: list[str] = []
    heard_in_time = 0

    def slow() -> Iterator[Document]:
        nonlocal heard_in_time
        for number in range(6):
            time.sleep(0.02)
            heard_in_time = len(heard)
            yield Document(text=str(number))

    client.post("/", slow(), request_size=1, on_done=lambda r: heard.extend(r.docs.texts))
    assert heard == list("012345")
    assert heard_in_time >= 2


@pytest.mark.parametrize("prefetch", [0, -1, "3", 2.0, True])
def test_a_prefetch_that_is_none_is_refused(client, prefetch):
    with pytest.raises(InvalidRequest, match="prefetch: expected a whole number of at least 1"):
        client.post("/", prefetch=prefetch)


def test_results_in_order_are_in_the_order_of_the_inputs(client):
    inputs = [str(number) for number in range(300)]
    assert client.post("/", inputs, request_size=1, results_in_order=True).texts == inputs


# -- ends --------------------------------------------------------------------------------------------------------------


def test_a_post_that_fails_gives_up_what_is_open_and_the_next_one_is_sound(client, peer):
    """Given that the second of many requests fails, then the rest is cancelled and nothing of it reaches the next."""
    with pytest.raises(ExecutorError, match=r"ValueError\('bad'\)"):
        client.post("/", ["a", "bad", *map(str, range(200))], request_size=1)
    assert len(peer.requests) < 100
    for number in range(20):
        assert client.post("/", f"after {number}").texts == [f"after {number}"]


def test_a_generator_that_raises_ends_the_post_with_its_own_exception(client, peer):
    def broken() -> Iterator[str]:
        yield "a"
        raise LookupError("no more pictures")

    with pytest.raises(LookupError, match="no more pictures"):
        client.post("/", broken(), request_size=1)
    assert client.post("/", "after").texts == ["after"]


def test_a_generator_is_closed_when_the_post_ends_early(client):
    inputs = Reading()
    with pytest.raises(CallbackError):
        client.post("/", inputs, request_size=1, on_done=lambda r: 1 / 0)
    assert inputs.was_closed


def test_a_document_that_cannot_travel_ends_the_post_and_names_its_field(client):
    broken = Document(tags={"when": object()})
    with pytest.raises(InvalidDocument, match=r"\[0\]\.tags\['when'\]"):
        client.post("/", ["fine", broken], request_size=1)
    assert client.post("/", "after").texts == ["after"]


def test_an_interrupt_leaves_a_client_that_can_be_used(client):
    """Ctrl-C in the middle of a post, wherever it lands."""

    def interrupted() -> Iterator[str]:
        yield "a"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        client.post("/", interrupted(), request_size=1)
    with pytest.raises(KeyboardInterrupt):
        client.post("/", "b", on_done=_interrupt)
    assert client.post("/", "after").texts == ["after"]


def _interrupt(response: Response) -> None:
    raise KeyboardInterrupt


def test_an_interrupt_while_the_answer_is_awaited_is_not_waited_out():
    gate = Gate()
    with Served(gate) as served, Client(port=served.port) as client:

        def interrupt() -> None:
            assert gate.entered.wait(5.0)
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

        interrupter = threading.Thread(target=interrupt)
        interrupter.start()
        with pytest.raises(KeyboardInterrupt):
            client.post("/", "a")
        interrupter.join()
        gate.open()
        assert client.post("/", "after").texts == ["after"]


# -- callbacks and errors ----------------------------------------------------------------------------------------------


def test_on_error_hears_of_every_way_to_fail(client, monkeypatch):
    """User code, time, nobody there, refused: the same callback, with the response and a typed error."""
    monkeypatch.setattr(head, "PATIENCE", 0.2)
    gate = Gate()
    with Served(gate) as slow, Client(port=slow.port) as impatient, Client(port=1) as lonely:
        heard = {
            ExecutorError: _heard(client, "bad"),
            DeadlineExceeded: _heard(impatient, "late", timeout=0.1),
            Unavailable: _heard(lonely, "anybody?"),
        }
        gate.open()
    for kind, told in heard.items():
        [(response, error)] = told
        assert type(error) is kind
        assert isinstance(response, Response) and response.status.exception is error
        assert response.status.code == response.status.ERROR


def _heard(client: Client, text: str, **options: object) -> list[tuple[Response, RemoteError]]:
    heard: list[tuple[Response, RemoteError]] = []
    returned = client.post("/", text, on_error=lambda response, error: heard.append((response, error)), **options)
    assert len(returned) == 0
    return heard


def test_the_documents_that_failed_are_told_with_their_error(client):
    failed: list[str] = []
    done = client.post("/", ["a", "bad", "c"], request_size=1, on_error=lambda r: failed.extend(r.docs.texts))
    assert failed == ["bad"] and sorted(done.texts) == ["a", "c"]


def test_the_others_go_on_where_that_was_asked_for(client, peer):
    assert sorted(client.post("/", ["a", "bad", "c"], request_size=1, continue_on_error=True).texts) == ["a", "c"]
    assert len(peer.requests) == 3


def test_responses_tell_of_failures_too(client):
    responses = client.post(
        "/", ["a", "bad"], request_size=1, return_responses=True, continue_on_error=True, results_in_order=True
    )
    assert [response.status.code for response in responses] == [0, 1]


def test_a_callback_that_raises_is_told_by_name_with_its_own_exception_as_the_cause(client):
    def celebrate(response: Response) -> None:
        raise LookupError("no champagne")

    with pytest.raises(CallbackError, match=r"celebrate raised LookupError\('no champagne'\)") as caught:
        client.post("/", "a", on_done=celebrate)
    assert isinstance(caught.value.__cause__, LookupError)
    assert client.post("/", "after").texts == ["after"]


@pytest.mark.parametrize("name", ["on_done", "on_error", "on_always"])
@pytest.mark.parametrize("callback", [5, "print", object()])
def test_what_cannot_be_called_is_refused_before_anything_is_sent(client, peer, name, callback):
    with pytest.raises(InvalidRequest, match=f"{name}: expected a function"):
        client.post("/", "a", **{name: callback})
    assert peer.requests == []


def test_an_asynchronous_callback_is_refused_as_nobody_would_await_it(client, peer):
    async def on_done(response: Response) -> None: ...

    with pytest.raises(InvalidRequest, match="on_done: .* must not be async"):
        client.post("/", "a", on_done=on_done)
    assert peer.requests == []


# -- options -----------------------------------------------------------------------------------------------------------


def test_an_unknown_option_is_refused_with_the_nearest(client, peer):
    with pytest.raises(ConfigError, match="post has no option 'request_sice': did you mean 'request_size'"):
        client.post("/", "a", request_sice=3)
    with pytest.raises(ConfigError, match="no option 'on_dune': did you mean 'on_done'"):
        client.index("a", on_dune=print)
    assert peer.requests == []


def test_an_option_of_others_that_changes_nothing_is_accepted(client):
    assert client.post("/", "a", return_results=True).texts == ["a"]


@pytest.mark.parametrize("on", [None, 5, b"/", "index", "/a b", "/" + "x" * 200, "/a\n"])
def test_what_cannot_be_an_endpoint_is_refused(client, peer, on):
    with pytest.raises(InvalidRequest, match="is no endpoint"):
        client.post(on, "a")
    assert peer.requests == []


@pytest.mark.parametrize("parameters", [[1], "top_k", 5, [("a", 1)]])
def test_parameters_are_a_dict(client, peer, parameters):
    with pytest.raises(InvalidRequest, match="parameters: expected a dict"):
        client.post("/", "a", parameters=parameters)
    assert peer.requests == []


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), "1", True])
def test_a_time_limit_is_a_positive_number_of_seconds(client, timeout):
    with pytest.raises(InvalidRequest, match="timeout: expected a positive number of seconds"):
        client.post("/", "a", timeout=timeout)


@pytest.mark.parametrize("timeout", [3e6, 1e300, float("inf")])
def test_a_time_limit_of_years_is_as_good_as_none(client, timeout):
    assert client.post("/", "a", timeout=timeout).texts == ["a"]


def test_progress_is_drawn_and_its_line_ended_however_the_post_ends(client, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setitem(sys.modules, "rich.console", None)
    client.post("/", ["a", "b"], show_progress=True)
    assert "2/2 docs" in capsys.readouterr().err
    with pytest.raises(ExecutorError):
        client.post("/search", "bad", show_progress=True)
    assert "POST /search" in capsys.readouterr().err


def test_progress_is_shown_to_nobody_who_does_not_look(client, capsys):
    client.post("/", ["a", "b"], show_progress=True)
    assert capsys.readouterr() == ("", "")


def test_whoever_cannot_be_asked_says_so():
    with pytest.raises(NotImplementedError):
        Asker().post("/")
