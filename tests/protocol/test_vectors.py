"""The vectors of protocol/vectors: the bytes that are valid mean what they say, and the others end as they say."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tests.protocol import reading
from tests.protocol.reading import Vector
from zflow.documents import Document, DocumentArray
from zflow.documents.arrays import ITEM_SIZES
from zflow.errors import BY_CODE, ProtocolError
from zflow.wire.frames import DOCUMENTS, Part, part
from zflow.wire.header import Kind, Message, decode, encode
from zflow.wire.payload import decode_documents, decode_map, encode_documents, encode_map

VALID = reading.vectors("valid")
INVALID = reading.vectors("invalid")
CANONICAL = [vector for vector in VALID if vector.get("canonical")]


def named(vectors: list[Vector]) -> list[Any]:
    return [pytest.param(vector, id=vector["name"]) for vector in vectors]


def open_part(item: Part) -> Any:
    """What a part holds, as a worker or a caller reads it."""
    if item.kind == DOCUMENTS:
        return decode_documents(item.buffers())
    return decode_map(item.buffers()[0])


# -- valid -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", named(VALID))
def test_a_valid_vector_means_what_it_says(vector: Vector) -> None:
    means = vector["means"]

    message = decode(reading.frames_of(vector))

    assert message.kind.name == means["kind"]
    assert message.call_id.hex() == means.get("call_id", "")
    assert message.endpoint == means.get("endpoint", "")
    assert message.budget == means.get("budget")
    assert reading.flag_names(message.flags) == sorted(means.get("flags", []))
    assert reading.same(message.extra, reading.value(means.get("extra", {})))
    expected = reading.parts_of(means)
    assert len(message.parts) == len(expected)
    for actual, noted in zip(message.parts, expected):
        assert actual.kind == reading.PART_KINDS[noted["kind"]]
        assert (actual.label, actual.shard, list(actual.sizes)) == (noted["label"], noted.get("shard"), noted["sizes"])
        assert [len(buffer) for buffer in actual.buffers()] == noted["sizes"]
        held = open_part(actual)
        if actual.kind == DOCUMENTS:
            assert reading.same(reading.actual_documents(held), reading.expected_documents(noted["documents"]))
        else:
            assert reading.same(held, reading.value(noted["map"]))


@pytest.mark.parametrize("vector", named(CANONICAL))
def test_the_encoder_makes_the_canonical_bytes_of_a_meaning(vector: Vector) -> None:
    means = vector["means"]
    message = Message(
        Kind[means["kind"]],
        bytes.fromhex(means.get("call_id", "")),
        means.get("endpoint", ""),
        means.get("budget"),
        reading.flags_of(means.get("flags", [])),
        [_part_of(noted) for noted in reading.parts_of(means)],
        reading.value(means.get("extra", {})),
    )

    made = [bytes(frame) for frame in encode(message)]

    assert [frame.hex(" ") for frame in made] == [frame.hex(" ") for frame in reading.frames_of(vector)]


@pytest.mark.parametrize("vector", named(VALID))
def test_a_message_that_is_handed_on_keeps_its_payload_frames(vector: Vector) -> None:
    frames = reading.frames_of(vector)

    handed_on = encode(decode(frames))

    assert handed_on[1:] == frames[1:]
    assert encode(decode(handed_on)) == handed_on


def _part_of(noted: dict[str, Any]) -> Part:
    if noted["kind"] == "documents":
        buffers = encode_documents(DocumentArray([_document(item) for item in noted["documents"]]))
    else:
        buffers = [encode_map(reading.value(noted["map"]))]
    return part(reading.PART_KINDS[noted["kind"]], noted["label"], buffers, noted.get("shard"))


def _document(noted: dict[str, Any]) -> Document:
    fields = reading.expected_documents([noted])[0]
    for name in ("chunks", "matches"):
        if name in fields:
            fields[name] = DocumentArray([_document(item) for item in noted[name]])
    for name in ("tensor", "embedding"):
        if name in fields:
            fields[name] = _array(fields[name])
    return Document(**fields)


def _array(noted: dict[str, Any]) -> Any:
    import numpy as np  # only where there are arrays, as in the package

    values = [complex(*item) if isinstance(item, list) else item for item in noted["values"]]
    return np.array(values, "?" if noted["dtype"] == "bool" else f"<{noted['dtype']}").reshape(noted["shape"])


# -- invalid -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", named(INVALID))
def test_an_invalid_vector_ends_as_it_says(vector: Vector) -> None:
    frames = reading.frames_of(vector)
    expected = next(kind for kind in BY_CODE.values() if kind.__name__ == vector["error"])

    if vector["refused"] == "message":
        with pytest.raises(expected) as raised:
            decode(frames)
        assert type(raised.value) is expected
        assert raised.value.call_id.hex() == vector.get("call_id", "")
    else:
        message = decode(frames)  # who hands it on finds nothing wrong with it
        assert message.call_id.hex() == vector["call_id"]
        with pytest.raises(ProtocolError) as raised:
            open_part(message.parts[vector.get("part", 0)])

    assert vector["says"] in str(raised.value)


# -- all of them -------------------------------------------------------------------------------------------------------


def test_every_kind_flag_part_and_dtype_has_a_valid_vector() -> None:
    means = [vector["means"] for vector in VALID]
    parts = [noted for meaning in means for noted in reading.parts_of(meaning)]
    documents = [item for noted in parts for item in noted.get("documents", [])]

    assert {meaning["kind"] for meaning in means} == {kind.name for kind in Kind}
    assert {name for meaning in means for name in meaning.get("flags", [])} == set(reading.FLAG_NAMES)
    assert {noted["kind"] for noted in parts} == set(reading.PART_KINDS)
    assert {item["tensor"]["dtype"] for item in documents if "tensor" in item} == set(ITEM_SIZES)
    assert {name for item in documents for name in item} >= set(reading.messages()["columns"]) - {"n"}


def test_there_are_enough_of_them_and_each_has_its_own_name() -> None:
    names = Counter(vector["name"] for vector in VALID + INVALID)

    assert [name for name, count in names.items() if count > 1] == []
    assert len(VALID) >= 40
    assert len(INVALID) >= 60
    assert len(CANONICAL) >= 30


def test_every_vector_says_why_it_is_there_and_nothing_that_nobody_reads() -> None:
    for vector in VALID:
        assert vector["why"] and vector.keys() <= {"name", "why", "frames", "means", "canonical"}
    for vector in INVALID:
        assert vector["why"] and vector["says"]
        assert vector.keys() <= {"name", "why", "frames", "error", "says", "refused", "call_id", "part"}
