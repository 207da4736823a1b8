"""Joins real roles without sockets, so that a whole Flow fails and recovers in milliseconds.

It behaves as the carrier does on real sockets, only worse when told to:

- a way out by name is one connection, dialled again after a pause when it is lost; what was on its way is lost with it;
- each connection delivers in the order of sending; every message goes through `encode` and `decode`;
- a peer that runs its executor function hears nothing meanwhile, as a worker's own thread does;
- `opened` comes when dialling begins, `lost` after everything that had arrived, also for a peer that never answered.

The clock moves only when nothing is left to do at its present time, and then to the next event or deadline.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any, NamedTuple

from tests.support.clock import Clock
from tests.support.executors import Crash, ExecutorFunction
from zflow.errors import ProtocolError, UnsupportedRequest
from zflow.roles.contract import APPLICATION, EXECUTOR, Batch, Link, Role, Route, Steps
from zflow.wire.header import Kind, Message, decode, encode

Frames = list[Any]

_PAUSE_FIRST = 0.01
_PAUSE_LAST = 1.0
_SPINS = 3


class Sent(NamedTuple):
    """One message as it left: when, from whom, to whom."""

    when: float
    sender: str
    receiver: str
    message: Message


class Fault:
    """What happens to the next `left` messages that match. `seen` counts those that it happened to."""

    def __init__(self, effect: str, left: int, seconds: float, change: Callable[[Frames], Frames] | None) -> None:
        self.effect = effect
        self.left = left
        self.seconds = seconds
        self.change = change
        self.kind: Kind | None = None
        self.sender: str | None = None
        self.receiver: str | None = None
        self.seen = 0

    def matches(self, sent: Sent) -> bool:
        """Whether it happens to `sent`."""
        return (
            self.left > 0
            and self.kind in (None, sent.message.kind)
            and self.sender in (None, sent.sender)
            and self.receiver in (None, sent.receiver)
        )


class _Connection:
    """What `dialler` has opened by its way out `link` to `listener`, which knows it by `route`."""

    def __init__(self, dialler: Peer, link: str, listener: Peer, route: Route) -> None:
        self.dialler = dialler
        self.link = link
        self.listener = listener
        self.route = route
        self.is_open = True
        self.heard = False
        self.clear_at: dict[str, float] = {}  # per receiver: nothing sent later arrives earlier

    def other(self, peer: Peer) -> tuple[Peer, Link]:
        """The far end as seen from `peer`, and the link by which the far end knows this connection."""
        return (self.listener, self.route) if peer is self.dialler else (self.dialler, self.link)


class _WayOut:
    """A way out by name: its connection, or when to dial again."""

    def __init__(self) -> None:
        self.connection: _Connection | None = None
        self.failures = 0


class Peer:
    """One process: a role, what runs its requests, and what has arrived while it was busy.

    executed: call ids in the order in which the executor function was given them. answers: what the role told the
    link "application"; answered_at: when.
    """

    def __init__(
        self, name: str, role: Role, executor: ExecutorFunction | None, takes: Callable[[Message], float]
    ) -> None:
        self.name = name
        self.role = role
        self.executor = executor
        self.takes = takes
        self.is_alive = True
        self.is_busy = False
        self.has_leaving = False
        self.mailbox: deque[Callable[[], None]] = deque()
        self.ways_out = {link: _WayOut() for link in role.ways_out()}
        self.routes: dict[Route, _Connection] = {}
        self.executed: list[bytes] = []
        self.answers: list[Message] = []
        self.answered_at: list[float] = []

    def __repr__(self) -> str:
        state = "busy" if self.is_busy else "alive" if self.is_alive else "dead"
        return f"<{self.name}: {state}>"


class Network:
    """Peers by name. latency: seconds from one peer to another. A way out leads to the peer of the same name."""

    def __init__(self, clock: Clock | None = None, *, latency: float = 0.0) -> None:
        self.clock = clock or Clock()
        self.latency = latency
        self.peers: dict[str, Peer] = {}
        self.sent: list[Sent] = []
        self.dropped = 0
        self.front_doors_notice = True  # that a caller is gone; real ones find out only when they send to it
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._dials: list[tuple[float, int, Peer, str]] = []
        self._numbers = count(1)
        self._faults: list[Fault] = []

    # -- building ----------------------------------------------------------------------------------------------------

    def add(
        self,
        name: str,
        role: Role,
        *,
        executor: ExecutorFunction | None = None,
        takes: float | Callable[[Message], float] = 0.0,
    ) -> Peer:
        """A new process. takes: seconds that the executor function keeps it busy, per request or batch of them."""
        peer = Peer(name, role, executor, takes if callable(takes) else lambda _: takes)
        self.peers[name] = peer
        for link in peer.ways_out:
            self._dial_later(peer, link, 0.0)
        for other in self.peers.values():  # whoever waited for it dials at once, as after a change of the directory
            if other.is_alive and name in other.ways_out and other.ways_out[name].connection is None:
                other.ways_out[name].failures = 0
                self._dial_later(other, name, 0.0)
        return peer

    def restart(self, name: str, role: Role) -> Peer:
        """A new incarnation of `name`, with the executor of the old one, which is killed if it still lives."""
        old = self.peers[name]
        if old.is_alive:
            self.kill(name)
        return self.add(name, role, executor=old.executor, takes=old.takes)

    def change_replicas(self, name: str, group: str, links: Sequence[str]) -> None:
        """The process `name` learns which replicas `group` has now, as from its directory."""
        peer = self.peers[name]
        self._carry(peer, peer.role.replicas(group, links, self.clock.now))
        for link in peer.role.ways_out():
            if link not in peer.ways_out:
                peer.ways_out[link] = _WayOut()
                self._dial_later(peer, link, 0.0)
        peer.has_leaving = True

    # -- what goes wrong ---------------------------------------------------------------------------------------------

    def kill(self, name: str) -> None:
        """The process ends without a word. What it sent and has not arrived is lost, and so is what it was doing."""
        peer = self.peers[name]
        peer.is_alive = peer.is_busy = False
        peer.mailbox.clear()
        for connection in [*peer.routes.values(), *(way_out.connection for way_out in peer.ways_out.values())]:
            if connection is not None:
                self._end(connection, f"{name} died")

    def cut(self, name: str, link: str) -> None:
        """The connection of `name` by its way out `link` breaks; both processes live on."""
        connection = self.peers[name].ways_out[link].connection
        if connection is not None:
            self._end(connection, "the connection broke")

    def drop(self, times: int = 1, **match: Any) -> Fault:
        """The next `times` messages that match (kind, sender, receiver) never arrive."""
        return self._add_fault(Fault("drop", times, 0.0, None), match)

    def duplicate(self, times: int = 1, **match: Any) -> Fault:
        """The next `times` messages that match arrive twice."""
        return self._add_fault(Fault("duplicate", times, 0.0, None), match)

    def delay(self, seconds: float, times: int = 1, **match: Any) -> Fault:
        """The next `times` messages that match arrive late, and what is behind them waits too."""
        return self._add_fault(Fault("delay", times, seconds, None), match)

    def reorder(self, seconds: float = 0.001, times: int = 1, **match: Any) -> Fault:
        """The next `times` messages that match are overtaken by what is sent within `seconds`."""
        return self._add_fault(Fault("reorder", times, seconds, None), match)

    def garble(self, change: Callable[[Frames], Frames], times: int = 1, **match: Any) -> Fault:
        """The next `times` messages that match arrive as `change` makes of their frames."""
        return self._add_fault(Fault("garble", times, 0.0, change), match)

    def _add_fault(self, fault: Fault, match: Mapping[str, Any]) -> Fault:
        for name, value in match.items():
            if name not in ("kind", "sender", "receiver"):
                raise TypeError(f"a fault cannot match by {name!r}; use kind, sender, receiver")
            setattr(fault, name, value)
        self._faults.append(fault)
        return fault

    # -- running -----------------------------------------------------------------------------------------------------

    def ask(self, name: str, message: Message) -> None:
        """The application of `name` says `message` to its role."""
        peer = self.peers[name]
        self._carry(peer, peer.role.receive(APPLICATION, message, self.clock.now))

    def inject(self, route_of: str, message: Message | Frames, to: str, link: str | None = None) -> None:
        """A message, or bare frames, by the connection that `route_of` has to `to`, past its role."""
        dialler = self.peers[route_of]
        connection = dialler.ways_out[link or to].connection
        if connection is None:
            raise LookupError(f"{route_of} has no connection to {to}")
        frames = _bytes(encode(message)) if isinstance(message, Message) else message
        self._put(connection, dialler, frames, self.clock.now + self.latency)

    def drain(self, name: str) -> None:
        """Tell the role of `name` to finish."""
        peer = self.peers[name]
        self._carry(peer, peer.role.drain(self.clock.now))

    def run(self, seconds: float | None = None, *, limit: float = 600.0) -> None:
        """Run until nothing is left to do, or for that many seconds.

        Quiet means: no message on its way, nobody busy, no deadline ahead, and whoever still dials, dials the dead.
        Raises AssertionError for a network that is not quiet after `limit` seconds of its own time.
        """
        end = self.clock.now + (limit if seconds is None else seconds)
        while True:
            self._settle_present()
            following = self._next_time(until_quiet=seconds is None)
            if following is None or following > end:
                break
            self.clock.move_to(following)
        if seconds is not None:
            self.clock.move_to(end)
        elif following is not None:
            raise AssertionError(f"the network is not quiet after {limit:g} s; next event at {following:g}")

    def _settle_present(self) -> None:
        """Do everything that is due now; roles see their deadlines after what has arrived, as from a driver."""
        is_moving = True
        while is_moving:
            is_moving = self._dial_due()
            while self._events and self._events[0][0] <= self.clock.now:
                heapq.heappop(self._events)[2]()
                is_moving = True
            for peer in list(self.peers.values()):
                is_moving = self._expire(peer) or is_moving
                if peer.has_leaving and peer.is_alive:
                    self._close_left(peer)

    def _expire(self, peer: Peer) -> bool:
        """Call `expire` where it is due. A role that stays due without doing anything would spin a real driver."""
        now = self.clock.now
        for _ in range(_SPINS):
            if not peer.is_alive or peer.is_busy:
                return False
            due = peer.role.next_deadline()
            if due is None or due > now:
                return False
            steps = peer.role.expire(now)
            self._carry(peer, steps)
            if steps:
                return True
        raise AssertionError(f"{peer.name} spins: it is due at {due} and does nothing about it at {now}")

    def _next_time(self, until_quiet: bool) -> float | None:
        times = [when for when, _, _ in self._events[:1]]
        for peer in self.peers.values():
            if peer.is_alive and not peer.is_busy and (due := peer.role.next_deadline()) is not None:
                times.append(due)
        dials = [
            when for when, _, peer, link in self._dials if not until_quiet or times or self._leads_somewhere(peer, link)
        ]
        return min(times + dials) if times or dials else None

    def _close_left(self, peer: Peer) -> None:
        """Close those ways out of which the role has no use any more."""
        used = set(peer.role.ways_out())
        for link in [link for link in peer.ways_out if link not in used]:
            connection = peer.ways_out[link].connection
            if connection is None:
                del peer.ways_out[link]
            else:
                self._end(connection, "it is a replica no longer")

    # -- connections -------------------------------------------------------------------------------------------------

    def _leads_somewhere(self, peer: Peer, link: str) -> bool:
        return peer.is_alive and link in self.peers and self.peers[link].is_alive

    def _dial_later(self, peer: Peer, link: str, pause: float) -> None:
        heapq.heappush(self._dials, (self.clock.now + pause, next(self._numbers), peer, link))

    def _dial_due(self) -> bool:
        has_dialled = False
        while self._dials and self._dials[0][0] <= self.clock.now:
            _, _, peer, link = heapq.heappop(self._dials)
            if peer.is_alive and link in self.peers and self._waits_for(peer, link):
                has_dialled = True
                self._when_free(peer, lambda peer=peer, link=link: self._dial(peer, link))  # type: ignore[misc]
        return has_dialled

    def _dial(self, peer: Peer, link: str) -> None:
        if not self._waits_for(peer, link):
            return
        way_out, listener = peer.ways_out[link], self.peers[link]
        connection = _Connection(peer, link, listener, (b"route" + next(self._numbers).to_bytes(4, "big"),))
        way_out.connection = connection
        if listener.is_alive:
            listener.routes[connection.route] = connection
        self._carry(peer, peer.role.opened(link, self.clock.now))
        if not listener.is_alive and connection.is_open:
            self._end(connection, "nobody listens there")

    @staticmethod
    def _waits_for(peer: Peer, link: str) -> bool:
        return link in peer.ways_out and peer.ways_out[link].connection is None

    def _end(self, connection: _Connection, reason: str) -> None:
        connection.is_open = False
        dialler, listener = connection.dialler, connection.listener
        if listener.routes.pop(connection.route, None) is not None and listener.is_alive and self.front_doors_notice:
            self._when_free(listener, lambda: self._tell_lost(listener, connection.route, reason))
        if dialler.is_alive:
            self._when_free(dialler, lambda: self._way_out_lost(connection, reason))

    def _way_out_lost(self, connection: _Connection, reason: str) -> None:
        dialler, link = connection.dialler, connection.link
        way_out = dialler.ways_out[link]
        way_out.connection = None
        if link not in dialler.role.ways_out():
            del dialler.ways_out[link]
            return self._tell_lost(dialler, link, reason)
        way_out.failures = 0 if connection.heard else way_out.failures
        self._dial_later(dialler, link, min(_PAUSE_LAST, _PAUSE_FIRST * 2 ** min(way_out.failures, 10)))
        way_out.failures += 1
        self._tell_lost(dialler, link, reason)

    def _tell_lost(self, peer: Peer, link: Link, reason: str) -> None:
        self._carry(peer, peer.role.lost(link, reason, self.clock.now))

    # -- messages ----------------------------------------------------------------------------------------------------

    def _carry(self, peer: Peer, steps: Steps) -> None:
        for link, message in steps:
            if link == EXECUTOR:
                self._execute(peer, message)
            elif link == APPLICATION:
                peer.answers.append(message)
                peer.answered_at.append(self.clock.now)
            elif isinstance(link, str):
                connection = peer.ways_out[link].connection  # KeyError: the role names a way out that it does not have
                if connection is not None and connection.is_open:
                    self._send(peer, connection, message)
            elif link in peer.routes:
                self._send(peer, peer.routes[link], message)
            else:
                self.dropped += 1
                self._tell_lost(peer, link, "cannot send: no route")

    def _send(self, sender: Peer, connection: _Connection, message: Message) -> None:
        frames = _bytes(encode(message))
        receiver, _ = connection.other(sender)
        sent = Sent(self.clock.now, sender.name, receiver.name, decode(frames))
        self.sent.append(sent)
        arrival = max(self.clock.now + self.latency, connection.clear_at.get(receiver.name, 0.0))
        fault = next((fault for fault in self._faults if fault.matches(sent)), None)
        if fault is None:
            return self._put(connection, sender, frames, arrival)
        fault.left -= 1
        fault.seen += 1
        if fault.effect == "drop":
            self.dropped += 1
        elif fault.effect == "garble" and fault.change is not None:
            self._put(connection, sender, fault.change(frames), arrival)
        elif fault.effect == "reorder":
            self._put(connection, sender, frames, arrival + fault.seconds, in_order=False)
        else:
            self._put(connection, sender, frames, arrival + fault.seconds)
            if fault.effect == "duplicate":
                self._put(connection, sender, frames, arrival)

    def _put(
        self, connection: _Connection, sender: Peer, frames: Frames, arrival: float, *, in_order: bool = True
    ) -> None:
        receiver, link = connection.other(sender)
        if in_order:
            connection.clear_at[receiver.name] = arrival

        def arrive() -> None:
            if connection.is_open and receiver.is_alive:
                connection.heard = connection.heard or receiver is connection.dialler
                self._when_free(receiver, lambda: self._deliver(receiver, link, frames))

        heapq.heappush(self._events, (arrival, next(self._numbers), arrive))

    def _deliver(self, peer: Peer, link: Link, frames: Frames) -> None:
        now = self.clock.now
        try:
            message = decode(frames)
        except (ProtocolError, UnsupportedRequest) as error:
            self._carry(peer, peer.role.malformed(link, error, now))
        else:
            self._carry(peer, peer.role.receive(link, message, now))

    # -- user code ---------------------------------------------------------------------------------------------------

    def _when_free(self, peer: Peer, action: Callable[[], None]) -> None:
        """Do it now, or as soon as the peer's thread is back from user code."""
        if peer.is_busy:
            peer.mailbox.append(action)
        else:
            action()

    def _execute(self, peer: Peer, request: Message) -> None:
        if peer.is_busy or peer.executor is None:
            raise AssertionError(f"{peer!r} cannot run {request!r}")
        peer.is_busy = True
        peer.executed += [member.call_id for member in _members(request)]
        when = self.clock.now + peer.takes(request)
        heapq.heappush(self._events, (when, next(self._numbers), lambda: self._executed(peer, request)))

    def _executed(self, peer: Peer, request: Message) -> None:
        if not peer.is_alive or peer.executor is None:
            return
        try:
            outcomes = list(map(peer.executor, _members(request)))
        except Crash:
            return self.kill(peer.name)
        peer.is_busy = False
        outcome = Batch(outcomes) if isinstance(request, Batch) else outcomes[0]
        self._carry(peer, peer.role.receive(EXECUTOR, outcome, self.clock.now))
        while peer.mailbox and not peer.is_busy:
            peer.mailbox.popleft()()


def _members(request: Message) -> Sequence[Message]:
    return request.members if isinstance(request, Batch) else [request]


def _bytes(frames: Any) -> Frames:
    return [bytes(frame) for frame in frames]
