"""The message kinds and their header frame: one msgpack array, checked before anything is believed.

`Message` is what roles receive and return; `encode` and `decode` are its only way onto and off a socket. Foreign
frames decode to a Message or raise ProtocolError (or UnsupportedRequest, for a version or a must-understand key of a
later protocol), never anything else. The grammar is in protocol/SPEC.md.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import IntEnum
from typing import Any

import msgpack

from zflow.errors import ProtocolError, UnsupportedRequest
from zflow.wire.frames import (
    DETAILS,
    DOCUMENTS,
    MAX_FRAMES,
    MAX_PARTS,
    MAX_REQUEST,
    PARAMETERS,
    RESULTS,
    Buffer,
    Part,
    split,
)

VERSION = 1


class Kind(IntEnum):
    """Message kinds; the numbers are the protocol's."""

    HELLO = 1
    CHALLENGE = 2
    READY = 3
    REQUEST = 4
    REPLY = 5
    PARTIAL = 6
    FAILURE = 7
    CANCEL = 8
    DRAIN = 9
    DRAINED = 10
    PING = 11
    STATUS = 12
    DESCRIBE = 13
    DESCRIPTION = 14
    MORE = 15


IDEMPOTENT = 1  # REQUEST: may run more than once
MAYBE_EXECUTED = 2  # FAILURE: the request may have run
NOT_STARTED = 4  # FAILURE: it is certain that the request has not run; it may be sent elsewhere
NO_REDUCE = 8  # REQUEST: append the documents of several parts instead of reducing them by id
FLAGS = IDEMPOTENT | MAYBE_EXECUTED | NOT_STARTED | NO_REDUCE
_CONTRADICTION = MAYBE_EXECUTED | NOT_STARTED

MAX_HEADER = 64 * 1024
MAX_LABEL = 256
MAX_BUDGET = 1 << 53  # microseconds; 285 years
MAX_DEPTH = 8
CALL_ID = 16
_UNDERSTOOD = frozenset({"target", "when"})  # must-understand keys ("!key") that this version understands
_EXTRA_TYPES: dict[str, type] = {  # of the keys that this version reads; bytes are ids
    **dict.fromkeys(("conn", "boot", "nonce", "request"), bytes),
    **dict.fromkeys(("name", "role", "software", "node", "of", "after"), str),
    **dict.fromkeys(("credit", "code", "sent", "items", "logs"), int),
    **dict.fromkeys(("nodes", "idempotent", "pieces", "deaths", "path"), list),
    "missing": dict,
    **dict.fromkeys(("partial", "gathered", "final", "filtered"), bool),
}
_ENDPOINT = re.compile(r"/[A-Za-z0-9_./-]{0,127}")
_KINDS = {int(kind): kind for kind in Kind}
_PARTS_OF = {  # by number: an IntEnum is hashed in Python, on every look-up
    **dict.fromkeys((int(Kind.REPLY), int(Kind.PARTIAL)), (DOCUMENTS, RESULTS)),
    **dict.fromkeys((int(Kind.FAILURE), int(Kind.STATUS), int(Kind.DESCRIPTION)), (DETAILS,)),
    int(Kind.REQUEST): (DOCUMENTS, PARAMETERS),
}
_CALLED = frozenset(map(int, (Kind.REQUEST, Kind.REPLY, Kind.PARTIAL, Kind.FAILURE, Kind.CANCEL, Kind.MORE)))
_PROBE_FROM = 512  # bytes of a header from which its structure is proved complete before anything is built


class Message:
    """One message between two peers.

    kind: what it is. call_id: 16 bytes, the same over all retries of a call, or empty where no call is meant.
    endpoint: of a REQUEST. budget: microseconds that the call may still take, None for no limit. flags: see above.
    parts: the payload. extra: everything that may grow (credit, nonce, node name, error code...). opened: what has been
    made of it within this process; it does not travel.
    """

    __slots__ = ("kind", "call_id", "endpoint", "budget", "flags", "parts", "extra", "opened")

    def __init__(
        self,
        kind: Kind,
        call_id: bytes = b"",
        endpoint: str = "",
        budget: int | None = None,
        flags: int = 0,
        parts: Sequence[Part] = (),
        extra: dict[str, Any] | None = None,
    ) -> None:
        self.kind = kind
        self.call_id = call_id
        self.endpoint = endpoint
        self.budget = budget
        self.flags = flags
        self.parts = parts
        self.extra = extra if extra is not None else {}
        self.opened: Any = None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Message):
            return NotImplemented
        return _comparable(self) == _comparable(other)

    __hash__ = None  # type: ignore[assignment]  # parts are mutable sequences

    def __repr__(self) -> str:
        shown = [f"{self.kind.name.title()}"]
        for name in ("call_id", "endpoint", "budget", "flags", "extra"):
            value = getattr(self, name)
            if value or value == 0 and name == "budget":
                shown.append(f"{name}={value.hex() if isinstance(value, bytes) else value!r}")
        if self.parts:
            shown.append("parts=" + "+".join(f"{item.label}[{item.kind}]:{sum(item.sizes)}" for item in self.parts))
        return f"<{' '.join(shown)}>"


def encode(message: Message) -> list[Buffer]:
    """The header frame and the payload frames of `message`, without the routing envelope."""
    parts = message.parts
    header = msgpack.packb(
        (
            VERSION,
            message.kind,
            message.call_id,
            message.endpoint,
            message.budget,
            message.flags,
            [item[:4] for item in parts],
            message.extra,
        )
    )
    frames: list[Buffer] = [header]
    for item in parts:
        frames.extend(item.frames)
    return frames


def decode(frames: Sequence[Buffer]) -> Message:
    """The Message in `frames` (header first).

    Raises ProtocolError or UnsupportedRequest, naming what is wrong; their `call_id` is set where it could be read,
    so that whoever waits for an answer can be told.
    """
    if not frames:
        raise ProtocolError("no header frame")
    fields = _unpack(frames[0])
    if type(fields) is not list or not fields:
        raise ProtocolError("the header is not an array")
    try:
        return _message(fields, frames)
    except (ProtocolError, UnsupportedRequest) as error:
        if len(fields) > 2 and _is_id(fields[2]):  # its place is the same in every version
            error.call_id = fields[2]
        raise


def _message(fields: list[Any], frames: Sequence[Buffer]) -> Message:
    if fields[0] != VERSION or type(fields[0]) is not int:
        raise UnsupportedRequest(f"protocol version {fields[0]!r:.40}; this peer speaks version {VERSION}")
    if len(fields) < 8:  # later versions may append places; what is there must be complete
        raise ProtocolError(f"the header has {len(fields)} places instead of 8")
    if len(frames) > MAX_FRAMES:  # of more, the driver may have kept only the first
        raise ProtocolError(f"a message of more frames than the at most {MAX_FRAMES} that are allowed")
    _, number, call_id, endpoint, budget, flags, layout, extra = fields[:8]
    if call_id != b"" and not _is_id(call_id):
        raise ProtocolError(f"the call id is not {CALL_ID} bytes, or none")
    kind = _KINDS.get(number) if type(number) is int else None
    if kind is None:
        raise UnsupportedRequest(f"unknown message kind {number!r:.40}")
    if type(endpoint) is not str or (endpoint and not _ENDPOINT.fullmatch(endpoint)):
        raise ProtocolError(f"endpoint {endpoint!r:.60} does not match {_ENDPOINT.pattern}")
    if budget is not None and (type(budget) is not int or not 0 <= budget <= MAX_BUDGET):
        raise ProtocolError(f"budget {budget!r:.40} is not a number of microseconds")
    if type(flags) is not int or flags < 0:
        raise ProtocolError(f"flags {flags!r:.40} are not a set of bits")
    if type(extra) is not dict:
        raise ProtocolError("the last place of the header is not a map")
    if extra:
        _check_extra(extra)
    if flags & _CONTRADICTION == _CONTRADICTION:
        raise ProtocolError("flags say both that the request may have run and that it has not")
    if not call_id and number in _CALLED:
        raise ProtocolError(f"a {kind.name} without a call id")
    if layout or len(frames) > 1:
        parts = split(_checked_layout(layout, kind), frames[1:])
    elif type(layout) is not list:
        raise ProtocolError("layout is not an array")
    else:
        parts = []
    if "pieces" in extra:
        _check_pieces(extra["pieces"], parts)
    if not parts and (kind is Kind.STATUS or kind is Kind.DESCRIPTION):
        raise ProtocolError(f"a {kind.name} without details")
    return Message(kind, call_id, endpoint, budget, flags & FLAGS, parts, extra)


def is_endpoint(name: str) -> bool:
    """Whether `name` may stand in the endpoint field of a REQUEST (empty: the default method)."""
    return not name or _ENDPOINT.fullmatch(name) is not None


def _unpack(frame: Buffer) -> Any:
    if len(frame) > MAX_HEADER:
        raise ProtocolError(f"a header of {len(frame)} bytes; at most {MAX_HEADER} are allowed")
    try:
        if len(frame) > _PROBE_FROM:  # 1,000 nested arrays that claim 65,536 elements each would cost 500 MB
            probe = msgpack.Unpacker(max_buffer_size=MAX_HEADER)
            probe.feed(frame)
            probe.skip()
        return msgpack.unpackb(frame, max_ext_len=0, ext_hook=_refuse_extension, object_pairs_hook=_map)
    except Exception as error:  # whatever foreign bytes find: overflows, bad UTF-8, no memory, errors of msgpack's own
        raise ProtocolError(f"the header is not msgpack: {error!r:.200}") from None


def _map(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a map has the same key twice")
    return made


def _refuse_extension(code: int, data: bytes) -> Any:
    raise ValueError(f"extension type {code}")


def _is_id(value: Any) -> bool:
    return type(value) is bytes and len(value) == CALL_ID


def _check_extra(extra: dict[Any, Any]) -> None:
    for key, value in extra.items():
        if type(key) is not str or len(key) > MAX_LABEL:
            raise ProtocolError(f"header key {key!r:.40} is not a short string")
        expected = _EXTRA_TYPES.get(key)
        if expected is not None:
            if not (_is_id(value) if expected is bytes else type(value) is expected):
                wanted = f"{CALL_ID} bytes" if expected is bytes else f"of type {expected.__name__}"
                raise ProtocolError(f"header key {key!r} is not {wanted}")
            if expected is int and value < 0:
                raise ProtocolError(f"header key {key!r} is not a number from 0 on")
        elif key[:1] == "!" and key[1:] not in _UNDERSTOOD:
            raise UnsupportedRequest(f"this peer does not understand {key!r:.60}, which the message says it must")
        if type(value) in (dict, list):
            _check_depth(value, MAX_DEPTH - 2)


def _check_pieces(counts: list[Any], parts: Sequence[Part]) -> None:
    """counts: how many parts each piece of a PARTIAL has."""
    if not all(type(count) is int and count > 0 for count in counts) or sum(counts) != len(parts):
        raise ProtocolError(f"pieces {counts!r:.60} do not add up to the {len(parts)} parts that there are")


def _check_depth(value: Any, left: int) -> None:
    if type(value) in (dict, list):
        if left == 0:
            raise ProtocolError(f"the header nests deeper than {MAX_DEPTH}")
        for item in value.values() if type(value) is dict else value:
            _check_depth(item, left - 1)


def _checked_layout(layout: Any, message_kind: Kind) -> list[list[Any]]:
    if type(layout) is not list or len(layout) > MAX_PARTS:
        raise ProtocolError(f"layout is not an array of at most {MAX_PARTS} parts")
    total = 0
    allowed = _PARTS_OF.get(int(message_kind), ())
    singles = 0
    for entry in layout:
        if type(entry) is not list or len(entry) < 4:
            raise ProtocolError("a part of the layout is not [kind, label, shard, sizes]")
        kind, label, shard, sizes = entry[:4]
        if type(kind) is not int or kind not in allowed:
            raise ProtocolError(f"a {message_kind.name} carries no part of kind {kind!r:.40}")
        if type(label) is not str or len(label) > MAX_LABEL:
            raise ProtocolError(f"part label {label!r:.40} is not a short string")
        if shard is not None and (type(shard) is not int or not 0 <= shard < 65536):
            raise ProtocolError(f"shard {shard!r:.40} of part {label!r} is not a small number")
        if type(sizes) is not list:
            raise ProtocolError(f"sizes of part {label!r} are not an array")
        if not sizes or kind != DOCUMENTS and len(sizes) != 1:
            raise ProtocolError(f"part {label!r} has {len(sizes)} buffers; documents have a body, a map is just one")
        if kind == PARAMETERS or kind == DETAILS:
            singles += 1
        for size in sizes:
            if type(size) is not int or size < 0:
                raise ProtocolError(f"size {size!r:.40} of part {label!r} is not a number of bytes")
            total += size
    if singles > 1:
        raise ProtocolError(f"{singles} parts that there is one of at most: parameters, or details")
    if total > MAX_REQUEST:
        raise ProtocolError(f"a payload of {total} bytes; at most {MAX_REQUEST} are allowed")
    return layout


def _comparable(message: Message) -> tuple[Any, ...]:
    parts = [
        (item.kind, item.label, item.shard, tuple(item.sizes), b"".join(bytes(frame) for frame in item.frames))
        for item in message.parts
    ]
    fields = (message.kind, message.call_id, message.endpoint, message.budget, message.flags)
    return (*fields, parts, message.extra)
