"""What a head tells of requests without an answer names what happened, where, and what helps."""

from __future__ import annotations

from tests.support.clock import Ids
from zflow.roles.call import Call
from zflow.roles.liveness import Neighbour
from zflow.roles.misfortunes import MAX_PATH, ended, full, late, located, lost, too_large
from zflow.wire.header import Kind, Message


def neighbour() -> Neighbour:
    made = Neighbour("a/rep-0", Ids())
    made.cause = "the connection broke"
    return made


def test_where_it_failed_is_noted_before_what_is_told_from_further_in():
    call = Call("caller", Message(Kind.REQUEST, bytes(16), "/"), None, 0.0)
    assert ended(call, "a", full("a", "a", "5 wait")).extra["path"] == [["a", 0]], "no replica has it"
    call.neighbour, call.sent = neighbour(), 2
    told = Message(Kind.FAILURE, bytes(16), extra={"code": 2, "path": [["inner/rep-1", 1]]})
    assert located(told, call, "a").extra["path"] == [["a/rep-0", 2], ["inner/rep-1", 1]]
    for _ in range(MAX_PATH):
        located(told, call, "a")
    assert len(told.extra["path"]) == MAX_PATH
    reply = Message(Kind.REPLY, bytes(16))
    assert located(reply, call, "a").extra == {}


def test_too_large_says_what_to_do():
    told = str(too_large("a", "a", "9 bytes too many"))
    assert "9 bytes too many" in told and "send fewer Documents" in told


def test_full_says_when_to_ask_again():
    told = full("a/shard-0", "a", "5 requests wait already")
    assert told.retryable and told.retry_after > 0 and told.node == "a" and not told.maybe_executed
    for word in ("a/shard-0", "5 requests", "ask again in 0.1 s", "replicas"):
        assert word in str(told)


def test_lost_says_whose_and_that_it_may_have_run():
    told = lost(neighbour(), "a", is_unpaid=False)
    assert told.maybe_executed and told.peer == "a/rep-0" and "the connection broke" in str(told)
    assert "not sent again" in str(lost(neighbour(), "a", is_unpaid=True))
    assert "not sent again" not in str(told)


def test_late_says_where_the_time_went():
    call = Call("caller", Message(Kind.REQUEST, bytes(16), "/"), None, 0.0)
    waited = late("a", "a", call, [])
    assert "waited for a free replica" in str(waited) and not waited.maybe_executed
    assert "before it was reached (a/rep-0: the connection broke)" in str(late("a", "a", call, [neighbour()]))
    call.neighbour = neighbour()
    worked = late("a", "a", call, [])
    assert "while a/rep-0 worked on it" in str(worked) and worked.maybe_executed
    call.neighbour, call.may_have_run = None, True
    assert late("a", "a", call, []).maybe_executed
