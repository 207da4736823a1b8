"""Arrays: what is accepted, as what it travels, and that it goes by reference."""

import array as stdlib_array

import numpy as np
import pytest

from zflow.documents.arrays import (
    ITEM_SIZES,
    accept_array,
    as_array,
    as_matrix,
    bytes_of,
    code_of,
    matrix_of,
    rows_of_matrix,
    same_array,
    stack,
    stack_present,
)
from zflow.errors import InvalidDocument

NATIVE = [code for code in ITEM_SIZES if code != "bf16"]


def dtype_of(code):
    return np.dtype("?" if code == "bool" else f"<{code}")


@pytest.mark.parametrize("code", NATIVE)
def test_every_dtype_of_the_table_comes_back_from_its_bytes(code):
    given = (np.arange(6) % 2).reshape(2, 3).astype(dtype_of(code))
    assert code_of(given) == code and given.itemsize == ITEM_SIZES[code]
    made = matrix_of(bytes(bytes_of(given)), code, (2, 3))
    assert made.dtype == given.dtype and np.array_equal(made, given)


def test_bfloat16_is_known_by_its_name_and_comes_as_bits_without_ml_dtypes():
    made = matrix_of(b"\x80\x3f\x00\x40", "bf16", (2,))
    assert made.dtype == np.uint16 and made.tolist() == [0x3F80, 0x4000]


def test_the_bytes_are_those_of_the_array_itself():
    given = np.zeros((100, 100), "f4")
    view = bytes_of(given)
    given[0, 0] = 1
    assert bytes(view[:4]) == np.float32(1).tobytes() and len(view) == 40_000


@pytest.mark.parametrize(
    "given",
    [np.arange(6).reshape(2, 3).T, np.arange(12)[::2], np.asfortranarray(np.arange(6).reshape(2, 3))],
    ids=["transposed", "strided", "fortran"],
)
def test_what_does_not_lie_in_order_is_copied_into_order(given):
    assert bytes(bytes_of(given)) == given.tobytes(order="C")


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (2, 0, 4)])
def test_odd_shapes_have_their_bytes(shape):
    given = np.zeros(shape, "f8")
    view = bytes_of(given)
    assert len(view) == given.nbytes
    assert matrix_of(view, "f8", shape).shape == shape


def test_big_endian_arrays_are_turned_round():
    made = as_array("tensor", np.array([1, 2], ">i4"))
    assert code_of(made) == "i4" and made.tolist() == [1, 2]


@pytest.mark.parametrize(
    "dtype", ["O", "U3", "S3", "M8[s]", "m8[s]", "V2", "f4,f8", np.longdouble, np.clongdouble], ids=str
)
def test_other_dtypes_are_refused(dtype):
    with pytest.raises(InvalidDocument, match="cannot travel"):
        as_array("tensor", np.zeros(2, dtype))


def test_bools_that_are_neither_become_true():
    made = matrix_of(bytearray(b"\x00\x01\x07"), "bool", (3,))
    assert made.view("u1").tolist() == [0, 1, 1]


def test_views_are_writable_when_their_buffer_is():
    buffer = bytearray(8)
    matrix_of(memoryview(buffer), "f4", (2,))[0] = 1
    assert buffer[:4] == np.float32(1).tobytes()
    with pytest.raises(ValueError, match="read-only"):
        matrix_of(bytes(8), "f4", (2,))[0] = 1


class FromOtherLibrary:
    """Speaks only DLPack, as some libraries do."""

    def __init__(self, array):
        self._array = array

    def __dlpack__(self, **asked):
        return self._array.__dlpack__(**asked)

    def __dlpack_device__(self):
        return self._array.__dlpack_device__()


class OnAnotherDevice:
    """Has the interface, and refuses when it is used."""

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("can't convert cuda tensor")


@pytest.mark.parametrize(
    "value",
    [FromOtherLibrary(np.arange(3)), stdlib_array.array("l", [0, 1, 2]), memoryview(np.arange(3)), np.arange(3)],
    ids=["dlpack", "array.array", "memoryview", "ndarray"],
)
def test_arrays_of_others_are_kept_as_they_are_and_become_ndarrays_to_travel(value):
    assert accept_array("tensor", value) is value
    assert as_array("tensor", value).tolist() == [0, 1, 2]


def test_one_that_does_not_become_an_ndarray_says_why():
    value = OnAnotherDevice()
    assert accept_array("tensor", value) is value
    with pytest.raises(InvalidDocument, match="cuda") as refused:
        as_array("[2].tensor", value)
    assert refused.value.field == "[2].tensor"


def test_stacking_one_row_copies_nothing():
    row = np.ones((2, 3))
    assert np.shares_memory(stack([row]), row) and stack([row]).shape == (1, 2, 3)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0, 3)])
def test_rows_of_a_shape_become_a_matrix_and_rows_again(shape):
    rows = [np.full(shape, at, "f4") for at in range(4)]
    matrix = stack(rows)
    assert matrix.shape == (4, *shape) and matrix.dtype == np.float32
    views = rows_of_matrix(matrix)
    assert all(np.array_equal(view, row) and isinstance(view, np.ndarray) for view, row in zip(views, rows))
    assert all(np.shares_memory(view, matrix) for view in views if view.size)


def test_stack_present_gives_a_matrix_a_list_or_none():
    one, two = np.ones(2), np.ones(3)
    assert stack_present([None, None]) is None and stack_present([]) is None
    assert stack_present([one, None])[1] is None
    assert isinstance(stack_present([one, two]), list)
    assert stack_present([one, np.ones(2, "f4")]).dtype == np.float64


def test_a_matrix_needs_a_row_per_document():
    assert as_matrix("embedding", np.ones((2, 3)), 2).shape == (2, 3)
    assert as_matrix("embedding", [[1], [2]], 2) is None
    for wrong in (np.ones((3, 2)), [1], np.float64(1)):
        with pytest.raises(InvalidDocument, match="2 documents"):
            as_matrix("embedding", wrong, 2)


def test_equal_arrays_have_equal_nans():
    assert same_array(np.array([np.nan, 1]), [np.nan, 1])
    assert not same_array([1, 2], [1, 3]) and not same_array([1], [[1]])
    assert same_array(np.array([True]), [1])
