"""Columns: rows to a table and back, without copies where there is no need."""

import numpy as np
import pytest

from zflow.documents import Document
from zflow.documents.columns import Columns, appended, columns_of, of_child, rows_of
from zflow.errors import InvalidDocument


def test_a_field_that_nobody_sets_has_no_column():
    documents = [Document(text="a"), Document(text="b")]
    documents[0].tags, documents[0].chunks, documents[0].blob  # reading makes containers, and they are empty
    table = columns_of(documents)
    assert table.values == {"text": ["a", "b"]} and not table.arrays and not table.nested
    assert columns_of([Document()]).values == {}


def test_missing_values_are_none():
    table = columns_of([Document(tags={"x": 1}), Document(weight=0, tags={}), Document(text="t")])
    assert table.values == {"text": [None, None, "t"], "weight": [None, 0, None], "tags": [{"x": 1}, None, None]}


def test_columns_come_in_a_fixed_order():
    fields = {"matches": [Document()], "tags": {"x": 1}, "uri": "u", "blob": b"b", "text": "t"}
    one, other = Document(**fields), Document(**dict(reversed(fields.items())))
    assert list(columns_of([one]).values) == list(columns_of([other]).values) == ["text", "blob", "uri", "tags"]


def test_arrays_of_one_shape_are_one_matrix():
    (group,) = columns_of([Document(tensor=np.full(3, at, "f4")) for at in range(4)]).arrays["tensor"]
    assert group.rows is None and group.code == "f4" and group.matrix().tolist() == [[at] * 3 for at in range(4)]


def test_arrays_of_several_shapes_are_groups():
    arrays = [np.zeros(2), None, np.ones((2, 2)), np.ones(2), np.ones(2, "f4")]
    groups = columns_of([Document(tensor=array) for array in arrays]).arrays["tensor"]
    assert [(group.rows, group.code, list(group.shape)) for group in groups] == [
        ([0, 3], "f8", [2]),
        ([2], "f8", [2, 2]),
        ([4], "f4", [2]),
    ]


def test_an_array_of_one_document_goes_by_reference():
    array = np.zeros((100, 100))
    (group,) = columns_of([Document(tensor=array)]).arrays["tensor"]
    assert np.shares_memory(group.matrix(), array)


def test_rows_and_their_matrix_keep_together_until_one_is_changed():
    table = columns_of([Document(embedding=np.full(3, at)) for at in range(4)])
    rows, stacked = rows_of(table)
    matrix = table.arrays["embedding"][0].matrix()
    assert all(np.shares_memory(row.embedding, matrix) for row in rows)
    assert columns_of(rows, stacked).arrays["embedding"][0].matrix() is matrix
    for changed in (rows[1:], rows[::-1], [*rows, rows[0]], [*rows[:3], Document(embedding=np.full(3, 3))]):
        assert not np.shares_memory(columns_of(changed, stacked).arrays["embedding"][0].matrix(), matrix)


def test_children_are_one_table():
    documents = [
        Document(chunks=[Document(text="a"), Document(text="b")]),
        Document(),
        Document(chunks=[Document(text="c")]),
    ]
    counts, inner = columns_of(documents).nested["chunks"]
    assert counts == [2, 0, 1] and inner.values["text"] == ["a", "b", "c"]
    rows, _ = rows_of(columns_of(documents))
    assert rows == documents


def test_nesting_is_bounded():
    deep = Document()
    for _ in range(4):
        deep = Document(chunks=[deep])
    assert columns_of([deep]).nested
    with pytest.raises(InvalidDocument, match="more than 4 deep") as refused:
        columns_of([Document(matches=[deep])])
    assert refused.value.field == "[0].matches[0].chunks[0].chunks[0].chunks[0].chunks"


def test_a_document_among_its_own_chunks_is_refused():
    document = Document()
    document.chunks.extend([document] * 3)
    with pytest.raises(InvalidDocument, match="its own chunk"):
        columns_of([document])


def test_a_fault_within_a_chunk_is_named_by_its_place():
    bad = Document()
    bad._rest = {"tensor": memoryview(b"abc").cast("c")}  # bytes of S1, which no array may have
    documents = [Document(chunks=["a", "b"]), Document(), Document(chunks=["c", Document(matches=[Document(), bad])])]
    with pytest.raises(InvalidDocument) as refused:
        columns_of(documents)
    assert refused.value.field == "[2].chunks[1].matches[1].tensor"
    assert str(refused.value).startswith("[2].chunks[1].matches[1].tensor: ")


def test_a_fault_without_a_row_keeps_its_words():
    told = of_child("chunks", [1], InvalidDocument("too many"))
    assert str(told) == "too many"


class TestTake:
    def test_takes_rows_in_order(self):
        documents = [
            Document(
                text=str(at),
                embedding=np.full(2, at),
                tensor=np.ones(at) if at % 2 else None,
                chunks=[Document(text=f"{at}.{child}", embedding=[1.0]) for child in range(at % 3)],
            )
            for at in range(6)
        ]
        rows, _ = rows_of(columns_of(documents).take([5, 0, 2]))
        assert rows == [documents[5], documents[0], documents[2]]

    def test_may_take_none(self):
        taken = columns_of([Document(text="a", embedding=[1], tensor=[1], chunks=["c"])]).take([])
        assert taken.count == 0 and rows_of(taken)[0] == []


def test_an_empty_table_has_no_rows():
    assert rows_of(Columns([])) == ([], {})


def test_big_endian_rows_are_turned_round_alike():
    (group,) = columns_of([Document(tensor=np.array([1, 2], ">i4")) for _ in range(2)]).arrays["tensor"]
    assert group.code == "i4" and group.matrix().tolist() == [[1, 2], [1, 2]]


def test_rows_between_two_places_share_the_memory_of_arrays():
    table = columns_of([Document(id=str(number), embedding=np.full(2, number, "f4")) for number in range(5)])
    part = table.between(1, 4)
    assert part.ids == ["1", "2", "3"]
    [group] = part.arrays["embedding"]
    assert (group.rows, group.count) == (None, 3)
    assert np.shares_memory(group.matrix(), table.arrays["embedding"][0].matrix())


def test_rows_of_groups_are_counted_from_the_first_that_is_taken():
    vectors = [[1.0], [1.0, 2.0], None, [3.0], [4.0, 5.0]]
    table = columns_of([Document(embedding=vector) for vector in vectors])
    part = table.between(1, 4)
    assert [(list(group.rows), group.matrix().tolist()) for group in part.arrays["embedding"]] == [
        ([2], [[3.0]]),
        ([0], [[1.0, 2.0]]),
    ]
    assert table.between(2, 3).arrays == {"embedding": []}


def test_tables_are_appended_with_missing_values_where_one_lacks_a_field():
    first = columns_of([Document(id="a", text="A"), Document(id="b", chunks=[Document(id="c")])])
    second = columns_of([Document(id="d", uri="u", embedding=[1.0])])
    whole = appended([first, Columns([]), second])
    assert whole.ids == ["a", "b", "d"]
    assert whole.values == {"text": ["A", None, None], "uri": [None, None, "u"]}
    counts, chunks = whole.nested["chunks"]
    assert (counts, chunks.ids) == ([0, 1, 0], ["c"])
    assert [None if array is None else array.tolist() for array in whole.array_column("embedding")] == [None, None, [1]]
