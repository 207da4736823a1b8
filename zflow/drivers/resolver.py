"""Looks up the names of what runs elsewhere, again and again: a name that stands for several hosts is several replicas.

Which addresses a name has is asked when the Flow starts, every second, and sooner when a connection by it was lost. An
address that is new gets a way out of its own; one that has gone gets no more work and finishes what it has. While a
name cannot be looked up, those that it had last remain. As long as it has had one address only nothing is changed:
each connection is made by the name itself.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count

from zflow.config.kinds import split_host
from zflow.config.plan import NodePlan, ReplicaPlan
from zflow.drivers.directory import Directory
from zflow.roles.contract import another_link, group_of

LOOK_AGAIN = 1.0  # seconds: who came is given work within two
_LOOK_AGAIN_AFTER_LOSS = 0.5  # a host that is down is lost each second
_TCP = "tcp://"

Lookup = Callable[[str, int], Sequence[str]]


def addresses_of(host: str, port: int) -> Sequence[str]:
    """The addresses that `host` stands for, sorted, as ``tcp://...``. Raises OSError when that cannot be said.

    Those of IPv4 if there are any: with both of its kinds one host would be taken for two.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # a part of it is too long to be asked for
        raise OSError(f"{host}: {error}") from None
    of_kind = {kind: {str(place[0]) for family, *_, place in found if family == kind} for kind, *_ in found}
    hosts = of_kind.get(socket.AF_INET) or {f"[{address}]" for address in of_kind.get(socket.AF_INET6, ())}
    return [f"{_TCP}{address}:{port}" for address in sorted(hosts)]


class Resolver:
    """Tells `directory` which replicas the names in `nodes` stand for, on a thread of its own.

    lookup: says where a host and a port are, or raises OSError.
    """

    def __init__(self, directory: Directory, nodes: Sequence[NodePlan], *, lookup: Lookup = addresses_of) -> None:
        self._directory = directory
        self._lookup = lookup
        self._numbers = count(1)
        self._groups = self._groups_of(nodes)
        self._lock = threading.Lock()
        self._is_due = threading.Event()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin. Without names to look up nothing happens."""
        if self._groups and self._thread is None:
            self._directory.on_loss(self._lost)
            self._thread = threading.Thread(target=self._run, name="zflow-resolver", daemon=True)
            self._thread.start()

    def follow(self, nodes: Sequence[NodePlan]) -> None:
        """The names are those among these `nodes` from now on. What is known of one that stays as it was is kept."""
        with self._lock:
            before, self._groups = self._groups, self._groups_of(nodes)
            for name, group in before.items():
                now = self._groups.get(name)
                if now is not None and now.replicas == group.replicas:
                    self._groups[name] = group
                else:
                    self._directory.forget_replicas(name)
        self._is_due.set()
        self.start()

    def _groups_of(self, nodes: Sequence[NodePlan]) -> dict[str, _Group]:
        groups: dict[str, list[ReplicaPlan]] = {}
        for way in (way for node in nodes for way in node.ways):
            groups.setdefault(group_of(way.link), []).append(way)
        return {name: _Group(tuple(ways), self._numbers) for name, ways in groups.items() if any(map(_has_name, ways))}

    def close(self) -> None:
        """End the thread. It is not waited for: the system may take its time to look up a name."""
        self._over.set()
        self._is_due.set()

    def look_up(self) -> None:
        """Look up every name once."""
        for name, group in self._groups.items():
            left = group.look_up(self._lookup)
            if left is not None:
                self._tell(name, group, left)

    def _tell(self, name: str, group: _Group, left: Sequence[str]) -> None:
        with self._lock:
            if self._over.is_set() or self._groups.get(name) is not group:
                return
            self._directory.set_replicas(name, list(group.ways), group.ways)
            for link in left:
                self._directory.remove(link)

    def _lost(self, link: str) -> None:
        if group_of(link) in self._groups:
            self._is_due.set()

    def _run(self) -> None:
        while not self._over.is_set():
            self.look_up()
            self._over.wait(_LOOK_AGAIN_AFTER_LOSS)
            self._is_due.wait(LOOK_AGAIN - _LOOK_AGAIN_AFTER_LOSS)
            self._is_due.clear()


class _Group:
    """The ways to one Executor or one of its shards. ways: address by link, in the order of its hosts and then of their
    addresses.

    numbers: of new ways. They are not those of another group, which may have had the same name before.
    """

    def __init__(self, replicas: Sequence[ReplicaPlan], numbers: Iterator[int]) -> None:
        self.ways: dict[str, str] = {}
        self.replicas = replicas
        self._found: dict[str, dict[str, str]] = {}
        self._numbers = numbers

    def look_up(self, lookup: Lookup) -> list[str] | None:
        """Learn which ways there are. Returns those that there are no more; None if nothing has changed."""
        for replica in self.replicas:
            if _has_name(replica):
                with contextlib.suppress(OSError):
                    self._learn(replica, lookup(*_host_and_port(replica)))
        before, self.ways = self.ways, dict(self._all())
        if before == self.ways or not before and list(self.ways) == [replica.link for replica in self.replicas]:
            return None
        return [link for link in before or [replica.link for replica in self.replicas] if link not in self.ways]

    def _learn(self, replica: ReplicaPlan, addresses: Sequence[str]) -> None:
        if not addresses:
            return
        if replica.link not in self._found and len(addresses) == 1:
            self._found[replica.link] = {addresses[0]: replica.link}
            return
        known = self._found.get(replica.link, {})
        self._found[replica.link] = {
            address: known.get(address) or another_link(replica.link, next(self._numbers)) for address in addresses
        }

    def _all(self) -> Iterator[tuple[str, str]]:
        for replica in self.replicas:
            found: Mapping[str, str] = self._found.get(replica.link, {str(replica.address): replica.link})
            for address, link in found.items():
                yield link, str(replica.address) if link == replica.link else address


def _has_name(replica: ReplicaPlan) -> bool:
    """Whether it is found by a name, which may stand for several hosts. The name of this host does not."""
    if replica.address is None or not replica.address.startswith(_TCP):
        return False
    host, _ = _host_and_port(replica)
    if host == "localhost":
        return False
    for family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):
            socket.inet_pton(family, host)
            return False
    return True


def _host_and_port(replica: ReplicaPlan) -> tuple[str, int]:
    host, port = split_host(str(replica.address).removeprefix(_TCP))
    return host, port or 0
