"""The Client: where it asks, from how many threads, how soon it knows that nobody answers, and what it leaves open."""

from __future__ import annotations

import gc
import http.server
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from tests.support.executors import echo
from tests.support.peers import Gate, Served, hold_until, served_by_child
from zflow.asynchronous import AsyncClient
from zflow.client import Client
from zflow.config import keys
from zflow.documents.document import Document
from zflow.documents.document_array import DocumentArray
from zflow.drivers.sockets import new_identity
from zflow.errors import ConfigError, DeadlineExceeded, Unavailable
from zflow.wire.header import Message

ON_TIME = 0.1  # seconds after its deadline until a call must have ended, whatever its peer does


@pytest.fixture
def served() -> Iterator[Served]:
    with Served() as served:
        yield served


@pytest.fixture
def client(served: Served) -> Iterator[Client]:
    with Client(port=served.port) as client:
        yield client


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def tasks() -> int:
    return len(os.listdir("/proc/self/task"))


# -- addresses -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host, port, address",
    [
        ("127.0.0.1", 5000, "tcp://127.0.0.1:5000"),
        ("localhost", 5000, "tcp://localhost:5000"),
        ("example.com:5000", None, "tcp://example.com:5000"),
        ("tcp://example.com:5000", None, "tcp://example.com:5000"),
        ("example.com:5000", 5000, "tcp://example.com:5000"),
        ("tcp://example.com", 5000, "tcp://example.com:5000"),
        ("0.0.0.0", 5000, "tcp://127.0.0.1:5000"),
        ("[::1]", 5000, "tcp://[::1]:5000"),
        ("[::1]:5000", None, "tcp://[::1]:5000"),
        ("my_service", 1, "tcp://my_service:1"),
        ("127.0.0.1", 65535, "tcp://127.0.0.1:65535"),
    ],
)
def test_host_and_port_are_understood_in_every_spelling(host, port, address):
    with Client(host, port, insecure=True) as client:
        assert client.address == address
        assert repr(client) == f"Client({address!r})"
    assert AsyncClient(host, port, insecure=True).address == address


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_another_host_takes_a_server_key_or_a_word(kind, tmp_path):
    with pytest.raises(ConfigError, match=r"example.com:1 is not on this host.*server_key.*insecure=True"):
        kind("example.com:1")
    ours, theirs = new_identity(), new_identity()
    with pytest.raises(ConfigError, match="has no keys; make them with `zflow keygen"):
        kind("example.com:1", server_key=theirs.public, keys=tmp_path / "keys")
    keys.create(tmp_path / "keys", ours)
    client = kind("example.com:1", server_key=theirs.public, keys=tmp_path / "keys")
    assert ours.secret not in repr(client)
    with pytest.raises(ConfigError, match=r"^server_key: a public key has 40 characters, this has 3"):
        kind("example.com:1", server_key="abc", keys=tmp_path / "keys")


@pytest.mark.parametrize(
    "host, port, told",
    [
        ("127.0.0.1", None, "port: which port does the peer listen on, .* as in 127.0.0.1:12345"),
        ("12345", None, "Say host:12345, as in localhost:12345"),
        ("127.0.0.1", 0, "port: expected a whole number from 1 to 65535, got 0"),
        ("127.0.0.1", 65536, "port: expected a whole number"),
        ("127.0.0.1", "5000", "port: expected a whole number from 1 to 65535, got '5000'"),
        ("127.0.0.1", True, "port: expected a whole number"),
        ("127.0.0.1", 5000.0, "port: expected a whole number"),
        ("a:65536", None, "port: expected a whole number"),
        ("a:5000", 5001, "names another port than port=5001"),
        ("", 5000, "host: expected a name or an address"),
        (12345, None, "host: expected a name or an address, got 12345"),
        (None, 5000, "host: expected a name or an address"),
        ("grpc://a", 5000, "not reachable by zflow; use a host name"),
        ("https://a:5000", None, "not reachable by zflow"),
        ("ipc:///tmp/x", None, "not reachable by zflow"),
        ("a b", 5000, "is not an address"),
        ("a/b", 5000, "is not an address"),
        ("a\n", 5000, "is not an address"),
        ("a:²", 5000, "is not an address"),
        ("::1", 5000, r"write \[::1\]"),
        ("fe80::1:5000", None, r"write \[fe80::1:5000\]"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_the_reason(host, port, told):
    for make in (Client, AsyncClient):
        with pytest.raises(ConfigError, match=told):
            make(host, port)


@pytest.mark.parametrize("asyncio", [False, True])
def test_an_unknown_option_is_refused_with_the_nearest(asyncio):
    with pytest.raises(ConfigError, match="Client has no option 'prot': did you mean 'port'"):
        Client(prot=5000, asyncio=asyncio)


def test_it_is_not_connected_before_it_asks(served):
    before = open_files()
    client = Client(port=served.port)
    assert open_files() == before
    client.close()


# -- documents -------------------------------------------------------------------------------------------------------


def test_everything_comes_back_as_it_went(client):
    asked = DocumentArray(
        [
            Document(text="text", tags={"a": [1, 2.5, None, True, {"b": "c"}]}, weight=0.5),
            Document(blob=b"\0\xff" * 100_000),
            Document(tensor=np.arange(12, dtype="i2").reshape(3, 4), embedding=np.ones(3, dtype="f4")),
            Document(chunks=[Document(text="chunk", matches=[Document(uri="x")])]),
        ]
    )
    assert client.post("/", asked).to_dict() == asked.to_dict()


@pytest.mark.parametrize("shape", [(5 * 1024 * 1024 // 8,), (640, 1024), (5, 128, 1024)])
def test_arrays_larger_than_a_frame_come_back_equal(client, shape):
    array = np.random.default_rng(5).random(shape)
    [answered] = client.post("/", Document(tensor=array))
    assert answered.tensor.shape == shape
    assert (answered.tensor == array).all()


# -- several threads ---------------------------------------------------------------------------------------------------


def test_threads_that_share_a_client_ask_in_parallel():
    """Given a peer that keeps one thread waiting, then the other thread's post is on its way all the same."""
    gate = Gate()
    with Served(gate) as served, Client(port=served.port) as client:
        client.post("/", "connect", timeout=0.05, on_error=lambda: None)
        answered: list[str] = []
        threads = [threading.Thread(target=lambda: answered.extend(client.post("/", "a").texts)) for _ in range(3)]
        for thread in threads:
            thread.start()
        hold_until(lambda: client._pool._in_use == 3)
        assert answered == []
        gate.open()
        for thread in threads:
            thread.join(10.0)
    assert answered == ["a"] * 3


def test_many_threads_get_each_its_own_answers(client):
    wrong: list[str] = []

    def post(own: int) -> None:
        for number in range(25):
            text = f"{own}/{number}"
            if client.post("/", text).texts != [text]:
                wrong.append(text)

    threads = [threading.Thread(target=post, args=(own,)) for own in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20.0)
    assert not any(thread.is_alive() for thread in threads)
    assert wrong == []


def test_closing_it_lets_the_posts_of_other_threads_finish():
    gate = Gate()
    with Served(gate) as served:
        client = Client(port=served.port)
        answered: list[list[str]] = []
        post = threading.Thread(target=lambda: answered.append(client.post("/", "a").texts))
        post.start()
        assert gate.entered.wait(5.0)
        client.close()
        with pytest.raises(Unavailable, match="closed already"):
            client.post("/", "b")
        gate.open()
        post.join(10.0)
        assert answered == [["a"]]


def test_a_closed_client_refuses_and_may_be_closed_again(served):
    client = Client(port=served.port)
    client.post("/", "a")
    client.close()
    client.close()
    with pytest.raises(Unavailable, match="closed already; use it inside its `with` block"):
        client.post("/", "a")


# -- nobody answers ----------------------------------------------------------------------------------------------------


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as closing:
        return closing.getsockname()[1]


def test_nobody_there_ends_after_its_patience_with_address_and_cause():
    port = unused_port()
    with Client(port=port) as client:
        before = time.monotonic()
        with pytest.raises(Unavailable) as caught:
            client.post("/", "a")
        assert 2.9 < time.monotonic() - before < 3.5
    told = str(caught.value)
    assert f"tcp://127.0.0.1:{port} cannot be reached" in told and "nobody listens there" in told
    assert not caught.value.maybe_executed


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> float:
    """A shorter one, so that tests of who never answers take no time."""
    monkeypatch.setattr("zflow.roles.head.PATIENCE", 0.3)
    return 0.3


def test_a_server_of_another_kind_ends_in_an_error_that_asks_what_it_is(patience):
    class Quiet(http.server.BaseHTTPRequestHandler):
        def log_message(self, *told: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with Client(port=server.server_port) as client, pytest.raises(Unavailable, match="is it a zflow peer?"):
                client.post("/", "a")
        finally:
            server.shutdown()
            thread.join()


def test_a_silent_server_ends_in_an_error_that_asks_what_it_is(patience):
    with socket.create_server(("127.0.0.1", 0)) as silent, Client(port=silent.getsockname()[1]) as client:
        with pytest.raises(Unavailable, match="is it a zflow peer?"):
            client.post("/", "a")


def test_a_peer_that_comes_while_it_is_waited_for_is_found():
    port = unused_port()
    answered: list[list[str]] = []
    with Client(port=port) as client:
        post = threading.Thread(target=lambda: answered.append(client.post("/", "a").texts))
        post.start()
        with Served(bind=f"tcp://127.0.0.1:{port}"):
            post.join(10.0)
    assert answered == [["a"]]


def test_a_peer_that_was_replaced_between_two_posts_is_found_again():
    with Served() as first, Client(port=first.port) as client:
        assert client.post("/", "a").texts == ["a"]
        first.stop()
        with Served(bind=first.address):
            assert client.post("/", "b").texts == ["b"]


def test_a_peer_that_is_stopped_under_load_loses_nothing_and_repeats_nothing():
    """Given posts all the while, when the peer is stopped and another one takes its place, then each runs once."""
    ran: list[str] = []

    def local(request: Message) -> Message:
        ran.append(request.call_id.hex())
        return echo(request)

    answered: list[str] = []
    going_on = threading.Event()
    going_on.set()
    first = Served(local)
    with first, Client(port=first.port) as client:

        def post() -> None:
            while going_on.is_set():
                answered.extend(client.post("/", "a").texts)

        threads = [threading.Thread(target=post) for _ in range(2)]
        for thread in threads:
            thread.start()
        hold_until(lambda: len(ran) > 20)
        for _ in range(3):
            first.stop()
            first = Served(local, bind=first.address)
            first.__enter__()
            so_far = len(ran)
            hold_until(lambda so_far=so_far: len(ran) > so_far + 20)
        going_on.clear()
        for thread in threads:
            thread.join(10.0)
        first.stop()
    assert len(answered) == len(ran) == len(set(ran)) > 60


# -- deadlines ---------------------------------------------------------------------------------------------------------


def lateness(client: Client, on: str, timeout: float) -> float:
    """How long after its deadline a post ends."""
    before = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        client.post(on, "a", timeout=timeout)
    return time.monotonic() - before - timeout


@pytest.mark.parametrize("state", ["frozen", "busy", "absent"])
def test_a_deadline_is_kept_whatever_the_peer_does(state):
    """The timer is the client's own; a machine that is busy itself gets three chances."""
    if state == "absent":
        with Client(port=unused_port()) as client:
            assert min(lateness(client, "/", 0.2) for _ in range(3)) < ON_TIME
        return
    with served_by_child() as (process, address), Client(address) as client:
        assert client.post("/", "a").texts == ["a"]
        if state == "frozen":
            process.send_signal(signal.SIGSTOP)
        late = [lateness(client, "/hang", 0.2) for _ in range(3)]
        if state == "frozen":
            process.send_signal(signal.SIGCONT)
    assert all(after > -0.001 for after in late)
    assert min(late) < ON_TIME


def test_a_frozen_peer_is_given_up_without_any_deadline_too():
    """Nobody answers the heartbeats any more: that is noticed within some seconds, and told as a loss."""
    with served_by_child() as (process, address), Client(address) as client:
        assert client.post("/", "a").texts == ["a"]
        process.send_signal(signal.SIGSTOP)
        before = time.monotonic()
        with pytest.raises(Unavailable) as caught:
            client.post("/", "a")
        assert time.monotonic() - before < 6.0
        assert caught.value.maybe_executed
        process.send_signal(signal.SIGCONT)


def test_the_budget_travels_with_the_request():
    budgets: list[int | None] = []

    def local(request: Message) -> Message:
        budgets.append(request.budget)
        return echo(request)

    with Served(local) as served, Client(port=served.port) as client:
        client.post("/", "a", timeout=5)
        client.post("/", "a")
    assert budgets[0] is not None and 4_000_000 < budgets[0] <= 5_000_000
    assert budgets[1] is None


# -- what is left ------------------------------------------------------------------------------------------------------


def test_two_hundred_clients_leave_nothing_open(served):
    with Client(port=served.port) as client:
        client.post("/", "a")
    files, threads = open_files(), tasks()
    for _ in range(200):
        with Client(port=served.port) as client:
            client.post("/", "a")
    hold_until(lambda: open_files() <= files and tasks() <= threads)


def test_a_client_that_nobody_closed_leaves_nothing_open(served):
    with Client(port=served.port) as client:
        client.post("/", "a")
    files, threads = open_files(), tasks()
    for _ in range(5):
        client = Client(port=served.port)
        client.post("/", "a")
        del client
    gc.collect()
    hold_until(lambda: open_files() <= files and tasks() <= threads)


def test_a_client_that_could_not_be_made_is_collected_in_peace():
    with pytest.raises(ConfigError):
        Client("a b", 5000)
    gc.collect()


def test_the_peer_forgets_a_client_that_has_gone(served):
    with Client(port=served.port) as client:
        client.post("/", "a")
        assert len(served.role.door.greeted) == 1
    hold_until(lambda: len(served.role.door.greeted) == 0)
