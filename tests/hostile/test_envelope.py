"""Inputs 27 to 40: messages of a caller that was let in, and whose header is not as it should be.

Each ends in one outcome (an error that says that nothing has run, or nothing at all), the connection stays, and a good
request on it is served right after.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgpack
import pytest

from tests.hostile.door import DROPPED, IGNORED, SERVED, Door, asking, body, header, new_call, opened, rows
from tests.support.peers import Stranger, hold_until
from zflow.roles.contract import EXECUTOR
from zflow.roles.worker import Worker
from zflow.wire.header import MAYBE_EXECUTED, Kind, Message, encode

INVALID, PROTOCOL, UNSUPPORTED = "InvalidRequest", "ProtocolError", "UnsupportedRequest"
DEADLINE = "DeadlineExceeded"
DOCS = body(text=["x"])
N = len(DOCS)


@pytest.fixture(scope="module")
def door() -> Iterator[Door]:
    """One for all: what one input has done to it would show with the next."""
    with opened() as door:
        yield door


def with_docs(*frames: bytes, sizes: Any = None, **changed: Any) -> list[bytes]:
    """A REQUEST whose layout names one documents part of these sizes (those of its frames)."""
    sizes = [len(frame) for frame in frames] if sizes is None else sizes
    return [header(layout=[[0, "gateway", None, sizes]], **changed), *frames]


def tensors(*places: Any) -> bytes:
    """The body of two documents, each with a tensor of four bytes at one of `places`."""
    groups = [[[row], "u1", [4], place] for row, place in enumerate(places)]
    return msgpack.packb({"n": 2, "id": ["a", "b"], "tensor": groups})  # type: ignore[no-any-return]


CASES = [
    ("27 no header frame", [], DROPPED),
    ("28 an empty header", [b""], DROPPED),
    ("28 an empty payload frame", with_docs(DOCS, b""), PROTOCOL),
    ("28 an empty frame within a buffer", with_docs(DOCS[:3], b"", DOCS[3:], sizes=[N]), PROTOCOL),
    ("29 one more delimiter", [b"", header()], DROPPED),
    ("29 many more delimiters", [b""] * 8 + [header()], DROPPED),
    ("30 a frame is missing", with_docs(tensors(0, 1), b"aaaa", sizes=[len(tensors(0, 1)), 4, 4]), PROTOCOL),
    ("30 a frame too many", with_docs(tensors(0, 1), b"aaaa", b"bbbb"), SERVED),
    ("30 a frame that the layout does not name", [*with_docs(DOCS), b"more"], PROTOCOL),
    ("30 a frame that the body does not name", with_docs(DOCS, b"more"), INVALID),
    ("30 frames without a layout", [header(), b"more"], PROTOCOL),
    ("30 frames that are swapped", with_docs(b"aaaa", tensors(0, 1), b"bbbb"), INVALID),
    ("30 places that are swapped", with_docs(tensors(1, 0), b"aaaa", b"bbbb"), INVALID),
    ("30 a frame that is used twice", with_docs(tensors(0, 0), b"aaaa"), INVALID),
    ("31 a size that is too large", with_docs(DOCS, sizes=[N + 1]), PROTOCOL),
    ("31 a size that is too small", with_docs(DOCS, sizes=[N - 1]), PROTOCOL),
    ("31 a size of 2^62", with_docs(DOCS, sizes=[1 << 62]), PROTOCOL),
    ("31 a size of 2^64-1", with_docs(DOCS, sizes=[(1 << 64) - 1]), PROTOCOL),
    ("31 a size of -1", with_docs(DOCS, sizes=[-1]), PROTOCOL),
    ("31 a size that is no number", with_docs(DOCS, sizes=["1"]), PROTOCOL),
    ("31 a size that is true", with_docs(DOCS, sizes=[True]), PROTOCOL),
    ("31 sizes that add up to more than 1 GiB", with_docs(DOCS, sizes=[1 << 29, 1 << 29, 1 << 29]), PROTOCOL),
    ("31 more sizes than a message has frames", with_docs(DOCS, sizes=[1] * 3000), PROTOCOL),
    ("31 zeros without end", with_docs(DOCS, sizes=[0] * 60_000), PROTOCOL),
    ("31 more parts than there may be", [header(layout=[[0, "", None, [0]]] * 1025)], PROTOCOL),
    ("31 a part without buffers", [header(layout=[[0, "", None, []]])], PROTOCOL),
    ("31 a part of an unknown kind", [header(layout=[[4, "", None, [0]]])], PROTOCOL),
    ("31 a part that a REQUEST may not have", [header(layout=[[3, "", None, [0]]])], PROTOCOL),
    ("31 parameters twice", [header(layout=[[1, "", None, [1]], [1, "", None, [1]]]), b"\x80", b"\x80"], PROTOCOL),
    ("32 version 0", [header(version=0)], UNSUPPORTED),
    ("32 version 2", [header(version=2)], UNSUPPORTED),
    ("32 version 2^64-1", [header(version=(1 << 64) - 1)], UNSUPPORTED),
    ("32 a version that is a word", [header(version="1")], UNSUPPORTED),
    ("32 a version that is true", [header(version=True)], UNSUPPORTED),
    ("32 kind 0", [header(kind=0)], UNSUPPORTED),
    ("32 kind 16", [header(kind=16)], UNSUPPORTED),
    ("32 kind -1", [header(kind=-1)], UNSUPPORTED),
    ("32 kind 4.0", [header(kind=4.0)], UNSUPPORTED),
    ("32 what must be understood and is not", [header(extra={"!magic": 1})], UNSUPPORTED),
    ("33 a call id of no bytes", [header(call_id=b"")], DROPPED),
    ("33 a call id of 15 bytes", [header(call_id=bytes(15))], DROPPED),
    ("33 a call id of 17 bytes", [header(call_id=bytes(17))], DROPPED),
    ("33 a call id of 1,000 bytes", [header(call_id=bytes(1000))], DROPPED),
    ("33 a call id that is text", [header(call_id="x" * 16)], DROPPED),
    ("33 a call id that is a number", [header(call_id=7)], DROPPED),
    ("35 attempt -1 and other keys that nobody knows", [header(extra={"attempt": -1, "hop": 10**9})], SERVED),
    ("35 known keys of the wrong type", [header(extra={"nodes": "x"})], PROTOCOL),
    ("35 a name that is a number", [header(extra={"node": 7})], PROTOCOL),
    ("35 sent as a float", [header(extra={"sent": 1.5})], PROTOCOL),
    ("35 sent before there was time", [header(extra={"sent": -1})], PROTOCOL),
    ("35 items that are taken back", [header(extra={"partial": True, "items": -5})], PROTOCOL),
    ("35 nodes that are no names", [header(extra={"nodes": [1, None, {"a": []}]})], SERVED),
    ("35 sent in the far future", [header(budget=10**12, extra={"sent": (1 << 64) - 1})], SERVED),
    ("36 a budget of 0", [header(budget=0)], DEADLINE),
    ("36 a budget of -1", [header(budget=-1)], PROTOCOL),
    ("36 a budget of NaN", [header(budget=float("nan"))], PROTOCOL),
    ("36 a budget of 1e300", [header(budget=1e300)], PROTOCOL),
    ("36 a budget of 2^64-1", [header(budget=(1 << 64) - 1)], PROTOCOL),
    ("36 a budget that is a word", [header(budget="soon")], PROTOCOL),
    ("36 a budget that is true", [header(budget=True)], PROTOCOL),
    ("37 ids of another session, which only HELLO and READY have", [header(extra={"conn": bytes(16)})], SERVED),
    ("37 an id of 15 bytes", [header(extra={"boot": bytes(15)})], PROTOCOL),
    ("37 an id that is text", [header(extra={"nonce": "n" * 16})], PROTOCOL),
    ("38 a REPLY to a peer", [header(kind=int(Kind.REPLY), endpoint="")], DROPPED),
    ("38 a PARTIAL to a peer", [header(kind=int(Kind.PARTIAL), endpoint="")], DROPPED),
    ("38 a FAILURE to a peer", [header(kind=int(Kind.FAILURE), endpoint="")], DROPPED),
    ("38 a DRAIN to a peer", [header(kind=int(Kind.DRAIN), call_id=b"", endpoint="")], DROPPED),
    ("38 a CHALLENGE to a peer", [header(kind=int(Kind.CHALLENGE), call_id=b"", endpoint="")], DROPPED),
    ("38 a READY of credit 10^9", [header(kind=int(Kind.READY), endpoint="", extra={"credit": 10**9})], DROPPED),
    ("38 a READY of credit -1", [header(kind=int(Kind.READY), endpoint="", extra={"credit": -1})], PROTOCOL),
    ("38 a STATUS without details", [header(kind=int(Kind.STATUS), endpoint="")], PROTOCOL),
    ("39 a CANCEL of nobody's call", [header(kind=int(Kind.CANCEL), endpoint="")], IGNORED),
    ("39 a MORE of nobody's call", [header(kind=int(Kind.MORE), endpoint="", extra={"items": 5})], IGNORED),
    ("40 an endpoint that nobody has", [header(endpoint="/nobody/has/this")], SERVED),
    ("40 an endpoint with NUL", [header(endpoint="/a\0b")], PROTOCOL),
    ("40 an endpoint with a newline", [header(endpoint="/a\n")], PROTOCOL),
    ("40 an endpoint of 129 characters", [header(endpoint="/" + "a" * 128)], PROTOCOL),
    ("40 an endpoint of 60 kB", [header(endpoint="/" + "a" * 60_000)], PROTOCOL),
    ("40 an endpoint of 1 MB", [header(endpoint="/" + "a" * 1_000_000)], DROPPED),
    ("40 an endpoint that looks like another", [header(endpoint="/se\u0430rch")], PROTOCOL),
    ("40 an endpoint in full width", [header(endpoint="\uff0fsearch")], PROTOCOL),
    ("40 an endpoint with an accent", [header(endpoint="/caf\u00e9")], PROTOCOL),
    ("40 an endpoint without a slash", [header(endpoint="search")], PROTOCOL),
    ("40 an endpoint that is bytes", [header(endpoint=b"/search")], PROTOCOL),
    ("40 an endpoint of dots", [header(endpoint="/../../etc/passwd")], SERVED),
]


@pytest.mark.parametrize(("frames", "outcome"), rows(*CASES))
def test_a_header_that_is_not_as_it_should_be_has_one_outcome(door: Door, frames: list[bytes], outcome: str) -> None:
    assert door.outcome(*frames) == outcome
    assert door.serves()


def request(call_id: bytes) -> bytes:
    return header(call_id=call_id)


@pytest.mark.parametrize("once_more", rows(("34 a call id that is used again", 1), ("34 and again and again", 20)))
def test_a_call_id_may_be_used_again_once_its_call_has_ended(door: Door, once_more: int) -> None:
    call = new_call()
    for _ in range(1 + once_more):
        assert door.outcome(request(call)) == SERVED


@pytest.mark.parametrize("times", rows(("34 a call id that is used while its call is here", 3)))
def test_a_call_runs_once_whoever_sends_its_id_meanwhile(times: int) -> None:
    """On the same connection a duplicate is dropped: the one answer is for both. From another one it is refused."""
    worker = Worker("peer/rep-0", boot=bytes(16), credit=10)
    one, other = (b"one",), (b"other",)
    for link in (one, other):
        worker.receive(link, Message(Kind.HELLO), 0.0)
    call = new_call()
    steps = [step for _ in range(times) for step in worker.receive(one, Message(Kind.REQUEST, call, "/"), 0.0)]
    ((link, refusal),) = worker.receive(other, Message(Kind.REQUEST, call, "/"), 0.0)
    assert steps == [] and worker.door.dropped == times - 1
    assert (link, refusal.kind, refusal.flags) == (other, Kind.FAILURE, MAYBE_EXECUTED)
    assert [link for link, _ in worker.expire(0.0)] == [EXECUTOR]
    answers = worker.receive(EXECUTOR, Message(Kind.REPLY, call), 0.0)
    assert [link for link, _ in answers] == [one]


@pytest.mark.parametrize(
    "kind", rows(("39 a CANCEL of another caller's call", Kind.CANCEL), ("39 a MORE of another's call", Kind.MORE))
)
def test_nobody_meddles_with_the_calls_of_another(kind: Kind) -> None:
    call = new_call()
    with opened() as door, Stranger(door.served.address) as other:
        other.greet()
        gate = door.hold()
        door.caller.say(request(call))
        hold_until(gate.entered.is_set)
        other.tell(Message(kind, call, extra={"items": 1}))
        other.tell(Message(Kind.REPLY, call))
        other.tell(Message(Kind.PING, new_call()))
        gate.open()
        answer = door.caller.hear()
        assert answer is not None and answer.kind is Kind.REPLY
        heard = other.hear()
        assert heard is not None and heard.kind is Kind.STATUS  # and no outcome of a call that is not theirs
        assert other.hear(50) is None


@pytest.mark.parametrize("extra", rows(("37 a HELLO with a nonce of another session", bytes(range(16)))))
def test_a_nonce_lets_in_only_whom_it_was_given_to(extra: bytes) -> None:
    with opened() as door, Stranger(door.served.address) as one, Stranger(door.served.address) as two:
        one.tell(Message(Kind.HELLO, extra={"nonce": extra}))
        first = one.hear()
        two.tell(Message(Kind.HELLO))
        second = two.hear()
        assert first is not None and second is not None and first.kind is second.kind is Kind.CHALLENGE
        one.tell(Message(Kind.HELLO, extra={"nonce": second.extra["nonce"]}))
        again = one.hear()
        assert again is not None and again.kind is Kind.CHALLENGE
        one.say(*[bytes(frame) for frame in encode(Message(Kind.REQUEST, new_call(), "/"))])
        assert one.hear(50) is None
        assert door.serves()


@pytest.mark.parametrize("credit", rows(("38 more requests than were granted", 50)))
def test_who_asks_for_more_than_was_granted_is_refused_at_once(credit: int) -> None:
    with opened() as door:
        gate = door.hold()
        for _ in range(credit):
            door.caller.say(*asking(DOCS))
        hold_until(gate.entered.is_set)
        gate.open()
        kinds = [answer.kind for answer in (door.caller.hear() for _ in range(credit)) if answer is not None]
        assert kinds.count(Kind.FAILURE) >= credit - 2 * door.served.role.door.credit  # type: ignore[attr-defined]
        assert len(kinds) == credit
        assert door.serves()
