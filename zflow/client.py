"""Client: ask any peer (a Flow's gateway, a served or a standalone Executor) by host and port."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from zflow.asking import Asker
from zflow.config import keys as key_files
from zflow.config.kinds import is_loopback, split_host
from zflow.drivers.directory import Directory
from zflow.drivers.identity import new_id
from zflow.drivers.inline import Lanes
from zflow.drivers.sockets import check_address
from zflow.errors import ConfigError, nearest
from zflow.roles.head import Head

_OPTIONS = ("host", "port", "keys", "server_key", "insecure", "asyncio")


class Client(Asker):
    """Asks the peer at `host`:`port`. Thread-safe; connections are made at the first post and kept.

    host: a name or an IP, also ``host:port`` or ``tcp://host:port``. port: the gateway's `port` or an Executor's
    `port_in`. asyncio=True gives an `AsyncClient`. Use it as a context manager, or `close` it, to leave nothing open.

    server_key: the public key by which the peer is known, where it has keys. keys: the folder of ours, as `zflow
    keygen` makes it (default: ZFLOW_KEYS, else ~/.config/zflow/keys). insecure=True: no keys, though the peer is not
    on this host. Whom the peer does not let in, and who is not sure of the peer, gets an AuthError.
    """

    def __new__(
        cls,
        host: str = "127.0.0.1",
        port: int | None = None,
        *,
        keys: str | os.PathLike[str] | None = None,
        server_key: str | None = None,
        insecure: bool = False,
        asyncio: bool = False,
        **options: Any,
    ) -> Any:
        if cls is not Client:
            return super().__new__(cls)
        for name in options:
            raise ConfigError(f"Client has no option {name!r}: {nearest(name, _OPTIONS)}")
        if asyncio:
            from zflow.asynchronous import AsyncClient  # asyncio costs a third of `import zflow`; few need it

            return AsyncClient(host, port, keys=keys, server_key=server_key, insecure=insecure)
        return super().__new__(cls)

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int | None = None,
        *,
        keys: str | os.PathLike[str] | None = None,
        server_key: str | None = None,
        insecure: bool = False,
        asyncio: bool = False,
    ) -> None:
        self._peer = address_of(host, port)
        way = way_to(self._peer, keys=keys, server_key=server_key, insecure=insecure)
        self._pool = Lanes(partial(head_asking, self._peer), way)

    @property
    def address(self) -> str:
        """Where it asks: ``tcp://host:port``."""
        return self._peer

    def close(self) -> None:
        """Close every connection. Posts that run in other threads are finished first."""
        self._pool.close()

    def __del__(self) -> None:
        pool: Lanes | None = getattr(self, "_pool", None)  # none where __init__ raised
        if pool is not None:
            pool.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({self._peer!r})"

    def _lanes(self) -> Lanes:
        return self._pool


def head_asking(peer: str) -> Head:
    """The head role of whoever asks the one peer at the address `peer`."""
    return Head(peer, [peer], new_id=new_id)


def way_to(
    peer: str, *, keys: str | os.PathLike[str] | None = None, server_key: str | None = None, insecure: bool = False
) -> Directory:
    """A directory that knows the one peer at the address `peer`, and by which key it is known.

    Raises ConfigError for keys that cannot be used, and where none are given though the peer is on another host,
    unless `insecure` says that this is meant.
    """
    directory = Directory({peer: peer})
    if server_key:
        with _naming("server_key"):
            server_key = key_files.checked_key(server_key)
        folder = os.path.expanduser(keys or key_files.default_folder())
        directory.trust(key_files.load(folder), {peer: server_key})
    elif not insecure and not is_loopback(split_host(peer.removeprefix("tcp://"))[0]):
        raise ConfigError(
            f"{peer} is not on this host, and without keys anybody on the way could read, and be it; give server_key "
            "(what its public.key holds; --server-key), or say insecure=True (--insecure)"
        )
    return directory


@contextmanager
def _naming(option: str) -> Iterator[None]:
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{option}: {error}") from None


def address_of(host: str, port: int | None = None) -> str:
    """``tcp://host:port`` of what was given. Raises ConfigError naming what is missing or wrong."""
    if not isinstance(host, str) or not host:
        raise ConfigError(f"host: expected a name or an address, got {host!r}")
    given = host.removeprefix("tcp://")
    if "://" in given:
        raise ConfigError(f"host: {host!r} is not reachable by zflow; use a host name, host:port or tcp://host:port")
    if given.count(":") > 1 and not given.startswith("["):
        raise ConfigError(f"host: write [{given}] for an address of IPv6, and the port behind it: [{given}]:port")
    name, found, tail = given.rpartition(":")
    if found and tail.isascii() and tail.isdigit():
        if port is not None and int(tail) != port:
            raise ConfigError(f"host {host!r} names another port than port={port}")
        given, port = name, int(tail)
    if port is None:
        told = f"host:{given}, as in localhost:{given}" if given.isdigit() else f"{given}:port, as in {given}:12345"
        raise ConfigError(f"port: which port does the peer listen on, and on which host? Say {told}")
    if isinstance(port, bool) or not isinstance(port, int) or not 1 <= port <= 65535:
        raise ConfigError(f"port: expected a whole number from 1 to 65535, got {port!r}")
    if given == "0.0.0.0":
        given = "127.0.0.1"
    address = f"tcp://{given}:{port}"
    check_address(address)
    return address
