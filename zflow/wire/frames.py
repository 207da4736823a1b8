"""The payload of a message as parts, logical buffers and frames; splits and joins, and copies only what was cut.

A *part* (documents, parameters, results, details) is a run of *logical buffers*. On the wire a buffer is one or more
non-empty frames whose lengths add up to its own: whole on ipc, cut at `MAX_FRAME` on tcp, because only a finished
frame counts as a sign of life to a ZMTP heartbeat. Gateways and heads hand frames on as they came; only who opens a
part joins them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from zflow.errors import ProtocolError

Buffer = bytes | memoryview  # or a received frame: drivers hand on what has a length and lends its memory

DOCUMENTS, PARAMETERS, RESULTS, DETAILS = range(4)

MAX_FRAME = 1 << 20
MAX_FRAMES = 2048
MAX_PARTS = 1024
MAX_REQUEST = 1 << 30


class Part(NamedTuple):
    """One labelled piece of a payload: `sizes` are the lengths of its logical buffers, `frames` what carries them."""

    kind: int
    label: str
    shard: int | None
    sizes: Sequence[int]
    frames: Sequence[Buffer]

    def buffers(self) -> list[Buffer]:
        """The logical buffers: by reference where a buffer is one frame, joined (one copy) where it was cut.

        Raises ProtocolError when frames and sizes disagree.
        """
        if len(self.frames) == len(self.sizes) and 0 not in self.sizes:  # the common case: one frame for each
            return [frame if type(frame) is bytes else memoryview(frame) for frame in self.frames]
        remaining = iter(self.frames)
        return [_join(size, remaining) for size in self.sizes]


def part(kind: int, label: str, buffers: Sequence[Buffer], shard: int | None = None) -> Part:
    """A part made here, of whole buffers."""
    if len(buffers) == 1 and type(buffers[0]) is bytes and buffers[0]:  # the common case: nothing is large
        return Part(kind, label, shard, [len(buffers[0])], buffers)
    sizes = [memoryview(buffer).nbytes if type(buffer) is not bytes else len(buffer) for buffer in buffers]
    return Part(kind, label, shard, sizes, [buffer for buffer, size in zip(buffers, sizes) if size])


def split(layout: Sequence[Sequence[Any]], frames: Sequence[Buffer]) -> list[Part]:
    """The parts of a received payload. `layout` was checked by the header; here the frames must fit it exactly."""
    parts = []
    at, count = 0, len(frames)
    for entry in layout:
        label, sizes = entry[1], entry[3]
        start = at
        whole = frames[at : at + len(sizes)]
        if 0 not in sizes and [*map(len, whole)] == sizes:  # the common case: one frame for each
            at += len(sizes)
            parts.append(Part(entry[0], label, entry[2], sizes, whole))
            continue
        for size in sizes:
            left = size
            while left > 0:
                if at == count:
                    raise ProtocolError(f"part {label!r}: {left} of {size} bytes are missing")
                length = len(frames[at])
                if length == 0:
                    raise ProtocolError(f"part {label!r}: a payload frame is empty")
                left -= length
                at += 1
            if left:
                raise ProtocolError(f"part {label!r}: a frame reaches {-left} bytes beyond its buffer of {size}")
        parts.append(Part(entry[0], label, entry[2], sizes, frames[start:at]))
    if at != count:
        raise ProtocolError(f"{count - at} frames more than the layout names")
    return parts


def cut(frames: Iterable[Buffer]) -> list[Buffer]:
    """The same bytes in frames of at most MAX_FRAME, by reference."""
    pieces: list[Buffer] = []
    for frame in frames:
        size = len(frame)
        if size <= MAX_FRAME:
            pieces.append(frame)  # also a received frame, as it is
        else:
            view = memoryview(frame)
            pieces.extend(view[start : start + MAX_FRAME] for start in range(0, size, MAX_FRAME))
    return pieces


def excess(parts: Sequence[Part]) -> str:
    """Why no peer would accept `parts` as one payload, for people; empty when they may be sent.

    A peer drops the connection of who sends too much, and other requests with it: the sender has to look first.
    """
    return weigh(parts)[1]


def weigh(parts: Sequence[Part]) -> tuple[int, str]:
    """The bytes of `parts`, and their excess."""
    total = frames = 0
    for item in parts:
        sizes = item.sizes
        total += sum(sizes)
        frames += len(sizes)
    frames += total // MAX_FRAME  # what cutting adds at the most
    if total > MAX_REQUEST:
        return total, f"{total} bytes in one request; at most {MAX_REQUEST} are allowed"
    if frames >= MAX_FRAMES or len(parts) > MAX_PARTS:
        return total, f"{frames} frames in {len(parts)} parts of one request; at most {MAX_FRAMES - 1} in {MAX_PARTS}"
    return total, ""


def _join(size: int, frames: Any) -> Buffer:
    if size == 0:
        return b""
    first: Buffer = next(frames)
    if len(first) == size:
        return first if type(first) is bytes else memoryview(first)
    whole = bytearray(size)  # writable, as a frame of our own would be
    whole[: len(first)] = first
    at = len(first)
    while at < size:
        piece = next(frames)
        whole[at : at + len(piece)] = piece
        at += len(piece)
    return memoryview(whole)
