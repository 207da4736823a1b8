"""Who may come in: rates, caps, and what a key on the list may ask for. All of it without sockets, on a moved clock."""

from __future__ import annotations

import pytest

from tests.support.executors import details_of
from zflow.config.keys import Entry
from zflow.errors import AuthError
from zflow.roles import admission
from zflow.roles.admission import ALLOWED, LATER, MAX_OF_KEY, PATIENCE, RATE, REFUSED, Admission, Verdict
from zflow.wire.header import NOT_STARTED, Kind, Message

LISTED = {"good": Entry("robot"), "other": Entry("arm")}


def test_only_keys_on_the_list_come_in():
    door = Admission()
    assert door.decide("good", "10.0.0.1", LISTED, 0.0) == Verdict(ALLOWED)
    assert door.decide("bad", "10.0.0.1", LISTED, 0.0) == Verdict(REFUSED)
    assert door.decide("", "10.0.0.1", LISTED, 0.0) == Verdict(REFUSED)
    assert door.counts == {ALLOWED: 1, REFUSED: 2}


def test_an_empty_list_lets_nobody_in():
    assert Admission().decide("good", "10.0.0.1", {}, 0.0).answer == REFUSED


def test_strangers_hear_it_later_the_more_often_they_try_and_never_too_late():
    door = Admission()
    waits = [door.decide("bad", "10.0.0.1", LISTED, 0.0).after for _ in range(100)]
    assert waits[: int(RATE)] == [0.0] * int(RATE)
    assert waits == sorted(waits)
    assert waits[int(RATE)] == pytest.approx(1 / RATE)
    assert waits[-1] == PATIENCE
    assert door.decide("bad", "10.0.0.2", LISTED, 0.0).after == 0.0  # another address
    assert door.decide("bad", "10.0.0.1", LISTED, 100.0).after == 0.0  # it has calmed down


def test_strangers_of_an_address_do_not_hold_up_a_key_from_there():
    door = Admission()
    for _ in range(1000):
        door.decide("bad", "10.0.0.1", LISTED, 0.0)
    assert door.decide("good", "10.0.0.1", LISTED, 0.0) == Verdict(ALLOWED)


def test_a_key_that_is_used_too_often_waits_and_is_then_sent_away():
    door = Admission()
    verdicts = [door.decide("good", "10.0.0.1", LISTED, 0.0) for _ in range(MAX_OF_KEY + 50)]
    assert verdicts[:MAX_OF_KEY] == [Verdict(ALLOWED)] * MAX_OF_KEY
    assert all(item.answer == ALLOWED and 0 < item.after <= PATIENCE for item in verdicts[MAX_OF_KEY : MAX_OF_KEY + 20])
    assert verdicts[-1] == Verdict(LATER)
    assert door.decide("other", "10.0.0.1", LISTED, 0.0) == Verdict(ALLOWED)
    assert door.decide("good", "10.0.0.1", LISTED, PATIENCE + 0.1).answer == ALLOWED  # who was sent away took no turn


def open_connections(door: Admission, key: str, numbers: range) -> None:
    for number in numbers:
        door.connected(number)
        door.recognized(number, key)


def test_a_key_has_so_many_connections_and_a_new_one_when_one_is_closed():
    door = Admission()
    open_connections(door, "good", range(MAX_OF_KEY))
    assert door.decide("good", "10.0.0.1", LISTED, 0.0).answer == LATER
    assert door.decide("other", "10.0.0.1", LISTED, 0.0).answer == ALLOWED
    door.disconnected(3)
    assert door.decide("good", "10.0.0.1", LISTED, 0.0).answer == ALLOWED


def test_a_port_has_so_many_connections(monkeypatch):
    monkeypatch.setattr(admission, "MAX_OF_PORT", 3)
    door = Admission()
    open_connections(door, "good", range(2))
    for number in range(10, 20):
        door.connected(number)  # strangers do not count
    assert door.decide("other", "10.0.0.1", LISTED, 0.0).answer == ALLOWED
    open_connections(door, "good", range(2, 3))
    assert door.decide("other", "10.0.0.1", LISTED, 0.0).answer == LATER


def test_a_connection_is_counted_once_and_only_while_it_is_there():
    door = Admission()
    for _ in range(MAX_OF_KEY):
        open_connections(door, "good", range(1))  # HELLO again
    for number in range(100, 100 + MAX_OF_KEY):
        door.recognized(number, "good")  # closed before its HELLO was read
        door.disconnected(number)
    assert door.decide("good", "10.0.0.1", LISTED, 0.0).answer == ALLOWED


def test_the_memory_for_addresses_is_bounded(monkeypatch):
    monkeypatch.setattr(admission, "_MAX_KNOWN", 10)
    door = Admission()
    for number in range(1000):
        door.decide("bad", f"10.0.0.{number}", LISTED, 0.0)
    assert len(door._strangers._levels) == 10


# -- messages --------------------------------------------------------------------------------------------------------


def message(kind: Kind, endpoint: str = "") -> Message:
    return Message(kind, bytes(range(16)), endpoint)


def test_a_key_on_the_list_is_heard_and_another_is_not():
    for kind in Kind:
        assert admission.is_heard(Entry("robot"), message(kind))
        assert not admission.is_heard(None, message(kind))


@pytest.mark.parametrize(
    "endpoint, is_heard",
    [
        ("/search", True),
        ("/status/all", True),
        ("/status", True),
        ("/index", False),
        ("/searching", False),
        ("", False),
    ],
)
def test_a_key_may_be_for_some_endpoints_only(endpoint: str, is_heard: bool):
    entry = Entry("robot", ("/search", "/status*"))
    assert admission.is_heard(entry, message(Kind.REQUEST, endpoint)) is is_heard
    assert admission.is_heard(entry, message(Kind.HELLO))


def test_the_default_endpoint_is_called_by_its_name():
    assert admission.is_heard(Entry("robot", ("/",)), message(Kind.REQUEST, ""))


@pytest.mark.parametrize("kind", [Kind.REQUEST, Kind.PING, Kind.DESCRIBE])
def test_who_is_not_heard_and_waits_for_an_answer_gets_one(kind: Kind):
    answer = admission.turn_away(None, message(kind), "tcp://here:1")
    assert answer is not None
    assert (answer.kind, answer.flags, answer.extra["code"]) == (Kind.FAILURE, NOT_STARTED, AuthError.code)
    assert answer.call_id == message(kind).call_id
    assert "tcp://here:1 does not hear us" in details_of(answer)["message"]
    assert "zflow keys allow" in details_of(answer)["message"]


def test_what_may_be_called_is_told():
    answer = admission.turn_away(Entry("robot", ("/search",)), message(Kind.REQUEST, "/index"), "it")
    assert answer is not None
    assert "it does not let robot call /index: its list has /search" in details_of(answer)["message"]


@pytest.mark.parametrize("kind", [Kind.HELLO, Kind.CANCEL, Kind.MORE, Kind.DRAINED, Kind.REPLY])
def test_what_waits_for_no_answer_gets_none(kind: Kind):
    assert admission.turn_away(None, message(kind), "it") is None
