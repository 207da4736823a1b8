"""Every fault instead of the first: a check is given one value at a time."""

from __future__ import annotations

from typing import Any

from zflow.config.faults import faults_of
from zflow.config.places import Place
from zflow.errors import ConfigError


def check(given: Any) -> None:
    """Refuses negative numbers wherever they stand, and more than three values."""
    for key, value in given.items():
        if isinstance(value, dict):
            check(value)
        elif value < 0:
            raise Place("file", (key,)).fault(f"{value} is negative")
    if len(given) > 3:
        raise ConfigError("too many")


def told(given: Any, place: Place | None = None) -> list[str]:
    return [str(fault) for fault in faults_of(check, given, place)]


def test_what_is_right_has_no_faults() -> None:
    assert told({"a": 1, "b": {"c": 2}}) == [] == told({})


def test_each_value_is_tried_by_itself() -> None:
    assert told({"a": -1, "b": 2, "c": -3}) == ["file a: -1 is negative", "file c: -3 is negative"]


def test_so_is_each_value_of_a_map_inside() -> None:
    assert told({"a": {"x": -1, "y": {"p": 1, "q": -2}}, "b": -3}) == [
        "file x: -1 is negative",
        "file q: -2 is negative",
        "file b: -3 is negative",
    ]


def test_where_all_are_right_by_themselves_the_whole_is_told() -> None:
    assert told(dict.fromkeys("abcd", 1)) == ["too many"]


def test_a_fault_without_a_place_gets_one() -> None:
    assert told(dict.fromkeys("abcd", 1), Place("flow.yml", ("with",))) == ["flow.yml with: too many"]
    assert told({"a": -1}, Place("flow.yml")) == ["file a: -1 is negative"]
