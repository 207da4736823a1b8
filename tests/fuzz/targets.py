"""What is fuzzed: for each door by which foreign bytes come in, a function that takes any bytes and must not fail.

A target reads its bytes as far as it can, uses what it is given, and lets nothing out but the errors that the door
documents: those it catches. Whatever else is raised is a bug, and so are bytes that are understood in two ways, or that
take more memory or time than their length explains (see `checked`).
"""

from __future__ import annotations

import contextlib
import time
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

from tests.protocol import reading
from zflow.config import environment, keys, kinds
from zflow.config.definition import KEYS as DEFINITION
from zflow.config.definition import Folder, checked_uses
from zflow.config.deployment import load_deployment
from zflow.config.places import Place
from zflow.config.plain_yaml import dump, parse
from zflow.config.scalars import scalar_of
from zflow.config.spec import ExecutorSpec, FlowSpec, options_of
from zflow.config.yaml_file import dump_flow, load_flow
from zflow.documents import Document, DocumentArray
from zflow.documents.arrays import ITEM_SIZES
from zflow.documents.fields import FIELDS
from zflow.drivers.sockets import check_address
from zflow.endpoints import endpoint_problem
from zflow.errors import ConfigError, InvalidRequest, ProtocolError, UnsupportedRequest
from zflow.topology import check_name
from zflow.wire.conditions import WHEN, check_entries, decode_condition
from zflow.wire.frames import DOCUMENTS, cut
from zflow.wire.header import Message, decode, encode, is_endpoint
from zflow.wire.payload import (
    decode_documents,
    decode_map,
    encode_documents,
    encode_map,
)

Target = Callable[[bytes], None]

MOST_SECONDS = 2.0  # of processor time for one input; a thousand times what is usual, so that it tells 2^n from n
TIMES, AND = 100, 4 << 20  # bytes of memory for one input: TIMES its length AND a constant (an empty map takes 64)
_SAMPLES = [
    Document(text="hello", tags={"kind": "a", "size": 3, "more": [1, {"x": None}]}, weight=0.5),
    Document(id="b", blob=b"\0", uri="file:///x", scores={"s": 1.0}),
    Document(id="c", tensor=[[1.0, 2.0]], chunks=[Document(text="inner")]),
]


def checked(target: Target, data: bytes) -> None:
    """Run `target`, and fail if it takes more than its share."""
    target(data)  # what the first use imports or remembers is not the input's
    tracemalloc.start()
    began = time.process_time()
    try:
        target(data)
        _, most = tracemalloc.get_traced_memory()
    finally:
        seconds = time.process_time() - began
        tracemalloc.stop()
    assert seconds < MOST_SECONDS, f"{seconds:.1f} s for {len(data)} bytes"
    assert most < TIMES * len(data) + AND, f"{most} bytes of memory for {len(data)} bytes"


def frames_in(data: bytes) -> list[bytes]:
    """Several frames in one input: each behind its length in two bytes; the last one is what is left."""
    frames = []
    while len(data) > 1:
        size = int.from_bytes(data[:2], "big")
        frames.append(data[2 : 2 + size])
        data = data[2 + size :]
    return frames


def input_of(frames: list[bytes]) -> bytes:
    """The input that `frames_in` makes these frames of."""
    return b"".join(len(frame).to_bytes(2, "big") + frame for frame in frames)


# -- wire ------------------------------------------------------------------------------------------------------------


def header(data: bytes) -> None:
    """One header frame, and no payload."""
    _message([data])


def message(data: bytes) -> None:
    """The frames of one message: header, layout and all that is in its parts."""
    found = _message(frames_in(data))
    if found is None:
        return
    for part in found.parts:
        buffers = part.buffers()
        assert [len(buffer) for buffer in buffers] == list(part.sizes)
        assert b"".join(cut(part.frames)) == b"".join(part.frames)
        if part.kind == DOCUMENTS:
            _documents(buffers)
        else:
            _map(buffers[0])
    entries = found.extra.get(WHEN)
    if entries is not None:
        with contextlib.suppress(InvalidRequest):
            check_entries(entries, sum(part.kind == DOCUMENTS for part in found.parts))
            for entry in entries:
                condition(entry[0])


def documents(data: bytes) -> None:
    """The buffers of one documents part: its body, then what is large."""
    _documents(frames_in(data))


def body(data: bytes) -> None:
    """The body of a documents part that is all of it."""
    _documents([data])


def plain_map(data: bytes) -> None:
    """A part of parameters, results or details."""
    _map(data)


def condition(data: bytes) -> None:
    """One condition of a !when, compiled and asked about a few documents."""
    if b"$regex" in data:  # the time of a regular expression is bounded by nobody: SPEC.md, section 13
        return
    try:
        test = decode_condition(data)
    except InvalidRequest as error:
        assert str(error)
        return
    for document in _SAMPLES:
        assert test(document) in (True, False)


def _message(frames: list[bytes]) -> Message | None:
    try:
        found = decode(frames)
    except (ProtocolError, UnsupportedRequest) as error:
        assert len(error.call_id) in (0, 16) and str(error)
        return None
    again = encode(found)
    assert again[1:] == frames[1:]
    assert reading.same(encode(decode(again)), again)
    return found


def _documents(buffers: list[Any]) -> None:
    try:
        found = decode_documents(buffers)
    except ProtocolError as error:
        assert str(error)
        return
    again = decode_documents(encode_documents(found))  # as columns: whoever hands them on has not asked for rows
    rows = reading.actual_documents(found)
    assert len(again) == len(rows)
    assert reading.same(reading.actual_documents(again), rows)
    assert len(decode_documents(encode_documents(DocumentArray(list(found))))) == len(rows)


def _map(data: Any) -> None:
    try:
        found = decode_map(data)
    except ProtocolError as error:
        assert str(error)
        return
    assert reading.same(decode_map(encode_map(found)), found)


# -- config ----------------------------------------------------------------------------------------------------------


def yaml(data: bytes) -> None:
    """Any text as YAML; what comes of it, written and read again."""
    with _only_config_errors():
        value = parse(_text(data), context={"x": 1}).value
        try:
            written = dump(value)
        except ConfigError as error:
            assert "${{" in str(error)  # what was put in is not replaced again, and may look as if it were
            return
        assert repr(parse(written).value) == repr(value)  # the repr: NaN is unequal to itself


def flow(data: bytes) -> None:
    """Any text as the YAML of a Flow; its graph, and itself saved and loaded again."""
    with _only_config_errors():
        spec = load_flow(_text(data) + "\n", context={"x": 1})
        spec.topology()
        saved = dump_flow(spec)
        assert load_flow(saved) == spec


def deployment(data: bytes) -> None:
    """Any text as the YAML of a Deployment."""
    with _only_config_errors():
        load_deployment(_text(data) + "\n")


def executor(data: bytes) -> None:
    """Any text as what `uses` names: a class, an address, or the YAML of an Executor. Nothing is imported."""
    with _only_config_errors():
        checked_uses(_text(data), Folder.current(), Place("uses"))


def words(data: bytes) -> None:
    """Any text as each of the small things that have a form: names, addresses, hosts, endpoints, keys, numbers."""
    text = _text(data)
    for kind in _KINDS:
        for value in (text, kind.read(text)) if text else (text,):
            with _only_config_errors():
                kind.checked(value, Place("option"))
    for check in (check_name, check_address, keys.checked_key, environment.substitute):
        with _only_config_errors():
            check(text)
    if text:
        with _only_config_errors():
            scalar_of(text)
    assert is_endpoint(text) or endpoint_problem(text)


_KINDS = [kind for kind in vars(kinds).values() if isinstance(kind, kinds.Kind)]


@contextlib.contextmanager
def _only_config_errors() -> Iterator[None]:
    try:
        yield
    except ConfigError as error:
        assert str(error) and len(str(error)) < 4096


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")  # as words of the command line come


TARGETS: dict[str, Target] = {
    target.__name__: target
    for target in (header, message, documents, body, plain_map, condition, yaml, flow, deployment, executor, words)
}


def vocabulary() -> list[str]:
    """Words that bytes which mean something are made of, for the fuzzer to put in."""
    options = [
        name for spec in (FlowSpec, ExecutorSpec) for item in options_of(spec) for name in (item.name, *item.aliases)
    ]
    of_files = [
        "jtype: Flow\n",
        "!Deployment\n",
        "executors:\n- ",
        "with:",
        "gateway",
        "method: needs_all",
        *DEFINITION,
    ]
    of_conditions = ["$and", "$or", "$not", "$eq", "$gt", "$lte", "$in", "$nin", "$size", "$exists", "tags__", "__0"]
    return [*options, *of_files, *of_conditions, *FIELDS, *ITEM_SIZES, "!when", "!target", "${{ x }}", "n"]
