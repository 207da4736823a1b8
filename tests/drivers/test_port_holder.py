"""The holder of a port: named where the system tells, and an empty answer, never an error, where it does not."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from tests.support.peers import child
from zflow.drivers import port_holder
from zflow.drivers.port_holder import holder_of

LISTEN = """
import socket
with socket.create_server(("127.0.0.1", 0)) as server:
    print(server.getsockname()[1], flush=True)
    input()
"""


def test_a_port_of_this_process_is_its_own():
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert holder_of(server.getsockname()[1]).endswith(f"(pid {os.getpid()})")


def test_a_port_of_another_process_is_told_with_its_name_and_pid():
    with child(LISTEN) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        command = Path(f"/proc/{process.pid}/comm").read_text().strip()
        assert holder_of(port) == f"{command} (pid {process.pid})"


def test_a_port_of_ipv6_is_found_too():
    if not Path("/proc/net/tcp6").exists():
        pytest.skip("this machine has no IPv6")
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        assert f"(pid {os.getpid()})" in holder_of(server.getsockname()[1])


def test_a_port_that_nobody_holds_has_no_holder():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert holder_of(port) == ""


def test_whoever_is_only_connected_to_a_port_does_not_hold_it():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as caller:
        assert holder_of(caller.getsockname()[1]) == ""


def test_a_system_that_tells_nothing_is_no_error(monkeypatch):
    monkeypatch.setattr(port_holder, "Path", lambda path: Path("/nowhere") / str(path).lstrip("/"))
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert holder_of(server.getsockname()[1]) == ""


def test_a_process_that_cannot_be_looked_into_is_passed_over(monkeypatch):
    def hidden(path: Path) -> None:
        raise PermissionError(path)

    monkeypatch.setattr(Path, "iterdir", hidden)
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert holder_of(server.getsockname()[1]) == ""
