"""Where processes bind: nobody is let in who was not spoken of."""

from __future__ import annotations

import pytest

from zflow.config.binding import bind_of, check_way, host_of, tcp_address
from zflow.config.spec import ExecutorSpec, FlowSpec
from zflow.errors import ConfigError


def test_an_address_beyond_loopback_needs_a_word() -> None:
    assert tcp_address("localhost", 5, "x", is_safe=False) == "tcp://127.0.0.1:5"
    assert tcp_address("::1", 5, "x", is_safe=False) == "tcp://[::1]:5"
    assert tcp_address("0.0.0.0", 5, "x", is_safe=True) == "tcp://0.0.0.0:5"
    with pytest.raises(ConfigError, match="x: binding 0.0.0.0 would let everybody"):
        tcp_address("0.0.0.0", 5, "x", is_safe=False)


def test_a_way_to_another_host_needs_a_key_or_a_word() -> None:
    check_way("x", "127.0.0.1:5", "", False)
    check_way("x", "192.0.2.1:5", "key", False)
    check_way("x", "192.0.2.1:5", "", True)
    with pytest.raises(ConfigError, match="x: 192.0.2.1:5 is not on this host"):
        check_way("x", "192.0.2.1:5", "", False)


def test_without_a_port_the_path_is_private() -> None:
    assert bind_of(ExecutorSpec.from_options(name="x"), FlowSpec()) is None
    assert bind_of(ExecutorSpec.from_options(name="x", port_in=5), FlowSpec()) == "tcp://127.0.0.1:5"
    assert host_of(ExecutorSpec.from_options(name="x", host=["a:1", "b:2"], external=True)) == "a:1"
    with pytest.raises(ConfigError, match="without port_in says nothing"):
        bind_of(ExecutorSpec.from_options(name="x", host="10.0.0.1"), FlowSpec())


def test_no_port_leads_into_a_container() -> None:
    spec = ExecutorSpec.from_options(name="x", uses="docker://x:1", port_in=5)
    with pytest.raises(ConfigError, match=r"x: port_in: no port leads into its container; .*zflow executor"):
        bind_of(spec, FlowSpec())
