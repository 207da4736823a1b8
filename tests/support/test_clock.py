"""The clock moves only when told, and only forward; ids are in order and never repeat."""

from __future__ import annotations

import pytest

from tests.support.clock import Clock, Ids


def test_it_stands_still_until_it_is_moved():
    clock = Clock(10.0)
    assert clock.now == clock.now == 10.0
    assert clock.advance(0.5) == clock.now == 10.5
    assert clock.move_to(20.0) == clock.now == 20.0


def test_it_never_goes_back():
    clock = Clock(10.0)
    with pytest.raises(ValueError, match="cannot go back"):
        clock.move_to(9.0)
    with pytest.raises(ValueError, match="cannot go back"):
        clock.advance(-1.0)


def test_ids_have_16_bytes_and_differ():
    ids = Ids(b"nonce")
    made = [ids() for _ in range(300)]
    assert {len(one) for one in made} == {16}
    assert len(set(made)) == 300
    assert made == sorted(made)
    assert made[0].startswith(b"nonce")
