"""Kinds of values: their normal form, what a wrong one is told, and how the command line spells them."""

from typing import Any

import pytest

from zflow.config.kinds import (
    FLAG,
    HOST,
    HOSTS,
    MILLISECONDS,
    NAME,
    NEEDS,
    PEERS,
    PORT,
    TEXT,
    VARIABLES,
    Kind,
    Unfit,
    one_of,
    read_mapping,
    split_host,
    whole,
)
from zflow.config.places import Place
from zflow.errors import ConfigError, TopologyError

PLACE = Place("flow.yml", ("x",), {("x",): 3})


class Index:
    """What numpy's integers are to Python."""

    def __index__(self) -> int:
        return 7


@pytest.mark.parametrize(
    ("kind", "given", "normal"),
    [
        (TEXT, "no", "no"),
        (FLAG, False, False),
        (whole(1, 8), 8, 8),
        (whole(1, 8), Index(), 7),
        (one_of("warm", "spawn"), "warm", "warm"),
        (PORT, 0, 0),
        (PORT, 65535, 65535),
        (MILLISECONDS, -1, -1),
        (MILLISECONDS, 1, 1),
        (NAME, "executor_0", "executor_0"),
        (NEEDS, "a", ("a",)),
        (NEEDS, ["a", "gateway"], ("a", "gateway")),
        (VARIABLES, {"A": 1, "B": "x", "C_2": 0.5}, {"A": "1", "B": "x", "C_2": "0.5"}),
        (HOST, "0.0.0.0", "0.0.0.0"),
        (HOST, "my-host.example_net.org", "my-host.example_net.org"),
        (HOST, "::1", "::1"),
        (HOSTS, "localhost:12345", "localhost:12345"),
        (HOSTS, "[::1]:5", "[::1]:5"),
        (HOSTS, ["a:1", "b"], ("a:1", "b")),
        (HOSTS, ["a:1"], "a:1"),
    ],
)
def test_the_normal_form(kind: Kind, given: Any, normal: Any) -> None:
    found = kind.checked(given, PLACE)
    assert (found, type(found)) == (normal, type(normal))
    assert kind.checked(found, PLACE) == found


@pytest.mark.parametrize(
    ("kind", "given", "told"),
    [
        (TEXT, 3, "expected text, got 3"),
        (TEXT, "a\0b", "expected text"),
        (FLAG, "true", 'expected true or false, got "true"'),
        (FLAG, 1, "expected true or false, got 1"),
        (whole(1, 1024), "two", 'expected a whole number, got "two"'),
        (whole(1, 1024), "2", 'expected a whole number, got "2"'),
        (whole(1, 1024), 2.0, "expected a whole number, got 2.0"),
        (whole(1, 1024), True, "expected a whole number, got True"),
        (whole(1, 1024), 0, "expected a whole number from 1 to 1024, got 0"),
        (whole(1, 1024), -1, "expected a whole number from 1 to 1024, got -1"),
        (whole(1, 1024), 10**9, "expected a whole number from 1 to 1024, got 1000000000"),
        (PORT, 65536, "expected a whole number from 0 to 65535, got 65536"),
        (PORT, "12345; rm", 'expected a whole number, got "12345; rm"'),
        (MILLISECONDS, 0, "expected milliseconds above 0, or -1 for ever, got 0"),
        (MILLISECONDS, -2, "expected milliseconds above 0"),
        (one_of("warm", "spawn"), "fork", 'expected one of warm, spawn, got "fork"'),
        (one_of("warm", "spawn"), ["warm"], "expected one of"),
        (NEEDS, [], "expected the name of an Executor or a list of names"),
        (NEEDS, [1], "expected the name of an Executor"),
        (NEEDS, 3, "expected the name of an Executor"),
        (VARIABLES, ["A=1"], "expected a map with names for keys"),
        (VARIABLES, {1: "a"}, "expected a map with names for keys"),
        (VARIABLES, {"A B": "x"}, '"A B" cannot name a variable'),
        (VARIABLES, {"A": True}, "A: expected text or a number, got True"),
        (VARIABLES, {"A": "\0"}, "A: expected text or a number"),
        (HOST, "a:1", "expected a host without a port"),
        (HOST, "a b", "expected a host name or an IP address"),
        (HOST, "-x", "expected a host name or an IP address"),
        (HOST, "*", "expected a host name or an IP address"),
        (HOST, "", "expected a host name or an IP address"),
        (HOST, 3, "expected a host"),
        (HOSTS, "grpcs://h:443", "write host:port without the part up to '://'"),
        (HOSTS, "h:0", "with ':' and a port from 1 to 65535"),
        (HOSTS, "h:65536", "with ':' and a port from 1 to 65535"),
        (HOSTS, "h:x", "expected a host name"),
        (HOSTS, ["a", 3], "expected a host, host:port or a list"),
        (HOSTS, [], "expected a host, host:port or a list"),
    ],
)
def test_a_wrong_value_is_told_what_was_expected(kind: Kind, given: Any, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        kind.checked(given, PLACE)
    assert str(caught.value).startswith("flow.yml:3 x: ") and told in str(caught.value)


@pytest.mark.parametrize("name", ["../x", "a;b", "x" * 300, "a b", "1a", "", "gateway", "ü", None, 3])
def test_a_name_that_could_be_no_part_of_a_path_is_refused(name: Any) -> None:
    with pytest.raises(TopologyError, match="^flow.yml:3 x: "):
        NAME.checked(name, PLACE)


@pytest.mark.parametrize(
    ("kind", "word", "value"),
    [
        (PORT, "12345", 12345),
        (PORT, "two", "two"),
        (MILLISECONDS, "-1", -1),
        (FLAG, "True", True),
        (FLAG, "no", False),
        (FLAG, "maybe", "maybe"),
        (TEXT, "12", "12"),
        (VARIABLES, "A=1", {"A": 1}),
        (NEEDS, "a, b", ["a", "b"]),
        (NEEDS, "a", "a"),
        (HOSTS, "a:1,b:2", ["a:1", "b:2"]),
    ],
)
def test_the_command_line_spells_it(kind: Kind, word: str, value: Any) -> None:
    assert kind.read(word) == value


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("a=1", {"a": 1}),
        ("a=", {"a": None}),
        ("a=b=c", {"a": "b=c"}),
        ("a=no", {"a": "no"}),
        ('a=[1, "x"]', {"a": [1, "x"]}),
        ('a={"b": 2}', {"a": {"b": 2}}),
        ('a="12"', {"a": "12"}),
        ("a=[1", {"a": "[1"}),
        ('{"a": 1, "b": [true]}', {"a": 1, "b": [True]}),
        ("{", "{"),
        ("a", "a"),
        ("=b", "=b"),
    ],
)
def test_maps_are_key_value_or_json(word: str, value: Any) -> None:
    assert read_mapping(word) == value


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("localhost", ("localhost", None)),
        ("localhost:5", ("localhost", 5)),
        ("[::1]:5", ("::1", 5)),
        ("[::1]", ("::1", None)),
        ("::1", ("::1", None)),
        ("a:99999", ("a", 0)),
    ],
)
def test_a_host_and_its_port_are_told_apart(text: str, pair: tuple[str, int | None]) -> None:
    assert split_host(text) == pair


def test_peers_are_groups_and_addresses_with_ports() -> None:
    assert PEERS.check({"a": "x:1", "b/shard-0": ["y:2", "z:3"]}) == {"a": ["x:1"], "b/shard-0": ["y:2", "z:3"]}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"a/b": "x:1"}, "names no processes; write encoder, encoder/shard-0"),
        ({"a": "x"}, 'a: "x" has no port; write host:port'),
        ({"a": []}, "host"),
        (["a:1"], "a map with names for keys"),
    ],
)
def test_wrong_peers_are_refused(given: object, told: str) -> None:
    with pytest.raises((ConfigError, Unfit), match=told):
        PEERS.check(given)
