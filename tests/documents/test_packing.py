"""Packing: what the body holds, what lies outside, by reference, in which order, and what is refused."""

import threading

import msgpack
import numpy as np
import pytest

from zflow.documents import Document, DocumentArray
from zflow.documents import packing as module
from zflow.documents.columns import columns_of
from zflow.documents.limits import INLINE, MAX_DIMENSIONS
from zflow.documents.packing import pack, pack_body, pack_plain, packer_of_rows
from zflow.documents.plain_values import Untravelable
from zflow.errors import InvalidDocument


def buffers_of(*documents):
    return pack(DocumentArray(documents)._table())


def body_of(*documents):
    return msgpack.unpackb(buffers_of(*documents)[0])


def test_a_missing_field_has_no_column_and_a_missing_value_is_nil():
    assert body_of(Document(id="a"), Document(id="b", text="t")) == {"n": 2, "id": ["a", "b"], "text": [None, "t"]}
    assert body_of() == {"n": 0, "id": []}


def test_every_field_has_its_column():
    document = Document(
        id="a",
        text="t",
        blob=b"b",
        tensor=np.array([[1, 2]], "u1"),
        embedding=np.array(1.5, "f4"),
        uri="u",
        mime_type="m",
        modality="o",
        weight=1,
        tags={"x": (1, 2)},
        scores={"s": 1, "t": {"value": 2, "ref_id": "r"}},
        chunks=[Document(id="c")],
        matches=[Document(id="m", text="match")],
    )
    assert body_of(document) == {
        "n": 1,
        "id": ["a"],
        "text": ["t"],
        "uri": ["u"],
        "mime_type": ["m"],
        "modality": ["o"],
        "weight": [1],
        "tags": [{"x": [1, 2]}],
        "scores": [{"s": 1, "t": [2, "", "", "r"]}],
        "blob": [b"b"],
        "tensor": [[None, "u1", [1, 2], b"\x01\x02"]],
        "embedding": [[None, "f4", [], b"\x00\x00\xc0\x3f"]],
        "chunks": [[1], {"n": 1, "id": ["c"]}],
        "matches": [[1], {"n": 1, "id": ["m"], "text": ["match"]}],
    }


def test_large_values_lie_outside_in_the_order_of_the_fields():
    large = {"blob": b"b", "tensor": b"t", "embedding": b"e"}

    def of(mark, **more):
        blob = mark * (INLINE + 1)
        arrays = {
            name: np.frombuffer(mark * (INLINE + 2) if name == "tensor" else mark * (INLINE + 3), "u1")
            for name in large
        }
        return Document(**{**arrays, "blob": blob}, **more)

    body, *outside = buffers_of(of(b"1", matches=[of(b"3")], chunks=[of(b"2")]))
    assert [(bytes(buffer[:1]), len(buffer) - INLINE) for buffer in outside] == [
        (mark, size) for mark in (b"1", b"2", b"3") for size in (1, 2, 3)
    ]
    told = msgpack.unpackb(body)
    assert told["blob"] == [0] and told["tensor"][0][3] == 1 and told["embedding"][0][3] == 2
    assert told["chunks"][1]["blob"] == [3] and told["matches"][1]["embedding"][0][3] == 8


def test_what_is_small_stays_inside():
    body, *outside = buffers_of(Document(blob=bytes(INLINE), tensor=np.zeros(INLINE, "u1")))
    assert outside == [] and len(body) > 2 * INLINE


def test_arrays_and_blobs_are_not_copied():
    array, blob = np.zeros((64, 64)), bytes(INLINE + 1)
    _, packed_blob, packed_array = buffers_of(Document(tensor=array, blob=blob))
    assert packed_blob is blob
    array[0, 0] = 1
    assert np.frombuffer(packed_array)[0] == 1


def test_a_matrix_set_for_all_is_not_copied():
    documents = DocumentArray([Document() for _ in range(10)])
    documents.embeddings = matrix = np.zeros((10, 512))
    _, packed = pack(documents._table())
    assert np.shares_memory(np.frombuffer(packed), matrix)


@pytest.mark.parametrize(
    ("document", "field"),
    [
        (Document(tags={"a": {"b": {1}}}), "[1].tags['a']['b']"),
        (Document(tags={"a": [2**64]}), "[1].tags['a'][0]"),
        (Document(tags={"a": 2**64}), "[1].tags['a']"),
        (Document(text="\ud800"), "[1].text"),
        (Document(uri="\udfff"), "[1].uri"),
        (Document(weight=2**70), "[1].weight"),
        (Document(scores={"s": 2**70}), "[1].scores['s']"),
        (Document(id="\ud800"), "[1].id"),
        (Document(tensor=np.zeros((1,) * (MAX_DIMENSIONS + 1))), "[1].tensor"),
        (Document(chunks=["fine", Document(tags={"x": object()})]), "[1].chunks[1].tags['x']"),
        (Document(chunks=["fine", Document(text="\ud800")]), "[1].chunks[1].text"),
        (Document(matches=[Document(chunks=[Document(tags={"n": 2**64})])]), "[1].matches[0].chunks[0].tags['n']"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_travel_is_refused_with_its_path(document, field):
    with pytest.raises(InvalidDocument) as refused:
        buffers_of(Document(text="fine"), document)
    assert refused.value.field == field and str(refused.value).startswith(f"{field}: ")


def test_a_message_after_a_refused_one_is_whole():
    for _ in range(3):
        with pytest.raises(InvalidDocument):
            buffers_of(Document(text="fine", uri="\ud800"))
        assert body_of(Document(id="a", text="t")) == {"n": 1, "id": ["a"], "text": ["t"]}


def test_packers_are_kept_but_not_after_a_large_message():
    module._packers.clear()
    pack_body({"a": 1})
    assert len(module._packers) == 1
    pack_body({"a": "x" * (2 << 20)})
    assert not module._packers


def test_threads_do_not_mix_their_messages():
    wrong = []

    def pack_often(mark):
        value = [mark * 50] * 50
        wrong.extend(1 for _ in range(300) if msgpack.unpackb(pack_body(value)) != value)

    threads = [threading.Thread(target=pack_often, args=(mark,)) for mark in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and 1 <= len(module._packers) <= 16


class TestMaps:
    def test_are_plain_values(self):
        assert msgpack.unpackb(pack_plain({"a": (1, np.int8(2))}, "parameters")) == {"a": [1, 2]}

    @pytest.mark.parametrize(
        ("mapping", "path"),
        [
            ({"a": 2**64}, "parameters['a']"),
            ({"a": ["\ud800"]}, "parameters['a'][0]"),
            ({"a": set()}, "parameters['a']"),
            ({"a": list(range(600_000)), "b": list(range(600_000))}, "parameters"),
            ({f"k{at}": "x" * (16 << 20) for at in range(4)}, "parameters"),
            ({"a": "x" * ((16 << 20) + 1)}, "parameters['a']"),
        ],
        ids=["int", "surrogate", "set", "items", "size", "text"],
    )
    def test_refuse_with_a_path(self, mapping, path):
        with pytest.raises(Untravelable) as refused:
            pack_plain(mapping, "parameters")
        assert refused.value.path == path


@pytest.mark.parametrize("start, stop", [(0, 1), (1, 3), (0, 3), (2, 2)])
@pytest.mark.parametrize("more", [{}, {"tags": {"a": 1}}, {"embedding": np.ones(3)}, {"chunks": [Document(id="c")]}])
def test_rows_between_two_places_are_packed_as_a_table_of_their_own(more, start, stop):
    table = columns_of([Document(id=str(row), text="x" * row, **(more if row != 1 else {})) for row in range(3)])
    assert [*map(bytes, packer_of_rows(table)(start, stop))] == [*map(bytes, pack(table.between(start, stop)))]


def test_of_rows_between_two_places_the_offence_is_named_by_its_own_row():
    table = columns_of([Document(id="a", text="a"), Document(id="b", text="b")])
    table.values["text"][1] = "\ud800"
    assert packer_of_rows(table)(0, 1)
    with pytest.raises(InvalidDocument) as refused:
        packer_of_rows(table)(1, 2)
    assert refused.value.field == "[0].text"
