"""messages.yaml and the code say the same: numbers, names, limits, and what may stand in which message."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import zmq

from tests.protocol import reading
from zflow import errors
from zflow.documents import arrays, limits
from zflow.drivers import sockets, way_out
from zflow.drivers.reactor import Reactor
from zflow.errors import BY_CODE, ProtocolError, UnsupportedRequest
from zflow.roles import backlog, ejection, front_door, head, head_peer, liveness, retry_budget
from zflow.wire import frames, header
from zflow.wire.frames import Part, part
from zflow.wire.header import Kind, Message, decode, encode, is_endpoint

TOLD = reading.messages()
KINDS = [pytest.param(told, id=told["name"]) for told in TOLD["kinds"]]
ID = bytes(range(16))
WRONG: dict[str, list[Any]] = {  # values that are not of a type
    "id": [b"", bytes(15), bytes(17), "0123456789abcdef", 7, None],
    "uint": ["4", 4.0, True, None, b"\x04", [4]],
    "str": [b"x", 7, None, True, ["x"], {}],
    "bool": [1, 0, "true", None],
    "array of str": ["x", {}, None, 7],
    "array of uint": ["x", {}, None, 7],
    "array of id": ["x", {}, None, 7, ID],
    "array": ["x", {}, None, 7],
    "map of uint": ["x", [], None, 7],
}
RIGHT: dict[str, Any] = {
    **{"id": ID, "uint": 4, "str": "x", "bool": True},
    **{
        "array of str": ["x"],
        "array of uint": [],
        "array of id": [ID],
        "array": [["x", None]],
        "map of uint": {"x": 6},
    },
}


def test_the_version_and_the_places_of_the_header() -> None:
    assert TOLD["version"] == header.VERSION
    made = Message.__init__.__annotations__  # the fields of a Message, in the order of their places
    assert TOLD["header"] == ["version", *[{"parts": "layout"}.get(name, name) for name in made if name != "return"]]


def test_kinds_have_the_numbers_that_the_code_has() -> None:
    assert {told["name"]: told["number"] for told in TOLD["kinds"]} == {kind.name: kind.value for kind in Kind}


def test_flags_and_kinds_of_parts_have_the_numbers_that_the_code_has() -> None:
    assert TOLD["flags"] == {name: getattr(header, name) for name in TOLD["flags"]}
    assert sum(TOLD["flags"].values()) == header.FLAGS
    assert {told["name"]: told["number"] for told in TOLD["parts"]} == reading.PART_KINDS
    assert [told["number"] for told in TOLD["parts"]] == [
        frames.DOCUMENTS,
        frames.PARAMETERS,
        frames.RESULTS,
        frames.DETAILS,
    ]


def test_errors_have_the_codes_that_the_code_has() -> None:
    assert {told["code"]: told["name"] for told in TOLD["errors"]} == {
        code: kind.__name__ for code, kind in BY_CODE.items()
    }
    assert {told["name"]: told["retryable"] for told in TOLD["errors"]} == {
        kind.__name__: kind.retryable for kind in BY_CODE.values()
    }


def test_faults_are_those_that_the_tree_of_errors_draws() -> None:
    headings = {
        "your input": "input",
        "your Executor": "executor",
        "the other side": "other side",
        "nobody home": "nobody",
    }
    fault, drawn = "", {}
    for line in (errors.__doc__ or "").splitlines():
        words = line.replace("|", "").replace("`", "").lstrip("- ")
        fault = next((headings[words_of] for words_of in headings if words.startswith(words_of)), fault)
        drawn[words.partition(" ")[0]] = fault

    assert {told["name"]: told["fault"] for told in TOLD["errors"]} == {
        told["name"]: drawn.get(told["name"]) for told in TOLD["errors"]
    }


def test_limits_are_those_of_the_code() -> None:
    in_the_code = {
        **{name: getattr(header, name) for name in ("MAX_HEADER", "MAX_DEPTH", "MAX_LABEL", "MAX_BUDGET", "CALL_ID")},
        **{name: getattr(frames, name) for name in ("MAX_FRAME", "MAX_FRAMES", "MAX_PARTS")},
        "MAX_PAYLOAD": frames.MAX_REQUEST,
        "MAX_PLAIN_DEPTH": limits.MAX_DEPTH,
        "MAX_ARRAY": limits.MAX_ARRAY_BYTES,
        "MAX_CREDIT": liveness.MAX_CREDIT,
        "QUEUE_LIMIT": backlog.QUEUE_LIMIT,
        "QUEUE_BYTES": backlog.QUEUE_BYTES,
        "RETRY_STORE": retry_budget.STORE,
        "RETRY_SHARE": 1 / retry_budget.EARNED,
        "EJECT_AFTER": ejection.FAILURES,
        "ATTEMPTS": 1 + head.RETRIES,
    }
    for name in TOLD["limits"].keys() - in_the_code.keys():
        in_the_code[name] = getattr(limits, name)

    assert TOLD["limits"] == in_the_code


def test_dtypes_and_columns_are_those_of_the_code() -> None:
    from zflow.documents.fields import FIELDS

    assert TOLD["dtypes"] == arrays.ITEM_SIZES
    assert set(TOLD["columns"]) == {"n", *FIELDS}


def test_timing_is_that_of_the_sockets_and_roles(ipc_directory: Path) -> None:
    timing = TOLD["timing"]
    with _pair(ipc_directory) as (router, dealer):
        for socket in (router, dealer):
            assert socket.getsockopt(zmq.HEARTBEAT_IVL) == timing["HEARTBEAT_INTERVAL"]
            assert socket.getsockopt(zmq.HEARTBEAT_TIMEOUT) == timing["HEARTBEAT_TIMEOUT"]
            assert socket.getsockopt(zmq.HEARTBEAT_TTL) == timing["HEARTBEAT_TTL"]
            assert socket.getsockopt(zmq.HANDSHAKE_IVL) == timing["HANDSHAKE"]
            assert socket.getsockopt(zmq.MAXMSGSIZE) == TOLD["limits"]["MAX_PAYLOAD"]
            assert not socket.getsockopt(zmq.IMMEDIATE)
        assert dealer.getsockopt(zmq.RECONNECT_IVL) >= 3_600_000  # one socket is one connection
    assert (timing["BACKOFF_FIRST"], timing["BACKOFF_LAST"]) == (
        way_out._FIRST_PAUSE * 1000,
        way_out.LONGEST_PAUSE * 1000,
    )
    assert timing["PATIENCE"] == head.PATIENCE * 1000
    assert timing["RETRY_PAUSE"] == head._BACKOFF * 2 * 1000
    assert timing["FAREWELL"] == front_door.FAREWELL * 1000
    assert timing["PROBE"] == front_door.PROBE * 1000
    assert timing["HEAD_GREETING"] == head_peer.GREETING * 1000
    assert timing["EJECT_PAUSE"] == ejection.PAUSE * 1000
    assert timing["EJECT_LONGEST"] == ejection.LONGEST * 1000
    assert timing["GRACE"] == inspect.signature(Reactor).parameters["grace"].default * 1000


@contextmanager
def _pair(directory: Path) -> Iterator[tuple[zmq.Socket[bytes], zmq.Socket[bytes]]]:
    with zmq.Context() as context:
        router, address = sockets.bind(context, f"ipc://{directory}/peer")
        dealer, monitor = sockets.dial(context, address)
        try:
            yield router, dealer
        finally:
            dealer.disable_monitor()
            for socket in (monitor, dealer, router):
                socket.close(0)


# -- what may stand in which message -----------------------------------------------------------------------------------


@pytest.mark.parametrize("told", KINDS)
def test_a_kind_has_a_call_id_where_it_says_so(told: dict[str, Any]) -> None:
    frames_without = encode(_message(told, call_id=b""))

    if told["call_id"] == "required":
        with pytest.raises(ProtocolError, match="without a call id"):
            decode(frames_without)
    else:
        assert decode(frames_without).call_id == b""
    assert decode(encode(_message(told, call_id=ID))).call_id == ID


@pytest.mark.parametrize("told", KINDS)
@pytest.mark.parametrize("count", [0, 1, 2])
@pytest.mark.parametrize("name", reading.PART_KINDS)
def test_a_kind_has_the_parts_that_it_says(told: dict[str, Any], name: str, count: int) -> None:
    least, most = told["parts"].get(name, [0, 0])
    message = _message(told, call_id=ID)
    others = [item for item in message.parts if item.kind != reading.PART_KINDS[name]]
    message.parts = others + [part(reading.PART_KINDS[name], "x", [b"\x80"])] * count

    if count >= least and (most is None or count <= most):
        assert len(decode(encode(message)).parts) == len(others) + count
    else:
        with pytest.raises(ProtocolError):
            decode(encode(message))


@pytest.mark.parametrize("told", TOLD["parts"], ids=lambda told: str(told["name"]))
@pytest.mark.parametrize("count", [0, 1, 2, 1025])
def test_a_part_has_as_many_buffers_as_it_says(told: dict[str, Any], count: int) -> None:
    kind = next(Kind[item["name"]] for item in TOLD["kinds"] if told["name"] in item["parts"])
    message = Message(kind, ID, parts=[part(told["number"], "x", [b"\x80"] * count)])
    least, most = told["buffers"]

    if count >= least and (most is None or count <= most):
        assert len(decode(encode(message)).parts[0].buffers()) == count
    else:
        with pytest.raises(ProtocolError, match="buffers"):
            decode(encode(message))


@pytest.mark.parametrize("told", KINDS)
def test_keys_of_the_extra_have_the_types_that_they_say(told: dict[str, Any]) -> None:
    for key, described in told["extra"].items():
        message = _message(told, call_id=ID)
        message.extra[key] = RIGHT[described["type"]]
        assert decode(encode(message)).extra[key] == RIGHT[described["type"]]
        if key.startswith("!"):
            continue  # who acts on it answers for it, with InvalidRequest: it is about what the caller wants
        for wrong in WRONG[described["type"]]:
            message.extra[key] = wrong
            with pytest.raises(ProtocolError, match=key):
                decode(encode(message))


def test_keys_that_must_be_understood_are_those_that_are_told() -> None:
    known = [key for told in TOLD["kinds"] for key in told["extra"]]

    for key in [*known, "later"]:
        name = "!" + key.removeprefix("!")
        frames_with = encode(Message(Kind.REQUEST, ID, extra={name: "x"}))
        if name in known:
            assert decode(frames_with).extra == {name: "x"}
        else:
            with pytest.raises(UnsupportedRequest, match=name):
                decode(frames_with)


def test_kinds_are_answered_by_kinds_that_go_the_other_way() -> None:
    by_name = {told["name"]: told for told in TOLD["kinds"]}
    for told in TOLD["kinds"]:
        assert {told["from"], told["to"]} == {"dialer", "peer"}
        assert told["flags"] == [name for name in TOLD["flags"] if name in told["flags"]]
        for name in told["answers"]:
            assert by_name[name]["from"] == told["to"]


@pytest.mark.parametrize("name", ["", "/", "/index", "/a.b/c-d_E9", "/" + "a" * 127])
def test_endpoints_match_the_pattern(name: str) -> None:
    assert is_endpoint(name)
    assert TOLD["endpoint"] == header._ENDPOINT.pattern


def _message(told: dict[str, Any], call_id: bytes) -> Message:
    """A message of the kind that `told` describes, with the parts that it must have."""
    parts: list[Part] = []
    for name, (least, _) in told["parts"].items():
        parts += [part(reading.PART_KINDS[name], "x", [b"\x80"])] * least
    return Message(Kind[told["name"]], call_id, parts=parts)
