"""A way out: it waits longer after each failure, and looks for a reason when it fails again and again."""

from __future__ import annotations

from zflow.drivers.sockets import Suspicion
from zflow.drivers.way_out import LONGEST_PAUSE, WayOut
from zflow.roles.contract import Refusal


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
