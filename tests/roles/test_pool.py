"""The replicas of a head: who comes is there at once, who goes is kept as long as there is a connection to it."""

from __future__ import annotations

from tests.support.clock import Ids
from zflow.roles.contract import GivenUp, Lasting, Refusal
from zflow.roles.pool import Pool
from zflow.wire.header import Kind, Message

R0, R1 = "a/rep-0", "a/rep-1"


def pool_of(*links: str, ready: bool = True) -> Pool:
    pool = Pool("a", links, Ids(), [])
    for link in links if ready else ():
        make_ready(pool, link)
    return pool


def make_ready(pool: Pool, link: str) -> None:
    pool[link].greet(0.0)
    assert pool[link].accept(Message(Kind.READY, extra={"boot": bytes(16), "credit": 2}))


def test_it_knows_its_own_groups_only():
    pool = Pool("b/shard-1", ["a/rep-0"], Ids(), [])
    assert pool.has("b/shard-1") and pool.has("a") and not pool.has("b")


def test_who_comes_is_there_at_once_and_who_goes_when_it_is_done_with():
    pool = pool_of(R0)
    pool[R0].calls[b"1"] = "work"
    pool.follow("a", [R1])
    assert list(pool) == pool.ways_out() == [R0, R1]
    pool[R0].calls.clear()
    assert pool.ways_out() == [R1]


def test_who_has_no_connection_is_forgotten_at_once():
    pool = pool_of(R0, ready=False)
    pool.follow("a", [R1])
    assert list(pool) == [R1]


def test_replicas_of_another_group_stay():
    pool = Pool("a", [R0, "b/rep-0"], Ids(), [])
    pool.follow("a", [])
    assert list(pool) == ["b/rep-0"]


def test_it_is_served_while_one_is_ready():
    pool = pool_of(R0, R1)
    pool[R0].lose("gone")
    assert pool.is_served
    pool[R1].lose("gone")
    assert not pool.is_served


def test_that_none_will_be_ready_is_known_when_all_have_lasting_causes():
    pool = pool_of(R0, R1)
    pool[R0].lose(GivenUp("it cannot start"))
    assert pool.lasting_causes() == [], "the other one is ready"
    pool[R1].lose("the connection broke")
    assert pool.lasting_causes() == [], "the other one may come back"
    pool[R1].lose(Refusal("no key"))
    assert pool.lasting_causes() == ["it cannot start", "no key"]
    assert all(isinstance(cause, Lasting) for cause in pool.lasting_causes())
