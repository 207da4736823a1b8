"""The carrier: what happens on sockets reaches the role as it must, whatever they do and whoever is at the door."""

from __future__ import annotations

import errno
import random
import socket as plain
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgpack
import pytest
import zmq

from tests.hostile.zmtp import http_post
from tests.support.clock import Clock
from tests.support.executors import echo
from tests.support.peers import ANY_PORT, Served, Stranger, hold_until
from zflow.client import Client
from zflow.documents.document import Document
from zflow.documents.document_array import DocumentArray
from zflow.drivers import carrier as carrier_module
from zflow.drivers import sockets, waiting
from zflow.drivers.carrier import Carrier
from zflow.drivers.directory import Directory
from zflow.drivers.identity import new_id
from zflow.errors import PortInUse, ProtocolError, RemoteError
from zflow.response import error_of
from zflow.roles.contract import APPLICATION, EXECUTOR, GivenUp, Link, Owed, Steps
from zflow.roles.worker import Worker
from zflow.wire.frames import DOCUMENTS, MAX_FRAME, MAX_FRAMES, part
from zflow.wire.header import NOT_STARTED, VERSION, Kind, Message, decode, encode
from zflow.wire.payload import encode_documents

CALL = bytes(range(16))


class Recorder:
    """A role that decides nothing: it writes down what it is told, and does what the test has prepared."""

    def __init__(self, *ways_out: str, answer: Callable[[Link, Message], Steps] | None = None) -> None:
        self.links = ways_out
        self.keeps: tuple[str, ...] = ()  # replicas no longer, but not done with
        self._answer = answer or (lambda link, message: [])
        self.told: list[tuple[object, ...]] = []
        self.messages: list[tuple[Link, Message]] = []
        self.due: float | None = None

    def named(self, what: str) -> list[tuple[object, ...]]:
        """Everything of one kind that it was told."""
        return [item for item in self.told if item[0] == what]

    def kinds(self) -> list[Kind]:
        """Of the messages that it got."""
        return [message.kind for _, message in self.messages]

    def ways_out(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.links, *self.keeps)))

    def receive(self, link: Link, message: Message, now: float) -> Steps:
        self.told.append(("received", link, message.kind))
        self.messages.append((link, message))
        return self._answer(link, message)

    def opened(self, link: str, now: float) -> Steps:
        self.told.append(("opened", link))
        return [(link, Message(Kind.HELLO))]

    def lost(self, link: Link, reason: str, now: float) -> Steps:
        self.told.append(("lost", link, reason))
        return []

    def malformed(self, link: Link, error: RemoteError, now: float) -> Steps:
        self.told.append(("malformed", link, error))
        return []

    def expire(self, now: float) -> Steps:
        self.told.append(("expired", now))
        self.due = None
        return []

    def next_deadline(self) -> float | None:
        return self.due

    def replicas(self, group: str, links: Sequence[str], now: float) -> Steps:
        self.told.append(("replicas", group, tuple(links)))
        self.links = tuple(links)
        return []

    def drain(self, now: float) -> Steps:
        return []

    def is_idle(self, now: float) -> bool:
        return True


Carry = Callable[..., tuple[Recorder, Carrier]]


@pytest.fixture
def carry() -> Iterator[Carry]:
    """Make a recorder and the carrier that runs it; everything is closed afterwards."""
    with ExitStack() as stack:

        def make(
            addresses: dict[str, str] | Directory | None = None,
            *,
            bind: str | None = None,
            answer: Callable[[Link, Message], Steps] | None = None,
        ) -> tuple[Recorder, Carrier]:
            directory = addresses if isinstance(addresses, Directory) else Directory(addresses)
            role = Recorder(*(directory.all() or ("peer",) if addresses is not None else ()), answer=answer)
            carrier = Carrier(role, directory, bind=bind)
            stack.callback(carrier.close)
            return role, carrier

        yield make


def turn_until(condition: Callable[[], object], *carriers: Carrier) -> None:
    """Let the carriers go on, a little each, until it has come to `condition`."""

    def turned() -> bool:
        for carrier in carriers:
            carrier.turn(0.0)
        return bool(condition())

    hold_until(turned)


def turn_until_lost(role: Recorder, carrier: Carrier, times: int = 1) -> None:
    """Let the carrier go on until its role was told of so many losses."""
    turn_until(lambda: len(role.named("lost")) == times, carrier)


def welcome(link: Link, message: Message) -> Steps:
    """What a peer answers to a HELLO, and nothing else."""
    return [(link, Message(Kind.READY))] if message.kind is Kind.HELLO else []


def connected(carry: Carry, bind: str = ANY_PORT) -> tuple[Recorder, Carrier, Recorder, Carrier]:
    """A caller and a peer that have heard of each other."""
    there, peer = carry(bind=bind, answer=welcome)
    here, caller = carry({"peer": peer.address})
    turn_until(lambda: here.messages, caller, peer)
    return here, caller, there, peer


def unused_port() -> int:
    with plain.create_server(("127.0.0.1", 0)) as closing:
        return closing.getsockname()[1]


# -- replicas ----------------------------------------------------------------------------------------------------------


def test_a_replica_that_comes_is_dialled_and_one_that_goes_is_left(carry):
    there, first = carry(bind=ANY_PORT, answer=welcome)
    also, second = carry(bind=ANY_PORT, answer=welcome)
    directory = Directory({"a/rep-0": first.address})
    here, caller = carry(directory)
    turn_until(lambda: here.messages, caller, first)
    directory.set_replicas("a", ["a/rep-1"], {"a/rep-1": second.address})
    turn_until(lambda: ("lost", "a/rep-0", "it is a replica no longer") in here.told, caller, first, second)
    turn_until(lambda: len(here.messages) == 2, caller, first, second)
    assert here.named("replicas") == [("replicas", "a", ("a/rep-1",))]
    assert here.named("opened") == [("opened", "a/rep-0"), ("opened", "a/rep-1")]
    turn_until(lambda: Kind.DRAINED in there.kinds(), caller, first)  # it left with a farewell
    assert Kind.HELLO in also.kinds()


def test_one_that_still_works_for_us_is_kept_until_the_role_has_no_use_for_it(carry):
    _, peer = carry(bind=ANY_PORT, answer=welcome)
    directory = Directory({"a/rep-0": peer.address})
    here, caller = carry(directory)
    turn_until(lambda: here.messages, caller, peer)
    here.keeps = ("a/rep-0",)
    directory.set_replicas("a", [])
    for _ in range(3):
        caller.turn(0.0)
    assert here.named("lost") == []
    here.keeps = ()
    turn_until_lost(here, caller)


def test_who_begins_later_learns_at_once_which_replicas_there_are(carry):
    directory = Directory({"a/rep-0": "ipc:///nowhere"})
    directory.set_replicas("a", ["a/rep-1", "a/rep-2"])
    here, caller = carry(directory)
    assert here.told[0] == ("replicas", "a", ("a/rep-1", "a/rep-2"))
    assert list(caller._ways_out) == ["a/rep-1", "a/rep-2"]


def test_before_anything_is_sent_the_carrier_acts_on_what_has_changed(carry):
    directory = Directory()
    here, caller = carry(directory)
    directory.set_replicas("a", ["a/rep-0"])
    caller.deliver(APPLICATION, Message(Kind.REQUEST, CALL))
    assert [told[0] for told in here.told] == ["replicas", "received"]


def test_one_that_is_given_up_is_told_to_the_role_once_and_to_who_begins_later(carry):
    directory = Directory()
    here, caller = carry(directory)
    directory.give_up("peer", "it failed")
    caller.look_up()
    directory.give_up("another", "it failed, too")
    caller.look_up()
    later, _ = carry(directory)
    assert [told for role in (here, later) for told in role.named("lost")] == [("lost", "peer", "it failed")] * 2
    assert all(isinstance(told[2], GivenUp) for told in here.told + later.told)


def test_a_lost_connection_is_told_to_whoever_asked_for_it(carry):
    _, peer = carry(bind=ANY_PORT, answer=welcome)
    directory = Directory({"a/rep-0": peer.address})
    heard: list[str] = []
    directory.on_loss(heard.append)
    here, caller = carry(directory)
    turn_until(lambda: here.messages, caller, peer)
    peer.close()
    turn_until_lost(here, caller)
    assert heard == ["a/rep-0"]


def test_it_can_listen_at_a_second_address(carry, tmp_path):
    there, peer = carry(bind=f"ipc://{tmp_path}/first", answer=welcome)
    also = peer.bind(ANY_PORT)
    here, caller = carry({"peer": also})
    turn_until(lambda: here.messages, caller, peer)
    assert also.startswith("tcp://127.0.0.1:") and peer.address == f"ipc://{tmp_path}/first"
    _, other = carry(bind=ANY_PORT)
    with pytest.raises(PortInUse):
        peer.bind(other.address)


# -- local ends --------------------------------------------------------------------------------------------------------


def test_what_is_for_a_local_end_waits_there_and_goes_over_no_socket(carry):
    question = Message(Kind.REQUEST, CALL)
    _, carrier = carry()
    carrier.carry([(EXECUTOR, question), (APPLICATION, Message(Kind.REPLY, CALL))])
    assert list(carrier.asked) == [question]
    assert list(carrier.answered) == [Message(Kind.REPLY, CALL)]


def test_what_is_owed_is_made_when_it_is_sent(carry):
    made: list[str] = []

    def make() -> Message:
        made.append("now")
        return Message(Kind.FAILURE, CALL)

    there, peer = carry(bind=ANY_PORT)
    here, caller = carry({"peer": peer.address})
    turn_until(lambda: there.messages, caller, peer)
    [(route, _)] = there.messages
    owed = Owed(CALL, make)
    assert (owed.kind, owed.call_id, made) == (Kind.REPLY, CALL, [])
    peer.carry([(route, owed)])
    assert made == ["now"]
    turn_until(lambda: here.messages, caller, peer)
    assert here.messages == [("peer", Message(Kind.FAILURE, CALL))]


def test_what_a_local_end_says_reaches_the_role(carry):
    role, carrier = carry()
    carrier.deliver(APPLICATION, Message(Kind.CANCEL, CALL))
    assert role.told == [("received", APPLICATION, Kind.CANCEL)]


def test_a_descriptor_that_is_readable_is_read(carry):
    _, carrier = carry()
    near, far = plain.socketpair()
    with near, far:
        heard: list[bytes] = []
        carrier.add_reader(near.fileno(), lambda: heard.append(near.recv(100)))
        assert near.fileno() in carrier.descriptors()
        assert not carrier.turn(0.0)
        far.send(b"news")
        assert carrier.turn(None)
    assert heard == [b"news"]


# -- time --------------------------------------------------------------------------------------------------------------


def test_a_deadline_ends_the_sleep_and_reaches_the_role(carry):
    role, carrier = carry()
    role.due = carrier_module.clock() + 0.03
    due = role.due
    assert carrier.turn(None)
    [(_, now)] = role.named("expired")
    assert due <= now < due + 0.5


def test_the_sleep_ends_at_the_time_that_was_given(carry):
    role, carrier = carry()
    role.due = carrier_module.clock() + 3600
    until = carrier_module.clock() + 0.03
    assert not carrier.turn(until)
    assert until <= carrier_module.clock() < until + 0.5
    assert not role.named("expired")


@pytest.mark.parametrize("seconds", [1e5, 3e6, 2**53 / 1e6])
def test_a_deadline_in_a_far_future_is_slept_for_in_pieces(carry, monkeypatch, seconds):
    """Whoever asks with a budget of a month must not end the peer: poll counts milliseconds in 31 bits."""
    role, carrier = carry(bind=ANY_PORT)
    slept: list[int] = []
    monkeypatch.setattr(waiting, "poll", lambda watched, timeout: slept.append(timeout) or [])
    role.due = carrier_module.clock() + seconds
    carrier.turn(None)
    assert 0 < slept[0] < 2**31
    assert not role.named("expired")


def test_a_carrier_that_has_nothing_to_watch_sleeps_all_the_same(carry, monkeypatch):
    """While no process of a Flow has an address yet, whoever waits for one must not spin."""
    slept: list[float] = []
    monkeypatch.setattr(carrier_module.time, "sleep", slept.append)
    _, carrier = carry(Directory())
    carrier.turn(None)
    assert slept == [pytest.approx(0.02, abs=0.01)]


# -- ways out ----------------------------------------------------------------------------------------------------------


def test_a_connection_is_opened_and_carries_messages_both_ways(carry):
    here, _, there, _ = connected(carry)
    assert here.told == [("opened", "peer"), ("received", "peer", Kind.READY)]
    [(route, hello)] = there.messages
    assert isinstance(route, tuple) and hello.kind is Kind.HELLO


@pytest.mark.parametrize("transport", ["tcp", "ipc"])
def test_nobody_at_the_address_is_told_in_words(carry, ipc_directory, transport):
    address = f"tcp://127.0.0.1:{unused_port()}" if transport == "tcp" else f"ipc://{ipc_directory}/nobody"
    role, carrier = carry({"peer": address})
    turn_until_lost(role, carrier)
    assert role.told == [("opened", "peer"), ("lost", "peer", f"{address}: nobody listens there")]


def test_the_address_is_not_told_twice_where_it_is_the_name_of_the_link(carry):
    address = f"tcp://127.0.0.1:{unused_port()}"
    role, carrier = carry({address: address})
    turn_until_lost(role, carrier)
    assert role.named("lost") == [("lost", address, "nobody listens there")]


def test_an_address_that_is_none_is_told_and_tried_again_after_a_while(carry, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(carrier_module, "clock", lambda: clock.now)
    role, carrier = carry({"peer": "nonsense"})
    carrier.turn(0.0)
    assert "is not an address" in str(role.named("lost")[0][2])
    carrier.turn(0.0)
    assert len(role.named("lost")) == 1
    clock.advance(1.0)
    carrier.turn(0.0)
    assert len(role.named("lost")) == 2


def test_running_out_of_sockets_is_told_to_the_role_and_does_not_end_the_carrier(carry, monkeypatch):
    monkeypatch.setattr(carrier_module.zmq, "Context", PoorContext)
    role, carrier = carry({"one": ANY_PORT, "two": ANY_PORT})
    carrier.turn(0.0)
    assert [link for _, link, _ in role.named("lost")] == ["one", "two"]
    assert all("Too many open files" in str(reason) for _, _, reason in role.named("lost"))


class PoorContext(zmq.Context):  # type: ignore[type-arg]
    """A process that has opened as many files as it may."""

    def socket(self, *arguments: object) -> object:
        raise zmq.ZMQError(errno.EMFILE)


def test_the_pauses_between_attempts_grow_to_a_second(carry, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(carrier_module, "clock", lambda: clock.now)
    monkeypatch.setattr(carrier_module.random, "random", lambda: 1.0)
    role, carrier = carry({"peer": f"tcp://127.0.0.1:{unused_port()}"})
    pauses = []
    for attempt in range(1, 11):
        turn_until_lost(role, carrier, attempt)
        due = carrier.next_due()
        assert due is not None
        pauses.append(round(due - clock.now, 3))
        clock.move_to(due - 0.001)
        carrier.turn(0.0)
        assert len(role.named("opened")) == attempt, "it did not wait"
        clock.move_to(due)
    assert pauses == [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.0, 1.0, 1.0]


def test_the_pauses_are_spread_so_that_callers_do_not_come_back_together(carry, monkeypatch):
    monkeypatch.setattr(carrier_module, "clock", lambda: 1000.0)
    chances = iter((0.25, 0.75))
    monkeypatch.setattr(carrier_module.random, "random", lambda: next(chances))
    address = f"tcp://127.0.0.1:{unused_port()}"
    role, carrier = carry({"one": address, "two": address})
    turn_until(lambda: len(role.named("lost")) == 2, carrier)
    dial_at = sorted(way_out.dial_at for way_out in carrier._ways_out.values())
    assert dial_at == pytest.approx([1000.0025, 1000.0075])


def test_a_connection_that_has_served_starts_again_with_a_short_pause(carry, monkeypatch):
    monkeypatch.setattr(carrier_module.random, "random", lambda: 1.0)
    clock = Clock()
    port = unused_port()
    here, caller = carry({"peer": f"tcp://127.0.0.1:{port}"})
    monkeypatch.setattr(carrier_module, "clock", lambda: clock.now)
    for attempt in range(1, 6):
        turn_until_lost(here, caller, attempt)
        clock.advance(1.0)
    _, peer = carry(bind=f"tcp://127.0.0.1:{port}", answer=welcome)
    turn_until(lambda: here.messages, caller, peer)
    peer.close()
    turn_until_lost(here, caller, 6)
    due = caller.next_due()
    assert due is not None and due - clock.now == pytest.approx(0.01)


def test_a_peer_that_comes_back_is_found_again(carry, ipc_directory):
    address = f"ipc://{ipc_directory}/s"
    here, caller, _, peer = connected(carry, address)
    peer.close()
    turn_until_lost(here, caller)
    assert here.named("lost") == [("lost", "peer", f"{address}: the connection broke")]
    (ipc_directory / "s").unlink(missing_ok=True)
    again, peer = carry(bind=address, answer=welcome)
    turn_until(lambda: len(here.messages) == 2, caller, peer)
    assert [message.kind for _, message in again.messages] == [Kind.HELLO]


@pytest.mark.parametrize("transport", ["tcp", "ipc"])
def test_a_broken_connection_is_read_empty_before_its_loss_is_told(carry, ipc_directory, transport):
    """Given answers that arrived while nobody looked, when the peer dies, then none of them is lost with it."""
    here, caller, there, peer = connected(carry, ANY_PORT if transport == "tcp" else f"ipc://{ipc_directory}/s")
    [(route, _)] = there.messages
    for number in range(300):
        peer.carry([(route, Message(Kind.REPLY, number.to_bytes(16, "big")))])
    peer.close(linger_ms=2000)
    turn_until_lost(here, caller)
    arrived = [message.call_id for _, message in here.messages if message.kind is Kind.REPLY]
    assert arrived == [number.to_bytes(16, "big") for number in range(300)]
    assert here.told[-1] == ("lost", "peer", f"{peer.address}: the connection broke")


def test_a_peer_without_an_address_is_dialled_as_soon_as_it_has_one(carry):
    """Waiting for a process that starts costs at most one look per 20 ms."""
    _, peer = carry(bind=ANY_PORT)
    directory = Directory()
    here, caller = carry(directory)
    caller.turn(0.0)
    due = caller.next_due()
    assert due is not None and due - carrier_module.clock() <= 0.02
    assert here.told == []
    directory.set("peer", peer.address)
    turn_until(lambda: here.named("opened"), caller)


def test_a_peer_that_moved_is_dialled_at_once_at_its_new_place(carry, monkeypatch):
    monkeypatch.setattr(carrier_module.random, "random", lambda: 1.0)
    directory = Directory({"peer": f"tcp://127.0.0.1:{unused_port()}"})
    here, caller = carry(directory)
    for attempt in range(1, 6):
        turn_until_lost(here, caller, attempt)
    there, peer = carry(bind=ANY_PORT)
    directory.set("peer", peer.address)
    caller.turn(0.0)
    due = caller.next_due()
    assert due is not None and due <= carrier_module.clock(), "the pauses of its old place do not count"
    turn_until(lambda: there.messages, caller, peer)


def test_a_connection_to_a_peer_that_was_replaced_is_left_for_the_new_one(carry, monkeypatch):
    monkeypatch.setattr(carrier_module.random, "random", lambda: 1.0)
    _, old = carry(bind=ANY_PORT, answer=welcome)
    there, new = carry(bind=ANY_PORT)
    directory = Directory({"peer": old.address})
    here, caller = carry(directory)
    turn_until(lambda: here.messages, caller, old)
    directory.set("peer", new.address)
    caller.turn(0.0)
    assert here.named("lost") == [("lost", "peer", f"{old.address}: it was replaced")]
    due = caller.next_due()
    assert due is not None and due - carrier_module.clock() <= 0.01
    turn_until(lambda: there.messages, caller, new)


def test_a_peer_that_left_the_directory_keeps_its_connection_while_it_lasts(carry):
    """A process that is being replaced still finishes what it has."""
    there, peer = carry(bind=ANY_PORT, answer=welcome)
    directory = Directory({"peer": peer.address})
    here, caller = carry(directory)
    turn_until(lambda: here.messages, caller, peer)
    directory.remove("peer")
    caller.turn(0.0)
    assert not here.named("lost")
    peer.close()
    turn_until_lost(here, caller)
    caller.turn(carrier_module.clock() + 0.05)
    assert len(here.named("opened")) == 1


def test_a_new_address_of_somebody_else_changes_nothing(carry):
    _, peer = carry(bind=ANY_PORT, answer=welcome)
    directory = Directory({"peer": peer.address})
    here, caller = carry(directory)
    turn_until(lambda: here.messages, caller, peer)
    directory.set("somebody", "tcp://127.0.0.1:9")
    caller.turn(0.0)
    assert not here.named("lost")


def test_what_cannot_be_sent_any_more_costs_the_connection_and_no_exception(carry, monkeypatch):
    here, caller, _, _ = connected(carry)
    monkeypatch.setattr(sockets, "send", _refuse_to_send)
    caller.carry([("peer", Message(Kind.PING)), ("peer", Message(Kind.PING))])
    [(_, _, reason)] = here.named("lost")
    assert "cannot send: Resource temporarily unavailable" in str(reason)


def test_a_farewell_that_cannot_be_sent_does_not_keep_anything_open(carry, monkeypatch):
    _, caller, _, _ = connected(carry)
    monkeypatch.setattr(sockets, "send", _refuse_to_send)
    caller.close()
    assert caller._context.closed


def _refuse_to_send(*arguments: object) -> None:
    raise zmq.ZMQError(zmq.EAGAIN)


def test_whoever_closes_says_goodbye_to_who_was_heard(carry):
    _, caller, there, peer = connected(carry)
    caller.close()
    turn_until(lambda: len(there.messages) == 2, peer)
    assert [message.kind for _, message in there.messages] == [Kind.HELLO, Kind.DRAINED]


def test_closing_does_not_wait_for_who_was_never_heard(carry):
    _, carrier = carry({"peer": f"tcp://127.0.0.1:{unused_port()}"})
    carrier.turn(0.0)
    before = carrier_module.clock()
    carrier.close()
    assert carrier_module.clock() - before < 0.15


def test_closing_twice_is_as_good_as_once(carry):
    _, carrier = carry(bind=ANY_PORT)
    carrier.close()
    carrier.close()


def test_a_frame_that_is_no_envelope_is_not_taken_for_a_message(carry):
    """A peer that is none of ours: its frames lack the empty one in front."""
    with ExitStack() as stack:
        context = stack.enter_context(zmq.Context())
        foreign = stack.enter_context(context.socket(zmq.ROUTER))
        port = foreign.bind_to_random_port("tcp://127.0.0.1")
        here, caller = carry({"peer": f"tcp://127.0.0.1:{port}"})
        turn_until(lambda: foreign.poll(0), caller)
        identity = foreign.recv_multipart()[0]
        foreign.send_multipart([identity, b"HTTP/1.1 200 OK"])
        foreign.send_multipart([identity, b""])
        foreign.send_multipart([identity, b"", b"\xc1"])
        turn_until(lambda: len(here.named("malformed")) == 2, caller)
        assert caller.dropped == 3
        caller.close()


# -- the front door ----------------------------------------------------------------------------------------------------


def test_a_refused_bind_leaves_nothing_open(carry):
    _, first = carry(bind=ANY_PORT)
    with pytest.raises(PortInUse):
        carry(bind=first.address)


def test_a_caller_that_has_gone_is_told_when_it_is_answered(carry):
    _, caller, there, peer = connected(carry)
    [(route, _)] = there.messages
    caller.close()
    turn_until(lambda: len(there.messages) == 2, peer)

    def answered() -> bool:
        peer.carry([(route, Message(Kind.REPLY, CALL))])
        return bool(there.named("lost"))

    turn_until(answered, peer)
    assert "cannot send" in str(there.named("lost")[0][2])
    assert peer.dropped == 1


@pytest.fixture(params=["tcp", "ipc"])
def served(request: pytest.FixtureRequest, ipc_directory: Path) -> Iterator[Served]:
    """A worker that echoes, at an open port or at a path."""
    with Served(bind=ANY_PORT if request.param == "tcp" else f"ipc://{ipc_directory}/s") as served:
        yield served


def header(**changed: object) -> bytes:
    """The header of a REQUEST without payload, with places changed by name."""
    places: dict[str, object] = {
        "version": VERSION,
        "kind": int(Kind.REQUEST),
        "call_id": CALL,
        "endpoint": "/",
        "budget": None,
        "flags": 0,
        "layout": [],
        "extra": {},
    }
    return msgpack.packb(list({**places, **changed}.values()))


MALFORMED = {
    "an unknown kind": header(kind=99),
    "a later version": header(version=2),
    "an endpoint with a newline": header(endpoint="/a\nb"),
    "a negative budget": header(budget=-1),
    "a budget that is no number": header(budget=float("nan")),
    "flags that are none": header(flags="all"),
    "a part of an unknown kind": header(layout=[[9, "", None, [1]]]),
    "a size that lies": header(layout=[[0, "", None, [1]]]),
    "a size without end": header(layout=[[0, "", None, [1 << 62]]]),
    "parameters without a buffer": header(layout=[[1, "", None, []]]),
    "what must be understood and is not": header(extra={"!magic": 1}),
    "a label without end": header(layout=[[0, "x" * 1000, None, []]]),
}


@pytest.mark.parametrize("frame", [pytest.param(frame, id=name) for name, frame in MALFORMED.items()])
def test_a_malformed_request_of_a_known_caller_is_refused_by_its_call_id(served, frame):
    with Stranger(served.address) as caller:
        caller.greet()
        caller.say(frame)
        refusal = caller.hear()
        assert refusal is not None and (refusal.kind, refusal.call_id) == (Kind.FAILURE, CALL)
        assert refusal.flags & NOT_STARTED
        assert str(error_of(refusal))


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param([], id="no header"),
        pytest.param([b""], id="an empty header"),
        pytest.param([b"\xc1"], id="a byte that msgpack never uses"),
        pytest.param([b"\x98\x01"], id="a header cut short"),
        pytest.param([b"\xdd\xff\xff\xff\xff"], id="an array that claims 2^32 places"),
        pytest.param([b"\x91" * 5000], id="a header too deep"),
        pytest.param([b"x" * 70_000], id="a header too long"),
        pytest.param([header(call_id=b"short")], id="a call id that is none"),
        pytest.param([msgpack.packb({})], id="a map"),
    ],
)
def test_what_tells_no_call_is_dropped_and_the_connection_goes_on(served, frames):
    with Stranger(served.address) as caller:
        caller.greet()
        caller.say(*frames)
        caller.say(*encode(Message(Kind.PING, CALL)))
        status = caller.hear()
        assert status is not None and status.kind is Kind.STATUS


def test_a_request_of_too_many_frames_is_refused_by_its_call_id(served):
    """An honest caller could wait for ever for the answer to what was thrown away."""
    count = 2 * MAX_FRAMES
    with Stranger(served.address) as caller:
        caller.greet()
        caller.say(header(layout=[[0, "", None, [1] * count]]), *[b"x"] * count)
        refusal = caller.hear()
        assert refusal is not None and (refusal.kind, refusal.call_id) == (Kind.FAILURE, CALL)
        assert f"at most {MAX_FRAMES}" in str(error_of(refusal))


def test_frames_that_a_request_of_too_many_frames_lost_do_not_make_it_a_shorter_one(served):
    """The first frames fit their layout exactly; what followed was not kept, but must not be forgotten either."""
    with Stranger(served.address) as caller:
        caller.greet()
        kept = MAX_FRAMES - 2
        caller.say(header(layout=[[0, "", None, [1] * kept]]), *[b"x"] * (kept + 500))
        refusal = caller.hear()
        assert refusal is not None and refusal.kind is Kind.FAILURE


def test_random_bytes_in_place_of_a_message_neither_end_a_peer_nor_pass_for_one(served):
    """Mutations of a good request, from a caller that was let in; seeded, so that a failure comes again."""
    chance = random.Random(20)
    documents = encode_documents(DocumentArray([Document(text="a", tags={"b": 1}), Document(blob=b"c" * 9000)]))
    good = encode(Message(Kind.REQUEST, CALL, "/", parts=[part(DOCUMENTS, "gateway", documents)]))
    with Stranger(served.address) as caller:
        caller.greet()
        for _ in range(300):
            caller.say(*_mutated([bytes(frame) for frame in good], chance))
        caller.say(*encode(Message(Kind.PING, b"p" * 16)))
        heard = []
        while (answer := caller.hear()) is not None and answer.kind is not Kind.STATUS:
            heard.append(answer)
        assert answer is not None and answer.call_id == b"p" * 16
        assert any(answer.kind is Kind.FAILURE for answer in heard)
    assert served.failure is None


def _mutated(frames: list[bytes], chance: random.Random) -> list[bytes]:
    what = chance.randrange(5)
    at = chance.randrange(len(frames))
    frame = bytearray(frames[at])
    if what == 0:
        frame[chance.randrange(len(frame))] = chance.randrange(256)
    elif what == 1:
        del frame[chance.randrange(len(frame)) :]
    elif what == 2:
        frame[chance.randrange(len(frame)) :] = chance.randbytes(20)
    elif what == 3:
        return [*frames[:at], *frames[at + 1 :]]
    else:
        return [*frames[:at], frames[at], *frames[at:]]
    return [*frames[:at], bytes(frame), *frames[at + 1 :]]


# -- strangers at an open port -----------------------------------------------------------------------------------------


class Hearer:
    """The role behind an open door: whatever reaches it is written down, and the door is the worker's."""

    def __init__(self) -> None:
        self.worker = Worker("open/rep-0", boot=new_id(), new_nonce=new_id)
        self.requests: list[Message] = []

    def __call__(self, request: Message) -> Message:
        self.requests.append(request)
        return echo(request)


GARBAGE = {
    "nothing": b"",
    "an HTTP GET": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a TLS hello": bytes.fromhex("16030100c8010000c40303") + b"\x55" * 200,
    "an SSH banner": b"SSH-2.0-OpenSSH_9.6\r\n",
    "zeros": bytes(5000),
    "ones": b"\xff" * 5000,
    "noise": random.Random(6).randbytes(5000),
    "half a greeting": b"\xff\0\0\0\0\0\0\0\1\x7f\3",
    "a greeting of version 9": b"\xff\0\0\0\0\0\0\0\1\x7f\x09\0NULL" + bytes(48),
    "a greeting with an unknown mechanism": b"\xff\0\0\0\0\0\0\0\1\x7f\3\0MAGIC" + bytes(47),
    "a frame of 2^63 bytes": b"\xff\0\0\0\0\0\0\0\1\x7f\3\0NULL" + bytes(48) + b"\6" + b"\x7f" + b"\xff" * 7,
}


def test_garbage_at_an_open_port_reaches_nothing_and_others_are_served_on():
    hearer = Hearer()
    with Served(hearer, role=hearer.worker) as served, Client(port=served.port) as client, ExitStack() as opened:
        assert client.post("/", Document(text="before")).texts == ["before"]
        for garbage in GARBAGE.values():
            stranger = opened.enter_context(plain.create_connection(("127.0.0.1", served.port)))
            stranger.sendall(garbage)
            assert client.post("/", Document(text="during")).texts == ["during"]
        assert len(hearer.requests) == 1 + len(GARBAGE)
        assert client.post("/", Document(text="after")).texts == ["after"]


def test_a_web_page_that_posts_to_an_open_port_reaches_nothing():
    """libzmq parses the POST as ZMTP/1.0 and delivers it; well-formed frames cannot know the nonce of the door."""
    hello, request = (bytes(encode(message)[0]) for message in (Message(Kind.HELLO), Message(Kind.REQUEST, CALL, "/")))
    hearer = Hearer()
    with Served(hearer, role=hearer.worker) as served:
        with plain.create_connection(("127.0.0.1", served.port)) as browser:
            browser.sendall(http_post(served.port, (b"", hello), *[(b"", request)] * 20))
            hold_until(lambda: hearer.worker.door.dropped >= 20)  # they came as far as the door, well-formed
            with Client(port=served.port) as client:
                assert client.post("/", Document(text="good")).texts == ["good"]
        assert len(hearer.requests) == 1


def test_a_request_without_a_greeting_is_not_even_answered_at_an_open_port():
    hearer = Hearer()
    with Served(hearer, role=hearer.worker) as served, Stranger(served.address) as stranger:
        stranger.say(*encode(Message(Kind.REQUEST, CALL, "/")))
        stranger.say(*encode(Message(Kind.HELLO, extra={"nonce": bytes(16)})))
        challenge = stranger.hear()
        assert challenge is not None and challenge.kind is Kind.CHALLENGE
        stranger.say(*encode(Message(Kind.REQUEST, CALL, "/")))
        assert stranger.hear(50) is None
        assert hearer.requests == []
        stranger.greet()
        stranger.say(*encode(Message(Kind.REQUEST, CALL, "/")))
        answer = stranger.hear()
        assert answer is not None and answer.kind is Kind.REPLY


# -- payloads ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["tcp", "ipc"])
def test_five_mebibytes_go_there_and_back_in_frames_that_the_transport_takes(carry, ipc_directory, transport):
    sizes: list[list[int]] = []

    def back(link: Link, message: Message) -> Steps:
        if message.kind is not Kind.REQUEST:
            return welcome(link, message)
        sizes.append([len(frame) for item in message.parts for frame in item.frames])
        return [(link, Message(Kind.REPLY, message.call_id, parts=message.parts))]

    whole = random.Random(5).randbytes(5 << 20)
    _, peer = carry(bind=ANY_PORT if transport == "tcp" else f"ipc://{ipc_directory}/s", answer=back)
    here, caller = carry({"peer": peer.address})
    request = Message(Kind.REQUEST, CALL, "/", parts=[part(DOCUMENTS, "gateway", [b"small", whole, b""])])
    turn_until(lambda: here.named("opened"), caller)
    caller.carry([("peer", request)])
    turn_until(lambda: len(here.messages) == 2, caller, peer)
    reply = here.messages[-1][1]
    assert [bytes(buffer) for buffer in reply.parts[0].buffers()] == [b"small", whole, b""]
    assert sizes[-1] == ([5, *[MAX_FRAME] * 5] if transport == "tcp" else [5, 5 << 20])


def test_answers_that_are_nonsense_end_the_call_at_the_caller_and_not_its_connection():
    """A hostile peer: whatever it answers, the caller hears of it at once, and can ask again."""
    answers = iter([header(kind=int(Kind.REPLY), layout=[[0, "", None, [5]]]), header(kind=99), None])

    with ExitStack() as stack:
        context = stack.enter_context(zmq.Context())
        hostile = stack.enter_context(context.socket(zmq.ROUTER))
        hostile.linger = 0
        port = hostile.bind_to_random_port("tcp://127.0.0.1")
        stack.enter_context(_answering(hostile, answers))
        client = stack.enter_context(Client(port=port))
        for _ in range(2):
            with pytest.raises(ProtocolError, match="answered nonsense") as caught:
                client.post("/", Document(text="a"))
            assert caught.value.maybe_executed
        assert client.post("/", Document(text="good")).texts == ["good"]


@contextmanager
def _answering(hostile: zmq.Socket[bytes], answers: Iterator[bytes | None]) -> Iterator[None]:
    """Answer HELLO as a peer does, and each REQUEST with the next of `answers` (None: as an echo would)."""
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            if not hostile.poll(20):
                continue
            identity, _, *frames = hostile.recv_multipart()
            message = decode(frames)
            if message.kind is Kind.HELLO:
                extra = {"boot": bytes(16), "credit": 4}
                hostile.send_multipart([identity, b"", *encode(Message(Kind.READY, extra=extra))])
            elif message.kind is Kind.REQUEST:
                prepared = next(answers)
                if prepared is None:
                    answer = [bytes(frame) for frame in encode(echo(message))]
                else:
                    answer = [prepared.replace(CALL, message.call_id)]
                hostile.send_multipart([identity, b"", *answer])

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
