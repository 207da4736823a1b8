"""Addresses of values in messages."""

import pytest

from zflow.config.places import Place, shown
from zflow.errors import ConfigError, TopologyError


@pytest.mark.parametrize(
    ("place", "address"),
    [
        (Place(), ""),
        (Place("flow.yml"), "flow.yml"),
        (Place(path=("replicas",)), "replicas"),
        (Place("flow.yml", ("executors", 1, "replicas")), "flow.yml executors[1].replicas"),
        (Place("flow.yml", ("executors", 1), {("executors", 1): 12}), "flow.yml:12 executors[1]"),
        (Place("x", ("requests", "/index")), "x requests['/index']"),
        (Place("", ("a b", 3, "c-d")), "['a b'][3].c-d"),
    ],
)
def test_an_address_reads_from_source_to_value(place: Place, address: str) -> None:
    assert str(place) == address


def test_a_value_without_a_line_has_that_of_what_holds_it() -> None:
    place = Place("flow.yml", (), {(): 1, ("executors",): 4})
    assert str(place.down("executors", 0, "name")) == "flow.yml:4 executors[0].name"
    assert str(place.down("with")) == "flow.yml:1 with"


def test_a_fault_begins_with_its_address() -> None:
    fault = Place("flow.yml", ("with",), {("with",): 2}).fault("no good", TopologyError)
    assert isinstance(fault, TopologyError) and str(fault) == "flow.yml:2 with: no good"
    assert str(Place().fault("no good")) == "no good"
    assert type(Place().fault("")) is ConfigError


@pytest.mark.parametrize(
    ("value", "text"),
    [("two", '"two"'), (None, "nothing"), (True, "True"), (1.5, "1.5"), (int, "the class int"), ([1], "[1]")],
)
def test_values_are_shown_as_they_were_written(value: object, text: str) -> None:
    assert shown(value) == text


def test_long_values_are_cut() -> None:
    assert len(shown("x" * 10_000)) < 100
    assert len(shown(list(range(10_000)))) < 100
