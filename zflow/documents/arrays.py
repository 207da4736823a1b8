"""The numpy side of documents: what may be a tensor, its code on the wire, its bytes, rows of one shape as a matrix.

numpy costs a process 100 ms and 15 MB, and a peer that only looks at texts needs none of it. So it is imported inside
the functions that cannot do without, and nothing here runs for documents without arrays.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from zflow.errors import InvalidDocument

if TYPE_CHECKING:
    import numpy as np

Buffer = bytes | memoryview

ITEM_SIZES = {
    **{"bool": 1, "i1": 1, "i2": 2, "i4": 4, "i8": 8, "u1": 1, "u2": 2, "u4": 4, "u8": 8},
    **{"f2": 2, "f4": 4, "f8": 8, "bf16": 2, "c8": 8, "c16": 16},
}
_CODE_OF = {"|b1": "bool", "|i1": "i1", "|u1": "u1"} | {
    f"<{code}": code for code in ("i2", "i4", "i8", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16")
}


def code_of(array: np.ndarray[Any, Any]) -> str | None:
    """The dtype code of a little-endian array, None where its dtype cannot travel as it stands."""
    code = _CODE_OF.get(array.dtype.str)
    if code is None and array.dtype.name == "bfloat16":
        return "bf16"
    return code


def is_ndarray(value: object) -> bool:
    """Whether `value` is a numpy array, asked without importing numpy."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.ndarray)


def accept_array(field: str, value: Any) -> Any:
    """What a Document keeps for an array given by a user; refuses what is none.

    Lists become ndarrays now. Arrays of other libraries stay what they are until they travel, when they become
    ndarrays (`as_array`): a tensor on a GPU is worth keeping there.
    """
    if isinstance(value, (list, tuple)) or is_ndarray(value):
        return as_array(field, value)
    if hasattr(value, "__array__") or hasattr(value, "__dlpack__") or _has_buffer(value):
        return value
    raise InvalidDocument(
        f"{field} holds an array or a list of numbers, not {type(value).__name__}"
        f"{' (use `blob` for bytes, `text` for str)' if isinstance(value, (str, bytes, bytearray)) else ''}",
        field=field,
    )


def as_array(field: str, value: Any) -> np.ndarray[Any, Any]:
    """`value` as an ndarray of a dtype that can travel, by reference where it is one. Raises InvalidDocument."""
    import numpy as np  # not paid by processes that hold no arrays

    array: np.ndarray[Any, Any] = value
    if type(value) is not np.ndarray:
        try:
            array = np.from_dlpack(value) if _only_dlpack(value) else np.asarray(value)
        except Exception as error:  # whatever the other library raises: device, gradient, ragged lists ...
            raise InvalidDocument(
                f"{field}: {type(value).__name__} does not become an ndarray ({error}); convert it first", field=field
            ) from error
    if code_of(array) is None:
        if array.dtype.byteorder == ">" and array.dtype.kind in "iufc":
            array = array.astype(array.dtype.newbyteorder("<"))
        if code_of(array) is None:
            raise InvalidDocument(
                f"{field}: an array of dtype {array.dtype} cannot travel; convert it to one of {', '.join(ITEM_SIZES)}",
                field=field,
            )
    return array


def as_matrix(field: str, values: Any, count: int) -> np.ndarray[Any, Any] | None:
    """`values` as one matrix with a row per document, None where they are a list of rows to be taken one by one.

    Raises InvalidDocument when there are more or fewer rows than `count` documents.
    """
    rows = values if isinstance(values, (list, tuple)) else as_array(field, values)
    given = len(rows) if isinstance(rows, (list, tuple)) or rows.ndim else 0
    if given != count:
        raise InvalidDocument(f"{field}: {given} rows for {count} documents", field=field)
    return None if isinstance(rows, (list, tuple)) else rows


def stack(rows: Sequence[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    """Rows of one shape as a matrix: a view for a single row, else one copy. dtypes are promoted where they differ."""
    import numpy as np  # not paid by processes that hold no arrays

    if len(rows) == 1:
        return rows[0][None]
    if rows[0].ndim == 0:
        return np.array(rows)
    return np.concatenate(rows).reshape(len(rows), *rows[0].shape)  # a third of the time of np.stack


def concatenated(matrices: Sequence[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    """Matrices of rows of one shape and dtype as one: the matrix itself where there is one, else one copy."""
    import numpy as np  # not paid by processes that hold no arrays

    return matrices[0] if len(matrices) == 1 else np.concatenate(matrices)


def stack_present(rows: Sequence[Any]) -> Any:
    """What `docs.tensors` gives: a matrix when all rows are there and agree in shape, None when none is there, else
    a list."""
    if all(row is None for row in rows):
        return None
    if any(row is None for row in rows):
        return list(rows)
    arrays = [as_array(f"[{at}]", row) for at, row in enumerate(rows)]
    return stack(arrays) if len({array.shape for array in arrays}) == 1 else list(rows)


def rows_of_matrix(matrix: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
    """A view per row, also where a row is a single number."""
    if matrix.ndim > 1:
        return list(matrix)
    return [matrix[at, ...] for at in range(len(matrix))]


def bytes_of(array: np.ndarray[Any, Any]) -> Buffer:
    """The array's elements in C order: by reference where they lie so, else copied."""
    if not array.flags.c_contiguous:
        array = array.copy(order="C")
    return array.reshape(-1).view("u1").data


def matrix_of(data: Buffer, code: str, shape: Sequence[int]) -> np.ndarray[Any, Any]:
    """`data` as an array of `shape`, checked before to fit: a view, but for bools that hold other bytes than 0 and 1.

    bf16 is numpy's only where ml_dtypes was imported; elsewhere its bits come as u2.
    """
    import numpy as np  # not paid by processes that hold no arrays

    if code == "bf16":
        types = sys.modules.get("ml_dtypes")
        dtype = np.dtype(types.bfloat16 if types is not None else "<u2")
    else:
        dtype = np.dtype("?" if code == "bool" else f"<{code}")
    array = np.frombuffer(data, dtype="u1")
    if code == "bool" and (array > 1).any():  # such bools compare in surprising ways; make them what they mean
        array = (array != 0).view("u1")
    return array.view(dtype).reshape(shape)


def same_array(one: Any, other: Any) -> bool:
    """Whether two arrays have one shape and equal values, NaN being equal to itself."""
    import numpy as np  # not paid by processes that hold no arrays

    left, right = as_array("tensor", one), as_array("tensor", other)
    floats = left.dtype.kind in "fc" and right.dtype.kind in "fc"
    return bool(np.array_equal(left, right, equal_nan=floats))


def _only_dlpack(value: object) -> bool:
    return hasattr(value, "__dlpack__") and not hasattr(value, "__array__")


def _has_buffer(value: object) -> bool:
    if isinstance(value, (str, bytes, bytearray)):
        return False
    try:
        return memoryview(value).nbytes >= 0  # type: ignore[arg-type]
    except TypeError:
        return False
