"""Which shards a request goes to: what can be said, what it means, and what a wrong word is told."""

from __future__ import annotations

from typing import Any

import pytest

from zflow.config.places import Place
from zflow.config.polling import POLLING, Polling, polling_table
from zflow.errors import ConfigError

HERE = Place().down("polling")


@pytest.mark.parametrize(
    ("polling", "table"),
    [
        (None, {"/search": "ALL", "/index": "ANY", "*": "ANY"}),
        ("ANY", {"*": "ANY"}),  # what was said counts for every endpoint, /search too
        ("ALL", {"*": "ALL"}),
        ({"/status": "ALL"}, {"/status": "ALL", "*": "ANY"}),
        ({"/index": "ANY", "*": "ALL"}, {"/index": "ANY", "*": "ALL"}),
    ],
)
def test_what_holds_for_each_endpoint_and_for_the_others(polling: Polling | None, table: dict[str, str]) -> None:
    assert polling_table(polling) == table


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        ("all", "ALL"),
        ("Any", "ANY"),
        ({"/search": "all", "*": "any"}, {"/search": "ALL", "*": "ANY"}),
    ],
)
def test_its_normal_form(given: Any, normal: Polling) -> None:
    assert POLLING.checked(given, HERE) == normal


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("SOME", r"polling.*SOME.*(ALL|ANY)"),
        ("ALLL", r"polling.*did you mean.*ALL|polling.*ALL"),
        ({}, "polling.*expected ANY, ALL, or a map"),
        (3, "polling.*expected ANY, ALL, or a map"),
        ({"/search": None}, "polling.*/search"),
        ({"/search": 7}, "polling.*/search"),
        ({"not an endpoint": "ALL"}, "polling.*not an endpoint"),
    ],
)
def test_a_wrong_word_is_told_which_and_what_is_known(given: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        POLLING.checked(given, HERE)


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ("ALL", "ALL"),
        ("/search=ALL,*=ANY", {"/search": "ALL", "*": "ANY"}),
        ("/search=ALL, /index = ANY", {"/search": "ALL", "/index": "ANY"}),
        ('{"/search": "ALL"}', {"/search": "ALL"}),
        ("{broken", "{broken"),  # refused by the check, in the user's own words
    ],
)
def test_as_the_command_line_spells_it(words: str, value: Any) -> None:
    assert POLLING.read(words) == value
