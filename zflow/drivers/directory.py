"""Which replicas each group has now, where the peer at the end of each link is, and by which key it is known.

The supervisor writes: a process reported its address, or died; replicas came or went. So does the resolver of names.
Drivers read when they open a connection. `version` grows with every change, so that a driver can see at the price of
one comparison that it has nothing to do.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence

from zflow.config.keys import Identity
from zflow.drivers.sockets import Curve
from zflow.roles.contract import planned_link


class Directory:
    """A thread-safe map from link to address (``ipc://...`` or ``tcp://host:port``), and from group to its links.

    replicas: of the groups whose replicas are not those that were planned; `roles.contract.group_of` names groups.
    """

    def __init__(
        self, addresses: Mapping[str, str] | None = None, replicas: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        self.version = 0
        self._addresses = dict(addresses or {})
        self._replicas = {group: tuple(links) for group, links in (replicas or {}).items()}
        self._lock = threading.Lock()
        self._given_up: dict[str, str] = {}
        self._on_change: list[Callable[[], None]] = []
        self._on_loss: list[Callable[[str], None]] = []
        self._identity: Identity | None = None
        self._server_keys: dict[str, str] = {}

    def set(self, link: str, address: str) -> None:
        """The peer of `link` answers at `address` from now on."""
        with self._lock:
            self._addresses[link] = address
            self._given_up.pop(link, None)
            self.version += 1
        self._tell()

    def remove(self, link: str) -> None:
        """The peer of `link` is gone."""
        with self._lock:
            if self._addresses.pop(link, None) is None:
                return
            self.version += 1
        self._tell()

    def give_up(self, link: str, why: str) -> None:
        """The peer of `link` is gone, and will not be back soon: `why`, for people. `set` says that it is."""
        with self._lock:
            self._addresses.pop(link, None)
            self._given_up[link] = why
            self.version += 1
        self._tell()

    def given_up(self) -> dict[str, str]:
        """Why, for each link whose peer was given up."""
        with self._lock:
            return dict(self._given_up)

    def get(self, link: str) -> str | None:
        """The address of `link`'s peer, None while it has none."""
        return self._addresses.get(link)

    def trust(self, identity: Identity, server_keys: Mapping[str, str]) -> None:
        """We are `identity`, and the peers of these links have to prove that they have these public keys."""
        self._identity = identity
        self._server_keys.update(server_keys)

    def curve(self, link: str) -> Curve | None:
        """How the connection of `link` is secured; None where it is not."""
        server_key = self._server_keys.get(link) or self._server_keys.get(planned_link(link))
        return Curve(self._identity, server_key) if server_key and self._identity is not None else None

    def all(self) -> dict[str, str]:
        """Every known address."""
        with self._lock:
            return dict(self._addresses)

    def set_replicas(self, group: str, links: Sequence[str], addresses: Mapping[str, str] | None = None) -> None:
        """The replicas of `group` are `links` from now on; `addresses`, of some of them, are learnt in the same moment.

        A link that was left out is never given again: who has not looked meanwhile would take it for the old one.
        """
        with self._lock:
            self._replicas[group] = tuple(links)
            self._addresses.update(addresses or {})
            self.version += 1
        self._tell()

    def forget_replicas(self, group: str) -> None:
        """The replicas of `group`, if there is such a one, are those that are planned."""
        with self._lock:
            if self._replicas.pop(group, None) is None:
                return
            self.version += 1
        self._tell()

    def replicas(self) -> dict[str, tuple[str, ...]]:
        """The links of each group whose replicas are not those that were planned."""
        with self._lock:
            return dict(self._replicas)

    # -- who wants to hear at once -------------------------------------------------------------------------------------

    def on_change(self, hear: Callable[[], None]) -> None:
        """Call `hear` after each change, on whatever thread makes it."""
        self._on_change.append(hear)

    def on_loss(self, hear: Callable[[str], None]) -> None:
        """Call `hear` with a link whose connection was lost, on the thread of the driver that lost it."""
        self._on_loss.append(hear)

    def lost(self, link: str) -> None:
        """A driver has lost its connection by `link`."""
        for hear in self._on_loss:
            hear(link)

    def _tell(self) -> None:
        for hear in self._on_change:
            hear()
