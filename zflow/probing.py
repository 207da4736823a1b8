"""Asks any peer about itself, whether it serves and what it offers, for `zflow ping` and `zflow client describe`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from zflow.drivers.directory import Directory
from zflow.drivers.identity import new_id
from zflow.drivers.inline import Lane
from zflow.errors import Unavailable, UnsupportedRequest
from zflow.response import error_of
from zflow.roles.prober import Prober
from zflow.wire.header import Kind
from zflow.wire.payload import decode_map


def ping(address: str, timeout: float = 3.0, way: Directory | None = None) -> dict[str, Any]:
    """The status of the peer at `address` (``tcp://host:port``): name, role, state, inflight, queued...

    ``took`` is added: the seconds from dialling to the answer. way: knows the keys, where the peer has some. Raises
    Unavailable after `timeout` seconds, with the cause, and AuthError where keys do not fit.
    """
    return _ask(address, Kind.PING, timeout, way)


def describe(address: str, timeout: float = 3.0, way: Directory | None = None) -> dict[str, Any]:
    """What the peer at `address` offers: its endpoints, or the nodes of its Flow. Raises as `ping`."""
    return _ask(address, Kind.DESCRIBE, timeout, way)


def logs(
    address: str,
    timeout: float = 3.0,
    way: Directory | None = None,
    *,
    most: int = 100,
    of: str = "",
    after: str = "",
) -> dict[str, Any]:
    """Its status as `ping` has it, with the latest lines of its log under ``log``: `lines`, `names`, and `after`.

    most: lines. of: only of processes that are called so, or below that. after: where an earlier look ended. Raises as
    `ping`, and UnsupportedRequest where the peer's version does not tell.
    """
    asked = {"logs": most, **({"of": of} if of else {}), **({"after": after} if after else {})}
    told = _ask(address, Kind.PING, timeout, way, asked)
    if "log" not in told:
        raise UnsupportedRequest(f"{address} ({told.get('software')}) does not tell what its processes log")
    return told


def _ask(
    address: str, kind: Kind, timeout: float, way: Directory | None, extra: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    prober = Prober(address, kind, new_id=new_id, extra=extra)
    lane = Lane(prober, way or Directory({address: address}))
    began = time.monotonic()
    try:
        for answer in lane.answers(began + timeout):
            if answer.kind is Kind.FAILURE:
                raise error_of(answer)
            return {**decode_map(answer.parts[0].buffers()[0]), "took": time.monotonic() - began}
    finally:
        lane.close()
    raise Unavailable(f"{address} did not answer within {timeout:g} s: {prober.cause}")
