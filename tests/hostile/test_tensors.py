"""Inputs 53 to 58: arrays whose dtype, shape or bytes are not what they claim. Each has one outcome at the port."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgpack
import pytest

from tests.hostile.door import SERVED, Door, asking, body, opened, rows
from tests.hostile.test_msgpack import most_memory
from zflow.wire.payload import decode_documents

INVALID = "InvalidRequest"
DTYPES = {
    **{
        name: name for name in ("O", "V", "V8", "U", "U1", "S", "S4", "M8", "M8[s]", "m8", "object", "float", "float32")
    },
    **{
        "big-endian": ">f4",
        "little-endian spelled out": "<f4",
        "native": "=f4",
        "two of them": "f4,f8",
        "a space": "f4 ",
    },
    **{"structured": "[('a','f4')]", "an array of its own": "(1000,1000)f8", "long double": "f16", "int128": "i16"},
    **{"nothing": "", "a NUL": "f4\0", "300 kB": "f4," * 100_000, "code": "__import__('os')", "upper case": "F4"},
}
TYPES: dict[str, Any] = {"nil": None, "a number": 4, "bytes": b"f4", "a list": ["f4"], "a map": {"f4": 1}, "true": True}
SHAPES: dict[str, Any] = {
    **{"-1": [-1], "-1 beside others": [2, -1], "2^62": [1 << 62], "2^64-1": [(1 << 64) - 1], "a float": [4.0]},
    **{"a bool": [True], "nested": [[4]], "nil within": [None], "text": ["4"], "no list": 4, "nil": None, "a map": {}},
    **{"65 dimensions": [1] * 65, "17 dimensions": [1] * 17, "60,000 dimensions": [1] * 60_000},
    **{
        "a product of 2^64": [1 << 32, 1 << 32],
        "a product of 2^128": [1 << 62] * 16,
        "one of 2^64 with a 0": [1 << 62, 4, 0],
    },
}


@pytest.fixture(scope="module")
def door() -> Iterator[Door]:
    """One for all: what one input has done to it would show with the next."""
    with opened() as door:
        yield door


def group(dtype: Any = "u1", shape: Any = (4,), place: Any = b"abcd", rows: Any = None) -> dict[str, Any]:
    """The column of a tensor."""
    return {"tensor": [[rows, dtype, list(shape) if isinstance(shape, tuple) else shape, place]]}


def two(*groups: list[Any]) -> bytes:
    """The body of two documents, with groups of tensors."""
    return msgpack.packb({"n": 2, "id": ["a", "b"], "tensor": list(groups)})  # type: ignore[no-any-return]


CASES = [
    *[(f"53 the dtype {told}", [body(**group(dtype))], INVALID) for told, dtype in DTYPES.items()],
    *[(f"53 {told} as dtype", [body(**group(dtype))], INVALID) for told, dtype in TYPES.items()],
    *[(f"54 the shape {told}", [body(**group(shape=shape))], INVALID) for told, shape in SHAPES.items()],
    ("54 no dimensions", [body(**group("f4", ()))], SERVED),
    ("54 no elements", [body(**group(shape=(0,), place=b""))], SERVED),
    ("54 no elements in many dimensions", [body(**group(shape=(3, 0, 5), place=b""))], SERVED),
    ("54 16 dimensions", [body(**group(shape=(1,) * 15 + (4,)))], SERVED),
    ("54 the shape of one row, given for two", [two([None, "u1", [4], b"abcd"])], INVALID),
    ("54 a row that is not there", [two([[2], "u1", [4], b"abcd"])], INVALID),
    ("54 the row -1", [two([[-1], "u1", [4], b"abcd"])], INVALID),
    ("54 a row twice", [two([[0, 0], "u1", [4], b"abcdabcd"])], INVALID),
    ("54 a row in two groups", [two([[0], "u1", [4], b"abcd"], [[0], "u1", [4], b"abcd"])], INVALID),
    ("54 all rows, and one more", [two([None, "u1", [4], b"abcdabcd"], [[0], "u1", [4], b"abcd"])], INVALID),
    ("54 rows that are true", [two([[True], "u1", [4], b"abcd"])], INVALID),
    ("54 no rows", [two([[], "u1", [4], b""])], INVALID),
    ("54 a group of three", [body(tensor=[[None, "u1", [4]]])], INVALID),
    ("55 a byte too few", [body(**group(place=b"abc"))], INVALID),
    ("55 a byte too many", [body(**group(place=b"abcde"))], INVALID),
    ("55 a byte too few outside", [body(**group(place=0)), b"abc"], INVALID),
    ("55 a byte too many outside", [body(**group(place=0)), b"abcde"], INVALID),
    ("55 three bytes of an f4", [body(**group("f4", (1,), b"abc"))], INVALID),
    ("56 bools that are 7", [body(**group("bool", (3,), b"\7\0\xff"))], SERVED),
    ("57 f8 behind an odd byte", [body(blob=[0], **group("f8", (1,), 1)), b"x" * 5001, b"12345678"], SERVED),
    ("57 f8 at an odd place of the body", [body(text=["odd"], **group("f8", (1,), b"12345678"))], SERVED),
    ("58 a frame that two documents name", [two([[0], "u1", [4], 0], [[1], "u1", [4], 0]), b"abcd"], INVALID),
    ("58 a frame that a blob and a tensor name", [body(blob=[0], **group(place=0)), b"abcd"], INVALID),
    ("58 a frame before the first", [body(**group(place=-1)), b"abcd"], INVALID),
    ("58 a frame behind the last", [body(**group(place=1)), b"abcd"], INVALID),
    ("58 a frame named by a float", [body(**group(place=0.0)), b"abcd"], INVALID),
    ("58 a frame named by true", [body(blob=[True]), b"abcd"], INVALID),
]


@pytest.mark.parametrize(("buffers", "outcome"), rows(*CASES))
def test_an_array_has_one_outcome(door: Door, buffers: list[bytes], outcome: str) -> None:
    assert door.outcome(*asking(*buffers)) == outcome
    assert door.serves()


@pytest.mark.parametrize("buffers", rows(*[(told, buffers) for told, buffers, outcome in CASES if outcome == INVALID]))
def test_an_array_that_is_refused_costs_what_came_and_a_constant(buffers: list[bytes]) -> None:
    size = sum(map(len, buffers))
    assert most_memory(lambda: decode_documents(buffers)) < 4 * size + (2 << 20)


@pytest.mark.parametrize("given", rows(("56 a bool of 7 is true", b"\7\0\xff")))
def test_a_bool_that_is_no_bit_is_one_afterwards(given: bytes) -> None:
    (document,) = decode_documents([body(**group("bool", (3,), given))])
    assert document.tensor.dtype == bool
    assert document.tensor.tolist() == [True, False, True]
    assert int(document.tensor.sum()) == 2 and (document.tensor == True).tolist() == [True, False, True]  # noqa: E712


@pytest.mark.parametrize("places", rows(("58 two documents that had the same bytes", (0, 1))))
def test_no_two_documents_share_memory(places: tuple[int, int]) -> None:
    one, other = decode_documents(
        [two([[0], "u1", [4], places[0]], [[1], "u1", [4], places[1]]), bytearray(b"abcd"), bytearray(b"abcd")]
    )
    one.tensor[:] = 0
    assert bytes(other.tensor) == b"abcd"


@pytest.mark.parametrize("at", rows(("57 an array at an odd address", 1)))
def test_an_array_at_an_odd_address_has_its_values(at: int) -> None:
    import numpy as np

    whole = bytearray(at) + np.arange(3, dtype="<f8").tobytes()
    (document,) = decode_documents([body(**group("f8", (3,), 0)), memoryview(whole)[at:]])
    assert document.tensor.tolist() == [0.0, 1.0, 2.0] and float(document.tensor.sum()) == 3.0
