"""Plain values: what becomes what, what is refused, and what to write instead."""

import datetime
import decimal
import enum
import uuid
from collections import OrderedDict, defaultdict

import numpy as np
import pytest

from zflow.documents import Document
from zflow.documents.limits import MAX_DEPTH, MAX_INLINE, MAX_STRING
from zflow.documents.plain_values import (
    Untravelable,
    are_flat,
    check_scalars,
    count_items,
    foreign_fault,
    plain,
)


class Colour(enum.IntEnum):
    RED = 1


class Kind(str, enum.Enum):
    PHOTO = "photo"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"a": 1, "b": None, "c": True, "d": "x", "e": 1.5}, {"a": 1, "b": None, "c": True, "d": "x", "e": 1.5}),
        ((1, (2, "x")), [1, [2, "x"]]),
        ([{"a": [1]}], [{"a": [1]}]),
        (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (defaultdict(list, a=[1]), {"a": [1]}),
        (b"bytes", b"bytes"),
        (bytearray(b"bytes"), b"bytes"),
        ([np.int64(1), np.float32(0.5), np.bool_(True), np.float64(2), np.str_("s")], [1, 0.5, True, 2.0, "s"]),
        (np.array(3), 3),
        ([Colour.RED, Kind.PHOTO], [1, "photo"]),
    ],
    ids=repr,
)
def test_becomes(given, expected):
    made = plain(given, "tags")
    assert made == expected

    def kinds(value):
        inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
        return {type(value)}.union(*map(kinds, inside))

    assert kinds(made) <= {dict, list, str, int, float, bool, bytes, type(None)}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({1, 2}, "sorted"),
        (datetime.datetime(2020, 1, 1), "isoformat"),
        (datetime.timedelta(1), "total_seconds"),
        (np.ones(2), "tolist"),
        (decimal.Decimal(1), "float"),
        (uuid.UUID(int=1), "str"),
        (Document(), "as the docs"),
        (object(), "use None, bool"),
        (1j, ": complex cannot travel"),
        (np.complex64(1), "cannot travel"),
        (memoryview(b"x"), "cannot travel"),
        (bytes(MAX_INLINE + 1), "blob"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_is_refused_with_its_path_and_what_to_write(given, told):
    with pytest.raises(Untravelable, match=told) as refused:
        plain({"x": [0, {"y": given}]}, "parameters")
    assert refused.value.path == "parameters['x'][1]['y']"
    assert str(refused.value).startswith("parameters['x'][1]['y']: ")


@pytest.mark.parametrize("key", [1, None, b"x", ("a",)])
def test_keys_are_str(key):
    with pytest.raises(Untravelable, match="the key is"):
        plain({"a": {key: 1}}, "tags")


@pytest.mark.parametrize("key", ["x" * 257, "ä" * 129])
def test_keys_are_short(key):
    with pytest.raises(Untravelable, match="256 bytes"):
        plain({key: 1}, "tags")
    assert foreign_fault({key: 1}) == "a key has more than 256 bytes"
    assert not are_flat([{key: 1}])
    assert plain({key[:128]: 1}, "tags") and foreign_fault({key[:128]: 1}) is None


def nested(depth):
    made = []
    for at in range(depth - 1):
        made = {"x": made} if at % 2 else [made]
    return made


def test_depth_is_bounded_on_both_sides():
    assert plain(nested(MAX_DEPTH), "tags") == nested(MAX_DEPTH) and foreign_fault(nested(MAX_DEPTH)) is None
    with pytest.raises(Untravelable, match="16 containers"):
        plain(nested(MAX_DEPTH + 1), "tags")
    assert "16 containers" in foreign_fault(nested(MAX_DEPTH + 1))


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"a": [1, 2**64]}, "t['a'][1]"),
        ({"a": -(2**63) - 1}, "t['a']"),
        ({"a": {"b": "\ud800"}}, "t['a']['b']"),
        ({"\ud800": 1}, "t (a key)"),
        (["x" * (MAX_STRING + 1)], "t[0]"),
    ],
    ids=["int", "negative", "surrogate", "key", "long"],
)
def test_what_only_msgpack_refuses_is_found(value, path):
    with pytest.raises(Untravelable) as refused:
        check_scalars(value, "t")
    assert refused.value.path == path


def test_what_msgpack_takes_passes():
    check_scalars({"a": [2**64 - 1, -(2**63), None, 1.5, b"x", "ü"]}, "t")


@pytest.mark.parametrize(
    ("maps", "flat"),
    [
        ([], True),
        ([{}], True),
        ([{"a": 1, "b": None}, {"c": "x"}], True),
        ([{"a": []}], False),
        ([{"a": b"x"}], False),
        ([{1: 2}], False),
        ([OrderedDict()], False),
        ([{"a": np.float64(1)}], False),
    ],
    ids=repr,
)
def test_flat_maps_are_known(maps, flat):
    assert are_flat(maps) is flat


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ({"a": [1, {"b": b"x"}]}, None),
        ({b"a": 1}, "a key is bytes, not str"),
        ({"a": [{1: 2}]}, "a key is int, not str"),
        ({"a": [object()]}, "a object (an extension type of msgpack)"),
    ],
    ids=["bytes inside", "bytes as key", "number as key", "object"],
)
def test_faults_of_foreign_values_are_told(value, fault):
    assert foreign_fault(value) == fault


def test_items_are_counted_as_the_decoder_does():
    assert count_items({"a": [1, {"b": 2, "c": []}], "d": "x"}) == 4 + 2 + 4
