"""A way out: it waits longer after each failure, and looks for a reason when it fails again and again."""

from __future__ import annotations

from zflow.drivers.sockets import Suspicion
from zflow.drivers.way_out import LONGEST_PAUSE, WayOut
from zflow.roles.contract import Refusal
from zflow.wire.frames import DOCUMENTS, part
from zflow.wire.header import Kind, Message
from zflow.wire.pieces import apart


def test_the_pauses_grow_to_the_longest():
    way_out = WayOut("a/rep-0")
    pauses = [way_out.pause_after("refused") for _ in range(20)]
    assert pauses[:3] == [0.01, 0.02, 0.04]
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE


def test_who_does_not_let_us_in_is_asked_more_often_because_somebody_may_wait_for_the_refusal():
    way_out = WayOut("a/rep-0")
    assert max(way_out.pause_after(Refusal("no")) for _ in range(20)) == 0.5


def test_a_word_from_the_peer_makes_everything_good():
    way_out = WayOut("a/rep-0")
    for _ in range(5):
        way_out.pause_after("lost")
    way_out.is_suspicious_of(Suspicion("closed in the handshake"))
    way_out.has_heard()
    assert way_out.heard
    assert way_out.suspect == 0
    assert way_out.pause_after("lost") == 0.01


def test_the_third_broken_handshake_in_a_row_is_looked_into():
    way_out = WayOut("a/rep-0")
    broken = Suspicion("closed in the handshake")
    assert [way_out.is_suspicious_of(broken) for _ in range(4)] == [False, False, True, True]
    assert not way_out.is_suspicious_of("connection refused")


def test_once_refused_the_next_broken_handshake_is_looked_into():
    way_out = WayOut("a/rep-0")
    assert not way_out.is_suspicious_of(Refusal("no"))  # it has told its reason
    assert way_out.is_suspicious_of(Suspicion("closed in the handshake"))


# -- pieces of an answer that come behind each other -----------------------------------------------------------------


def said(kind: Kind, call_id: bytes = b"1" * 16) -> Message:
    return Message(kind, call_id, parts=[part(DOCUMENTS, "writer", [b"x"])])


def test_what_is_no_piece_is_handed_over_at_once():
    way_out = WayOut("a/rep-0")
    reply = said(Kind.REPLY)
    assert list(way_out.take(reply)) == [reply]
    assert list(way_out.let_go()) == []


def test_pieces_are_held_back_until_nothing_more_waits_and_then_are_one():
    way_out = WayOut("a/rep-0")
    pieces = [said(Kind.PARTIAL) for _ in range(3)]
    assert [list(way_out.take(piece)) for piece in pieces] == [[], [], []]
    [whole] = way_out.let_go()
    assert apart(whole) == pieces
    assert list(way_out.let_go()) == []


def test_what_comes_behind_pieces_is_handed_over_behind_them():
    way_out = WayOut("a/rep-0")
    other, reply = said(Kind.PARTIAL, b"2" * 16), said(Kind.REPLY)
    first, second = said(Kind.PARTIAL), said(Kind.PARTIAL)
    way_out.take(first)
    way_out.take(second)
    [whole] = way_out.take(other)
    assert apart(whole) == [first, second]
    assert list(way_out.take(reply)) == [other, reply]
    assert list(way_out.let_go()) == []
