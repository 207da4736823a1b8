"""The table of nodes: what it says of a status, and what it compares with an earlier one."""

from __future__ import annotations

from typing import Any

from zflow.overview import Look, headline, overview


def replica(done: int = 0, took: int = 0, **more: Any) -> dict[str, Any]:
    return {"state": "ready", "credit": 2, "inflight": 1, "done": done, "took": took, **more}


def status(**nodes: dict[str, Any]) -> dict[str, Any]:
    about = {"name": "gateway", "role": "gateway", "software": "zflow/0.1.0", "state": "serving"}
    return {**about, "inflight": 1, "queued": 2, **({"nodes": nodes} if nodes else {})}


def node(*replicas: dict[str, Any], queued: int = 0) -> dict[str, Any]:
    return {"queued": queued, "dropped": 0, "replicas": {f"a/rep-{n}": told for n, told in enumerate(replicas)}}


def cells(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()[2:]]


def test_who_it_is_stands_first() -> None:
    assert headline(status()) == "gateway (gateway, zflow/0.1.0): serving, 1 in flight, 2 queued"
    told = headline({**status(), "floating": 3, "floating_failed": 0, "took": 0.0012})
    assert told.endswith("2 queued, 3 floating, answered in 1.2 ms")


def test_one_without_nodes_has_no_table() -> None:
    assert overview(Look(status(), 1.0)) == headline(status())


def test_a_line_for_each_replica() -> None:
    heads, first, second = cells(overview(Look(status(a=node(replica(4, 10_000), replica(), queued=7)), 1.0)))
    assert heads == ["NODE", "QUEUED", "REPLICA", "STATE", "RUNNING", "CREDIT", "DONE", "MEAN"]
    assert first == ["a", "7", "a/rep-0", "ready", "1", "2", "4", "2.5", "ms"]
    assert second == ["a/rep-1", "ready", "1", "2", "0", "-"]


def test_why_one_is_not_ready_is_at_the_end_and_not_endless() -> None:
    lost = replica(state="lost", cause="nobody listens" + "." * 100)
    assert overview(Look(status(a=node(lost)), 1.0)).endswith("nobody listens" + "." * 46)


def test_rates_are_those_since_the_last_look() -> None:
    before = Look(status(a=node(replica(10, 1_000_000)), b=node(replica(0))), 5.0)
    now = Look(status(a=node(replica(30, 1_100_000)), b=node(replica(5, 5_000))), 7.0)
    text = overview(now, before)
    assert "12.5 calls/s" in text.splitlines()[0]
    assert [row[-3:] for row in cells(text)[1:]] == [["10.0/s", "5.0", "ms"], ["2.5/s", "1.0", "ms"]]


def test_who_has_started_anew_is_not_compared() -> None:
    before, now = Look(status(a=node(replica(10, 1_000))), 5.0), Look(status(a=node(replica(3, 100))), 6.0)
    assert cells(overview(now, before))[1][-2:] == ["0.0/s", "-"]


def test_a_node_that_has_come_meanwhile_counts_from_nothing() -> None:
    now = Look(status(a=node(replica(3, 3_000))), 6.0)
    assert cells(overview(now, Look(status(b=node(replica(9))), 5.0)))[1][-3:] == ["3.0/s", "1.0", "ms"]


def test_a_node_without_replicas_is_there() -> None:
    assert cells(overview(Look(status(a=node(queued=3)), 1.0)))[1] == ["a", "3", "none"]
