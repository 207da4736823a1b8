"""Messages and their header. Which bytes are valid, and which are not, is in protocol/vectors; here is the rest."""

from __future__ import annotations

import tracemalloc
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zflow.errors import ProtocolError, UnsupportedRequest
from zflow.wire.frames import DOCUMENTS, PARAMETERS, Part, part
from zflow.wire.header import (
    FLAGS,
    IDEMPOTENT,
    MAX_BUDGET,
    MAX_HEADER,
    MAYBE_EXECUTED,
    NO_REDUCE,
    NOT_STARTED,
    Kind,
    Message,
    decode,
    encode,
    is_endpoint,
)

ID = bytes(range(16))
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
PARTS = st.lists(
    st.builds(part, st.just(DOCUMENTS), st.text(max_size=9), st.lists(st.binary(max_size=9), min_size=1)), max_size=4
)


def request(**fields: Any) -> Message:
    return Message(Kind.REQUEST, ID, **fields)


def header_of(*places: Any) -> list[bytes]:
    """A message of a header alone, whose places are given as they are."""
    return [msgpack.packb(list(places))]


# -- Message -----------------------------------------------------------------------------------------------------------


def test_a_message_is_its_kind_and_nothing_else_unless_told() -> None:
    message = Message(Kind.PING)

    assert (message.kind, message.call_id, message.endpoint) == (Kind.PING, b"", "")
    assert (message.budget, message.flags, list(message.parts), message.extra) == (None, 0, [], {})
    assert message.extra is not Message(Kind.PING).extra


def test_messages_are_equal_when_their_fields_and_payload_are() -> None:
    cut = Part(DOCUMENTS, "a", None, [4], [b"bo", b"dy"])

    assert request(parts=[cut]) == request(parts=[part(DOCUMENTS, "a", [b"body"])])
    assert request() != Message(Kind.CANCEL, ID)
    assert request(budget=0) != request()
    assert request(extra={"node": "a"}) != request()
    assert request(parts=[part(DOCUMENTS, "a", [b"body"])]) != request(parts=[part(DOCUMENTS, "b", [b"body"])])
    assert request() != "a request"


def test_a_message_cannot_be_hashed_because_it_may_change() -> None:
    with pytest.raises(TypeError):
        hash(request())


def test_what_is_printed_tells_what_is_set() -> None:
    shown = repr(request(endpoint="/index", budget=0, parts=[part(DOCUMENTS, "gateway", [b"body", b"12"])]))

    assert shown == f"<Request call_id='{ID.hex()}' endpoint='/index' budget=0 parts=gateway[0]:6>"


# -- there and back ----------------------------------------------------------------------------------------------------


@given(
    call_id=st.binary(min_size=16, max_size=16),
    endpoint=st.from_regex(r"/[A-Za-z0-9_./-]{0,20}", fullmatch=True) | st.just(""),
    budget=st.none() | st.integers(0, MAX_BUDGET),
    flags=st.integers(0, FLAGS).filter(lambda flags: flags & 6 != 6),
    parts=PARTS,
    extra=st.dictionaries(st.text(max_size=5).map("x-".__add__), PLAIN, max_size=3),
)
def test_what_is_encoded_is_decoded(
    call_id: bytes, endpoint: str, budget: int | None, flags: int, parts: list[Part], extra: dict[str, Any]
) -> None:
    message = Message(Kind.REQUEST, call_id, endpoint, budget, flags, parts, extra)

    assert decode(encode(message)) == message


def test_payload_frames_are_handed_through_as_they_are() -> None:
    body, array = b"body", memoryview(bytearray(5))

    frames = encode(request(parts=[part(DOCUMENTS, "a", [body, array])]))
    received = decode(frames)

    assert frames[1] is body and frames[2] is array
    assert received.parts[0].frames[0] is body and received.parts[0].frames[1] is array


def test_a_header_may_come_as_a_view() -> None:
    frames = encode(request(endpoint="/index"))

    assert decode([memoryview(frames[0])]).endpoint == "/index"


def test_unknown_flags_are_left_out() -> None:
    assert decode(encode(request(flags=IDEMPOTENT | NO_REDUCE | 1 << 40))).flags == IDEMPOTENT | NO_REDUCE


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "frames",
    [
        header_of(2, 4, ID, "", None, 0, [], {}),
        header_of(2, 4, ID),
        header_of(1, 99, ID, "", None, 0, [], {}),
        header_of(1, 4, ID, "", None, 0, [], {"!later": 1}),
        header_of(1, 4, ID, "no slash", None, 0, [], {}),
        header_of(1, 4, ID, "", None, 0, [[0, "a", None, [4]]], {}),
        header_of(1, 4, ID, "", None, 0),
    ],
)
def test_the_error_tells_whose_call_it_was(frames: list[bytes]) -> None:
    with pytest.raises((ProtocolError, UnsupportedRequest)) as raised:
        decode(frames)

    assert raised.value.call_id == ID


@pytest.mark.parametrize("call_id", [b"", ID[:15], "0123456789abcdef", None, 7, [ID]])
def test_the_error_tells_no_call_where_there_is_none(call_id: Any) -> None:
    with pytest.raises(ProtocolError) as raised:
        decode(header_of(1, 4, call_id, "", None, 0, [], {}))

    assert raised.value.call_id == b""


@pytest.mark.parametrize("frame", [b"", b"\xc1", b"\x98\x01", bytes(MAX_HEADER + 1), b"\x90"])
def test_bytes_that_are_no_header_are_refused(frame: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode([frame])


def test_a_failure_does_not_contradict_itself() -> None:
    with pytest.raises(ProtocolError, match="both"):
        decode(encode(Message(Kind.FAILURE, ID, flags=MAYBE_EXECUTED | NOT_STARTED)))


def test_a_part_that_is_a_map_has_one_buffer() -> None:
    for buffers in ([], [b"\x80", b"\x80"]):
        with pytest.raises(ProtocolError, match="a map is just one"):
            decode(encode(request(parts=[part(PARAMETERS, "", buffers)])))


def test_what_a_header_claims_is_not_allocated_before_it_is_there() -> None:
    """1,000 arrays within each other, each said to have 65,535 elements: 500 MB, if one made room for them."""
    frame = b"\xdc\xff\xff" * 1000
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError):
            decode([frame])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 8 * MAX_HEADER


# -- endpoints ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "/", "/index", "/v1.0/a_b-c/D9", "/" + "a" * 127])
def test_these_may_be_endpoints(name: str) -> None:
    assert is_endpoint(name)
    assert decode(encode(request(endpoint=name))).endpoint == name


@pytest.mark.parametrize("name", ["index", " /index", "/index\n", "/in dex", "/ä", "/\x00", "/" + "a" * 128, "/١"])
def test_these_may_not(name: str) -> None:
    assert not is_endpoint(name)
    with pytest.raises(ProtocolError, match="endpoint"):
        decode(encode(request(endpoint=name)))
