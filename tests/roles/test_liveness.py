"""A neighbour is greeted once per connection, and is sent work only between its READY and its DRAIN."""

from __future__ import annotations

import pytest

from tests.support.clock import Ids
from zflow.roles.liveness import DRAINING, GREETED, LOST, MAX_CREDIT, READY, Neighbour
from zflow.wire.header import Kind, Message

READY_MESSAGE = {"boot": b"b" * 16, "credit": 2, "name": "a/rep-0"}


@pytest.fixture
def neighbour() -> Neighbour:
    return Neighbour("a/rep-0", Ids(), ["a", "b"])


def ready(**changed: object) -> Message:
    return Message(Kind.READY, extra={**READY_MESSAGE, **changed})


def test_before_anything_it_is_lost_and_says_why(neighbour):
    assert neighbour.state == LOST
    assert not neighbour.has_room
    assert "no answer to HELLO" in neighbour.cause


def test_each_connection_is_greeted_with_an_id_of_its_own(neighbour):
    first, second = neighbour.greet(1.5), neighbour.greet(1.5)
    assert (first.kind, first.extra["nodes"]) == (Kind.HELLO, ["a", "b"])
    assert first.extra["conn"] != second.extra["conn"]
    assert first.extra["sent"] == 1_500_000  # so that the peer can tell what is late
    assert neighbour.state == GREETED
    assert not neighbour.has_room


def test_a_flow_without_names_sends_none():
    assert "nodes" not in Neighbour("a/rep-0", Ids()).greet(1.5).extra


def test_a_challenge_is_answered_with_its_nonce_and_the_same_greeting(neighbour):
    hello = neighbour.greet(1.5)
    proof = neighbour.prove(Message(Kind.CHALLENGE, extra={"nonce": b"n" * 16}))
    assert proof == Message(Kind.HELLO, extra={**hello.extra, "nonce": b"n" * 16})


@pytest.mark.parametrize("extra", [{}, {"nonce": "text"}, {"nonce": None}, {"nonce": [b"n"]}])
def test_a_challenge_without_a_nonce_is_not_answered(neighbour, extra):
    neighbour.greet(1.5)
    assert neighbour.prove(Message(Kind.CHALLENGE, extra=extra)) is None


def test_a_challenge_that_nobody_waits_for_is_not_answered(neighbour):
    challenge = Message(Kind.CHALLENGE, extra={"nonce": b"n" * 16})
    assert neighbour.prove(challenge) is None
    neighbour.greet(1.5)
    neighbour.accept(ready())
    assert neighbour.prove(challenge) is None


def test_ready_brings_credit_and_who_it_is(neighbour):
    neighbour.greet(1.5)
    assert neighbour.accept(ready())
    assert (neighbour.state, neighbour.credit, neighbour.boot, neighbour.peer) == (READY, 2, b"b" * 16, "a/rep-0")
    assert neighbour.cause == ""


@pytest.mark.parametrize("credit", [0, -1, MAX_CREDIT + 1, 10**9, True, 1.0, "4", None, [4]])
def test_a_credit_that_makes_no_sense_is_not_believed(neighbour, credit):
    neighbour.greet(1.5)
    assert not neighbour.accept(ready(credit=credit))
    assert (neighbour.state, neighbour.credit) == (GREETED, 0)
    assert "credit" in neighbour.cause


def test_a_peer_without_an_incarnation_is_not_believed(neighbour):
    neighbour.greet(1.5)
    assert not neighbour.accept(ready(boot=None))


def test_it_has_room_up_to_its_credit(neighbour):
    neighbour.greet(1.5)
    neighbour.accept(ready())
    rooms = []
    for call_id in (b"1", b"2"):
        rooms.append(neighbour.has_room)
        neighbour.calls[call_id] = call_id
    assert (rooms, neighbour.has_room) == ([True, True], False)


def test_one_that_drains_keeps_its_calls_but_gets_no_more(neighbour):
    neighbour.greet(1.5)
    neighbour.accept(ready())
    neighbour.calls[b"1"] = "call"
    neighbour.retire()
    assert (neighbour.state, neighbour.has_room, neighbour.cause) == (DRAINING, False, "it is shutting down")
    assert neighbour.calls == {b"1": "call"}


def test_one_that_never_was_ready_cannot_retire(neighbour):
    neighbour.greet(1.5)
    neighbour.retire()
    assert neighbour.state == GREETED


def test_its_loss_gives_back_what_was_outstanding_oldest_first(neighbour):
    neighbour.greet(1.5)
    neighbour.accept(ready())
    neighbour.calls.update({b"1": "first", b"2": "second"})
    assert neighbour.lose("the connection broke") == ["first", "second"]
    assert (neighbour.state, neighbour.credit, neighbour.calls) == (LOST, 0, {})
    assert neighbour.cause == "the connection broke"
    assert neighbour.lose("again") == []
