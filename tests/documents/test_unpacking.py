"""Unpacking: a table that can be trusted, or a ProtocolError that says what is wrong."""

import struct
import tracemalloc

import msgpack
import numpy as np
import pytest

from zflow.documents.columns import rows_of
from zflow.documents.limits import MAX_ITEMS
from zflow.documents.unpacking import guarded, unpack, unpack_body, unpack_plain
from zflow.errors import ProtocolError


def table(*outside, **columns):
    return unpack([msgpack.packb({"n": 2, "id": ["a", "b"], **columns}), *outside])


def test_columns_are_what_the_body_says():
    made = table(text=["t", None], weight=[1, 0.5], tags=[{"x": [1]}, None], scores=[None, {"s": [1, "", "", "r"]}])
    assert made.ids == ["a", "b"]
    one, other = rows_of(made)[0]
    assert (one.text, one.weight, one.tags, other.scores["s"].ref_id) == ("t", 1, {"x": [1]}, "r")


def test_unknown_columns_are_ignored():
    made = table(text=["t", None], colour=["red", {"deep": [[[1]]]}], **{f"x{at}": at for at in range(200)})
    assert list(made.values) == ["text"]


def test_large_arrays_are_views_and_small_ones_writable_copies():
    buffer = bytearray(np.arange(4, dtype="f4").tobytes())
    made = table(memoryview(buffer), tensor=[[None, "f4", [2], 0]], embedding=[[[1], "u1", [3], b"\x01\x02\x03"]])
    one, other = rows_of(made)[0]
    one.tensor[0] = 9
    assert struct.unpack_from("<f", buffer) == (9.0,)
    other.embedding[0] = 7
    assert other.embedding.tolist() == [7, 2, 3] and one.embedding is None


def test_views_of_read_only_buffers_are_read_only():
    made = table(bytes(16), tensor=[[None, "f4", [2], 0]])
    with pytest.raises(ValueError, match="read-only"):
        made.arrays["tensor"][0].matrix()[0, 0] = 1


def test_a_misaligned_array_is_read_rightly():
    buffer = memoryview(b"x" + np.arange(4, dtype="f8").tobytes())[1:]
    assert table(buffer, tensor=[[None, "f8", [2], 0]]).arrays["tensor"][0].matrix().tolist() == [[0, 1], [2, 3]]


def test_bfloat16_stays_what_it_is_when_handed_on():
    (group,) = table(tensor=[[None, "bf16", [1], b"\x80\x3f\x00\x40"]]).arrays["tensor"]
    assert group.code == "bf16" and group.matrix().dtype == np.uint16 and bytes(group.data()) == b"\x80\x3f\x00\x40"


A = b"\x00" * 8
NESTED = {"n": 1, "id": ["c"]}


@pytest.mark.parametrize(
    ("columns", "outside", "told"),
    [
        # counts and types
        ({"n": -1}, [], "n is -1"),
        ({"n": True}, [], "n is a bool"),
        ({"n": 2.0}, [], "n is a float"),
        ({"n": None}, [], "n is a NoneType"),
        ({"n": 3}, [], "id: 2 values, where a list of 3 is due"),
        ({"n": 2**40}, [], "n is 1099511627776"),
        ({"id": ["a"]}, [], "id: 1 values"),
        ({"id": "ab"}, [], "id: a str"),
        ({"id": ["a", None]}, [], r"id\[1\] is NoneType, not str"),
        ({"id": ["a", b"b"]}, [], r"id\[1\] is bytes, not str"),
        ({"id": ["a", ""]}, [], "id: one is empty"),
        ({"id": ["a", "x" * 257]}, [], "id: one has more than 256 bytes"),
        ({"id": ["a", "ä" * 129]}, [], "id: one has more than 256 bytes"),
        ({"text": ["a"]}, [], "text: 1 values"),
        ({"text": {"a": "b"}}, [], "text: a dict"),
        ({"text": ["a", b"b"]}, [], r"text\[1\] is bytes, not str"),
        ({"uri": ["a", 1]}, [], r"uri\[1\] is int"),
        ({"weight": [1, True]}, [], r"weight\[1\] is bool, not float or int"),
        ({"weight": ["1", 1]}, [], r"weight\[0\] is str"),
        # tags and scores
        ({"tags": [{}, []]}, [], r"tags\[1\] is list, not dict"),
        ({"tags": [None, {b"x": 1}]}, [], r"tags\[1\]: a key is bytes"),
        ({"tags": [None, {"x" * 257: 1}]}, [], r"tags\[1\]: a key has more than"),
        ({"scores": [None, {"s": "much"}]}, [], r"scores\[1\]: scores\['s'\]"),
        ({"scores": [None, {"s": [1, 2]}]}, [], "scores"),
        ({"scores": [None, {b"s": 1}]}, [], r"scores\[1\]: a key is bytes"),
        ({"scores": [None, {"s" * 1000: "much"}]}, [], r"scores\[1\]: a key has more than"),
        # blobs
        ({"blob": ["a", None]}, [], r"blob\[0\] is str"),
        ({"blob": [True, None]}, [], r"blob\[0\] is bool"),
        ({"blob": [0, None]}, [], "blob: names buffer 0, but there are 0"),
        ({"blob": [-1, None]}, [b"x"], "names buffer -1, where 0 is the next"),
        ({"blob": [1, 0]}, [b"x", b"y"], "names buffer 1, where 0 is the next"),
        ({"blob": [0, 0]}, [b"x", b"y"], "names buffer 0, where 1 is the next"),
        ({"blob": [0, None]}, [b"x", b"y"], "2 buffers after the body, which names 1"),
        ({}, [b"x"], "1 buffers after the body, which names 0"),
        ({"blob": [0, None], "tensor": [[None, "f4", [1], 0]]}, [A], "tensor: names buffer 0, where 1"),
        # groups
        ({"tensor": {}}, [], "tensor is a dict"),
        ({"tensor": [[None, "f4", [1]]]}, [], "a group is a list of"),
        ({"tensor": ["f4"]}, [], "a group is a list of"),
        ({"tensor": [[None, "f4", [1], 1]]}, [A], "names buffer 1, where 0"),
        ({"tensor": [[None, "f4", [1], "0"]]}, [A], "by a str"),
        ({"tensor": [[None, "f4", [1], False]]}, [A], "by a bool"),
        ({"tensor": [[[], "f4", [1], b""]]}, [], "the rows of a group are a list"),
        ({"tensor": [[[1.0], "f4", [1], b"1234"]]}, [], "the rows of a group are a list"),
        ({"tensor": [[[True], "f4", [1], b"1234"]]}, [], "the rows of a group are a list"),
        ({"tensor": [["a", "f4", [1], b"1234"]]}, [], "the rows of a group are a list"),
        ({"tensor": [[[2], "f4", [1], b"1234"]]}, [], "ascend from 0 to 1"),
        ({"tensor": [[[-1], "f4", [1], b"1234"]]}, [], "ascend from 0 to 1"),
        ({"tensor": [[[1, 0], "f4", [1], A]]}, [], "ascend"),
        ({"tensor": [[[0, 0], "f4", [1], A]]}, [], "ascend"),
        ({"tensor": [[[0], "u1", [1], b"1"], [[0, 1], "u1", [1], b"12"]]}, [], "a row has two arrays"),
        ({"tensor": [[None, "u1", [1], b"12"], [[1], "u1", [1], b"1"]]}, [], "a row has two arrays"),
        ({"tensor": [[[1], "u1", [1], b"1"], [None, "u1", [1], b"12"]]}, [], "not the only one"),
        ({"tensor": [[None, "u1", [1], b"12"], [None, "u1", [1], b"12"]]}, [], "not the only one"),
        # dtypes
        *(
            ({"tensor": [[None, code, [1], A]]}, [], "unknown dtype")
            for code in ("O", "V4", "U1", "S4", "M8[s]", ">f4", "<f4", "f4,f4", "(2,)f4", "f16", "c32", "", "f", "F4")
        ),
        ({"tensor": [[None, "f4" * 150_000, [1], A]]}, [], "unknown dtype"),
        ({"tensor": [[None, b"f4", [1], A]]}, [], "unknown dtype 'bytes'"),
        ({"tensor": [[None, 4, [1], A]]}, [], "unknown dtype 'int'"),
        ({"tensor": [[None, "float32", [1], A]]}, [], "unknown dtype 'float32'"),
        # shapes
        ({"tensor": [[None, "f4", [-1], A]]}, [], "negative dimension"),
        ({"tensor": [[None, "f4", [2**62], A]]}, [], "larger than"),
        ({"tensor": [[None, "f4", [2**32, 2**32], A]]}, [], "larger than"),
        ({"tensor": [[None, "f4", [0, 2**62], b""]]}, [], "larger than"),
        ({"tensor": [[None, "f4", [2**63], A]]}, [], "larger than"),
        ({"tensor": [[None, "f4", [1.0], A]]}, [], "a shape is a list"),
        ({"tensor": [[None, "f4", [True], A]]}, [], "a shape is a list"),
        ({"tensor": [[None, "f4", [[1]], A]]}, [], "a shape is a list"),
        ({"tensor": [[None, "f4", 1, A]]}, [], "a shape is a list"),
        ({"tensor": [[None, "f4", None, A]]}, [], "a shape is a list"),
        ({"tensor": [[None, "f4", [1] * 17, A]]}, [], "at most 16"),
        ({"tensor": [[None, "f4", [1] * 65, A]]}, [], "at most 16"),
        ({"tensor": [[None, "f4", [1], A[1:]]]}, [], "7 bytes for 2 x"),
        ({"tensor": [[None, "f4", [1], 0]]}, [A + b"x"], "9 bytes for 2 x"),
        ({"tensor": [[None, "f4", [0], A]]}, [], "8 bytes for 2 x"),
        ({"embedding": [[None, "f8", [1], 0]]}, [A], "8 bytes for 2 x"),
        # nested documents
        ({"chunks": [1]}, [], "chunks is no pair"),
        ({"chunks": {}}, [], "chunks is no pair"),
        ({"chunks": [[1], NESTED]}, [], "chunks counts: 1 values"),
        ({"chunks": [[1, None], NESTED]}, [], r"chunks counts\[1\] is NoneType"),
        ({"chunks": [[1, 1], NESTED]}, [], "do not add up"),
        ({"chunks": [[2, -1], NESTED]}, [], "do not add up"),
        ({"chunks": [[1, 0], []]}, [], r"chunks\. is a list instead of a map"),
        ({"chunks": [[1, 0], {"n": 1}]}, [], r"chunks\.id: 0 values"),
        ({"matches": [[1, 0], {**NESTED, "text": [5]}]}, [], r"matches\.text\[0\] is int"),
        ({"chunks": [[1, 0], {**NESTED, "blob": [1]}]}, [A, A], r"chunks\.blob: names buffer 1, where 0"),
    ],
)
def test_what_is_wrong_is_named(columns, outside, told):
    with pytest.raises(ProtocolError, match=f"documents: .*{told}"):
        table(*outside, **columns)


def test_a_dtype_is_answered_with_the_nearest():
    with pytest.raises(ProtocolError, match="did you mean 'f4'"):
        table(tensor=[[None, "<f4", [1], A]])


def test_nesting_is_bounded():
    body = {"n": 1, "id": ["a"]}
    for depth in range(5):
        if depth == 4:
            assert unpack([msgpack.packb(body)]).count == 1
        body = {"n": 1, "id": ["a"], "chunks": [[1], body]}
    with pytest.raises(ProtocolError, match="nested more than 4 deep"):
        unpack([msgpack.packb(body)])


def bare(body):
    return unpack([body])


GOOD = msgpack.packb({"n": 1, "id": ["a"]})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        GOOD[:-1],
        GOOD + b"\xc0",
        b"\xc0",
        b"\x90",
        b"\xa1x",
        b"\x01",
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\x82\xa1n\x01\xa1n\x01",
        b"\x81\x01\x02",
        b"\x81\x90\x02",
        b"\x81\xa1n\xd4\x05x",
        b"\x82\xa1n\x01\xa2id\x91\xa2\xff\xfe",
        b"\x81\xa1n\xd7\xff" + b"\xff" * 8,
        b"\x81\xa1n\xc7\x0c\xff" + b"\x00" * 4 + b"\x3f" + b"\xff" * 7,
        b"\x91" * 100_000 + b"\xc0",
        b"\x91" * 600 + b"\xc0",
        b"\x81\xa1x" * 2000 + b"\xc0",
        b"\xdc\xff\xff" * 200,
        (b"\xdd" + struct.pack(">I", 900_000)) * 900 + b"\xc0" * 10_000,
    ],
    ids=lambda body: f"{body[:8].hex()}-{len(body)}",
)
def test_malformed_bodies_are_refused(body):
    with pytest.raises(ProtocolError, match="documents: "):
        bare(body)


@pytest.mark.parametrize(
    "value",
    [
        b"\xdd" + struct.pack(">I", 10_000_000) + b"\x80" * 10_000_000,
        b"\xdd" + struct.pack(">I", 10_000_000) + b"\xc0" * 10_000_000,
        (b"\xdd" + struct.pack(">I", 900_000)) * 900 + b"\xc0" * 3_000_000,
        b"\x91" * 3_000_000,
        b"\xdc\x01\x90" + (b"\xdd" + struct.pack(">I", 3000) + b"\x90" * 3000) * 400,
    ],
    ids=["empty maps", "nils", "claims within claims", "depth", "lists of lists"],
)
def test_bombs_are_defused_before_they_are_built(value):
    """Millions of items, or claims of them, in a few bytes: refused with no more memory than the limits allow."""
    body = b"\x83\xa1n\x01\xa2id\x91\xa1a\xa4tags" + value
    tracemalloc.start()
    with pytest.raises(ProtocolError):
        bare(body)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 120 << 20  # a million empty maps, the most that is ever built, take 72 MB


def test_depth_within_tags_is_bounded():
    deep = b"\x91" * 1000 + b"\xc0"
    with pytest.raises(ProtocolError, match="16 containers"):
        bare(b"\x83\xa1n\x01\xa2id\x91\xa1a\xa4tags\x91\x81\xa1x" + deep)


def test_duplicate_keys_within_tags_are_refused():
    with pytest.raises(ProtocolError, match="the same key twice"):
        bare(b"\x83\xa1n\x01\xa2id\x91\xa1a\xa4tags\x91\x82\xa1x\x01\xa1x\x02")


def test_extension_types_are_refused_everywhere():
    for code in (-128, -1, 0, 42, 127):
        for data in (b"", b"x", b"12345678"):
            value = struct.pack(">BBb", 0xC7, len(data), code) + data
            with pytest.raises(ProtocolError):
                bare(b"\x83\xa1n\x01\xa2id\x91\xa1a\xa4tags\x91\x81\xa1x" + value)


def test_no_body_is_no_documents():
    with pytest.raises(ProtocolError, match="no body"):
        unpack([])


def test_dunder_names_are_only_keys():
    tags = {"__class__": "x", "__proto__": {"__init__": 1}}
    made = table(tags=[tags, None], __class__=[1, 2], _rest=[{}, {}])
    assert rows_of(made)[0][0].tags == tags and type(rows_of(made)[0][0]).__name__ == "Document"


class TestMaps:
    def test_come_back(self):
        assert unpack_plain(msgpack.packb({"a": [1, {"b": b"x"}], "nan": 1e300}), "parameters") == {
            "a": [1, {"b": b"x"}],
            "nan": 1e300,
        }

    @pytest.mark.parametrize(
        ("buffer", "told"),
        [
            (b"", "parameters: "),
            (b"\x90", "parameters: a list instead of a map"),
            (b"\x81\xc4\x01x\x01", "parameters: a key is bytes"),
            (b"\x81\xa1x" + b"\x91" * 16 + b"\xc0", "parameters: more than 16 containers"),
            (b"\x82\xa1x\x01\xa1x\x02", "parameters: a map has the same key twice"),
            (b"\x81\xa1x\xd4\x00\x00", "parameters: ValueError"),
        ],
    )
    def test_are_refused_by_name(self, buffer, told):
        with pytest.raises(ProtocolError, match=told):
            unpack_plain(buffer, "parameters")


@pytest.mark.parametrize(
    "error", [MemoryError(), RecursionError(), SystemError("numpy"), OverflowError(), UnicodeError(), KeyError("x")]
)
def test_whatever_a_reader_raises_becomes_one_protocol_error(error):
    def read():
        raise error

    with pytest.raises(ProtocolError, match=f"documents: {type(error).__name__}") as refused:
        guarded("documents", read)
    assert refused.value.__cause__ is error


def test_stopping_the_process_is_not_swallowed():
    def read():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        guarded("documents", read)


def test_items_are_counted_across_the_body():
    values = list(range(MAX_ITEMS // 2))
    assert unpack_body(msgpack.packb([values, values[:-10]]))[0] == values
    with pytest.raises(ProtocolError, match="more than 1000000 items"):
        unpack_body(msgpack.packb([values, values, 1]))
