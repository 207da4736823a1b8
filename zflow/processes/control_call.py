"""Gives an order to a Flow that runs on this host, found by its gateway's port: what the command line does.

The other end is control_desk.py. Every wait has an end: a Flow that lives says something at least once per `PULSE`.
"""

from __future__ import annotations

import contextlib
import socket
from typing import Any

from zflow.errors import ConfigError, PortInUse, StartError, TopologyError, Unavailable, ZflowError
from zflow.processes.channel import Channel, Words
from zflow.processes.control_desk import is_ours
from zflow.processes.socket_directory import control_paths, remove_stale
from zflow.processes.watch import Progress

SILENCE = 10.0  # seconds; a Flow's process that says nothing for so long is frozen

_ERRORS = {error.__name__: error for error in (ConfigError, PortInUse, TopologyError)}


def give_order(host: str, port: int, order: str, on_progress: Progress, **arguments: Any) -> None:
    """Have the Flow whose gateway is at `host`:`port` carry out `order`; return when it has.

    Raises what kept it from that, ConfigError for another host, Unavailable when nobody takes the order.
    """
    addresses = _addresses(host)
    if not any(map(_is_here, addresses)):
        raise ConfigError(
            f"{host} is another host: only who may enter a Flow's private directory may change the Flow, so run this "
            "command on the host where the Flow runs, as the user who started it"
        )
    channel = _reach(addresses, host, port)
    try:
        channel.send({"order": order, **arguments})
        while True:
            words = _next_words(channel, f"{host}:{port}")
            if "done" in words:
                return
            if "failed" in words:
                raise _error(words)
            on_progress(words["waiting"], words["ready"])
    finally:
        channel.close()


def _reach(addresses: list[str], host: str, port: int) -> Channel:
    """The way to the Flow's process, which has said that it serves there."""
    where = f"{host}:{port}"
    for path in control_paths(port):
        end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        end.settimeout(SILENCE)
        try:
            end.connect(path)
            end.setblocking(False)
        except OSError:  # left behind by a process that was killed
            end.close()
            continue
        channel = Channel(end)
        try:
            if is_ours(end) and _serves(_next_words(channel, where)["address"], addresses):
                return channel
        except Unavailable:
            channel.close()
            raise
        channel.close()
    remove_stale()
    raise Unavailable(
        f"no Flow that this user has started on this host serves {where}; is it the port of the Flow's gateway, and "
        "TMPDIR the same as where it was started? (what an external Executor or a gateway alone serves, it was not "
        "started with, and is changed where it runs)"
    )


def _next_words(channel: Channel, where: str) -> Words:
    try:
        while channel.wait(SILENCE):
            for words in channel.receive(most=1):
                return words
    except EOFError:
        raise Unavailable(f"the Flow at {where} ended before it had carried out the order") from None
    raise Unavailable(f"the Flow at {where} has said nothing for {SILENCE:g} s; is its process stopped?")


def _error(words: Words) -> ZflowError:
    name, message = words["failed"], words["message"]
    if name in _ERRORS:
        return _ERRORS[name](message)
    return StartError(message, peer=words["peer"], traceback=words["traceback"])


def _addresses(host: str) -> list[str]:
    try:
        return [str(found[4][0]) for found in socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)]
    except OSError as error:
        raise ConfigError(f"{host} is no host that is known here: {error}") from error


def _is_here(address: str) -> bool:
    """Whether it is one of this host's: nobody can bind another's."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.bind((address, 0))
        return True
    return False


def _serves(bound: str, addresses: list[str]) -> bool:
    """Whether a gateway that is bound to `bound` is reached by one of `addresses`."""
    host = bound.removeprefix("tcp://").rpartition(":")[0].strip("[]")
    return host in ("0.0.0.0", "::", "*") or not {host, *_by_name(host)}.isdisjoint(addresses)


def _by_name(host: str) -> list[str]:
    with contextlib.suppress(ConfigError):
        return _addresses(host)
    return []
