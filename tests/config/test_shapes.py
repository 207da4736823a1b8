"""Shapes of values: what JSON Schema, read by a validator, takes and refuses."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from zflow.config import shapes


def takes(shape: shapes.Shape, value: Any) -> bool:
    return bool(jsonschema.Draft7Validator(shape).is_valid(value))


@pytest.mark.parametrize(
    ("shape", "good", "bad"),
    [
        (shapes.TEXT, ["", "a b"], ["a\0b", 1, None]),
        (shapes.NODE, ["encoder", "_a1"], ["1a", "a/b", "a" * 65, ""]),
        (shapes.HOST, ["localhost", "10.0.0.1", "[::1]:80", "::1"], ["a b", "", "a;rm"]),
        (shapes.ADDRESS, ["a:1", "10.0.0.1:65535", "[::1]:80"], ["a", "a:", "a b:1", "a:123456"]),
        (shapes.WAY, ["ANY", "all"], ["SOME", 1]),
        (shapes.REQUESTS, [{"/index": "index"}], [{"index": "index"}, {"/": "1a"}]),
        (shapes.ARGUMENTS, [{"model": [1, {"a": None}]}], [{"metas": {}}, {"1a": 1}]),
        (shapes.USES, ["my.yml", "Mine", {"jtype": "Mine"}], [" ", "executor.py"]),
    ],
)
def test_what_it_takes_and_what_not(shape: shapes.Shape, good: list[Any], bad: list[Any]) -> None:
    rooted = {**shape, "definitions": {shapes.EXECUTOR: {"type": "object"}}}
    assert [value for value in good if not takes(rooted, value)] == []
    assert [value for value in bad if takes(rooted, value)] == []


def test_one_or_many() -> None:
    shape = shapes.one_or_many({"type": "integer"}, 2)
    assert takes(shape, 1) and takes(shape, [1, 2])
    assert not takes(shape, [1]) and not takes(shape, "1")


def test_a_closed_map_has_no_other_keys() -> None:
    assert takes(shapes.closed(a=shapes.TEXT), {"a": "x"})
    assert not takes(shapes.closed(a=shapes.TEXT), {"b": "x"})
