"""The Flow that serves a port is found and told; every other end is an error that says what to do."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from zflow.errors import ConfigError, PortInUse, StartError, Unavailable
from zflow.processes import control_call, socket_directory
from zflow.processes.control_call import give_order
from zflow.processes.control_desk import ControlDesk
from zflow.processes.socket_directory import SocketDirectory

PORT = 54321
Progress = tuple[list[str], list[str]]


def scale(name: str, replicas: int, on_progress: Callable[..., None]) -> None:
    on_progress([name], ["other"])
    if replicas == 0:
        raise StartError("no such model", peer="a/rep-0", traceback="Traceback ...")
    if replicas == 7:
        raise PortInUse("port 7 is in use")


@pytest.fixture
def serve(ipc_directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., SocketDirectory]]:
    """Have a desk for a gateway bound to `address`."""
    monkeypatch.setattr(socket_directory, "_place_for_temporary_files", lambda: str(ipc_directory))
    ends: list[Callable[[], None]] = []

    def begin(address: str = f"tcp://127.0.0.1:{PORT}") -> SocketDirectory:
        directory = SocketDirectory(str(ipc_directory))
        desk = ControlDesk(directory.control_path(address), address, {"scale": scale})
        ends.extend((desk.close, directory.close))
        return directory

    yield begin
    for end in ends:
        end()


def order(host: str = "127.0.0.1", **arguments: Any) -> list[Progress]:
    told: list[Progress] = []
    give_order(host, PORT, "scale", lambda *seen: told.append(seen), **{"name": "a", "replicas": 2, **arguments})
    return told


def test_the_flow_at_that_port_carries_it_out_and_tells_how_far_it_is(serve):
    serve()
    assert order() == [(["a"], ["other"])]
    assert order("localhost") == [(["a"], ["other"])]


@pytest.mark.parametrize("bound", ["0.0.0.0", "*"])
def test_who_listens_everywhere_is_found_by_any_name_of_this_host(serve, bound):
    serve(f"tcp://{bound}:{PORT}")
    assert order() == [(["a"], ["other"])]


def test_of_two_flows_at_one_port_the_one_at_that_address_is_told(serve):
    serve(f"tcp://127.0.0.2:{PORT}")
    serve(f"tcp://127.0.0.1:{PORT}")
    assert order() == order("127.0.0.2") == [(["a"], ["other"])]
    with pytest.raises(Unavailable):
        order("127.0.0.3")


def test_what_kept_it_from_that_is_raised_as_it_was(serve):
    serve()
    with pytest.raises(StartError, match="no such model") as raised:
        order(replicas=0)
    assert (raised.value.peer, raised.value.traceback) == ("a/rep-0", "Traceback ...")
    with pytest.raises(PortInUse, match="port 7"):
        order(replicas=7)
    with pytest.raises(ConfigError, match="does not know 'nam'"):
        order(nam="b")


def test_where_nobody_serves_it_says_what_may_be_wrong(serve):
    with pytest.raises(Unavailable, match=f"no Flow that this user has started on this host serves 127.0.0.1:{PORT}"):
        order()


def test_what_a_killed_flow_has_left_is_passed_by(serve, ipc_directory):
    directory = SocketDirectory(str(ipc_directory))
    left = socket.socket(socket.AF_UNIX)
    left.bind(directory.control_path(f"tcp://127.0.0.1:{PORT}"))
    left.close()
    serve()
    assert order() == [(["a"], ["other"])]
    directory.close()


def test_another_host_is_refused_with_the_reason(serve):
    with pytest.raises(ConfigError, match="192.0.2.1 is another host: .* run this command on the host where"):
        order("192.0.2.1")


def test_a_name_that_nobody_knows_is_refused():
    with pytest.raises(ConfigError, match="no.such.host.invalid is no host that is known here"):
        order("no.such.host.invalid")


def test_a_flow_that_is_frozen_is_not_waited_for_for_ever(serve, ipc_directory, monkeypatch):
    monkeypatch.setattr(control_call, "SILENCE", 0.05)
    directory = SocketDirectory(str(ipc_directory))
    with socket.socket(socket.AF_UNIX) as frozen:
        frozen.bind(directory.control_path(f"tcp://127.0.0.1:{PORT}"))
        frozen.listen()
        with pytest.raises(Unavailable, match="has said nothing for"):
            order()
    directory.close()
