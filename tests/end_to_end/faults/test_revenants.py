"""An Executor that stands alone is killed with work in its queue, and comes back at its port: row 42.

What the dead one had been sent must not run in the new one. ZeroMQ by itself would see to it that all of it does.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.processes import read_until, wait_for
from zflow import Client, Document, Flow
from zflow.errors import Unavailable, ZflowError

STALE = 20
WEIGHT = 1000  # bytes of each, so that what has been sent and not been read can be told
EXECUTOR = """
from zflow import Executor, requests

class Revenant(Executor):
    @requests
    async def note(self, docs, **kwargs):  # so many at once may be sent to what is asynchronous only
        with open({runs!r}, 'a') as runs:
            runs.write(docs[0].text + '\\n')
"""

Revive = Callable[[], subprocess.Popen[str]]


@pytest.fixture
def revive(tmp_path: Path, port: int, start, zflow_command) -> Revive:
    """Starts the Executor at its port."""
    (tmp_path / "revenant.py").write_text(EXECUTOR.format(runs=str(tmp_path / "runs")))
    (tmp_path / "revenant.yml").write_text("jtype: Revenant\nmetas:\n  py_modules: [revenant.py]\n")

    def again() -> subprocess.Popen[str]:
        command = ("executor", "--uses", str(tmp_path / "revenant.yml"), "--port-in", str(port))
        process: subprocess.Popen[str] = start(*zflow_command, *command)
        read_until(process, f"127.0.0.1:{port}")
        return process

    return again


def unread_at(port: int) -> int:
    """The bytes that have come to `port` and that nobody has read."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(int(line[4].partition(":")[2], 16) for line in lines if line[1].endswith(f":{port:04X}"))


def ask(client: Client, text: str) -> ZflowError | None:
    try:
        client.post("/", Document(text=text, blob=bytes(WEIGHT)), timeout=20)
    except ZflowError as error:
        return error
    return None


@pytest.mark.skipif(not os.path.exists("/proc/net/tcp"), reason="what waits unread at a port is told by Linux only")
@pytest.mark.parametrize("idempotent", [False, True])
def test_row_42_what_the_dead_one_had_been_sent_does_not_run_in_its_successor_unless_it_may(
    tmp_path: Path, port: int, revive: Revive, idempotent: bool
) -> None:
    stale = [f"stale-{number}" for number in range(STALE)]
    first = revive()
    flow = Flow(quiet=True).add(host="127.0.0.1", port_in=port, external=True, idempotent=idempotent)
    with flow, Client(port=flow.port) as client, ThreadPoolExecutor(STALE) as pool:
        assert ask(client, "before") is None
        first.send_signal(signal.SIGSTOP)
        asking = [pool.submit(ask, client, stale[0])]
        wait_for(lambda: unread_at(port) > WEIGHT, "the first to be sent to it", timeout=2.0)
        one = unread_at(port)
        asking += [pool.submit(ask, client, text) for text in stale[1:]]
        wait_for(lambda: unread_at(port) > (STALE - 0.5) * one, "all of them to be sent to it", timeout=2.0)
        first.kill()
        first.wait(5)
        revive()
        outcomes = [each.result(20) for each in asking]
        assert ask(client, "after") is None
    ran = (tmp_path / "runs").read_text().split()
    if idempotent:
        assert outcomes == [None] * STALE
        assert sorted(ran) == sorted(["before", *stale, "after"])
    else:
        assert all(isinstance(error, Unavailable) and error.maybe_executed for error in outcomes)
        assert ran == ["before", "after"]
