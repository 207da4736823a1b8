"""What encoding and decoding cost by themselves, without sockets: zflow's wire format beside bare msgpack."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from bench import floor
from bench.measuring import Block, each
from bench.workloads import MANY_DOCUMENTS, MEBIBYTE, TEXT

Side = Callable[[], AbstractContextManager[Block]]
Run = Callable[[], object]
CALL_ID = bytes(range(16))


def _timed(prepare: Callable[[], Run]) -> Side:
    """A side that is prepared when it is opened, so that zflow is imported only then."""
    return lambda: contextlib.nullcontext(each(prepare()))


# -- the header of a request


def _bare_header() -> Run:
    return lambda: floor.unpack(floor.header(floor.REQUEST, CALL_ID, "/", [64]))


def _zflow_header() -> Run:
    from zflow.wire.frames import DOCUMENTS, part
    from zflow.wire.header import Kind, Message, decode, encode

    body = [bytes(64)]
    return lambda: decode(encode(Message(Kind.REQUEST, CALL_ID, "/", parts=[part(DOCUMENTS, "gateway", body)])))


# -- documents


def _documents(count: int) -> Any:
    from zflow import Document, DocumentArray

    return DocumentArray([Document(id=f"{number:032x}", text=TEXT) for number in range(count)])


def _bare_texts(count: int) -> Run:
    content = floor.Text(count)
    return lambda: content.answer(content.question())


def _zflow_texts(count: int) -> Run:
    from zflow.wire.payload import decode_documents, encode_documents

    documents = _documents(count)
    return lambda: decode_documents(encode_documents(documents)).texts[-1]


def _bare_loop(count: int) -> Run:
    content = floor.Text(count)
    return lambda: floor.upper_columns(content.question())


def _zflow_loop(count: int) -> Run:
    from zflow.wire.payload import decode_documents, encode_documents

    documents = _documents(count)

    def run() -> object:
        received = decode_documents(encode_documents(documents))
        for document in received:
            document.text = document.text.upper()
        return encode_documents(received)

    return run


def _bare_array(size: int) -> Run:
    content = floor.Array(size)
    return lambda: content.answer(content.question())


def _zflow_array(size: int) -> Run:
    import numpy

    from zflow import Document, DocumentArray
    from zflow.wire.payload import decode_documents, encode_documents

    documents = DocumentArray([Document(tensor=numpy.zeros(size // 4, dtype="f4"))])
    return lambda: decode_documents(encode_documents(documents))[0].tensor


SIDES: dict[str, dict[str, Side]] = {
    "codec-header": {"floor": _timed(_bare_header), "zflow": _timed(_zflow_header)},
    "codec-one": {"floor": _timed(lambda: _bare_texts(1)), "zflow": _timed(lambda: _zflow_texts(1))},
    "codec-many": {
        "floor": _timed(lambda: _bare_texts(MANY_DOCUMENTS)),
        "zflow": _timed(lambda: _zflow_texts(MANY_DOCUMENTS)),
    },
    "codec-loop": {
        "floor": _timed(lambda: _bare_loop(MANY_DOCUMENTS)),
        "zflow": _timed(lambda: _zflow_loop(MANY_DOCUMENTS)),
    },
    "codec-array": {
        "floor": _timed(lambda: _bare_array(MEBIBYTE)),
        "zflow": _timed(lambda: _zflow_array(MEBIBYTE)),
    },
}
