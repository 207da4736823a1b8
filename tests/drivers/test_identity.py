"""Ids: 16 bytes that do not come twice, in no thread and in no fork."""

from __future__ import annotations

from tests.support.peers import child
from zflow.drivers.identity import new_id
from zflow.wire.header import CALL_ID


def test_an_id_is_what_the_protocol_calls_one():
    assert type(new_id()) is bytes
    assert len(new_id()) == CALL_ID


def test_no_id_comes_twice():
    assert len({new_id() for _ in range(10_000)}) == 10_000


FORK = """
import os
from zflow.drivers.identity import new_id
new_id()
if os.fork() == 0:
    print(new_id().hex(), flush=True)
    os._exit(0)
os.wait()
print(new_id().hex(), flush=True)
"""


def test_a_fork_makes_others_than_its_parent():
    """A generator with a state of its own would go on alike on both sides."""
    with child(FORK) as process:
        told, _ = process.communicate(timeout=20)
    theirs, own = told.split()
    assert len(theirs) == len(own) == 32
    assert theirs != own
