"""Where the peer at the end of each link is now, and by which key it is known.

The supervisor writes: a process reported its address, or died. Drivers read when they open a connection. `version`
grows with every change, so that a driver can see at the price of one comparison that it has nothing to do.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

from zflow.config.keys import Identity
from zflow.drivers.sockets import Curve


class Directory:
    """A thread-safe map from link to address (``ipc://...`` or ``tcp://host:port``)."""

    def __init__(self, addresses: Mapping[str, str] | None = None) -> None:
        self.version = 0
        self._addresses = dict(addresses or {})
        self._lock = threading.Lock()
        self._identity: Identity | None = None
        self._server_keys: dict[str, str] = {}

    def set(self, link: str, address: str) -> None:
        """The peer of `link` answers at `address` from now on."""
        with self._lock:
            self._addresses[link] = address
            self.version += 1

    def remove(self, link: str) -> None:
        """The peer of `link` is gone."""
        with self._lock:
            if self._addresses.pop(link, None) is not None:
                self.version += 1

    def get(self, link: str) -> str | None:
        """The address of `link`'s peer, None while it has none."""
        return self._addresses.get(link)

    def trust(self, identity: Identity, server_keys: Mapping[str, str]) -> None:
        """We are `identity`, and the peers of these links have to prove that they have these public keys."""
        self._identity = identity
        self._server_keys.update(server_keys)

    def curve(self, link: str) -> Curve | None:
        """How the connection of `link` is secured; None where it is not."""
        server_key = self._server_keys.get(link)
        return Curve(self._identity, server_key) if server_key and self._identity is not None else None

    def all(self) -> dict[str, str]:
        """Every known address."""
        with self._lock:
            return dict(self._addresses)
