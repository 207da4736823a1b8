"""Conditions travel encoded and unopened; what is none is refused, at home by name, from afar as an invalid request."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from zflow.documents.document import Document
from zflow.documents.limits import MAX_CONDITION, MAX_CONDITIONS
from zflow.errors import ConfigError, InvalidRequest
from zflow.wire.conditions import check_entries, decode_condition, encode_condition, shifted

A = Document(text="hello", tags={"kind": "a", "size": 3, "more": [1, 2]}, weight=0.5)


@pytest.mark.parametrize(
    ("query", "holds"),
    [
        ({"tags__kind": {"$eq": "a"}}, True),
        ({"tags__kind": "b"}, False),
        ({"tags__kind": {"$neq": "a"}}, False),
        ({"weight": {"$gt": 0.5}}, False),
        ({"weight": {"$gte": 0.5, "$lt": 1, "$lte": 0.5}}, True),
        ({"tags__size": {"$in": (1, 2, 3)}}, True),
        ({"tags__size": {"$nin": [3]}}, False),
        ({"text": {"$regex": "^he"}}, True),
        ({"tags__more": {"$size": 2}}, True),
        ({"uri": {"$exists": True}}, False),
        ({"$and": [{"text": "hello"}, {"$or": [{"weight": 7}, {"tags__more__1": 2}]}]}, True),
        ({"$not": {"text": "hello"}}, False),
    ],
)
def test_a_condition_means_the_same_where_it_arrives(query: dict[str, Any], holds: bool) -> None:
    assert decode_condition(encode_condition(query))(A) is holds


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ({"tags__kind": {"$eqq": "a"}}, r"query\['tags__kind'\]: unknown operator '\$eqq'; did you mean '\$eq'\?"),
        ({"$nor": []}, r"unknown operator '\$nor'; did you mean '\$or'"),
        ({"txt": 1}, "no field 'txt'; did you mean 'text'"),
        ({"text": {"$regex": "("}}, "no regular expression"),
        ({"text": {"$in": {"a", "b"}}}, r"query\['text'\]\['\$in'\].*sorted"),
        ({"text": {"$in": ["x" * 100] * 200}}, f"bytes, of at most {MAX_CONDITION}"),
    ],
)
def test_a_wrong_condition_is_refused_where_it_is_made(query: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        encode_condition(query)


@pytest.mark.parametrize(
    "encoded",
    [b"", b"\xc1", b"\x90", msgpack.packb({"text": {"$eqq": 1}}), msgpack.packb({"text": msgpack.Timestamp(1)})],
)
def test_what_is_no_condition_is_an_invalid_request(encoded: bytes) -> None:
    with pytest.raises(InvalidRequest, match="!when"):
        decode_condition(encoded)


def test_entries_name_parts_that_there_are_and_fit_the_header() -> None:
    check_entries([[b"x", None], [b"y", [0, 1]], [b"z", []]], 2)
    check_entries([[bytes(MAX_CONDITION), None]] * 2, 1)
    for wrong in (None, [], [b"x"], [[b"x", [2]]], [[b"x", ["0"]]], [["x", None]], [[bytes(MAX_CONDITION + 1), None]]):
        with pytest.raises(InvalidRequest, match="is not a list of conditions"):
            check_entries(wrong, 2)
    with pytest.raises(InvalidRequest, match=f"room for {MAX_CONDITIONS}"):
        check_entries([[bytes(MAX_CONDITION), None]] * 3, 1)


def test_behind_other_parts_entries_are_about_the_same_ones() -> None:
    assert shifted([[b"x", None], [b"y", [1]]], 3, 2) == [[b"x", [3, 4]], [b"y", [4]]]
