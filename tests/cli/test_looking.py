"""`zflow status` and `zflow top`: how a real Flow stands."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result

from zflow import Client, Document, Executor, Flow, requests
from zflow.cli import main
from zflow.errors import Unavailable


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


class Echo(Executor):
    @requests
    def echo(self, **kwargs):
        pass


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with Flow(quiet=True).add(uses=Echo, name="echo", replicas=2) as flow:
        with Client(port=flow.port) as client:
            client.post("/", [Document() for _ in range(6)], request_size=1)
        yield f"localhost:{flow.port}"


def test_a_flow_with_its_nodes(address: str) -> None:
    lines = run("status", address).output.splitlines()
    assert "gateway (gateway, zflow/" in lines[0] and "serving, 0 in flight" in lines[0]
    assert lines[2].split()[:3] == ["NODE", "QUEUED", "REPLICA"]
    assert [" ready " in line for line in lines[3:]] == [True, True]


def test_for_programs(address: str) -> None:
    told = json.loads(run("status", address, "--json").output)
    assert sum(replica["done"] for replica in told["nodes"]["echo"]["replicas"].values()) == 6


def test_nobody() -> None:
    result = run("status", "localhost:1", "--timeout", "200")
    assert result.exit_code == Unavailable.exit_code
    assert "nobody listens" in result.stderr


def test_what_is_no_terminal_gets_each_look_below_the_last(address: str) -> None:
    result = run("top", address, "--interval", "0.1", "--count", "2")
    assert result.exit_code == 0
    assert result.output.count("echo/rep-0") == 2
    assert "RATE" in result.output and "\x1b" not in result.output


def test_a_look_at_nobody_is_told_and_another_one_follows() -> None:
    result = run("top", "localhost:1", "--interval", "0.1", "--count", "2", "--timeout", "150")
    assert result.exit_code == Unavailable.exit_code
    assert result.output.count("nobody listens") == 2


def test_a_terminal_is_drawn_over(address: str) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "zflow", "top", address, "--interval", "0.1", "--count", "2"]
    with os.fdopen(ours, "rb", buffering=0) as screen:
        done = subprocess.run(command, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, timeout=30)
        os.close(theirs)
        drawn = screen.read(65536).decode()
    assert done.returncode == 0, done.stderr
    assert drawn.count("\x1b[H") == 2 and "echo/rep-0" in drawn
    assert drawn.index("\n") < drawn.index("\x1b[H"), "what stood there before is scrolled away, not drawn over"
