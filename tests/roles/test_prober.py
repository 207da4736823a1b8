"""A prober asks one question of a peer that is ready, through challenges and lost connections."""

from __future__ import annotations

from tests.support.clock import Ids
from tests.support.executors import details_of, echo
from tests.support.network import Network
from zflow.errors import AuthError, ProtocolError
from zflow.roles.contract import APPLICATION, Refusal, failure
from zflow.roles.prober import Prober
from zflow.roles.worker import Worker
from zflow.wire.header import Kind, Message

NAME = "a/rep-0"


def probed(network: Network, kind: Kind, **worker: object) -> list[Message]:
    network.add(NAME, Worker(NAME, boot=bytes(16), **worker), executor=echo)  # type: ignore[arg-type]
    prober = network.add("prober", Prober(NAME, kind, new_id=Ids()))
    network.run()
    return prober.answers


def test_it_learns_the_status(network):
    [status] = probed(network, Kind.PING)
    assert status.kind is Kind.STATUS
    assert details_of(status)["state"] == "serving"


def test_it_says_what_else_it_wants_to_know(network):
    worker = Worker(NAME, boot=bytes(16))
    worker.door.tell_log = lambda extra: {"log": extra["logs"]}
    network.add(NAME, worker)
    prober = network.add("prober", Prober(NAME, Kind.PING, new_id=Ids(), extra={"logs": 3}))
    network.run()
    [status] = prober.answers
    assert details_of(status)["log"] == 3


def test_it_learns_the_description_past_a_challenge(network):
    [description] = probed(network, Kind.DESCRIBE, new_nonce=Ids(b"nonce"), describe=lambda: {"endpoints": ["/a"]})
    assert description.kind is Kind.DESCRIPTION
    assert details_of(description)["endpoints"] == ["/a"]


def test_it_asks_again_after_a_lost_connection(network):
    prober = network.add("prober", Prober(NAME, Kind.PING, new_id=Ids()))
    lost = network.drop(kind=Kind.STATUS)
    network.add(NAME, Worker(NAME, boot=bytes(16)))
    network.run()
    assert (lost.seen, prober.answers) == (1, [])
    network.cut("prober", NAME)
    network.run()
    assert [answer.kind for answer in prober.answers] == [Kind.STATUS]


def test_it_knows_why_there_is_no_answer():
    prober = Prober(NAME, Kind.PING, new_id=Ids())
    assert "no answer to HELLO" in prober.cause
    prober.lost(NAME, "nobody listens there", 0.0)
    assert prober.cause == "nobody listens there"
    prober.malformed(NAME, ProtocolError("the header is not msgpack"), 0.0)
    assert "nonsense" in prober.cause and "msgpack" in prober.cause
    prober.opened(NAME, 0.0)
    prober.receive(NAME, Message(Kind.READY, extra={"boot": b"", "credit": 1}), 0.0)
    assert prober.cause == "it did not answer"


def test_answers_to_other_questions_are_not_its_own():
    prober = Prober(NAME, Kind.PING, new_id=Ids())
    prober.opened(NAME, 0.0)
    assert prober.receive(NAME, Message(Kind.STATUS, b"x" * 16), 0.0) == []
    assert prober.receive(NAME, Message(Kind.DRAIN), 0.0) == []
    assert prober.receive("application", Message(Kind.CANCEL, b"x" * 16), 0.0) == []


def test_it_waits_for_no_time_and_holds_nobody_up():
    prober = Prober(NAME, Kind.PING, new_id=Ids())
    assert (prober.next_deadline(), prober.expire(9.0), prober.drain(9.0), prober.is_idle(9.0)) == (None, [], [], True)
    assert prober.ways_out() == [NAME]


def test_it_is_told_that_it_is_not_let_in():
    prober = Prober(NAME, Kind.PING, new_id=Ids())
    prober.opened(NAME, 0.0)
    [(link, refused)] = prober.lost(NAME, Refusal("its list lacks our key"), 0.0)
    assert (link, refused.kind, refused.extra["code"]) == (APPLICATION, Kind.FAILURE, AuthError.code)
    assert details_of(refused)["message"] == f"{NAME}: its list lacks our key"


def test_a_failure_answers_it():
    prober = Prober(NAME, Kind.PING, new_id=Ids())
    prober.opened(NAME, 0.0)
    [(_, question)] = prober.receive(NAME, Message(Kind.READY, extra={"boot": bytes(16), "credit": 1}), 0.0)
    refused = failure(question.call_id, AuthError("no more"), not_started=True)
    assert prober.receive(NAME, refused, 0.0) == [(APPLICATION, refused)]
    assert prober.receive(NAME, failure(bytes(16), AuthError("another")), 0.0) == []
