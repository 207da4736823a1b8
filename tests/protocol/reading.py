"""Reads what stands in protocol/: vectors and conversations in the notation that protocol/README.md tells.

Nothing here makes a vector, and nothing here uses the code under test to read one: `actual_` functions turn what zflow
has decoded into the same notation, so that a test can compare the two.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from zflow.documents import Document, DocumentArray
from zflow.documents.arrays import code_of
from zflow.wire.header import FLAGS, IDEMPOTENT, MAYBE_EXECUTED, NO_REDUCE, NOT_STARTED

PROTOCOL = Path(__file__).parents[2] / "protocol"
FLAG_NAMES = {
    "IDEMPOTENT": IDEMPOTENT,
    "MAYBE_EXECUTED": MAYBE_EXECUTED,
    "NOT_STARTED": NOT_STARTED,
    "NO_REDUCE": NO_REDUCE,
}
PART_KINDS = {"documents": 0, "parameters": 1, "results": 2, "details": 3}

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where it was built

Vector = dict[str, Any]


def vectors(kind: str) -> list[Vector]:
    """All vectors of protocol/vectors/valid or protocol/vectors/invalid."""
    found: list[Vector] = []
    for file in sorted((PROTOCOL / "vectors" / kind).glob("*.yaml")):
        found += _load(file)
    return found


def conversations() -> list[dict[str, Any]]:
    """All conversations of protocol/conversations."""
    found: list[dict[str, Any]] = []
    for file in sorted((PROTOCOL / "conversations").glob("*.yaml")):
        found += _load(file)
    return found


def messages() -> dict[str, Any]:
    """What protocol/messages.yaml says."""
    described: dict[str, Any] = _load(PROTOCOL / "messages.yaml")
    return described


def frames_of(vector: Vector) -> list[bytes]:
    """The frames of a vector."""
    return [frame for entry in vector["frames"] for frame in _frames(entry)]


def flags_of(names: list[str]) -> int:
    """The bits of flags that are given by name."""
    return sum(FLAG_NAMES[name] for name in names)


def flag_names(flags: int) -> list[str]:
    """The names of the bits in `flags`."""
    assert flags & ~FLAGS == 0
    return sorted(name for name, bit in FLAG_NAMES.items() if flags & bit)


def value(noted: Any) -> Any:
    """A plain value as it is in Python: ``{bin: "00 ff"}`` stands for bytes."""
    if isinstance(noted, dict):
        if noted.keys() <= {"bin", "times"} and "bin" in noted:
            return bytes.fromhex(noted["bin"]) * noted.get("times", 1)
        return {key: value(item) for key, item in noted.items()}
    return [value(item) for item in noted] if isinstance(noted, list) else noted


def parts_of(means: dict[str, Any]) -> list[dict[str, Any]]:
    """The parts of a vector's meaning, those that are there several times written out."""
    return [part for part in means.get("parts", []) for _ in range(part.get("times", 1))]


def expected_documents(noted: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The documents of a vector: arrays with all their values, blobs as bytes."""
    return [{name: _expected_field(name, item) for name, item in document.items()} for document in noted]


def actual_documents(documents: DocumentArray) -> list[dict[str, Any]]:
    """Decoded documents as `expected_documents` has them: the fields that are not missing."""
    return [_actual_document(document) for document in documents]


def same(one: Any, other: Any) -> bool:
    """Whether two plain values are equal in type and value: NaN is itself, 1 is not 1.0 or True, 0.0 is not -0.0."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(item, other[key]) for key, item in one.items())
    if isinstance(one, list):
        return len(one) == len(other) and all(same(*pair) for pair in zip(one, other))
    if isinstance(one, float):
        if math.isnan(one) or math.isnan(other):
            return math.isnan(one) and math.isnan(other)
        return one == other and math.copysign(1, one) == math.copysign(1, other)
    return bool(one == other)


def _load(file: Path) -> Any:
    return yaml.load(file.read_text("utf-8"), _LOADER)


def _frames(entry: Any) -> Iterator[bytes]:
    if isinstance(entry, dict) and "pieces" in entry:
        yield b"".join(frame for piece in entry["pieces"] for frame in _frames(piece))
    elif isinstance(entry, dict):
        for _ in range(entry.get("frames", 1)):
            yield _bytes(entry["hex"]) * entry.get("times", 1)
    else:
        yield _bytes(entry)


def _bytes(text: str) -> bytes:
    return bytes.fromhex(" ".join(line.partition("#")[0] for line in text.splitlines()))


def _expected_field(name: str, noted: Any) -> Any:
    if name in ("chunks", "matches"):
        return expected_documents(noted)
    if name in ("tensor", "embedding"):
        # numpy has no bf16 of its own, so its bits come as u2 (SPEC.md allows that), and so the vector notes them
        code = noted["dtype"].replace("bf16", "u2")
        return {**noted, "dtype": code, "values": noted["values"] * noted.get("times", 1), "times": 1}
    return value(noted)


def _actual_document(document: Document) -> dict[str, Any]:
    fields: dict[str, Any] = {"id": document.id}
    for name in document.non_empty_fields:
        held = getattr(document, name)
        if name in ("chunks", "matches"):
            held = actual_documents(held)
        elif name in ("tensor", "embedding"):
            held = {"dtype": code_of(held), "shape": list(held.shape), "values": _numbers(held), "times": 1}
        elif name == "scores":
            held = held.plain()
        fields[name] = held
    return fields


def _numbers(array: Any) -> list[Any]:
    numbers: list[Any] = array.reshape(-1).tolist()
    return [[number.real, number.imag] if isinstance(number, complex) else number for number in numbers]
