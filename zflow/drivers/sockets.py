"""Opens ROUTER and DEALER sockets, and moves whole messages through them.

The options are one decision, taken here (protocol/SPEC.md, Timing and limits): heartbeats on both sides tell a frozen
peer; a ROUTER refuses what it cannot deliver instead of dropping it; a DEALER never reconnects, so that what was
queued for one incarnation of a peer cannot reach the next; nothing ever blocks in a send.

Messages go through pyzmq's compiled methods directly: its own `send_multipart` and `recv_multipart` check every frame
in Python, which costs 20 to 30 us of a round trip of 140.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any, NamedTuple

import zmq
import zmq.backend

from zflow.config.keys import Identity
from zflow.drivers.greeting import CURVE, NULL, mechanism_of
from zflow.drivers.port_holder import holder_of
from zflow.errors import ConfigError, PortInUse
from zflow.roles.contract import Refusal
from zflow.wire.frames import MAX_FRAME, MAX_FRAMES, MAX_REQUEST, Buffer, cut

_send: Any = zmq.backend.Socket.send
_receive: Any = zmq.backend.Socket.recv
_get: Any = zmq.backend.Socket.get
_MORE_NOBLOCK = int(zmq.SNDMORE) | int(zmq.NOBLOCK)
_NOBLOCK = int(zmq.NOBLOCK)
_EVENTS = int(zmq.EVENTS)
POLLIN = int(zmq.POLLIN)

_BY_REFERENCE = 64 * 1024  # below this a copy is cheaper than keeping track of the owner
# ipc://@... would be one of Linux' abstract names, which every user of the machine may connect to
_ADDRESS = re.compile(r"tcp://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.*-]+):(\d{1,5})|ipc://(?!@).{1,107}")
_HEARTBEAT_MS = 1000
_HEARTBEAT_TIMEOUT_MS = 3000
_HANDSHAKE_MS = 3000
_NEVER_MS = 3_600_000
_BACKLOG = 4096
# A fuse: credit keeps what is queued far below it, and what callers grant the pieces of answers. Only who has many
# streams under way that nobody reads comes near. (At the mark of who reads, signs of life are not read either.)
_HIGH_WATER = 65_536
_ENVELOPE = 9  # routing ids, of which a message may have eight, and the empty frame behind them
_MANY = 4  # messages behind each other, after which it pays to read on until there is none instead of asking each time
_monitors = count()


class Curve(NamedTuple):
    """How a connection is secured: who we are, and by which public key the peer must prove who it is."""

    identity: Identity
    server_key: str


def bind(
    context: zmq.Context[zmq.Socket[bytes]], address: str, identity: Identity | None = None
) -> tuple[zmq.Socket[bytes], str]:
    """A ROUTER bound to `address`, and the address really bound (the kernel chooses for port 0).

    identity: to be proven to callers, who have to prove theirs; an Authenticator must be there already.

    Raises PortInUse with the port and its holder, ConfigError for an address that cannot be bound.
    """
    check_address(address)
    try:
        socket = context.socket(zmq.ROUTER)
    except zmq.ZMQError as error:
        raise _bind_error(address, error) from None
    try:
        if identity is not None:
            _require_keys(socket, identity)
        return socket, bind_also(socket, address)
    except ConfigError:
        socket.close(0)
        raise


def bind_also(socket: zmq.Socket[bytes], address: str) -> str:
    """Bind a ROUTER to `address`, besides where it is bound already. Returns the address really bound.

    Raises as `bind` does. What is set here holds for who connects by this address.
    """
    check_address(address)
    if not is_tcp(address) and os.path.lexists(address.removeprefix("ipc://")):  # libzmq would take its place
        raise ConfigError(f"cannot bind {address}: the path exists already; choose another one or remove it")
    before = os.umask(0o077)  # the mode of an ipc socket file follows it
    try:
        _set_common(socket, address)
        socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        socket.setsockopt(zmq.BACKLOG, _BACKLOG)
        socket.bind(address)
    except zmq.ZMQError as error:
        raise _bind_error(address, error) from None
    finally:
        os.umask(before)
    return socket.getsockopt_string(zmq.LAST_ENDPOINT)


def dial(
    context: zmq.Context[zmq.Socket[bytes]], address: str, curve: Curve | None = None
) -> tuple[zmq.Socket[bytes], zmq.Socket[bytes]]:
    """A DEALER that connects to `address` once, and the socket that tells how its connection fares."""
    check_address(address)
    watched = zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED | zmq.EVENT_CONNECT_RETRIED | _HANDSHAKE_FAILED
    opened: list[zmq.Socket[bytes]] = []
    try:
        opened.append(socket := context.socket(zmq.DEALER))
        _set_common(socket, address)
        socket.setsockopt(zmq.RECONNECT_IVL, _NEVER_MS)
        socket.setsockopt(zmq.CONNECT_TIMEOUT, _HANDSHAKE_MS)  # the kernel alone would try for two minutes
        if curve is not None:
            socket.setsockopt(zmq.CURVE_SERVERKEY, curve.server_key.encode())
            socket.setsockopt(zmq.CURVE_PUBLICKEY, curve.identity.public.encode())
            socket.setsockopt(zmq.CURVE_SECRETKEY, curve.identity.secret.encode())
        opened.append(monitor := _monitor(context, socket, watched))
        socket.connect(address)
    except zmq.ZMQError as error:
        for each in opened:
            each.close(0)
        raise ConfigError(f"cannot connect to {address}: {_reason(error)}") from None
    return socket, monitor


def watch_callers(context: zmq.Context[Any], front: zmq.Socket[bytes]) -> zmq.Socket[bytes]:
    """The socket that tells who connects to `front` and who leaves."""
    return _monitor(context, front, zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED)


def new_identity() -> Identity:
    """A new key pair. A public key begins with a letter or a digit, so that no command takes it for an option."""
    while True:
        public, secret = (key.decode("ascii") for key in zmq.curve_keypair())
        if public[0].isalnum():
            return Identity(public, secret)


def send(socket: zmq.Socket[bytes], route: Sequence[bytes], frames: Sequence[Buffer], over_tcp: bool) -> None:
    """Send one message without ever blocking. Raises zmq.ZMQError (EHOSTUNREACH: the peer is gone, EAGAIN: full)."""
    for identity in route:
        _send(socket, identity, _MORE_NOBLOCK)
    _send(socket, b"", _MORE_NOBLOCK)
    if over_tcp:
        frames = _cut_large(frames)
    last = len(frames) - 1
    for at, frame in enumerate(frames):
        _send(socket, frame, _NOBLOCK if at == last else _MORE_NOBLOCK, len(frame) < _BY_REFERENCE)


def receive(socket: zmq.Socket[bytes]) -> list[Any]:
    """The frames of one message that the poll announced, by reference.

    Of a message with more frames than the protocol allows only the first ones are kept: enough to tell that it has.
    """
    frame = _receive(socket, _NOBLOCK, False)
    frames = [frame]
    while frame.more:
        frame = _receive(socket, _NOBLOCK, False)
        if len(frames) <= MAX_FRAMES + _ENVELOPE:
            frames.append(frame)
    return frames


def receive_all(socket: zmq.Socket[bytes], most: int) -> Iterator[list[Any]]:
    """The message that the poll announced, and those that wait behind it, up to `most`. Stop where it is closed."""
    for read in range(most):
        if 0 < read < _MANY and not has_input(socket):
            return
        try:
            frames = receive(socket)
        except zmq.Again:
            return
        yield frames


def route_of(frames: list[Any]) -> tuple[bytes, ...] | None:
    """By whom a message came to a ROUTER, which leads back; None where no envelope tells: it is none of ours."""
    try:
        at = 1 if not len(frames[1]) else 1 + [len(frame) for frame in frames[1:9]].index(0)
    except (IndexError, ValueError):
        return None
    return tuple([frame.bytes for frame in frames[:at]])


def has_input(socket: zmq.Socket[bytes]) -> bool:
    """Whether a message waits. Asking takes half as long as an EAGAIN raised, and nearly as long as to read one."""
    return bool(_get(socket, _EVENTS) & POLLIN)


def read_monitor(monitor: zmq.Socket[bytes], curve: Curve | None = None) -> str:
    """What happened to the connection, in words. Every event that is watched means that it is over.

    A Refusal where it is keys that do not fit, a Suspicion where it may be: see there.
    """
    described = monitor.recv_multipart(zmq.NOBLOCK)
    event = int.from_bytes(described[0][:2], "little")
    value = int.from_bytes(described[0][2:6], "little")
    if event == zmq.EVENT_DISCONNECTED:
        return "the connection broke"
    if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
        return Refusal(_NOT_LISTED) if value == _ZAP_REFUSED else "it lets nobody in just now: too many connections"
    if value == _MECHANISM_MISMATCH and event & _HANDSHAKE_FAILED:
        return Refusal(_NEEDS_KEYS if curve is None else _HAS_NO_KEYS)
    if event & _HANDSHAKE_FAILED and value in (errno.EPIPE, errno.ECONNRESET):
        return Suspicion(_CLOSED if curve is None else _WRONG_SERVER)
    if event & _HANDSHAKE_FAILED:
        return f"the handshake failed ({value}); is it a zflow peer, and are keys needed?"
    if event == zmq.EVENT_CONNECT_RETRIED:  # no socket was closed before, so there was none
        return "no such host is known here, or there is no way to it"
    return "nobody listens there"


class Suspicion(str):
    """The peer closed the connection in its first moment: keys do not fit, or it died, or it is a proxy of nobody."""


def explain(address: str, curve: Curve | None) -> Refusal | None:
    """Why the peer closes connections in their first moment, where that is for want of keys."""
    mechanism = mechanism_of(address)
    if curve is None:
        return Refusal(_NEEDS_KEYS) if mechanism == CURVE else None
    return {NULL: Refusal(_HAS_NO_KEYS), CURVE: Refusal(_WRONG_SERVER)}.get(mechanism)


def is_tcp(address: str) -> bool:
    """Whether messages to `address` must be cut, and strangers can reach it."""
    return address.startswith("tcp://")


def check_address(address: str) -> None:
    """Raise ConfigError unless `address` is one that a socket can take."""
    match = _ADDRESS.fullmatch(address)
    if match is None or (match[2] is not None and int(match[2]) > 65535):
        raise ConfigError(f"{address!r:.120} is not an address; use tcp://host:port (port 0 to 65535)")


_HANDSHAKE_FAILED = (
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)


_ZAP_REFUSED = 400
_MECHANISM_MISMATCH = 0x11000002  # ZMQ_PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH
_NOT_LISTED = (
    "it does not let us in: our key is not on its list; there: zflow keys allow NAME KEY, where KEY is what "
    "public.key holds here"
)
_NEEDS_KEYS = "it needs keys, and we have used none; give server_key, which is what its public.key holds, and keys"
_HAS_NO_KEYS = "it has no keys, so that anybody could be it; start it with keys, or leave server_key out here"
_CLOSED = "the handshake failed, for it was closed at once; is it a zflow peer, and are keys needed?"
_WRONG_SERVER = (
    "it did not prove that it has the key that we expect of it; compare server_key with what its public.key holds"
)


def _require_keys(socket: zmq.Socket[bytes], identity: Identity) -> None:
    socket.setsockopt(zmq.CURVE_SERVER, 1)
    socket.setsockopt(zmq.CURVE_SECRETKEY, identity.secret.encode())
    socket.setsockopt(zmq.ZAP_DOMAIN, b"zflow")
    socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)  # without an Authenticator nobody comes in, instead of everybody


def _monitor(context: zmq.Context[Any], socket: zmq.Socket[bytes], events: int) -> zmq.Socket[bytes]:
    name = f"inproc://monitor-{next(_monitors)}"  # pyzmq's own name is the descriptor's number, which may recur
    socket.monitor(name, events)
    monitor: zmq.Socket[bytes] = context.socket(zmq.PAIR)
    monitor.setsockopt(zmq.LINGER, 0)
    monitor.setsockopt(zmq.RCVHWM, 0)  # a full one would stop libzmq's own thread
    monitor.connect(name)
    return monitor


def _set_common(socket: zmq.Socket[bytes], address: str) -> None:
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.HEARTBEAT_IVL, _HEARTBEAT_MS)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, _HEARTBEAT_TIMEOUT_MS)
    socket.setsockopt(zmq.HEARTBEAT_TTL, _HEARTBEAT_TIMEOUT_MS)
    socket.setsockopt(zmq.HANDSHAKE_IVL, _HANDSHAKE_MS)
    socket.setsockopt(zmq.MAXMSGSIZE, MAX_FRAME + 64 * 1024 if is_tcp(address) else MAX_REQUEST)
    socket.setsockopt(zmq.SNDHWM, _HIGH_WATER)
    socket.setsockopt(zmq.RCVHWM, _HIGH_WATER)
    if address.startswith("tcp://["):
        socket.setsockopt(zmq.IPV6, 1)


def _cut_large(frames: Sequence[Buffer]) -> Sequence[Buffer]:
    for frame in frames:
        if len(frame) > MAX_FRAME:
            return cut(frames)
    return frames


def _bind_error(address: str, error: zmq.ZMQError) -> ConfigError:
    port = address.rpartition(":")[2]
    if error.errno == zmq.EADDRINUSE and is_tcp(address):
        holder = holder_of(int(port))
        held = f" by {holder}" if holder else ""
        return PortInUse(f"port {port} is in use{held}; choose another port or end what holds it ({address})")
    return ConfigError(f"cannot bind {address}: {_reason(error)}")


def _reason(error: zmq.ZMQError) -> str:
    """Why, without the address that pyzmq repeats; libzmq's word for a name that nobody knows helps nobody."""
    return "no such host or network interface" if error.errno == errno.ENODEV else str(zmq.strerror(error.errno or 0))
