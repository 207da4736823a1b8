"""An Executor on another host. The hosts are two network namespaces that this test makes, joined by a cable."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import read_until

HERE, THERE = "10.231.7.1", "10.231.7.2"

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


def can_make_hosts() -> str:
    """Why network namespaces cannot be made here; empty when they can."""
    if os.geteuid() != 0:
        return "making network namespaces takes root"
    if shutil.which("ip") is None:
        return "the command ip (iproute2) is not installed"
    name = f"zflow-probe-{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
    if made.returncode:
        return f"no network namespaces here: {made.stderr.strip()}"
    subprocess.run(["ip", "netns", "delete", name], check=True)
    return ""


@pytest.fixture
def hosts() -> Iterator[tuple[str, str]]:
    """Two hosts by name: the first has the address HERE, the second THERE."""
    reason = can_make_hosts()
    if reason:
        pytest.skip(reason)
    here, there = f"zflow-here-{os.getpid()}", f"zflow-there-{os.getpid()}"
    cables = (f"zh{os.getpid()}", f"zt{os.getpid()}")

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True)

    try:
        for name in (here, there):
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        ip("link", "add", cables[0], "netns", here, "type", "veth", "peer", "name", cables[1], "netns", there)
        for name, cable, address in ((here, cables[0], HERE), (there, cables[1], THERE)):
            ip("-n", name, "address", "add", f"{address}/24", "dev", cable)
            ip("-n", name, "link", "set", cable, "up")
        yield here, there
    finally:
        for name in (here, there):
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)


def test_an_executor_is_reached_from_another_host(hosts: tuple[str, str], tmp_path: Path, start, zflow_command) -> None:
    here, there = hosts
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
    hosts: tuple[str, str], tmp_path: Path, start, zflow_command
) -> None:
    here, there = hosts
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
