"""A head process is to who asks it as one worker: it greets late, hands on, hands back, and keeps callers apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tests.support.clock import Ids
from tests.support.executors import details_of, tell, text_of
from tests.support.leftovers import leftovers
from tests.support.network import Network
from zflow.errors import DeadlineExceeded, InvalidRequest, Unavailable
from zflow.roles.contract import APPLICATION, Steps
from zflow.roles.front_door import FAREWELL, PROBE
from zflow.roles.head import PATIENCE, Head
from zflow.roles.head_peer import GREETING, HeadPeer
from zflow.roles.liveness import MAX_CREDIT
from zflow.roles.shards import Shards
from zflow.roles.worker import Worker
from zflow.wire.frames import DETAILS, DOCUMENTS, part
from zflow.wire.header import IDEMPOTENT, MAYBE_EXECUTED, NOT_STARTED, Kind, Message
from zflow.wire.payload import decode_map, encode_map

R0, R1 = "x/rep-0", "x/rep-1"
ALICE, BOB = (b"alice",), (b"bob",)


def peer_of(*links: str, is_known: bool = True, **options: Any) -> HeadPeer:
    """A head process; its workers have answered already, unless told otherwise."""
    links = links or (R0, R1)
    peer = HeadPeer("x/head", Head("x", links, new_id=Ids(), chance=lambda: 0.5), described_by=links, new_id=Ids())
    for link in links if is_known else ():
        make_ready(peer, link, **options)
    if is_known:
        describe(peer, links[0])
    return peer


def make_ready(peer: HeadPeer, link: str, now: float = 0.0, credit: int = 4, idempotent: Sequence[str] = ()) -> Steps:
    peer.opened(link, now)
    extra = {"boot": bytes(16), "credit": credit, "idempotent": list(idempotent)}
    return peer.receive(link, Message(Kind.READY, extra=extra), now)


def describe(peer: HeadPeer, link: str, now: float = 0.0, **told: Any) -> Steps:
    details = part(DETAILS, link, [encode_map(told)])
    return peer.receive(link, Message(Kind.DESCRIPTION, bytes(16), parts=[details]), now)


def greet(peer: HeadPeer, link: tuple[bytes, ...], now: float = 0.0, **extra: Any) -> Steps:
    return peer.receive(link, Message(Kind.HELLO, extra={"conn": bytes(16), **extra}), now)


def call(number: int) -> bytes:
    return number.to_bytes(16, "big")


def request(number: int, *, budget: float | None = None, flags: int = 0, **extra: Any) -> Message:
    microseconds = None if budget is None else int(budget * 1e6)
    parts = [part(DOCUMENTS, "gateway", [b"in"])]
    return Message(Kind.REQUEST, call(number), "/index", microseconds, flags, parts, extra)


def is_failure(message: Message, error: type, flags: int) -> bool:
    return (message.kind, message.extra["code"], message.flags) == (Kind.FAILURE, error.code, flags)  # type: ignore[attr-defined]


def asked_of(peer: HeadPeer, kind: Kind) -> dict[str, Any]:
    [(_, answer)] = peer.receive(ALICE, Message(kind, call(99)), 0.0)
    return decode_map(answer.parts[0].buffers()[0])


# -- greetings ---------------------------------------------------------------------------------------------------------


def test_a_greeting_waits_until_every_worker_has_told_its_credit_and_one_what_it_offers() -> None:
    peer = peer_of(is_known=False)
    assert greet(peer, ALICE) == []
    assert peer.next_deadline() == GREETING
    assert [message.kind for _, message in make_ready(peer, R0, 0.1, credit=3)] == [Kind.DESCRIBE]
    assert [message.kind for _, message in make_ready(peer, R1, 0.2, credit=4)] == [Kind.DESCRIBE]
    [(link, ready)] = describe(peer, R1, 0.3, endpoints=[])
    assert (link, ready.kind, ready.extra["credit"], ready.extra["role"]) == (ALICE, Kind.READY, 7, "head")
    assert peer.next_deadline() is None
    [(link, ready)] = greet(peer, BOB, 0.4)
    assert (link, ready.extra["credit"]) == (BOB, 7)


def test_it_waits_no_longer_than_a_second() -> None:
    peer = peer_of(is_known=False)
    make_ready(peer, R0, credit=7)
    greet(peer, ALICE, 1.0)
    greet(peer, BOB, 1.5)
    peer.lost(BOB, "it left", 1.6)
    assert peer.expire(1.9) == []
    [(link, ready)] = peer.expire(1.0 + GREETING)
    assert (link, ready.kind, ready.extra["credit"]) == (ALICE, Kind.READY, 11)  # the other one counts with the usual


def test_no_credit_is_more_than_can_be_granted() -> None:
    peer = peer_of(credit=MAX_CREDIT)
    [(_, ready)] = greet(peer, ALICE)
    assert ready.extra["credit"] == MAX_CREDIT


@pytest.mark.parametrize(
    ("first", "second", "both"),
    [((), (), None), (["*"], ["*"], ["*"]), (["*"], ["/a"], ["/a"]), (["/b", "/a"], ["/a", "/b", "/c"], ["/a", "/b"])],
)
def test_what_all_may_run_again_it_may_run_again(first, second, both) -> None:
    peer = peer_of(is_known=False)
    make_ready(peer, R0, idempotent=first)
    make_ready(peer, R1, idempotent=second)
    describe(peer, R0)
    [(_, ready)] = greet(peer, ALICE)
    assert ready.extra.get("idempotent") == both


# -- what it tells of itself -----------------------------------------------------------------------------------------


def test_it_offers_what_its_workers_offer() -> None:
    peer = peer_of()
    greet(peer, ALICE)
    describe(peer, R0, endpoints=[{"name": "/a"}], versions={"python": "3"}, name="x/rep-0", secret=1)
    told = asked_of(peer, Kind.DESCRIBE)
    assert told["endpoints"] == [{"name": "/a"}] and told["versions"] == {"python": "3"}
    assert (told["name"], told["role"]) == ("x/head", "head") and "secret" not in told
    describe(peer, R1, endpoints=[{"name": "/b"}])  # a new incarnation has other endpoints
    assert asked_of(peer, Kind.DESCRIBE)["endpoints"] == [{"name": "/b"}]


def test_nonsense_offers_nothing() -> None:
    peer = peer_of()
    greet(peer, ALICE)
    peer.receive(R0, Message(Kind.DESCRIPTION, bytes(16), parts=[part(DETAILS, "x", [b"\xc1"])]), 0.0)
    peer.receive(R0, Message(Kind.DESCRIPTION, bytes(16)), 0.0)
    assert "endpoints" not in asked_of(peer, Kind.DESCRIBE)


def test_those_around_the_shards_are_not_asked_what_they_offer() -> None:
    before = Head("x", ["x/uses-before/rep-0"], new_id=Ids(), name="x/uses-before")
    shards = Shards("x", [Head("x", [R0], new_id=Ids())], polls_all={"*": True}, before=before)
    peer = HeadPeer("x/head", shards, described_by=[R0], new_id=Ids())
    assert make_ready(peer, "x/uses-before/rep-0") == []
    assert [link for link, _ in make_ready(peer, R0)] == [R0]


def test_its_status_tells_how_its_replicas_are_and_what_waits() -> None:
    peer = peer_of(R0, credit=1)
    greet(peer, ALICE)
    for number in (1, 2, 3):
        peer.receive(ALICE, request(number), 0.0)
    told = asked_of(peer, Kind.PING)
    assert (told["inflight"], told["queued"], told["replicas"]) == (3, 2, {R0: "ready"})
    [standing] = told["nodes"].values()
    assert (standing["queued"], standing["replicas"][R0]["inflight"]) == (2, 1)
    peer.lost(R0, "it died", 0.0)
    assert asked_of(peer, Kind.PING)["replicas"] == {R0: "lost"}


# -- requests ----------------------------------------------------------------------------------------------------------


def test_a_request_keeps_the_names_of_the_graph_that_asks() -> None:
    peer = peer_of(R0)
    greet(peer, ALICE, nodes=["mine", "other"])
    question = request(1, flags=IDEMPOTENT, node="mine", sent=5, **{"!when": [["c", None]]})
    [(link, sent)] = peer.receive(ALICE, question, 0.0)
    assert link == R0 and sent.flags == IDEMPOTENT and text_of(sent.parts) == "in"
    assert sent.extra == {"node": "mine", "nodes": ["mine", "other"], "!when": [["c", None]]}
    assert sent.call_id != call(1)
    told = {"missing": {"x/shard-1": 6, "xy/shard-0": 6, 3: 4}}
    [(link, answer)] = peer.receive(R0, Message(Kind.REPLY, sent.call_id, extra=told), 1.0)
    assert (link, answer.call_id) == (ALICE, call(1))
    assert answer.extra == {"missing": {"mine/shard-1": 6, "xy/shard-0": 6, 3: 4}}
    assert leftovers(peer) == []


def test_one_who_has_no_graph_asks_under_the_executors_own_name() -> None:
    peer = peer_of(R0)
    greet(peer, ALICE)
    [(_, sent)] = peer.receive(ALICE, request(1), 0.0)
    assert sent.extra == {"node": "x"}
    [(_, sent)] = peer.receive(APPLICATION, request(1), 0.0)  # its own process, as in Deployment.post
    assert sent.extra == {"node": "x"}


def test_names_that_were_handed_on_before_are_handed_on_again() -> None:
    peer = peer_of(R0)
    greet(peer, ALICE, nodes=["here"])
    [(_, sent)] = peer.receive(ALICE, request(1, node="far", nodes=["far", "away"]), 0.0)
    assert sent.extra == {"node": "far", "nodes": ["far", "away"]}


def test_a_failure_of_its_own_names_the_executor_as_the_asker_does() -> None:
    peer = peer_of(R0)
    greet(peer, ALICE)
    peer.receive(ALICE, request(1, node="mine"), 0.0)
    peer.receive(ALICE, request(2), 0.0)
    second, first = (message for _, message in peer.lost(R0, "it died", 1.0))
    assert is_failure(first, Unavailable, MAYBE_EXECUTED) and first.extra["final"]
    assert (details_of(first)["node"], first.parts[0].label, details_of(first)["peer"]) == ("mine", "mine", R0)
    assert details_of(second)["node"] == "x"


def test_a_failure_of_user_code_is_handed_back_unopened() -> None:
    peer = peer_of(R0)
    greet(peer, ALICE)
    [(_, sent)] = peer.receive(ALICE, request(1, node="mine"), 0.0)
    for label in ("mine", "x"):  # the second one is of a worker that calls itself as the head does, and cannot be read
        raised = Message(
            Kind.FAILURE, sent.call_id, parts=[part(DETAILS, label, [b"not to be opened"])], extra={"code": 2}
        )
        [(_, outcome)] = peer.receive(R0, raised, 1.0)
        assert bytes(outcome.parts[0].frames[0]) == b"not to be opened"
        [(_, sent)] = peer.receive(ALICE, request(1, node="mine"), 0.0)


def test_time_runs_from_when_it_was_sent() -> None:
    peer = peer_of(R0)
    greet(peer, ALICE, 10.0, sent=10_000_000)
    [(_, sent)] = peer.receive(ALICE, request(1, budget=5.0, sent=12_000_000), 13.0)
    assert 3.9e6 < (sent.budget or 0) < 4.1e6  # it was under way for a second
    [(link, cancel), (_, outcome)] = sorted(peer.expire(17.5), key=lambda step: step[1].kind is Kind.FAILURE)
    assert (link, cancel.kind) == (R0, Kind.CANCEL)
    assert is_failure(outcome, DeadlineExceeded, MAYBE_EXECUTED)


def test_callers_may_use_the_same_ids_and_meddle_with_nobodys_calls() -> None:
    peer = peer_of(R0, R1)
    greet(peer, ALICE)
    greet(peer, BOB)
    [(_, alices)] = peer.receive(ALICE, request(1, partial=True), 0.0)
    [(_, bobs)] = peer.receive(BOB, request(1), 0.0)
    assert peer.receive(BOB, request(1), 0.0) == [] and peer.dropped == 1
    assert peer.receive(BOB, Message(Kind.CANCEL, call(2)), 0.0) == []
    [(link, piece)] = peer.receive(R0, Message(Kind.PARTIAL, alices.call_id), 0.0)
    assert (link, piece.kind, piece.call_id) == (ALICE, Kind.PARTIAL, call(1))
    [(link, more)] = peer.receive(ALICE, Message(Kind.MORE, call(1), extra={"items": 3}), 0.0)
    assert (link, more.call_id, more.extra) == (R0, alices.call_id, {"items": 3})
    [(link, cancel)] = peer.receive(BOB, Message(Kind.CANCEL, call(1)), 0.0)
    assert (link, cancel.kind, cancel.call_id) == (R1, Kind.CANCEL, bobs.call_id)
    [(link, answer)] = peer.receive(R1, Message(Kind.REPLY, bobs.call_id), 0.0)
    assert (link, answer.call_id) == (BOB, call(1))


def test_who_is_gone_is_worked_for_no_more() -> None:
    peer = peer_of(R0)
    greet(peer, ALICE)
    [(_, sent)] = peer.receive(ALICE, request(1), 0.0)
    [(link, cancel)] = peer.lost(ALICE, "it left", 1.0)
    assert (link, cancel.kind, cancel.call_id) == (R0, Kind.CANCEL, sent.call_id)
    assert peer.receive(R0, Message(Kind.REPLY, sent.call_id), 2.0) == []
    assert leftovers(peer) == []


def test_whoever_takes_pieces_is_looked_after() -> None:
    peer = peer_of(R0)
    greet(peer, ALICE)
    peer.receive(ALICE, request(1, partial=True), 0.0)
    assert peer.next_deadline() == PROBE
    assert [(link, message.kind) for link, message in peer.expire(PROBE)] == [(ALICE, Kind.STATUS)]


def test_what_cannot_be_read_is_refused_or_ends_its_call() -> None:
    peer = peer_of(R0)
    greet(peer, ALICE)
    [(_, sent)] = peer.receive(ALICE, request(1), 0.0)
    error = InvalidRequest("not a header")
    error.call_id = sent.call_id
    steps = peer.malformed(R0, error, 0.0)
    assert [(link, message.kind) for link, message in steps] == [(R0, Kind.CANCEL), (ALICE, Kind.FAILURE)]
    error.call_id = call(2)
    [(link, refused)] = peer.malformed(ALICE, error, 0.0)
    assert link == ALICE and is_failure(refused, InvalidRequest, NOT_STARTED)


def test_it_drains() -> None:
    peer = peer_of(R0)
    greet(peer, ALICE)
    [(_, sent)] = peer.receive(ALICE, request(1), 0.0)
    assert [(link, message.kind) for link, message in peer.drain(1.0)] == [(ALICE, Kind.DRAIN)]
    [(_, refused)] = peer.receive(ALICE, request(2), 1.0)
    assert is_failure(refused, Unavailable, NOT_STARTED) and "final" not in refused.extra
    peer.expire(1.0 + FAREWELL)
    assert not peer.is_idle(2.0)
    peer.receive(R0, Message(Kind.REPLY, sent.call_id), 2.0)
    assert peer.is_idle(2.0)


# -- between a client and workers ------------------------------------------------------------------------------------


def test_a_client_asks_a_head_process_as_it_asks_a_worker() -> None:
    network = Network(latency=0.01)
    ids = Ids()
    for link in (R0, R1):
        network.add(link, Worker(link, boot=ids()), executor=tell)
    head = Head("x", [R0, R1], new_id=ids)
    peer = HeadPeer("x/head", head, described_by=[R0, R1], new_id=ids, new_nonce=Ids(b"nonce"))
    network.add("x/head", peer)
    client = network.add("client", Head("x/head", ["x/head"], new_id=ids))
    for number in range(20):
        network.ask("client", request(number + 1))
    network.run(1.0)
    network.kill(R0)
    network.ask("client", request(50))
    network.run()
    assert [text_of(answer.parts) for answer in client.answers] == ["x(in)"] * 21
    network.kill(R1)
    network.ask("client", request(60))
    network.run()
    assert client.answers[-1].kind is Kind.FAILURE
    assert f"waited {PATIENCE:g} s" in str(details_of(client.answers[-1])["message"])
    assert leftovers(peer) == [] and leftovers(client.role) == []
