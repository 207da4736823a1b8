"""The logical buffers of a table as one byte string, for files and stores: a magic, a version, the sizes, the buffers.

What is read is as foreign as what comes off the wire, and goes through the same decoder. Nothing is ever pickled.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from zflow.documents.arrays import Buffer
from zflow.documents.limits import MAX_BUFFERS
from zflow.errors import ProtocolError

MAGIC = b"zflow-docs"
VERSION = 1

_HEAD = struct.Struct("<10sBI")  # magic, version, number of buffers; then a u64 size each, all little-endian


def join(buffers: Sequence[Buffer]) -> bytes:
    """The buffers as one byte string."""
    sizes = struct.pack(f"<{len(buffers)}Q", *map(len, buffers))
    return b"".join((_HEAD.pack(MAGIC, VERSION, len(buffers)), sizes, *buffers))


def split(data: bytes | bytearray | memoryview) -> list[memoryview]:
    """The buffers in `data`, as writable views of one copy of it. Raises ProtocolError."""
    whole = memoryview(bytearray(data))
    if len(whole) < _HEAD.size:
        raise ProtocolError(f"documents as bytes: {len(whole)} bytes are too few to be any")
    magic, version, count = _HEAD.unpack_from(whole)
    if magic != MAGIC:
        raise ProtocolError("documents as bytes: they do not begin as DocumentArray.to_bytes does")
    if version != VERSION:
        raise ProtocolError(f"documents as bytes: version {version}, where {VERSION} is known; update zflow")
    if count > MAX_BUFFERS + 1 or len(whole) < _HEAD.size + 8 * count:
        raise ProtocolError(f"documents as bytes: {count} buffers do not fit into {len(whole)} bytes")
    at = _HEAD.size + 8 * count
    views = []
    for size in struct.unpack_from(f"<{count}Q", whole, _HEAD.size):
        views.append(whole[at : at + size])
        at += size
    if at != len(whole):
        raise ProtocolError(f"documents as bytes: {len(whole)} bytes, where the sizes add up to {at}")
    return views
