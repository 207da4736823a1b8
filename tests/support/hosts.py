"""Hosts: network namespaces that a test makes, joined by a cable that can be cut."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

HERE, THERE = "10.231.7.1", "10.231.7.2"


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


class Hosts(NamedTuple):
    """Two of them, by name. cable: what joins them, as the first one sees it."""

    here: str
    there: str
    cable: str

    @contextmanager
    def parted(self) -> Iterator[None]:
        """Nothing that one of them sends arrives at the other."""
        _ip("-n", self.here, "link", "set", self.cable, "down")
        try:
            yield
        finally:
            _ip("-n", self.here, "link", "set", self.cable, "up")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


@contextmanager
def two_hosts() -> Iterator[Hosts]:
    """The first has the address HERE, the second THERE."""
    here, there = f"zflow-here-{os.getpid()}", f"zflow-there-{os.getpid()}"
    cables = (f"zh{os.getpid()}", f"zt{os.getpid()}")

    try:
        for name in (here, there):
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
        _ip("link", "add", cables[0], "netns", here, "type", "veth", "peer", "name", cables[1], "netns", there)
        for name, cable, address in ((here, cables[0], HERE), (there, cables[1], THERE)):
            _ip("-n", name, "address", "add", f"{address}/24", "dev", cable)
            _ip("-n", name, "link", "set", cable, "up")
        yield Hosts(here, there, cables[0])
    finally:
        for name in (here, there):
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)
