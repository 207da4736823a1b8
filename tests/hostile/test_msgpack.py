"""Inputs 41 to 52: MessagePack that is none, or claims what it does not have, or holds what it must not.

In a header, in a body of documents and in a map of parameters; at the port, where each has one outcome and the next
good request is served, and at the decoders, where none takes more memory than its length explains.
"""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import msgpack
import pytest

from tests.hostile.door import DROPPED, SERVED, Door, asking, body, header, new_call, opened, rows
from zflow.documents.limits import MAX_BODY, MAX_ITEMS, MAX_STRING
from zflow.errors import ProtocolError, UnsupportedRequest
from zflow.wire.frames import PARAMETERS
from zflow.wire.header import decode
from zflow.wire.payload import decode_documents, decode_map

INVALID, PROTOCOL = "InvalidRequest", "ProtocolError"
TIMES, AND = 4, 2 << 20  # memory that a decoder may take: so many times what came, and a constant
DEEP = (9, 17, 33, 1_000, 60_000)
LENGTHS = {"array32": b"\xdd", "map32": b"\xdf", "str32": b"\xdb", "bin32": b"\xc6", "ext32": b"\xc9"}
ODD_KEYS = {"an int": b"\x01", "nil": b"\xc0", "a list": b"\x90", "a float": b"\xcb" + bytes(8), "bytes": b"\xc4\x01k"}
BAD_TEXT = {"an open sequence": b"\xc3", "half a surrogate": b"\xed\xa0\x80", "too long": b"\xc0\x80", "0xff": b"\xff"}
NUMBERS = {
    "uint64": b"\xcf" + b"\xff" * 8,
    "int64": b"\xd3\x80" + bytes(7),
    "NaN": b"\xcb" + struct.pack(">d", float("nan")),
    "-0.0": b"\xcb" + struct.pack(">d", -0.0),
    "a denormal": b"\xcb" + struct.pack(">d", 5e-324),
    "a float32 that is infinite": b"\xca" + struct.pack(">f", float("inf")),
}
OTHERS: dict[str, Any] = {
    **{
        "nil": None,
        "true": True,
        "an int": 7,
        "a float": 1.5,
        "a str": "x",
        "bytes": b"x",
        "a list": [1],
        "a map": {"a": 1},
    }
}


@pytest.fixture(scope="module")
def door() -> Iterator[Door]:
    """One for all: what one input has done to it would show with the next."""
    with opened() as door:
        yield door


def with_extra(value: bytes) -> bytes:
    """A header whose extra has the encoded `value` under a key that nobody knows."""
    return header()[:-1] + b"\x81\xa1x" + value


def with_tags(value: bytes) -> bytes:
    """A body of one document whose tags have the encoded `value` under a key."""
    return b"\x83\xa1n\x01\xa2id\x91\xa1a\xa4tags\x91\x81\xa1x" + value


def with_key(value: bytes) -> bytes:
    """A map that has the encoded `value` under a key."""
    return b"\x81\xa1x" + value


def _array(length: int) -> bytes:
    """An array of so many empty maps."""
    return b"\xdd" + length.to_bytes(4, "big") + b"\x80" * length


def extension(code: int) -> bytes:
    """An extension of one byte."""
    return b"\xd4" + code.to_bytes(1, "big", signed=True) + b"\0"


HEADERS = [
    ("41 0xc1 as a header", b"\xc1", DROPPED),
    ("41 0xc1 in a header", with_extra(b"\xc1"), DROPPED),
    *[(f"42 a header of {size} bytes", header()[:size], DROPPED) for size in (1, 2, 5, 20, 25)],
    ("43 a byte behind the header", header() + b"\0", DROPPED),
    ("43 a header behind the header", header() * 2, DROPPED),
    *[(f"44 a header {deep} deep", with_extra(b"\x91" * (deep - 2) + b"\xc0"), PROTOCOL) for deep in (9, 17, 33)],
    *[
        (f"44 a header {deep} deep", with_extra(b"\x91" * (deep - 2) + b"\xc0"), (PROTOCOL, DROPPED))
        for deep in DEEP[3:]
    ],
    *[(f"45 {name} of 2^32-1 as a header", code + b"\xff" * 4, DROPPED) for name, code in LENGTHS.items()],
    *[(f"45 {name} of 2^32-1 in a header", with_extra(code + b"\xff" * 4), DROPPED) for name, code in LENGTHS.items()],
    ("45 long arrays within each other in a header", b"\xdc\xff\xff" * 20_000, DROPPED),
    ("46 60 kB of empty maps in a header", with_extra(b"\xdc\xea\x60" + b"\x80" * 60_000), SERVED),
    *[
        (f"47 {name} as a key of the extra", header()[:-1] + b"\x81" + key + b"\x01", (PROTOCOL, DROPPED))
        for name, key in ODD_KEYS.items()
    ],
    ("47 a key of the extra twice", header()[:-1] + b"\x82\xa1x\1\xa1x\2", DROPPED),
    ("47 a key of 300 letters", header(extra={"k" * 300: 1}), PROTOCOL),
    *[
        (f"48 {name} in a header", with_extra(bytes([0xA0 + len(text)]) + text), DROPPED)
        for name, text in BAD_TEXT.items()
    ],
    (
        "49 a timestamp of 2^62 in a header",
        with_extra(b"\xc7\x0c\xff" + bytes(4) + (1 << 62).to_bytes(8, "big")),
        DROPPED,
    ),
    *[(f"50 {name} that nobody looks at", with_extra(number), SERVED) for name, number in NUMBERS.items()],
    *[
        (f"51 {name} in the place of {place}", header(**{place: value}), (PROTOCOL, "UnsupportedRequest", DROPPED))
        for place in ("version", "kind", "call_id", "endpoint", "budget", "flags", "layout", "extra")
        for name, value in OTHERS.items()
        if (place, name) not in {("endpoint", "a str"), ("extra", "a map"), ("budget", "nil"), ("budget", "an int")}
        and (place, name) not in {("flags", "an int"), ("kind", "an int")}
    ],
    *[
        (f"51 {name} instead of the header", msgpack.packb(value), DROPPED)
        for name, value in OTHERS.items()
        if name != "a list"
    ],
    ("51 a header of 7 places", msgpack.packb([1, 4, new_call(), "/", None, 0, []]), PROTOCOL),
    ("52 200 keys that nobody knows", header(extra={f"key{number}": number for number in range(200)}), SERVED),
    ("52 200 places behind the last", b"\xdc\x00\xd0" + header()[1:] + b"\xc0" * 200, SERVED),
]

VALUES = [  # within tags, and within parameters
    ("41 0xc1", b"\xc1", INVALID),
    ("42 a str that is cut short", b"\xa5abc", INVALID),
    ("43 trailing bytes", b"\x01\x02", INVALID),
    *[(f"44 {deep} deep", b"\x91" * deep + b"\xc0", INVALID) for deep in DEEP[1:]],
    ("44 100,000 maps deep", b"\x81\xa1x" * 100_000 + b"\xc0", INVALID),
    *[(f"45 {name} of 2^32-1", code + b"\xff" * 4, INVALID) for name, code in LENGTHS.items()],
    ("45 long arrays within each other", b"\xdd\x00\x0f\xff\xff" * 10_000, INVALID),
    ("46 300 kB of empty maps", _array(300_000), SERVED),
    ("46 10 MB of empty maps", _array(10_000_000), INVALID),
    ("46 2 MB of empty maps in lists", b"\x94" + _array(500_000) * 4, INVALID),
    *[(f"47 {name} as a key", b"\x81" + key + b"\x01", INVALID) for name, key in ODD_KEYS.items()],
    ("47 a key twice", b"\x82\xa1k\x01\xa1k\x02", INVALID),
    ("47 a key of 257 bytes", b"\x81\xda\x01\x01" + b"k" * 257 + b"\x01", INVALID),
    *[(f"48 {name}", bytes([0xA0 + len(text)]) + text, INVALID) for name, text in BAD_TEXT.items()],
    *[
        (f"48 {name} as a key", b"\x81" + bytes([0xA0 + len(text)]) + text + b"\1", INVALID)
        for name, text in BAD_TEXT.items()
    ],
    *[(f"49 extension {code}", extension(code), INVALID) for code in (-128, -1, 0, 5, 127)],
    ("49 a timestamp of 2^62", b"\xc7\x0c\xff" + bytes(4) + (1 << 62).to_bytes(8, "big"), INVALID),
    ("49 an extension of no bytes", b"\xc7\x00\x05", INVALID),
    *[(f"50 {name}", number, SERVED) for name, number in NUMBERS.items()],
    ("52 200 keys that nobody knows", msgpack.packb({f"key{number}": number for number in range(200)}), SERVED),
]


@pytest.mark.parametrize("read", rows(("49 every extension, in a header and in a body", (with_extra, with_tags))))
def test_no_extension_is_let_through(read: tuple[Callable[[bytes], bytes], ...]) -> None:
    in_header, in_body = read
    for code in range(-128, 128):
        with pytest.raises(ProtocolError):
            decode([in_header(extension(code))])
        with pytest.raises(ProtocolError):
            decode_documents([in_body(extension(code))])


@pytest.mark.parametrize(("frame", "outcome"), rows(*HEADERS))
def test_a_header_has_one_outcome(door: Door, frame: bytes, outcome: str | tuple[str, ...]) -> None:
    assert door.outcome(frame) in outcome
    assert door.serves()


@pytest.mark.parametrize(("value", "outcome"), rows(*VALUES))
@pytest.mark.parametrize("holder", [with_tags, with_key])
def test_a_payload_has_one_outcome(door: Door, holder: Callable[[bytes], bytes], value: bytes, outcome: str) -> None:
    kind = {} if holder is with_tags else {"kind": PARAMETERS}
    assert door.outcome(*asking(holder(value), **kind)) == outcome
    assert door.serves()


@pytest.mark.parametrize(
    ("columns", "outcome"),
    rows(
        *[
            (f"51 {name} in the place of {column}", {column: value}, INVALID)
            for column in ("text", "uri", "weight", "tags", "scores", "blob", "tensor", "chunks")
            for name, value in OTHERS.items()
            if not (name == "a list" and column == "weight")
        ],
        *[
            (f"51 {name} as the number of documents", {"n": value}, INVALID)
            for name, value in OTHERS.items()
            if name != "an int"
        ],
        *[(f"51 {name} as the ids", {"id": value}, INVALID) for name, value in OTHERS.items()],
        ("51 a text that is a number", {"text": [7]}, INVALID),
        ("51 a weight that is true", {"weight": [True]}, INVALID),
        ("51 tags that are a list", {"tags": [[1]]}, INVALID),
        ("51 more texts than documents", {"text": ["a", "b"]}, INVALID),
        ("51 7 documents with one id", {"n": 7}, INVALID),
        ("51 -1 documents", {"n": -1}, INVALID),
        ("52 200 columns that nobody knows", {f"column{number}": [number] for number in range(200)}, SERVED),
    ),
)
def test_a_table_has_one_outcome(door: Door, columns: dict[str, Any], outcome: str) -> None:
    assert door.outcome(*asking(body(**columns))) == outcome
    assert door.serves()


REFUSED = [(told, value) for told, value, outcome in VALUES if outcome == INVALID]


@pytest.mark.parametrize("value", rows(*[case for case in REFUSED if "in lists" not in case[0]]))
@pytest.mark.parametrize("holder", [with_tags, with_key])
def test_what_is_refused_costs_what_came_and_a_constant(holder: Callable[[bytes], bytes], value: bytes) -> None:
    assert most_for(holder, value) < TIMES * len(value) + AND


@pytest.mark.full
@pytest.mark.time_limit(120)  # to trace a million allocations takes its time
@pytest.mark.parametrize("value", rows(*[case for case in REFUSED if "in lists" in case[0]]))
def test_what_is_refused_for_being_many_costs_what_as_many_would_that_are_allowed(value: bytes) -> None:
    """They are counted while they are read, list by list: twice MAX_ITEMS may be there before it is said."""
    assert most_for(with_key, value) < 2 * 80 * MAX_ITEMS


def most_for(holder: Callable[[bytes], bytes], value: bytes) -> int:
    """The most memory for a body, or a map, that holds `value`."""
    frame = holder(value)
    return most_memory(lambda: decode_documents([frame]) if holder is with_tags else decode_map(frame))


@pytest.mark.parametrize("frame", rows(*[(told, frame) for told, frame, outcome in HEADERS if outcome != SERVED]))
def test_a_header_that_is_refused_costs_what_came_and_a_constant(frame: bytes) -> None:
    assert most_memory(lambda: decode([frame])) < TIMES * len(frame) + AND


@pytest.mark.parametrize(
    "frame",
    rows(
        ("45 a body that is too long", b"\xc0" * (MAX_BODY + 1)),
        (
            "45 a text that is too long",
            with_tags(b"\xdb" + (MAX_STRING + 1).to_bytes(4, "big") + b"x" * (MAX_STRING + 1)),
        ),
    ),
)
def test_what_is_too_long_is_not_built(frame: bytes) -> None:
    assert most_memory(lambda: decode_documents([frame])) < len(frame) + AND


def most_memory(read: Callable[[], object]) -> int:
    """The most that Python had allocated while `read` found that something is wrong."""
    tracemalloc.start()
    try:
        with pytest.raises((ProtocolError, UnsupportedRequest)):
            read()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
