"""The check of keys on real sockets: who comes in, who is heard, and what happens when the list or the check fails."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
import zmq
from zmq.utils import z85

from tests.support.executors import echo
from tests.support.peers import ANY_PORT, Answers
from tests.support.processes import wait_for
from zflow.client import Client
from zflow.config import keys
from zflow.config.keys import Identity
from zflow.documents.document import Document
from zflow.drivers import authenticator as module
from zflow.drivers import sockets
from zflow.drivers.authenticator import Authenticator
from zflow.drivers.identity import new_id
from zflow.drivers.reactor import Reactor
from zflow.drivers.sockets import Curve, new_identity
from zflow.errors import AuthError, ConfigError, Unavailable
from zflow.roles import admission
from zflow.roles.worker import Worker

WAIT_MS = 5000


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    """Keys of a server, of one that it allows, and of a stranger."""
    made = {name: tmp_path / name for name in ("server", "good", "stranger")}
    for folder in made.values():
        keys.create(folder, new_identity())
    keys.allow(made["server"], "good", keys.load(made["good"]).public)
    return made


class Guarded:
    """A worker that echoes, behind a port with keys, on a thread."""

    def __init__(self, folder: Path) -> None:
        self.reports: list[str] = []
        self.key = keys.load(folder).public
        worker = Worker("peer/rep-0", boot=new_id(), credit=4)
        self.reactor = Reactor(
            worker, bind=ANY_PORT, executor=Answers(echo), keys=str(folder), report=self.reports.append
        )
        self.address = self.reactor.address
        self.authenticator = self.reactor._carrier._authenticator
        assert self.authenticator is not None
        self._thread = threading.Thread(target=self.reactor.run)

    def __enter__(self) -> Guarded:
        self._thread.start()
        return self

    def __exit__(self, *told: object) -> None:
        self.reactor.stop(0.0)
        self._thread.join(10)
        assert not self._thread.is_alive()

    def asked_by(self, folder: Path) -> Client:
        return Client(self.address, keys=folder, server_key=self.key)

    def ask(self, folder: Path, endpoint: str = "/") -> list[str]:
        with self.asked_by(folder) as client:
            return client.post(endpoint, Document(text="in")).texts  # type: ignore[no-any-return]


@pytest.fixture
def served(folders: dict[str, Path]) -> Iterator[Guarded]:
    with Guarded(folders["server"]) as guarded:
        yield guarded


def test_who_is_on_the_list_is_served_and_nobody_else(served: Guarded, folders: dict[str, Path]) -> None:
    assert served.ask(folders["good"]) == ["in"]
    assert served.ask(folders["server"]) == ["in"]  # whoever has the server's own pair is the server
    with pytest.raises(AuthError, match="our key is not on its list; there: zflow keys allow NAME KEY"):
        served.ask(folders["stranger"])


def test_a_list_that_is_empty_lets_nobody_in(served: Guarded, folders: dict[str, Path]) -> None:
    keys.revoke(folders["server"], "good")
    with pytest.raises(AuthError):
        served.ask(folders["good"])


def test_a_revoked_key_is_not_heard_from_its_next_message_on(served: Guarded, folders: dict[str, Path]) -> None:
    with served.asked_by(folders["good"]) as client:
        assert client.post("/", Document(text="in")).texts == ["in"]
        keys.revoke(folders["server"], "good")
        with pytest.raises(AuthError, match="does not hear us any more"):
            client.post("/", Document(text="in"))
        keys.allow(folders["server"], "good", keys.load(folders["good"]).public)
        assert client.post("/", Document(text="in")).texts == ["in"]  # on the same connection


def test_who_was_refused_is_let_in_once_it_is_allowed(served: Guarded, folders: dict[str, Path]) -> None:
    with served.asked_by(folders["stranger"]) as client:
        with pytest.raises(AuthError):
            client.post("/", Document(text="in"))
        keys.allow(folders["server"], "late", keys.load(folders["stranger"]).public)
        assert client.post("/", Document(text="in")).texts == ["in"]


def test_a_key_for_some_endpoints_may_call_no_others(served: Guarded, folders: dict[str, Path]) -> None:
    keys.allow(folders["server"], "half", keys.load(folders["stranger"]).public, ["/search"])
    assert served.ask(folders["stranger"], "/search") == ["in"]
    with pytest.raises(AuthError, match="does not let half call /index: its list has /search for this key"):
        served.ask(folders["stranger"], "/index")


@pytest.mark.parametrize("harm", [lambda path: path.chmod(0o666), lambda path: path.unlink()])
def test_a_list_that_cannot_be_used_lets_nobody_in(served: Guarded, folders: dict[str, Path], harm) -> None:
    with served.asked_by(folders["good"]) as client:
        client.post("/", Document(text="in"))
        harm(folders["server"] / "allowed")
        with pytest.raises(AuthError):
            client.post("/", Document(text="in"))
    with pytest.raises(AuthError):
        served.ask(folders["good"])
    keys.load(folders["server"])  # the pair is as it was


def test_what_is_wrong_with_a_changed_list_is_reported_once(served: Guarded, folders: dict[str, Path]) -> None:
    (folders["server"] / "allowed").write_text("thief short\n")
    for _ in range(3):
        with pytest.raises(AuthError):
            served.ask(folders["good"])
    assert len([told for told in served.reports if "allowed:1: a public key has 40 characters" in told]) == 1


def test_who_is_not_let_in_is_reported_without_a_key(served: Guarded, folders: dict[str, Path]) -> None:
    for _ in range(3):
        with pytest.raises(AuthError):
            served.ask(folders["stranger"])
    wait_for(lambda: served.reports, "a report")
    [told] = served.reports  # one line, however many there are
    assert "not let in: 1, the last from 127.0.0.1" in told and "allowed" in told
    for folder in folders.values():
        pair = keys.load(folder)
        assert pair.public not in told and pair.secret not in told


def test_keys_that_cannot_be_used_bind_nothing(folders: dict[str, Path]) -> None:
    (folders["server"] / "allowed").write_text("thief short\n")
    with pytest.raises(ConfigError, match="allowed:1"):
        Guarded(folders["server"])
    (folders["server"] / "secret.key").chmod(0o644)
    with pytest.raises(ConfigError, match="others can read it"):
        Guarded(folders["server"])


def test_a_failing_check_is_reported_and_goes_on(
    served: Guarded, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = Authenticator._judge
    fails = iter([True])

    def failing(self: Authenticator, question: list[bytes]) -> None:
        if next(fails, False):
            raise RuntimeError("as asked")
        judge(self, question)

    monkeypatch.setattr(Authenticator, "_judge", failing)
    with Dialled(served.address, folders["stranger"], served.key) as caller:
        wait_for(lambda: served.authenticator.restarts == 1, "a restart")
        assert not caller.monitor.poll(0)  # nobody answers, so nobody is in
    assert any("the check of keys failed, and goes on: RuntimeError('as asked')" in told for told in served.reports)
    assert served.ask(folders["good"]) == ["in"]


class Dialled:
    """A bare connection with the keys of `folder`."""

    def __init__(self, address: str, folder: Path, server_key: str) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.curve = Curve(keys.load(folder), server_key)
        self.socket, self.monitor = sockets.dial(self._context, address, self.curve)

    def __enter__(self) -> Dialled:
        return self

    def __exit__(self, *told: object) -> None:
        self.socket.disable_monitor()
        self._context.destroy(linger=0)

    @property
    def fate(self) -> str:
        assert self.monitor.poll(WAIT_MS), "nothing became of the connection"
        return sockets.read_monitor(self.monitor, self.curve)


def test_a_port_that_is_full_sends_away_and_does_not_refuse(
    served: Guarded, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "MAX_OF_KEY", 2)
    callers = [served.asked_by(folders["good"]) for _ in range(2)]
    for client in callers:
        client.post("/", Document(text="in"))
    with Dialled(served.address, folders["good"], served.key) as caller:
        assert caller.fate == "it lets nobody in just now: too many connections"
    with served.asked_by(folders["good"]) as client, pytest.raises(Unavailable, match="too many connections"):
        client.post("/", Document(text="in"))
    for client in callers:
        client.close()
    with served.asked_by(folders["good"]) as client:  # asks again until those are known to be gone
        assert client.post("/", Document(text="in")).texts == ["in"]


def test_strangers_in_a_loop_do_not_keep_a_good_one_from_being_served(
    served: Guarded, folders: dict[str, Path]
) -> None:
    def knock(over: threading.Event) -> None:
        while not over.is_set():
            with Dialled(served.address, folders["stranger"], served.key) as caller:
                caller.monitor.poll(WAIT_MS)

    with started(partial(knock)), served.asked_by(folders["good"]) as client:
        for _ in range(200):
            assert client.post("/", Document(text="in")).texts == ["in"]
        assert served.ask(folders["good"]) == ["in"]  # and a new connection is made meanwhile
    refused = served.authenticator._admission.counts[admission.REFUSED]
    assert refused > 0


@contextmanager
def started(what, number: int = 4) -> Iterator[None]:
    over = threading.Event()
    threads = [threading.Thread(target=what, args=(over,)) for _ in range(number)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join(10)


def test_a_message_without_a_user_is_nobodys(folders: dict[str, Path]) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    checking = Authenticator(context, str(folders["server"]), lambda told: None)
    assert checking.entry_of(zmq.Frame(b"HELLO")) is None
    checking.close()
    context.term()


def test_a_list_that_is_as_it_was_is_not_read_again(folders: dict[str, Path], monkeypatch) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    checking = Authenticator(context, str(folders["server"]), lambda told: None)
    read: list[str] = []
    monkeypatch.setattr(module.keys, "read_allowed", lambda folder: read.append(folder) or keys.Allowed({}))
    for _ in range(3):
        checking.refresh()
    assert read == []
    os.utime(folders["server"] / "allowed", ns=(time.time_ns(), 1))
    for _ in range(3):
        checking.refresh()
    assert read == [str(folders["server"])]
    checking.close()
    context.term()


def test_an_identity_of_32_bytes_is_written_as_a_key() -> None:
    identity = new_identity()
    assert module._as_text(z85.decode(identity.public)) == identity.public
    assert module._as_text(b"short") == ""
    assert isinstance(identity, Identity)
