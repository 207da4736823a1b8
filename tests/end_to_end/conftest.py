"""What end-to-end tests share: scripts run as a user would run them, standalone processes, and free places to bind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.hosts import Hosts, can_make_hosts, two_hosts

Run = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., subprocess.Popen[str]]

DEADLINE = 60.0


@pytest.fixture
def run_script(tmp_path: Path) -> Run:
    """Run source code as a script of its own, in `tmp_path`; its output comes back."""

    def run(source: str, *, name: str = "script.py", timeout: float = DEADLINE, check: bool = True, **env: str):
        path = tmp_path / name
        path.write_text(textwrap.dedent(source))
        done = subprocess.run(
            [sys.executable, str(path)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **env},
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        if check:
            assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done

    return run


@pytest.fixture
def start() -> Iterator[Start]:
    """Start commands that go on; each is ended after the test, gently first."""
    started: list[subprocess.Popen[str]] = []

    def begin(*command: str, **options: object) -> subprocess.Popen[str]:
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, **options}
        process: subprocess.Popen[str] = subprocess.Popen(command, **options)  # type: ignore[call-overload]
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
        if process.stdout is not None:
            process.stdout.close()


@pytest.fixture
def zflow_command() -> tuple[str, ...]:
    """How the command line is called from a checkout."""
    return (sys.executable, "-m", "zflow")


@pytest.fixture
def port() -> int:
    """A port that was free a moment ago: for what must be given a port before it runs."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    """Two hosts that are joined; skipped where none can be made."""
    if reason := can_make_hosts():
        pytest.skip(reason)
    with two_hosts() as made:
        yield made
