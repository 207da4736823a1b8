"""Looks names up again and again: one with several addresses means several replicas, which come and go.

A headless Service of Kubernetes, a scaled service of Compose or a few records in a DNS zone are all the same: a name,
and the addresses that it has at the moment. Each of them is a replica of its own, with a link that is never given
again once its address is gone. A name that nobody knows for now changes nothing: that may be the fault of who was
asked, and whoever is really gone is missed by the connection to it.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

from zflow.config.kinds import is_address, is_loopback, split_host
from zflow.config.plan import NodePlan, ReplicaPlan
from zflow.drivers.directory import Directory
from zflow.roles.contract import group_of

PERIOD = 1.0  # seconds between two look-ups of a name
_PATIENCE = 0.5  # seconds that a start waits for the first one
LookUp = Callable[[str, int], Sequence[str]]


def addresses_of(host: str, port: int) -> list[str]:
    """``host:port`` of every address that the name `host` has now; those of IPv4 where it has any. May take seconds.

    Raises OSError where nobody knows it.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    narrow = sorted({str(address[0]) for family, _, _, _, address in found if family == socket.AF_INET})
    wide = sorted({str(address[0]) for family, _, _, _, address in found if family == socket.AF_INET6})
    return [f"{address}:{port}" for address in narrow] or [f"[{address}]:{port}" for address in wide]


class Resolver:
    """Keeps the replicas of `nodes` in `directory` as their names say. `close` ends it.

    Nothing is started where no node is known by a name. What is found at once is there when this returns.
    """

    def __init__(
        self,
        directory: Directory,
        nodes: Sequence[NodePlan],
        *,
        look_up: LookUp = addresses_of,
        period: float = PERIOD,
    ) -> None:
        groups: dict[str, list[ReplicaPlan]] = {}
        for way in (way for node in nodes for way in node.ways):
            groups.setdefault(group_of(way.link), []).append(way)
        self._directory = directory
        self._groups = [_Group(name, ways) for name, ways in groups.items() if any(map(_has_name, ways))]
        self._look_up = look_up
        self._period = period
        self._is_closed = threading.Event()
        self._has_looked = threading.Event()
        if self._groups:
            threading.Thread(target=self._run, name="zflow-resolver", daemon=True).start()
            self._has_looked.wait(_PATIENCE)

    def close(self) -> None:
        """End soon; a look-up that is under way is not waited for."""
        self._is_closed.set()

    def look(self) -> None:
        """Look every name up, and tell the directory what has changed."""
        for group in self._groups:
            change = group.change(self._look_up)
            if change is not None:
                self._directory.trust_also(change.server_keys)
                self._directory.set_replicas(group.name, change.links, change.addresses)

    def _run(self) -> None:
        while not self._is_closed.is_set():
            self.look()
            self._has_looked.set()
            self._is_closed.wait(self._period)


class _Change(NamedTuple):
    """Which links a group has now, where they lead to, and by which keys who is there is known."""

    links: tuple[str, ...]
    addresses: dict[str, str]
    server_keys: dict[str, str]


class _Group:
    """The replicas of one group. Links are those that were planned, as long as there are any."""

    def __init__(self, name: str, ways: Sequence[ReplicaPlan]) -> None:
        self.name = name
        self._ways = ways
        self._unused = [way.link for way in ways]
        self._links: dict[tuple[str, str], str] = {}  # of who is there: address and key
        self._number = len(ways)
        self._known: dict[str, Sequence[str]] = {}

    def change(self, look_up: LookUp) -> _Change | None:
        """What is different from before; None where nothing is, or nothing is known yet."""
        now: dict[tuple[str, str], str] = {}
        for way in self._ways:
            for address in self._found(way, look_up):
                place = (f"tcp://{address}", way.server_key)
                now[place] = self._links.get(place) or now.get(place) or self._new_link()
        if now == self._links or not now:
            return None
        self._links = now
        addresses = {link: address for (address, _), link in now.items()}
        keys = {link: key for (_, key), link in now.items() if key}
        return _Change(tuple(addresses), addresses, keys)

    def _found(self, way: ReplicaPlan, look_up: LookUp) -> Sequence[str]:
        assert way.address is not None
        address = way.address.removeprefix("tcp://")
        if not _has_name(way):
            return [address]
        host, port = split_host(address)
        with contextlib.suppress(OSError, UnicodeError):
            self._known[address] = look_up(host, port or 0)
        return self._known.get(address, ())

    def _new_link(self) -> str:
        if self._unused:
            return self._unused.pop(0)
        self._number += 1
        return f"{self.name}/rep-{self._number - 1}"


def _has_name(way: ReplicaPlan) -> bool:
    host = split_host((way.address or "").removeprefix("tcp://"))[0]
    return bool(host) and not is_address(host) and not is_loopback(host)
