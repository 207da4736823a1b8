"""The page of errors is made of the classes, complete, and as it stands in docs/."""

from __future__ import annotations

from pathlib import Path

import pytest

import zflow
from zflow.error_page import entry, kinds, named, page
from zflow.errors import ConfigError, ResourceExhausted, TopologyError, ZflowError

DOCS = Path(__file__).parents[1] / "docs" / "errors.md"


def test_the_page_in_docs_is_up_to_date() -> None:
    assert DOCS.read_text(encoding="utf-8") == page(), "run `make docs`"


def test_every_public_error_is_on_it() -> None:
    named_there = [getattr(zflow, name) for name in zflow.__all__]
    public = {item for item in named_there if isinstance(item, type) and issubclass(item, ZflowError)}
    assert public - {ZflowError, zflow.RemoteError} == set(kinds())


@pytest.mark.parametrize("kind", kinds())
def test_each_has_a_cause_and_a_remedy_of_its_own(kind: type[ZflowError]) -> None:
    assert "cause" in vars(kind) and "remedy" in vars(kind)
    assert kind.cause.endswith(".") and kind.remedy.endswith(".")
    others = [other for other in kinds() if other is not kind]
    assert kind.cause not in [other.cause for other in others]
    assert kind.remedy not in [other.remedy for other in others]


def test_an_entry_tells_what_a_reader_must_know() -> None:
    told = entry(ResourceExhausted)
    assert told.startswith("## ResourceExhausted\n\nA bounded queue is full. `retry_after` is in seconds.\n")
    assert told.endswith("also a RemoteError · retryable · code 7 on the wire · exit code 75\n")


def test_one_is_found_by_its_name_however_it_is_written() -> None:
    assert named("TopologyError") is named("topologyerror") is TopologyError
    with pytest.raises(ConfigError, match="no error is called 'Unavailble': did you mean 'Unavailable'?"):
        named("Unavailble")


def test_the_commands_that_remedies_name_are_there() -> None:
    import re

    from zflow.cli import main

    commands = {found for kind in kinds() for found in re.findall(r"`zflow (\w+)", kind.remedy)}
    assert commands and commands <= set(main.commands)
