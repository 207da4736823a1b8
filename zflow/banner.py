"""What a Flow shows while it starts and when it is ready. Everything goes to stderr: stdout is the user's."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping, Sequence
from typing import TextIO

from zflow.terminal import Screen

_AGAIN = 5.0
_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


class Waiting:
    """``0/2 waiting executor0 gateway to be ready...``: one line, redrawn on a terminal; a few lines elsewhere.

    what: is to happen to those that are awaited.
    """

    def __init__(self, what: str = "to be ready", *, quiet: bool = False, stream: TextIO | None = None) -> None:
        self._what = what
        self._screen = Screen(stream)
        self._quiet = quiet
        self._on_terminal = self._screen.is_terminal
        self._said = ""
        self._said_at = 0.0
        self._turns = 0

    def show(self, waiting: Sequence[str], ready: Sequence[str]) -> None:
        """`waiting` and `ready` are process names; replicas of one Executor are shown once."""
        if self._quiet or not waiting:
            return
        names = list(dict.fromkeys(name.partition("/")[0] for name in waiting))
        counted = f"{len(ready)}/{len(waiting) + len(ready)}"
        line = f"{counted} waiting {' '.join(names)} {self._what}..."
        if self._on_terminal:
            self._turns += 1
            room = self._screen.width - len(f"⠋ {counted} waiting  {self._what}... ")
            told = f"{counted} waiting {_fitting(names, room)} {self._what}..."
            self._screen.redraw(f"{_SPINNER[self._turns % len(_SPINNER)]} {told}")
        elif not self._said or time.monotonic() - self._said_at > _AGAIN:
            self._screen.write(f"{line}\n")
            self._said_at = time.monotonic()
        self._said = line

    def clear(self) -> None:
        """Leave the line to others."""
        if self._said and self._on_terminal:
            self._screen.write("\r\x1b[K")


def _fitting(names: Sequence[str], room: int) -> str:
    """As many of `names` as fit into so many characters, and how many others there are; at least one."""
    told = " ".join(names)
    for left_out in range(1, len(names)):
        if len(told) <= room:
            break
        told = f"{' '.join(names[:-left_out])} and {left_out} more"
    return told


def ready_lines(host: str, port: int, what: str = "Flow", scaled: Mapping[str, tuple[int, int]] = {}) -> str:
    """The banner: how `what` at `host`:`port` is reached from here and from elsewhere.

    scaled: of each Executor that is served by several processes, how many shards and how many replicas each.
    """
    if host in ("0.0.0.0", "::", "*"):
        local, private = f"127.0.0.1:{port}", f"{_own_address()}:{port}"
    elif host.startswith("127.") or host == "localhost":
        local, private = f"{host}:{port}", "not reachable (bound to loopback)"
    else:
        local = private = f"{host}:{port}"
    return (
        f"🎉 {what} is ready to use!\n"
        f"\t🔗 Protocol: \t\tZMQ\n"
        f"\t🏠 Local access:\t{local}\n"
        f"\t🔒 Private network:\t{private}\n"
        f"\t🌐 Public address:\tnot known (zflow asks nobody outside)"
        + "".join(f"\n\t🧩 {name}: \t\t{_scale(*scale)}" for name, scale in scaled.items())
    )


def _scale(shards: int, replicas: int) -> str:
    if shards == 1:
        return f"{replicas} replicas"
    return f"{shards} shards" if replicas == 1 else f"{shards} shards of {replicas} replicas each"


def _own_address() -> str:
    """This machine's address in its own network, as its routing table tells; a UDP connect sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # TEST-NET-1 of RFC 5737: nobody's
        except OSError:
            return "127.0.0.1"
        address: str = probe.getsockname()[0]
        return address
