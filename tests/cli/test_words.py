"""Words of the command line as values."""

import click
import pytest

from zflow.cli.words import mapping


def test_a_pair_or_json() -> None:
    assert mapping("top_k=3") == {"top_k": 3}
    assert mapping('{"a": [1]}') == {"a": [1]}
    with pytest.raises(click.BadParameter, match="expected KEY=VALUE or a JSON object, got '3'"):
        mapping("3")
