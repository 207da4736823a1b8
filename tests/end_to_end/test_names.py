"""A name that stands for several hosts: replicas that come and go with what the system's list of hosts says.

The Flow runs where that list is another one: in a mount namespace that this test makes, like a container's.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.processes import read_until

EXECUTOR = """
import os
from zflow import Executor, requests
class Where(Executor):
    @requests
    def tell(self, docs, **kwargs):
        docs.texts = [os.environ['ADDRESS'] for _ in docs]
"""

# Asks until it has heard all of the addresses that a line of its input names, and no other for 50 requests.
ASK = """
import sys, time
from zflow import Client, DocumentArray, Flow
flow = Flow(quiet=True, insecure=True).add(name='far', host='encoder', port_in={port}, external=True, retries=0)
with flow, Client(port=flow.port) as client:
    for line in sys.stdin:
        wanted, until = set(line.split()), time.monotonic() + 20
        for asked in (flow, client):
            heard = []
            while set(heard[-50:]) != wanted or len(heard) < 50:
                assert time.monotonic() < until, heard[-50:]
                heard += asked.post('/', DocumentArray.empty(10), request_size=1).texts
        print('heard', *sorted(wanted), flush=True)
"""

Start = Callable[..., "subprocess.Popen[str]"]


def can_make_mounts() -> str:
    """Why a list of hosts of its own cannot be given to a process here; empty when it can."""
    if os.geteuid() != 0:
        return "mounting takes root"
    if shutil.which("unshare") is None:
        return "the command unshare (util-linux) is not installed"
    made = subprocess.run(
        ["unshare", "--mount", "mount", "--bind", "/etc/hosts", "/etc/hosts"], capture_output=True, text=True
    )
    return f"no mount namespaces here: {made.stderr.strip()}" if made.returncode else ""


@pytest.mark.time_limit(60)
def test_replicas_behind_a_name_come_and_go(tmp_path: Path, start: Start, zflow_command, port: int) -> None:
    reason = can_make_mounts()
    if reason:
        pytest.skip(reason)
    (tmp_path / "where.py").write_text(EXECUTOR)
    (tmp_path / "where.yml").write_text("jtype: Where\nmetas:\n  py_modules: [where.py]\n")
    (tmp_path / "ask.py").write_text(ASK.format(port=port))
    hosts = tmp_path / "hosts"

    def name(*addresses: str) -> None:
        hosts.write_text("127.0.0.1 localhost\n" + "".join(f"{address} encoder\n" for address in addresses))

    def serve(address: str) -> subprocess.Popen[str]:
        words = ("executor", "--uses", str(tmp_path / "where.yml"), "--host", address, "--port-in", str(port))
        process = start(*zflow_command, *words, env={**os.environ, "ADDRESS": address})
        read_until(process, "serving at")
        return process

    first, second = serve("127.0.0.2"), serve("127.0.0.3")
    name("127.0.0.2", "127.0.0.3")
    mounted = f"mount --bind {hosts} /etc/hosts && exec {zflow_command[0]} {tmp_path / 'ask.py'}"
    asker = start("unshare", "--mount", "sh", "-c", mounted, stdin=subprocess.PIPE)

    def hears(*addresses: str) -> None:
        assert asker.stdin is not None
        print(*addresses, file=asker.stdin, flush=True)
        read_until(asker, "^heard " + " ".join(addresses))

    hears("127.0.0.2", "127.0.0.3")
    serve("127.0.0.4")
    name("127.0.0.3", "127.0.0.4")
    first.terminate()  # a host that is gone is looked for at once
    hears("127.0.0.3", "127.0.0.4")
    second.terminate()
    name("127.0.0.4")
    hears("127.0.0.4")
    assert asker.stdin is not None
    asker.stdin.close()
    assert asker.wait(20) == 0
