"""The builder gives the same with either of PyYAML's parsers: the C one is not built everywhere."""

import pytest
import yaml

from zflow.config import yaml_values
from zflow.config.plain_yaml import parse
from zflow.errors import ConfigError

TEXTS = [
    "a: 1\nb: [x, {c: 2.5}]\nd: |\n  text\n",
    "!My\nwith: {on: no}",
    "a: &x 1",
    "a: *x",
    "a: !Tag {}",
    "a: !!python/name:os.system x",
    "a: {<<: {b: 1}}",
    "a: 1\na: 2",
    "[" * 100,
    "a: 'x",
    "a: b: c",
    "x: 1\na: \x01",
    "a: \ud800",
    "%TAG ! !\n---\n!a!b 1",
    "? [a]\n: 1",
]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.skipif(not hasattr(yaml, "CSafeLoader"), reason="PyYAML was built without libyaml")
def test_both_parsers_agree_on_values_and_on_what_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes = []
    for loader in (yaml.SafeLoader, yaml.CSafeLoader):
        monkeypatch.setattr(yaml_values, "_LOADER", loader)
        try:
            parsed = parse(text)
            outcomes.append((parsed.value, dict(parsed.place.lines)))
        except ConfigError as error:
            outcomes.append((str(error).partition(": not valid")[0].partition(" (U+")[0], {}))
    assert outcomes[0] == outcomes[1]
