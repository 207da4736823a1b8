"""Where an Executor is: what fits one that runs already, and what does not."""

from typing import Any

import pytest

from zflow.config.spec import ExecutorSpec
from zflow.errors import ConfigError
from zflow.executor import Executor


class Encoder(Executor): ...


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"host": ["a", "b"]}, "host: several hosts, or a host with a port, are for external=True"),
        ({"host": "a:1"}, "are for external=True"),
        ({"external": True, "port_in": 1, "shards": 2}, "shards of an external Executor are its own head's affair"),
        ({"external": True, "port_in": 1, "polling": "ALL"}, "remove polling, and give it where the Executor is"),
        ({"external": True}, "port_in: an external Executor is found by host and port_in"),
        ({"external": True, "host": ["a:1", "b"]}, "is found by host and port_in"),
        ({"external": True, "port_in": 0}, "is found by host and port_in"),
        ({"external": True, "port_in": 1, "host": "a:1"}, "host names a port as well"),
        ({"external": True, "port_in": 1, "uses": Encoder}, "uses: an external Executor runs already"),
        ({"external": True, "port_in": 1, "replicas": 2}, "remove replicas and list its addresses in host"),
        ({"server_key": "a" * 40}, "server_key: it is for external=True"),
        ({"external": True, "host": ["a:1", "b:2"], "server_key": ["a" * 40]}, "1 keys for 2 hosts"),
    ],
)
def test_what_does_not_fit_its_place_is_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ExecutorSpec.from_options(**options)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("options", "addresses"),
    [
        ({"external": True, "port_in": 12345}, ("127.0.0.1:12345",)),
        ({"external": True, "host": "localhost", "port_in": 12345}, ("localhost:12345",)),
        ({"external": True, "host": "h:5"}, ("h:5",)),
        ({"external": True, "host": ["a:1", "b:2"]}, ("a:1", "b:2")),
        ({"external": True, "host": ["a", "b"], "port_in": 3}, ("a:3", "b:3")),
        ({"external": True, "host": "::1", "port_in": 3}, ("[::1]:3",)),
        ({"port_in": 3}, ()),
    ],
)
def test_the_addresses_of_an_external_executor(options: dict[str, Any], addresses: tuple[str, ...]) -> None:
    assert ExecutorSpec.from_options(**options).addresses == addresses


@pytest.mark.parametrize("key", [False, 0, {}])
def test_a_key_of_an_external_executor_is_text(key: object) -> None:
    with pytest.raises(ConfigError, match="server_key: a public key is text"):
        ExecutorSpec.from_options(external=True, port_in=1, server_key=key)
