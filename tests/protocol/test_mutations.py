"""Messages that were good once: the decoder takes them or says ProtocolError, and never anything else.

Bytes are flipped, lost, repeated, cut and spliced; frames are lost, doubled, swapped and cut; and within the
MessagePack of headers, bodies and maps, values are replaced by odd ones, which gets further in than bytes that went
wrong by chance.
"""

from __future__ import annotations

import random
import secrets
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgpack
import pytest

from tests.protocol import reading
from zflow.errors import ProtocolError, UnsupportedRequest
from zflow.wire.frames import DOCUMENTS
from zflow.wire.header import decode, encode
from zflow.wire.payload import decode_documents, decode_map, encode_documents, encode_map

Frames = list[bytes]

ODD: list[Any] = [
    *[None, True, False, 0, 1, -1, 16, 255, 1 << 31, 1 << 53, (1 << 64) - 1, -(1 << 63)],
    *[1.0, -0.0, 1e300, float("nan"), float("inf"), b"", b"\x00", bytes(16), bytes(17)],
    *["", "/", "n", "id", "f4", "O", "!x", "\x00", "x" * 300],
    *[[], [[]], [0], [1, 0], [None], {}, {"": 0}, {"n": 1}, [None, "f4", [1], bytes(4)], [[0], "bool", [], b"\x07"]],
    *[msgpack.ExtType(5, b""), msgpack.Timestamp(0)],
]
KEYS = ["n", "id", "blob", "tensor", "chunks", "tags", "!x", "node", "code", 7]
BYTES = bytes.fromhex("00 01 7f 80 90 c0 c1 c7 d9 dd df ff")  # those that MessagePack gives a meaning of its own


def originals() -> list[Frames]:
    """The small valid vectors, four times, and the small ones whose payload alone is wrong."""
    wrong = [vector for vector in reading.vectors("invalid") if vector["refused"] == "payload"]
    all_frames = [reading.frames_of(vector) for vector in reading.vectors("valid") * 4 + wrong]
    return [frames for frames in all_frames if len(frames) < 10 and sum(map(len, frames)) < 8192]


# -- what goes wrong ---------------------------------------------------------------------------------------------------


def flip_a_bit(frames: Frames, chance: random.Random) -> None:
    at, frame = _some_frame(frames, chance)
    if frame:
        frame[chance.randrange(len(frame))] ^= 1 << chance.randrange(8)
    frames[at] = bytes(frame)


def overwrite(frames: Frames, chance: random.Random) -> None:
    at, frame = _some_frame(frames, chance)
    if frame:
        frame[chance.randrange(len(frame))] = chance.choice(BYTES)
    frames[at] = bytes(frame)


def lose_bytes(frames: Frames, chance: random.Random) -> None:
    at, frame = _some_frame(frames, chance)
    start = chance.randrange(len(frame) + 1)
    del frame[start : start + chance.randrange(1, 5)]
    frames[at] = bytes(frame)


def add_bytes(frames: Frames, chance: random.Random) -> None:
    at, frame = _some_frame(frames, chance)
    start = chance.randrange(len(frame) + 1)
    frame[start:start] = chance.randbytes(chance.randrange(1, 5))
    frames[at] = bytes(frame)


def splice(frames: Frames, chance: random.Random) -> None:
    at, frame = _some_frame(frames, chance)
    _, other = _some_frame(frames, chance)
    cut = chance.randrange(len(frame) + 1)
    frames[at] = bytes(frame[:cut] + other[chance.randrange(len(other) + 1) :])


def lose_a_frame(frames: Frames, chance: random.Random) -> None:
    del frames[chance.randrange(len(frames))]


def double_a_frame(frames: Frames, chance: random.Random) -> None:
    at = chance.randrange(len(frames))
    frames.insert(at, frames[at])


def shuffle_frames(frames: Frames, chance: random.Random) -> None:
    chance.shuffle(frames)


def cut_a_frame(frames: Frames, chance: random.Random) -> None:
    at, frame = _some_frame(frames, chance)
    cut = chance.randrange(len(frame) + 1)
    frames[at : at + 1] = [bytes(frame[:cut]), bytes(frame[cut:])]


def replace_a_value(frames: Frames, chance: random.Random) -> None:
    """A value somewhere in the MessagePack of a frame becomes an odd one; the layout then names the new length."""
    at = chance.choice((0, 1 if len(frames) > 1 else 0))
    try:
        value = msgpack.unpackb(frames[at], strict_map_key=False)
    except Exception:
        return  # no MessagePack any more, or never was
    changed = msgpack.packb(_with_an_odd_value(value, chance))
    if at:
        frames[0] = frames[0].replace(msgpack.packb([len(frames[at])]), msgpack.packb([len(changed)]))
    frames[at] = changed


MUTATIONS: list[Callable[[Frames, random.Random], None]] = [
    flip_a_bit,
    overwrite,
    lose_bytes,
    add_bytes,
    splice,
    lose_a_frame,
    double_a_frame,
    shuffle_frames,
    cut_a_frame,
    *[replace_a_value] * 6,
]


def _some_frame(frames: Frames, chance: random.Random) -> tuple[int, bytearray]:
    at = chance.randrange(len(frames))
    return at, bytearray(frames[at])


def _with_an_odd_value(value: Any, chance: random.Random) -> Any:
    if isinstance(value, (list, dict)) and value and chance.random() < 0.8:
        key: Any = chance.choice(list(value) if isinstance(value, dict) else range(len(value)))
        changed: Any = value.copy()
        if isinstance(value, dict) and chance.random() < 0.1:
            changed[chance.choice(KEYS)] = changed.pop(key)
        else:
            changed[key] = _with_an_odd_value(value[key], chance)
        return changed
    return chance.choice(ODD)


# -- what must come of it ----------------------------------------------------------------------------------------------


def outcome(frames: Frames) -> str:
    """Reads all of a message, uses what it gives, and tells whether it was accepted or refused."""
    try:
        message = decode(frames)
    except (ProtocolError, UnsupportedRequest) as error:
        assert len(error.call_id) in (0, 16) and str(error)
        return "refused as a message"
    assert decode(encode(message)).kind is message.kind
    for item in message.parts:
        held: Any
        try:
            held = decode_documents(item.buffers()) if item.kind == DOCUMENTS else decode_map(item.buffers()[0])
        except ProtocolError as error:
            assert str(error)
            return "refused as a payload"
        if item.kind == DOCUMENTS:
            reading.actual_documents(held)
            assert len(decode_documents(encode_documents(held))) == len(held)
        else:
            encode_map(held)
    return "accepted"


def run(count: int, seed: int) -> Counter[str]:
    """How `count` mutated messages ended."""
    print(f"seed {seed}")
    chance = random.Random(seed)
    good = originals()
    outcomes: Counter[str] = Counter()
    for _ in range(count):
        frames = list(chance.choice(good))
        for _ in range(chance.choice((1, 1, 1, 2, 3))):
            if frames:
                chance.choice(MUTATIONS)(frames, chance)
        try:
            outcomes[outcome(frames)] += 1
        except Exception as error:
            raise AssertionError(f"seed {seed}: {error!r} from {[frame.hex() for frame in frames]}") from error
    return outcomes


@pytest.mark.parametrize(
    ("count", "seed"),
    [(5_000, 20_407), pytest.param(100_000, None, marks=[pytest.mark.full, pytest.mark.time_limit(600)])],
)
def test_mutated_messages_are_accepted_or_end_in_a_protocol_error(count: int, seed: int | None) -> None:
    outcomes = run(count, seed if seed is not None else secrets.randbits(32))

    assert outcomes.total() == count
    for name in ("accepted", "refused as a message", "refused as a payload"):
        assert outcomes[name] > count // 50, outcomes


def test_random_bytes_are_refused() -> None:
    chance = random.Random(20_408)
    for _ in range(2_000):
        frames = [chance.randbytes(chance.randrange(64)) for _ in range(chance.randrange(4))]
        assert outcome(frames) == "refused as a message"
