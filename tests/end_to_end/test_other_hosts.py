"""An Executor on another host. The hosts are two network namespaces that this test makes, joined by a cable."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.hosts import THERE, Hosts
from tests.support.processes import read_until

ASK = f"""
from zflow import DocumentArray, Flow
with Flow(quiet=True, insecure=True).add(host='{THERE}', port_in=12345, external=True) as flow:
    print(flow.index(inputs=DocumentArray.empty(2)).texts)
"""

EXECUTOR = """
from zflow import Executor, requests
class There(Executor):
    @requests
    def tell(self, docs, **kwargs):
        docs.texts = ['from another host' for _ in docs]
"""


def test_an_executor_is_reached_from_another_host(hosts: Hosts, tmp_path: Path, start, zflow_command) -> None:
    here, there, _ = hosts
    (tmp_path / "there.py").write_text(EXECUTOR)
    (tmp_path / "there.yml").write_text("jtype: There\nmetas:\n  py_modules: [there.py]\n")
    command = (*zflow_command, "executor", "--uses", str(tmp_path / "there.yml"), "--port-in", "12345")
    process = start("ip", "netns", "exec", there, *command, "--host", "0.0.0.0", "--insecure")
    read_until(process, "0.0.0.0:12345")
    asked = subprocess.run(
        ["ip", "netns", "exec", here, sys.executable, "-c", ASK], capture_output=True, text=True, timeout=30
    )
    assert asked.stdout == "['from another host', 'from another host']\n", asked.stderr


def test_loopback_is_the_default_and_other_hosts_reach_nothing(
    hosts: Hosts, tmp_path: Path, start, zflow_command
) -> None:
    here, there, _ = hosts
    process = start("ip", "netns", "exec", there, *zflow_command, "executor", "--port-in", "12345")
    read_until(process, "127.0.0.1:12345")
    pinged = subprocess.run(
        ["ip", "netns", "exec", here, *zflow_command, "ping", f"{THERE}:12345", "--timeout", "500", "--insecure"],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert pinged.returncode == 1
    assert "nobody listens there" in pinged.stderr
